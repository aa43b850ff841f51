//! A chunk that is too large for the provider's queue, or for one batch, into smaller ones.

use crate::base::{Error, Result};
use crate::ledger::action::{Action, ChunkStored};
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::state::{ChunkState, PlanState, State};
use crate::work::{Content, Limits};

use super::chunk::prompts_of;
use crate::engine::context::context::Context;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::again::AgainRule;
use crate::engine::decide::cache::PRIMER;
use crate::engine::decide::step::StepResult;
use crate::engine::plan::chunks::{ChunkWriter, chunk_writer};

/// Stores the requests of `chunk` in chunks of about half its size, of the same round.
///
/// # Errors
/// Whatever keeps the requests from being read, or the chunks from being stored.
pub(crate) async fn split(
    cx: &Context,
    chunk: &ChunkState,
    plan: &PlanState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let stored = &chunk.stored;
    let half = half(stored.requests);
    let limits = Limits {
        requests_max: half,
        ..cx.parts.limits
    };
    let mut chunks = chunk_writer(cx, state, limits, (plan, stored.round));
    let actions = remake(cx, stored, &mut chunks, 0).await?;
    cx.notices.warn(&format!(
        "chunk {} is too large for the provider; its {} requests go in chunks of {half} at most",
        stored.chunk, stored.requests
    ));
    writer.write(actions).await?;
    Ok(StepResult::Done)
}

/// Stores the first request of `chunk` as a chunk of its own, which goes before the others so that these
/// can read what it leaves in the provider's cache; and those in another.
///
/// # Errors
/// As for [`split`].
pub(crate) async fn prime(
    cx: &Context,
    chunk: &ChunkState,
    plan: &PlanState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let stored = &chunk.stored;
    let mut chunks = chunk_writer(cx, state, cx.parts.limits, (plan, stored.round));
    let actions = remake(cx, stored, &mut chunks, PRIMER).await?;
    writer.write(actions).await?;
    Ok(StepResult::Done)
}

/// Stores the requests of `chunk`, of which nothing was sent, in chunks that ask the model which the job names
/// now.
///
/// # Errors
/// As for [`split`].
pub(crate) async fn recast(
    cx: &Context,
    chunk: &ChunkState,
    plan: &PlanState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let stored = &chunk.stored;
    let variant = AgainRule::of(&cx.job).recast(plan, stored);
    let mut chunks = chunk_writer(cx, state, cx.parts.limits, (plan, stored.round));
    let asked = ChunkStored {
        variant: variant.unwrap_or_else(|| stored.variant.clone()),
        ..stored.clone()
    };
    let actions = remake(cx, &asked, &mut chunks, 0).await?;
    writer.write(actions).await?;
    Ok(StepResult::Done)
}

/// Stores the requests of a chunk again, by `chunks`; the first so many, if any, as a primer.
async fn remake(
    cx: &Context,
    stored: &ChunkStored,
    chunks: &mut ChunkWriter<'_>,
    primer: u64,
) -> Result<Vec<Action>> {
    let mut actions = vec![Action::ChunkSplit {
        plan: stored.plan,
        chunk: stored.chunk,
    }];
    chunks.vary(stored.variant.clone());
    let (_, frame) = cx.asks_as(&stored.variant)?;
    let mut n = 0;
    let requests = prompts_of(cx, stored.plan, stored.chunk).await?;
    for some in RequestsReader::open(requests, RequestColumns::All)? {
        let some = some?;
        // Reading from disk blocks and gives nobody else a turn by itself.
        tokio::task::yield_now().await;
        for at in 0..some.len() {
            let prompt = some
                .prompt(at)
                .ok_or_else(|| Error::data("a prompt was not kept"))?;
            let attachments = some.attachments(at)?;
            let content = Content {
                text: prompt,
                attachments: &attachments,
                correction: some.correction(at),
            };
            let content = (content, frame.added_len(content));
            let (ordinal, row) = (some.ordinals.value(at), some.rows.value(at));
            let full = chunks.push(ordinal, row, some.key(at), content).await?;
            actions.extend(full.map(Action::ChunkStored));
            n += 1;
            if n == primer {
                let first = chunks.cut().await?;
                let first = first.map(|chunk| ChunkStored {
                    primer: true,
                    ..chunk
                });
                actions.extend(first.map(Action::ChunkStored));
            }
        }
    }
    actions.extend(chunks.cut().await?.map(Action::ChunkStored));
    Ok(actions)
}

/// About half of `requests`, and always less: with room for a size that is drawn below it.
fn half(requests: u64) -> u64 {
    let half = requests.div_ceil(2);
    (half + half / 50).min(requests.saturating_sub(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_is_smaller_than_the_whole_and_two_of_them_hold_it() {
        for requests in 2..2000 {
            let half = half(requests);
            assert!((1..requests).contains(&half), "{requests}");
            // The smallest size that may be drawn is a hundredth below it.
            let smallest = half - half / 100;
            assert!(2 * smallest + 1 >= requests, "{requests}: {half}");
        }
    }
}
