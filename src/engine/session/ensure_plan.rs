//! The plan that a job needs now: is the last one still good, and if not, what is the next one to be? What
//! is wrong with a job or its input shows here, before any spend.

use std::sync::Arc;

use super::contexts::{context, pinned_source, spec_of};
use super::drive::drive;
use super::goal::{Goal, Stop};
use super::new_plan::start_plan;
use super::open::Session;
use crate::base::{Error, Result};
use crate::engine::context::context::Context;
use crate::engine::context::examples::examples;
use crate::engine::context::job_parts::{JobParts, limits};
use crate::engine::context::source::{needs_snapshot, open_source};
use crate::engine::decide::cache::CacheChoice;
use crate::engine::decide::trial::{account_refused, trial_refused};
use crate::engine::publish::target;
use crate::source::Source;
use crate::spec::Job;
use crate::work::Frame;

/// Whether there is a plan to work on.
pub(crate) enum Ensured {
    /// This plan is to be carried out, or carried on.
    Current { cx: Arc<Context>, plan: u64 },
    /// Batches of an earlier plan are still open; a new one comes after them.
    Waiting,
}

/// The plan that the job needs now: the last one if it is still good, else a new one, once
/// everything that is open of earlier ones has been harvested.
pub(crate) async fn ensure_plan(session: &mut Session, goal: Goal, defer: bool) -> Result<Ensured> {
    let job = session.setup.job.clone();
    let (source, parts) = match Box::pin(session.unless_stopped(prepare(session, &job))).await {
        Ok(prepared) => prepared,
        Err(error) if session.setup.interrupt.is_cancelled() => return Err(error),
        Err(error) => return Err(land_before(session, error).await),
    };
    if let Some(plan) = is_still_good(session, &parts, &source) {
        let pinned = pinned_source(session, plan, source);
        let source = Box::pin(session.unless_stopped(pinned)).await?;
        let cx = context(session, &job, Some(source), parts, plan)?;
        return Ok(Ensured::Current { cx, plan });
    }
    if !harvest(session, goal).await? {
        return Ok(Ensured::Waiting);
    }
    // Once more, for the harvest may have taken long.
    let spec = spec_of(session, &job, &parts)?;
    let check = target::check(&spec, &session.ledger_id, &session.setup.components);
    session.unless_stopped(check).await?;
    let (plan, source) = start_plan(session, &job, source, &parts, defer).await?;
    let cx = context(session, &job, Some(source), parts, plan)?;
    Ok(Ensured::Current { cx, plan })
}

/// Whatever can be wrong with the job, its source and its output before anything is sent.
async fn prepare(session: &Session, job: &Job) -> Result<(Source, JobParts)> {
    session
        .setup
        .waits_for("the source and the output to be looked at");
    let source = open_source(job, &session.setup, &session.files).await?;
    let components = &session.setup.components;
    let examples = examples(job, &source, &session.setup, session.files.scratch()).await?;
    let parts = JobParts::check(job, &source, &*session.provider, (examples, components))?;
    parts.check_question(job, &source)?;
    let spec = spec_of(session, job, &parts)?;
    target::check(&spec, &session.ledger_id, &session.setup.components).await?;
    Ok((source, parts))
}

/// The error that keeps the job from going on, once what has ended at the provider is landed: it
/// was paid for, and is not kept there for ever.
pub(crate) async fn land_before(session: &mut Session, error: Error) -> Error {
    if let Err(why) = bring_home(session, Goal::OnePass).await {
        tracing::warn!(error = %why, "what is open at the provider could not be landed");
    }
    error
}

/// The last plan, if neither the job nor the source has changed since.
fn is_still_good(session: &Session, parts: &JobParts, source: &Source) -> Option<u64> {
    let state = session.ledger.state();
    let plan = state.plan().filter(|plan| !plan.canceled)?;
    // What was wrong with the trial may have been mended: it is tried again where that costs nothing.
    if trial_refused(state, plan) {
        return None;
    }
    // What was refused for the account's sake is asked anew, and so is what a person wants again.
    if account_refused(state, plan).is_some() || state.is_retry_asked() {
        return None;
    }
    // Rows that were put off are for a run that does not put them off.
    let completed = plan.completed.as_ref();
    let puts_off = completed.map_or(plan.started.deferred, |s| s.rows.deferred > 0);
    if puts_off && !session.setup.no_follow {
        return None;
    }
    // What paths in rows lead to changes without the table: once all is published it is looked at anew.
    let reads_files = !session.setup.job.prompt.attachments_from.is_empty();
    if reads_files && state.published_whole(plan.started.plan).is_some() {
        return None;
    }
    let same = plan.started.fingerprint == parts.shape.fingerprint()
            && plan.started.digest == session.setup.job.fingerprints().plan
            && plan.started.pins == source.pins()
            // Another layout may ask for one file of many.
            && (plan.started.snapshot || !needs_snapshot(&session.setup.job, source));
    same.then_some(plan.started.plan)
}

/// Brings home whatever is open of earlier plans; `false` if that has to be waited for.
async fn harvest(session: &mut Session, goal: Goal) -> Result<bool> {
    let harvest = if goal == Goal::Submit {
        Goal::OnePass
    } else {
        Goal::Harvest
    };
    let stop = bring_home(session, harvest).await?;
    Ok(stop == Stop::Idle || session.ledger.state().open_attempts().next().is_none())
}

/// Looks after whatever is open, by the stored plan alone: the job and its source may be other
/// ones by now, or wrong.
async fn bring_home(session: &mut Session, goal: Goal) -> Result<Stop> {
    let state = session.ledger.state();
    let last = state.plans.values().next_back();
    let Some(last) = last.filter(|_| state.open_attempts().next().is_some()) else {
        return Ok(Stop::Idle);
    };
    let job = session.stored_job(last.started.plan);
    let job = job.unwrap_or_else(|_| session.setup.job.clone());
    let shape = last.started.shape.clone();
    let parts = JobParts {
        columns: Vec::new(),
        filter: None,
        // Nothing is sent, so that it is no matter whether this provider could.
        frame: Frame::default(),
        cache: CacheChoice::default(),
        cache_if_moved: CacheChoice::default(),
        shared_bytes: 0,
        cache_bytes: 0,
        attacher: None,
        inputs: None,
        limits: limits(&job, session.provider.capability().limits),
        shape,
        is_table: false,
        is_single_file: false,
    };
    let plan = last.started.plan;
    let cx = context(session, &job, None, parts, plan)?;
    drive(session, goal, None, cx).await
}
