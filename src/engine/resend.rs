//! The next wave: chunks of what failed in passing in the last one.

use std::fs::File;

use crate::base::{Error, Result};
use crate::ledger::action::ChunkStored;
use crate::ledger::outcomes::{OutcomeColumns, OutcomesReader};
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::state::{Attempt, PlanState, State};

use super::chunks::ChunkWriter;
use super::tasks::Tasks;

impl Tasks {
    /// Makes the chunks of wave `wave` of `plan`, durable; they are still to be written in the ledger.
    pub(super) async fn resend_chunks(
        &self,
        plan: &PlanState,
        state: &State,
        wave: u32,
    ) -> Result<Vec<ChunkStored>> {
        let next = plan.next_chunk();
        let place = (plan.started.plan, wave, next);
        let mut chunks = self.chunk_writer(state, self.limits, place);
        let mut stored = Vec::new();
        for chunk in plan.wave(wave.saturating_sub(1)) {
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
                let requests = self
                    .prompts_of(plan.started.plan, chunk.stored.chunk)
                    .await?;
                self.copy(attempt, requests, &mut chunks, &mut stored)
                    .await?;
            }
        }
        stored.extend(chunks.cut().await?);
        Ok(stored)
    }

    /// Copies the requests of one attempt that failed in passing.
    async fn copy(
        &self,
        attempt: &Attempt,
        requests: File,
        chunks: &mut ChunkWriter<'_>,
        stored: &mut Vec<ChunkStored>,
    ) -> Result<()> {
        let outcomes = self.files.open(&self.files.outcomes(attempt)).await?;
        let mut verdicts = Verdicts {
            reader: OutcomesReader::open(outcomes, OutcomeColumns::Verdicts)?,
            some: Vec::new().into_iter(),
        };
        for some in RequestsReader::open(requests, RequestColumns::All)? {
            let some = some?;
            for at in 0..some.len() {
                let ordinal = some.ordinals.value(at);
                if !verdicts.is_transient(ordinal)? {
                    continue;
                }
                let prompt = some
                    .prompt(at)
                    .ok_or_else(|| Error::data("a prompt was not kept"))?;
                let bytes = self.frame.added_len(prompt);
                let row = some.rows.value(at);
                stored.extend(
                    chunks
                        .push(ordinal, row, some.key(at), (prompt, bytes))
                        .await?,
                );
            }
        }
        Ok(())
    }
}

/// What came back for a chunk's requests, one after the other. Outcomes and requests both lie by
/// ordinal, so that they go side by side.
struct Verdicts {
    reader: OutcomesReader,
    some: std::vec::IntoIter<(u64, bool)>,
}

impl Verdicts {
    /// Whether the request `ordinal`, which is the next one, is worth sending again.
    fn is_transient(&mut self, ordinal: u64) -> Result<bool> {
        if self.some.len() == 0
            && let Some(some) = self.reader.next().transpose()?
        {
            let verdicts = (0..some.len()).map(|at| (some.ordinal(at), some.is_transient(at)));
            self.some = verdicts.collect::<Vec<_>>().into_iter();
        }
        match self.some.next() {
            Some((found, transient)) if found == ordinal => Ok(transient),
            _ => Err(Error::data(
                "the outcomes of a chunk are not those of its requests",
            )),
        }
    }
}
