//! The next wave: chunks of what failed in passing in the last one.

use crate::base::{Error, Ids, Result};
use crate::ledger::action::ChunkStored;
use crate::ledger::outcomes::{OutcomeColumns, OutcomesReader};
use crate::ledger::requests::RequestsReader;
use crate::ledger::state::{Attempt, PlanState, State};
use crate::work::{Frame, Limits};

use super::chunks::ChunkWriter;
use super::files::Files;

/// Makes the chunks of wave `wave` of `plan`, durable; they are still to be written in the ledger.
pub(super) async fn resend(
    state: &State,
    plan: &PlanState,
    wave: u32,
    (files, ids): (&Files, &Ids),
    (frame, limits): (&Frame, Limits),
) -> Result<Vec<ChunkStored>> {
    let next = plan.chunks.keys().next_back().map_or(0, |last| last + 1);
    let mut chunks = ChunkWriter::new(files, ids, frame, limits, (plan.started.plan, wave, next));
    let mut stored = Vec::new();
    for chunk in plan
        .chunks
        .values()
        .filter(|chunk| chunk.stored.wave + 1 == wave)
    {
        let landed = state
            .attempts_of(chunk)
            .filter(|attempt| attempt.landed.is_some())
            .last();
        let Some(attempt) = landed else { continue };
        if attempt
            .landed
            .as_ref()
            .is_some_and(|landed| landed.transient > 0)
        {
            copy(attempt, files, &mut chunks, &mut stored).await?;
        }
    }
    stored.extend(chunks.cut().await?);
    Ok(stored)
}

/// Copies the requests of one attempt that failed in passing.
async fn copy(
    attempt: &Attempt,
    files: &Files,
    chunks: &mut ChunkWriter<'_>,
    stored: &mut Vec<ChunkStored>,
) -> Result<()> {
    let promised = &attempt.promised;
    let outcomes = files.open(&files.outcomes(attempt)).await?;
    let requests = files
        .open(&files.requests(promised.plan, promised.chunk))
        .await?;
    let outcomes = OutcomesReader::open(outcomes, OutcomeColumns::Verdicts)?;
    // Both files hold the chunk's requests by ordinal, so that they go side by side.
    let mut verdicts = outcomes.map(|some| {
        some.map(|some| {
            (0..some.len())
                .map(|at| (some.ordinal(at), some.is_transient(at)))
                .collect()
        })
    });
    let mut some_verdicts: std::vec::IntoIter<(u64, bool)> = Vec::new().into_iter();
    for some in RequestsReader::open(requests)? {
        let some = some?;
        for at in 0..some.len() {
            if some_verdicts.len() == 0 {
                let more: Vec<_> = verdicts.next().transpose()?.unwrap_or_default();
                some_verdicts = more.into_iter();
            }
            let verdict = some_verdicts.next().ok_or_else(unlike)?;
            let ordinal = some.ordinals.value(at);
            if verdict.0 != ordinal {
                return Err(unlike());
            }
            if verdict.1 {
                let prompt = some
                    .prompt(at)
                    .ok_or_else(|| Error::data("a prompt was not kept"))?;
                stored.extend(
                    chunks
                        .push(ordinal, some.rows.value(at), some.key(at), prompt)
                        .await?,
                );
            }
        }
    }
    Ok(())
}

fn unlike() -> Error {
    Error::data("the outcomes of a chunk are not those of its requests")
}
