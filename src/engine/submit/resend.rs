//! The next retry round: chunks of what failed in passing in the last one.

use std::fs::File;

use crate::base::{Error, Result};
use crate::ledger::action::{Action, ChunkStored};
use crate::ledger::outcomes::OutcomeVerdicts;
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::state::{Attempt, PlanState, State};

use super::chunk::prompts_of;
use crate::engine::context::context::Context;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::step::StepResult;
use crate::engine::plan::chunks::{ChunkWriter, chunk_writer};
use crate::work::Content;

/// Makes the chunks of `round` of `plan`, and writes them down.
///
/// # Errors
/// Whatever keeps the requests or their outcomes from being read, or the chunks from being stored.
pub(crate) async fn resend(
    cx: &Context,
    plan: &PlanState,
    state: &State,
    round: u32,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let stored = chunks_of_round(cx, plan, state, round).await?;
    if stored.is_empty() {
        return Err(Error::internal(
            "nothing to send again, and something failed in passing",
        ));
    }
    let requests: u64 = stored.iter().map(|chunk| chunk.requests).sum();
    cx.notices.warn(&format!(
        "{requests} requests failed in passing and are sent again"
    ));
    let stored = stored.into_iter().map(Action::ChunkStored);
    writer.write(stored.collect()).await?;
    Ok(StepResult::Done)
}

/// The chunks of `round` of `plan`, durable; they are still to be written in the ledger.
async fn chunks_of_round(
    cx: &Context,
    plan: &PlanState,
    state: &State,
    round: u32,
) -> Result<Vec<ChunkStored>> {
    let mut chunks = chunk_writer(cx, state, cx.parts.limits, (plan, round));
    let mut stored = Vec::new();
    for chunk in plan.round(round.saturating_sub(1)) {
        let landed = state.attempts_of(chunk).filter_map(|attempt| {
            let landed = attempt.landed.as_ref()?;
            Some((attempt, landed.transient))
        });
        let Some((attempt, 1..)) = landed.last() else {
            continue;
        };
        let requests = prompts_of(cx, plan.started.plan, chunk.stored.chunk).await?;
        copy(cx, attempt, requests, &mut chunks, &mut stored).await?;
    }
    stored.extend(chunks.cut().await?);
    Ok(stored)
}

/// Copies the requests of one attempt that failed in passing.
async fn copy(
    cx: &Context,
    attempt: &Attempt,
    requests: File,
    chunks: &mut ChunkWriter<'_>,
    stored: &mut Vec<ChunkStored>,
) -> Result<()> {
    let mut verdicts = Verdicts {
        outcomes: OutcomeVerdicts::open(&cx.files.outcomes(attempt)).await?,
        some: Vec::new().into_iter(),
    };
    for some in RequestsReader::open(requests, RequestColumns::All)? {
        let some = some?;
        // Reading from disk blocks and gives nobody else a turn by itself.
        tokio::task::yield_now().await;
        for at in 0..some.len() {
            let ordinal = some.ordinals.value(at);
            if !verdicts.is_transient(ordinal).await? {
                continue;
            }
            let prompt = some.prompt(at);
            let prompt = prompt.ok_or_else(|| Error::data("a prompt was not kept"))?;
            let attachments = some.attachments(at)?;
            let content = Content {
                text: prompt,
                attachments: &attachments,
            };
            let content = (content, cx.parts.frame.added_len(content));
            let (row, key) = (some.rows.value(at), some.key(at));
            stored.extend(chunks.push(ordinal, row, key, content).await?);
        }
    }
    Ok(())
}

/// What came back for a chunk's requests, one after the other. Outcomes and requests both lie by
/// ordinal, so that they go side by side.
struct Verdicts {
    outcomes: OutcomeVerdicts,
    some: std::vec::IntoIter<(u64, bool)>,
}

impl Verdicts {
    /// Whether the request `ordinal`, which is the next one, is worth sending again.
    async fn is_transient(&mut self, ordinal: u64) -> Result<bool> {
        if self.some.len() == 0
            && let Some(some) = self.outcomes.next().await?
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
