//! The next round: chunks of what came back of the last one and is asked again.

use std::collections::{BTreeSet, VecDeque};

use super::returned::{Returned, ReturnedRequest, Source};
use crate::base::{Error, Result};
use crate::engine::context::context::Context;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::again::{AgainRule, Cause, causes};
use crate::engine::decide::limits::SENDS_MAX;
use crate::engine::decide::step::StepResult;
use crate::engine::plan::chunks::{ChunkWriter, chunk_writer};
use crate::ledger::action::{Action, ChunkStored};
use crate::ledger::state::{PlanState, State};
use crate::work::correction::{message, sent_back};
use crate::work::{Content, Correction, Frame, Variant};

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
    let rule = AgainRule::of(&cx.job);
    let sources = sources(&rule, plan, state, round);
    let targets: BTreeSet<&Variant> = sources.iter().map(|source| &source.to).collect();
    let mut made = Made::default();
    let mut chunks = chunk_writer(cx, state, cx.parts.limits, (plan, round));
    for target in targets {
        let alike = sources.iter().filter(|source| source.to == *target);
        copy(cx, (target, alike.collect()), &mut chunks, &mut made).await?;
    }
    if made.stored.is_empty() {
        return Err(Error::internal(
            "nothing to send again, and something is to be",
        ));
    }
    cx.notices.warn(&made.words());
    let stored = made.stored.into_iter().map(Action::ChunkStored);
    writer.write(stored.collect()).await?;
    Ok(StepResult::Done)
}

/// All that is asked again of the round before `round`.
fn sources<'a>(
    rule: &AgainRule,
    plan: &'a PlanState,
    state: &'a State,
    round: u32,
) -> Vec<Source<'a>> {
    let mut sources = Vec::new();
    for chunk in plan.round(round.saturating_sub(1)) {
        let landed = state.attempts_of(chunk).filter_map(|attempt| {
            let landed = attempt.landed.as_ref()?;
            Some((attempt, landed))
        });
        let Some((attempt, landed)) = landed.last() else {
            continue;
        };
        for cause in causes(state, plan).iter().copied() {
            let to = rule.next(plan, &chunk.stored, cause, SENDS_MAX);
            let to = to.filter(|_| cause.count(landed) > 0);
            sources.extend(to.map(|to| Source {
                chunk,
                attempt,
                cause,
                to,
            }));
        }
    }
    sources
}

/// What a round is made of.
#[derive(Debug, Default)]
struct Made {
    stored: Vec<ChunkStored>,
    /// Requests by why they are asked again.
    failed: u64,
    invalid: u64,
    cut: u64,
}

impl Made {
    fn words(&self) -> String {
        let requests = |count: u64| match count {
            1 => "1 request".to_owned(),
            count => format!("{count} requests"),
        };
        let mut words = Vec::new();
        if self.failed > 0 {
            let are = requests(self.failed);
            words.push(format!("{are} failed in passing and are sent again"));
        }
        if self.invalid > 0 {
            let are = requests(self.invalid);
            words.push(format!(
                "{are} with an invalid answer go again, with the reason"
            ));
        }
        if self.cut > 0 {
            let are = requests(self.cut);
            words.push(format!(
                "{are} whose answer was cut go again, with a higher limit of output"
            ));
        }
        words.join("; ")
    }

    fn count(&mut self, cause: Cause) {
        match cause {
            Cause::Failure => self.failed += 1,
            Cause::Invalid => self.invalid += 1,
            Cause::Cut => self.cut += 1,
        }
    }
}

/// Copies the requests of `sources`, which are all asked again as `target`, in the order of their numbers.
async fn copy(
    cx: &Context,
    (target, sources): (&Variant, Vec<&Source<'_>>),
    chunks: &mut ChunkWriter<'_>,
    made: &mut Made,
) -> Result<()> {
    let (_, frame) = cx.asks_as(target)?;
    let mut lanes = Lane::of(cx, sources).await?;
    chunks.vary(target.clone());
    // Those of one lane ascend, and those of several may lie between each other's.
    while let Some(lane) = first(&mut lanes) {
        let cause = lane.cause;
        if let Some(request) = lane.take(cx).await? {
            made.count(cause);
            let invalid = request.invalid.as_ref();
            let now = invalid.map(|(raw, error)| (sent_back(raw), message(error)));
            let now = now
                .as_ref()
                .map(|(answer, message)| Correction { answer, message });
            let content = Content {
                text: &request.text,
                attachments: &request.attachments,
                correction: now.or(Correction::borrow(request.correction.as_ref())),
            };
            let content = fitting(cx, &frame, content);
            let content = (content, frame.added_len(content));
            let (ordinal, row) = (request.ordinal, request.row);
            let full = chunks.push(ordinal, row, request.key, content).await?;
            made.stored.extend(full);
        }
    }
    made.stored.extend(chunks.cut().await?);
    Ok(())
}

/// Chunks that were asked alike, and what of them came back for one cause: one after the other, so that one
/// is open at a time.
struct Lane<'a> {
    cause: Cause,
    /// Those that are not open yet, in order.
    left: VecDeque<&'a Source<'a>>,
    open: Option<Returned<'a>>,
}

impl<'a> Lane<'a> {
    async fn of(cx: &Context, sources: Vec<&'a Source<'a>>) -> Result<Vec<Lane<'a>>> {
        let mut lanes: Vec<Lane<'a>> = Vec::new();
        for source in sources {
            let is_same = |lane: &&mut Lane<'a>| {
                let first = lane.left.front();
                let asked = |of: &Source<'_>| of.chunk.stored.variant.clone();
                lane.cause == source.cause
                    && first.is_some_and(|first| asked(first) == asked(source))
            };
            match lanes.iter_mut().find(is_same) {
                Some(lane) => lane.left.push_back(source),
                None => lanes.push(Lane {
                    cause: source.cause,
                    left: VecDeque::from([source]),
                    open: None,
                }),
            }
        }
        for lane in &mut lanes {
            lane.advance(cx).await?;
        }
        Ok(lanes)
    }

    /// The number of the next request; nothing at the end.
    fn ordinal(&self) -> Option<u64> {
        self.open.as_ref()?.ordinal()
    }

    /// Takes the next request.
    async fn take(&mut self, cx: &Context) -> Result<Option<ReturnedRequest>> {
        let Some(open) = &mut self.open else {
            return Ok(None);
        };
        let next = open.take().await?;
        self.advance(cx).await?;
        Ok(next)
    }

    /// Opens the next chunk, if the open one is at its end.
    async fn advance(&mut self, cx: &Context) -> Result<()> {
        while self.ordinal().is_none() {
            let Some(source) = self.left.pop_front() else {
                self.open = None;
                break;
            };
            self.open = Some(Returned::open(cx, source).await?);
        }
        Ok(())
    }
}

/// The lane whose next request has the lowest number; nothing at their ends.
fn first<'a, 'c>(lanes: &'a mut [Lane<'c>]) -> Option<&'a mut Lane<'c>> {
    let open = lanes
        .iter_mut()
        .filter_map(|lane| Some((lane.ordinal()?, lane)));
    open.min_by_key(|(ordinal, _)| *ordinal)
        .map(|(_, lane)| lane)
}

/// `content`, without what was wrong with its answer where the request would be larger than the provider
/// takes: it was not when it was asked for the first time.
fn fitting<'a>(cx: &Context, frame: &Frame, content: Content<'a>) -> Content<'a> {
    let bytes = frame.added_len(content) + cx.parts.cache_bytes;
    if bytes <= cx.parts.limits.request_bytes_max {
        return content;
    }
    Content {
        correction: None,
        ..content
    }
}
