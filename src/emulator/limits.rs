//! What a vendor's queue holds, and whether it is full.
//!
//! What is made (batches, files) is counted by what is kept of it, so that the next process goes on
//! counting; calls are counted by the process that answers them.

use super::batch::{Batch, End, Phase};
use super::faults::Fault;
use super::world::{Caller, World};
use crate::base::Result;

impl World {
    /// The caller's batches that hold their place in the vendor's queue: neither ended nor doomed.
    pub(super) fn queued(&self, dialect: &str, caller: &Caller) -> Result<Vec<Batch>> {
        let mut batches = self.store.all::<Batch>()?;
        let now = self.now();
        batches.retain(|batch| {
            batch.dialect == dialect
                && batch.owner == caller.owner
                && batch.end() != End::Failed
                && !matches!(batch.phase(now), Phase::Ended(_))
        });
        Ok(batches)
    }

    /// Whether a fault says that the queue is full; if so, a draw of its own.
    pub(super) fn queue_full(&self) -> Option<u64> {
        if !self.config.faults.can(Fault::QueueFull) {
            return None;
        }
        let key = super::random::named(self.config.seed, "queue_full");
        let attempt = self.attempt(key);
        let full = self
            .config
            .faults
            .hits(Fault::QueueFull, key, attempt, attempt);
        full.then(|| {
            self.note_fault(Fault::QueueFull);
            super::random::mix(key ^ attempt)
        })
    }
}
