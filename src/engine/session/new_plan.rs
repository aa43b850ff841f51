//! A new plan: its source pinned, its trial made, and written down before any row of it is looked at.

use super::contexts::spec_of;
use super::open::Session;
use crate::base::{Error, Result};
use crate::engine::context::job_parts::{JobParts, reask_shape};
use crate::engine::context::points;
use crate::engine::context::source::{check_key, first_prompt, needs_snapshot};
use crate::ledger::action::{Action, PlanStarted};
use crate::provider::FreeCheck;
use crate::source::Source;
use crate::spec::Job;
use crate::work::progress::Event;
use crate::work::{KeyRule, RowStatus};

/// Requests that are tried before the others, where no free call can tell.
const TRIAL: u64 = 3;

/// Pins the source and writes down what is going to be asked of it.
pub(crate) async fn start_plan(
    session: &mut Session,
    job: &Job,
    source: Source,
    parts: &JobParts,
    deferred: bool,
) -> Result<(u64, Source)> {
    let prepared = new_plan(session, job, source, parts);
    let (mut started, source) = Box::pin(session.unless_stopped(prepared)).await?;
    let plan = started.plan;
    started.deferred = deferred;
    let mut actions = std::mem::take(&mut session.opening);
    let rule = KeyRule::NEWEST;
    if session.ledger.state().key_rule != rule {
        actions.push(Action::RequestKeys { rule });
    }
    actions.push(Action::PlanStarted(Box::new(started)));
    session.ledger.record(actions).await?;
    Ok((plan, source))
}

/// The plan that is going to be made, and the source that it reads.
async fn new_plan(
    session: &Session,
    job: &Job,
    source: Source,
    parts: &JobParts,
) -> Result<(PlanStarted, Source)> {
    let number = session.ledger.state().next_plan();
    let pins = source.pins();
    for note in source.notes() {
        session.setup.watch.event(&Event::Warning(note.clone()));
    }
    let spec = spec_of(session, job, parts)?;
    for note in spec.prepare(job, &source).await? {
        session.setup.watch.event(&Event::Warning(note));
    }
    let snapshot = needs_snapshot(job, &source);
    session
        .setup
        .waits_for("keys to be checked, and a query's result to be stored");
    let source = if snapshot {
        let folder = session.files.snapshot(number);
        let stores = &session.setup.components.stores;
        let made = source.snapshot(&folder, stores, session.files.scratch());
        let crash = &session.setup.components.crash;
        crash.around(points::SNAPSHOT, made).await?
    } else {
        source
    };
    check_key(job, &source, &session.files, session.setup.memory).await?;
    let rows = source
        .rows()
        .ok_or_else(|| Error::internal("a source without a row count"))?;
    let started = PlanStarted {
        plan: number,
        run: session.run.clone(),
        at: session.setup.components.clock.now(),
        digest: job.fingerprints().plan,
        job: serde_json::to_value(job)
            .map_err(|error| Error::internal("the job cannot be stored").because(error))?,
        shape: parts.shape.clone(),
        fingerprint: parts.shape.fingerprint(),
        pins,
        snapshot,
        rows,
        has_key: !job.source.key.is_empty(),
        trial: trial_size(session, job, &source, parts).await?,
        deferred: false,
    };
    Ok((started, source))
}

/// How many requests have to be tried before the others. None, if the provider has answered a
/// request of this shape before, or can tell for free that it would.
async fn trial_size(
    session: &Session,
    job: &Job,
    source: &Source,
    parts: &JobParts,
) -> Result<u64> {
    let answered = has_answered(session, parts, None);
    let other = reask_shape(job, &parts.shape);
    let other = other.filter(|other| !has_answered(session, parts, Some(&other.model)));
    if answered && other.is_none() {
        return Ok(0);
    }
    let Some(prompt) = first_prompt(job, source).await? else {
        return Ok(0);
    };
    // Where a picture is all that is asked, there is no text, and no question without one.
    let prompt = if prompt.trim().is_empty() {
        "."
    } else {
        &prompt
    };
    // The other model is asked later, and little: what can be told of it for free is told now.
    if let Some(other) = other
        && let FreeCheck::Refused(error) = session.provider.free_check(&other, prompt).await?
    {
        return Err(error.with("key", "answer.reask_model"));
    }
    if answered {
        return Ok(0);
    }
    match session.provider.free_check(&parts.shape, prompt).await? {
        FreeCheck::Passed => Ok(0),
        FreeCheck::Refused(error) => Err(error),
        FreeCheck::Untold => Ok(TRIAL),
    }
}

/// Whether the provider has answered a request of this shape before; with `model`, of what differs from it in
/// its model.
fn has_answered(session: &Session, parts: &JobParts, model: Option<&str>) -> bool {
    let state = session.ledger.state();
    let fingerprint = parts.shape.fingerprint();
    state.attempts.values().any(|attempt| {
        let promised = &attempt.promised;
        let plan = state.plans.get(&promised.plan);
        let plan = plan.filter(|plan| plan.started.fingerprint == fingerprint);
        let chunk = plan.and_then(|plan| plan.chunks.get(&promised.chunk));
        let landed = attempt.landed.as_ref();
        chunk.is_some_and(|chunk| chunk.stored.variant.model.as_deref() == model)
            && landed.is_some_and(|landed| landed.counts.of(RowStatus::Succeeded) > 0)
    })
}
