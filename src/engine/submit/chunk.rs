//! The step that sends a chunk, and the ones for a chunk that cannot be sent as it is.

use std::fs::File;
use std::sync::Arc;

use super::pieces_body::gather;
use super::prompts::with_prompts;
use super::send::{BodySource, Sending, Uploaded};
use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::engine::attachments::reader::AttachmentReads;
use crate::engine::context::context::Context;
use crate::engine::context::job_parts::longer;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::cache::caching;
use crate::engine::decide::step::StepResult;
use crate::engine::plan::input::PlanInput;
use crate::ledger::state::{ChunkState, State};
use crate::work::progress::Event;

/// Promises an attempt at `chunk`, and sends it.
///
/// # Errors
/// As for [`Sending::send`].
pub(crate) async fn submit(
    cx: &Context,
    chunk: &ChunkState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let stored = &chunk.stored;
    let plan = state.plans.get(&stored.plan);
    let plan = plan.ok_or_else(|| Error::internal("no such plan"))?;
    let cached = (&cx.parts.cache.policy, &*cx.queue.account);
    let cache = caching(cached, state, plan, cx.now()).says(stored);
    let (shape, plain) = cx.asks_as(&stored.variant)?;
    let frame = cx.providers.own.frame(&shape, cache)?;
    let source = match Uploaded::of(state, chunk, &cx.providers.capability().account) {
        Some(uploaded) => BodySource::There(uploaded),
        None => BodySource::Made(prompts_of(cx, stored.plan, stored.chunk).await?),
    };
    let attachments = match &source {
        BodySource::Made(requests) => attachments_of(cx, requests).await?,
        BodySource::There(_) => None,
    };
    let sending = Sending {
        job: &cx.job.name,
        chunk,
        state,
        shape: &shape,
        cache,
        body_bytes: stored.body_bytes + stored.requests * longer(&frame, &plain),
        frame: &frame,
        provider: &*cx.providers.own,
        source,
        attachments,
        gate: cx.guard.gate(),
        queue: &cx.queue.for_chunk(stored),
        components: &cx.components,
        writer,
    };
    let result = sending.send().await?;
    let (chunk, requests) = (stored.chunk, stored.requests);
    match result {
        StepResult::Done => cx.notices.event(&Event::Submitted { chunk, requests }),
        StepResult::Lost => cx.notices.warn_seldom(
            "an answer was lost",
            &format!("the answer for chunk {chunk} was lost; the provider is asked what it has"),
        ),
        _ => {}
    }
    Ok(result)
}

/// The bytes of what is attached to `requests`, where something may be.
async fn attachments_of(cx: &Context, requests: &File) -> Result<Option<File>> {
    let Some(attacher) = &cx.parts.attacher else {
        return Ok(None);
    };
    let source = cx.source.clone();
    let reads = AttachmentReads {
        source: source.ok_or_else(|| Error::internal("no source to read from"))?,
        filter: cx.parts.filter.clone(),
        attacher: Arc::clone(attacher),
    };
    let again = requests
        .try_clone()
        .or_err(ErrorKind::Unavailable, "cannot read a chunk")?;
    gather(again, &reads, cx.files.scratch()).await.map(Some)
}

/// The requests of a chunk, with their prompts.
///
/// # Errors
/// `Invalid` if the prompts were not kept, and the rows are not what they were.
pub(crate) async fn prompts_of(cx: &Context, plan: u64, chunk: u64) -> Result<File> {
    let input = PlanInput::of(cx, 0, false)?;
    with_prompts(&input, cx.template()?, &cx.files, (plan, chunk)).await
}
