//! Where a chunk stands.

use crate::ledger::state::{ChunkState, Phase, State};

/// Where a chunk stands.
pub(crate) enum ChunkStatus {
    /// It is to be sent, for the first time or after a "not now".
    Unsent,
    /// Something may still come of it.
    Open,
    /// Nobody can tell whether the provider has it.
    Unsettled(String),
    /// Its results are ours.
    Done,
    /// The provider refused it for good.
    Refused(String),
}

/// Where `chunk` stands.
pub(crate) fn chunk_status(state: &State, chunk: &ChunkState) -> ChunkStatus {
    if state.is_home(chunk) {
        return ChunkStatus::Done;
    }
    let Some(last) = state.attempts_of(chunk).last() else {
        return ChunkStatus::Unsent;
    };
    match last.phase {
        Phase::Landed => ChunkStatus::Done,
        Phase::Promised if last.unsettled.is_some() => {
            ChunkStatus::Unsettled(last.promised.attempt.clone())
        }
        Phase::Promised | Phase::Accepted => ChunkStatus::Open,
        Phase::RejectedForNow | Phase::Absent => ChunkStatus::Unsent,
        Phase::RejectedForGood => ChunkStatus::Refused(last.promised.attempt.clone()),
    }
}
