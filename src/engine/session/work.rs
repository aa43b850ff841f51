//! What `run`, `submit` and `collect` do with a job in hand.

use std::sync::Arc;

use super::contexts::context_for;
use super::drive::{drive, serves};
use super::ensure_plan::{Ensured, ensure_plan, land_before};
use super::goal::{Goal, Stop};
use super::open::Session;
use super::report::{Awaits, Report, is_over};
use crate::base::{Error, Result};
use crate::engine::context::context::Context;
use crate::engine::context::interrupt::is_stop;
use crate::engine::context::publish_spec::LEDGER_KEY;
use crate::ledger::action::Action;
use crate::ledger::state::Attempt;
use crate::output::{self, Existing, PUBLISH_KEY};
use crate::spec::{AnswerSpec, Job};
use crate::work::progress::Event;

/// Plans that one run makes of a source that changes under it.
const PLANS_MAX: u32 = 5;

/// Everything, or up to where `goal` says: plan, submit, wait, collect, publish. The lease is given back,
/// whatever comes of it.
///
/// # Errors
/// By kind, as [`crate::base::ErrorKind`] says.
pub(crate) async fn run(mut session: Session, goal: Goal) -> Result<Report> {
    let done = work(&mut session, goal).await;
    if let (Goal::Submit, Ok(report)) = (goal, &done)
        && !session.setup.interrupt.is_cancelled()
    {
        say_what_waits(&session, report);
    }
    close(session, done).await
}

/// What is open of the stored plan: once, or until it is published.
///
/// # Errors
/// As [`run`].
pub(crate) async fn collect(mut session: Session, wait: bool) -> Result<Report> {
    let goal = if wait { Goal::Publish } else { Goal::OnePass };
    let done = gather(&mut session, goal).await;
    close(session, done).await
}

/// The lease is given back, whatever came of the work.
async fn close(session: Session, done: Result<Report>) -> Result<Report> {
    let done = match done {
        Err(error) if is_stop(&session.setup.interrupt, &error) => {
            Ok(report(&session, last_plan(&session), None))
        }
        done => done,
    };
    session.release().await;
    done
}

fn warn(session: &Session, text: &str) {
    let text = text.to_owned();
    session.setup.watch.event(&Event::Warning(text));
}

/// Says why not all was submitted, if not all was.
fn say_what_waits(session: &Session, report: &Report) {
    let why = match report.awaits {
        None | Some(Awaits::Planning) => return,
        Some(Awaits::EarlierPlan) => {
            "batches of an earlier plan are open; what is new is planned once they are home"
                .to_owned()
        }
        Some(Awaits::Trial) => {
            let (trial, rest) = (report.progress.trial, report.progress.to_send());
            return warn(
                session,
                &format!(
                    "a trial of {trial} requests is under way, and {rest} wait for its answers; \
                     `columnist collect` sends them"
                ),
            );
        }
        Some(Awaits::Primer) => {
            let rest = report.progress.to_send() + report.progress.again;
            return warn(
                session,
                &format!(
                    "a request that primes the provider's cache is under way, and {rest} wait to read \
                     what it leaves there; `columnist collect` sends them"
                ),
            );
        }
        Some(Awaits::Queue) => {
            let rest = report.progress.to_send() + report.progress.again;
            return warn(
                session,
                &format!(
                    "the provider's queue is full, and {rest} requests wait for room in it; \
                     `columnist collect` sends them"
                ),
            );
        }
        Some(Awaits::Provider) if report.unsent == 0 => {
            "it is not known yet whether the provider took a chunk".to_owned()
        }
        Some(Awaits::Provider) => {
            format!("chunks that the provider has not taken: {}", report.unsent)
        }
    };
    let again = "run `columnist submit` or `collect` again";
    warn(session, &format!("not all was submitted: {why}; {again}"));
}

async fn work(session: &mut Session, goal: Goal) -> Result<Report> {
    let (mut defer, mut changes) = (false, 0);
    while changes < PLANS_MAX {
        let (cx, plan) = match ensure_plan(session, goal, defer).await? {
            Ensured::Current { cx, plan } => (cx, plan),
            Ensured::Waiting => {
                let report = report(session, last_plan(session), None);
                return Ok(Report {
                    awaits: Some(Awaits::EarlierPlan),
                    ..report
                });
            }
        };
        if is_published(session, &cx, plan) && is_there(session, &cx).await? {
            return Ok(report(session, plan, Some(&cx)).unchanged());
        }
        let is_told = is_told(session, plan);
        match drive(session, goal, Some(plan), Arc::clone(&cx)).await? {
            Stop::SourceChanged => {
                let why = "the source changed after it was planned".to_owned();
                session
                    .ledger
                    .record(vec![Action::PlanAbandoned { plan, why }])
                    .await?;
                defer = session.setup.no_follow;
                changes += 1;
            }
            // A person asked for a retry meanwhile: what it means is planned anew.
            Stop::Published if goal == Goal::Publish && session.ledger.state().is_retry_asked() => {
            }
            _ => return Ok(since(is_told, report(session, plan, Some(&cx)))),
        }
    }
    Err(
        Error::unavailable("the source keeps changing while it is worked on")
            .with("plans", PLANS_MAX)
            .hint("run again when it is at rest; what was answered is not paid again"),
    )
}

/// Collects by the stored plan, whatever the job file says now.
async fn gather(session: &mut Session, goal: Goal) -> Result<Report> {
    let Some(plan) = session.ledger.state().plan() else {
        return Err(Error::invalid("nothing was submitted for this job yet")
            .with("ledger", &session.root.url)
            .hint("`columnist run` or `columnist submit` comes first"));
    };
    let number = plan.started.plan;
    session.setup.waits_for("the source to be looked at");
    let stored = session.stored_job(number)?;
    let job = session.setup.job.clone().completed_by(&stored);
    if stored.fingerprints() != job.fingerprints() {
        tracing::warn!("the job file differs from what was planned; the stored plan counts");
    }
    session.setup.job = asking_again_as(stored, &job);
    let cx = match Box::pin(session.unless_stopped(context_for(session, number))).await {
        Ok(cx) => cx,
        Err(error) if session.setup.interrupt.is_cancelled() => return Err(error),
        Err(error) => return Err(land_before(session, error).await),
    };
    // Rows that were not looked at yet must be those of the table and of the service that the others
    // were.
    if let Some(error) = kept_from_planning(session, number, &cx)? {
        return Err(land_before(session, error).await);
    }
    if is_published(session, &cx, number) && is_there(session, &cx).await? {
        return Ok(report(session, number, Some(&cx)).unchanged());
    }
    let is_told = is_told(session, number);
    let stop = drive(session, goal, Some(number), Arc::clone(&cx)).await?;
    if matches!(stop, Stop::SourceChanged) {
        return Err(changed());
    }
    if session.ledger.state().is_retry_asked() {
        let text = "a retry was asked for, and is planned anew: `columnist run` sends it";
        warn(session, text);
    }
    Ok(since(is_told, report(session, number, Some(&cx))))
}

/// Whether an earlier run has published all of `plan`, and told what it cost: another output of it asks nothing.
fn is_told(session: &Session, plan: u64) -> bool {
    session.ledger.state().published_whole(plan).is_some()
}

/// The report of a run that came after all was told, or before.
fn since(is_told: bool, report: Report) -> Report {
    if is_told { report.unspent() } else { report }
}

/// The stored job, with what the job file says now of answers that cannot be used: that takes effect at once, as
/// long as the file asks the same.
fn asking_again_as(stored: Job, job: &Job) -> Job {
    if stored.fingerprints().plan != job.fingerprints().plan {
        return stored;
    }
    let answer = AnswerSpec {
        reask: job.answer.reask,
        reask_model: job.answer.reask_model.clone(),
        grow_output_tokens: job.answer.grow_output_tokens,
        ..stored.answer
    };
    Job { answer, ..stored }
}

/// What keeps the rest of a plan that is not complete from being made of what is there now.
fn kept_from_planning(session: &Session, plan: u64, cx: &Context) -> Result<Option<Error>> {
    let planned = session.ledger.state().plans.get(&plan);
    let Some(planned) = planned.filter(|planned| planned.completed.is_none()) else {
        return Ok(None);
    };
    let started = &planned.started;
    if !started.snapshot && cx.source()?.pins() != started.pins {
        return Ok(Some(changed()));
    }
    let another = "the job names another service or model than its plan was made for";
    Ok((!serves(session, Some(plan), cx)).then(|| plans_anew(another)))
}

fn is_published(session: &Session, cx: &Context, plan: u64) -> bool {
    let state = session.ledger.state();
    state
        .plans
        .get(&plan)
        .is_some_and(|plan| cx.publishing.is_published(state, plan))
}

/// Whether the output that the ledger speaks of is there, whole, and from this ledger: that very
/// one, for a process that had lost its lease may have come late. If it is not, it is published
/// again: nothing has to be paid for that.
async fn is_there(session: &mut Session, cx: &Context) -> Result<bool> {
    let ledger_id = (LEDGER_KEY.to_owned(), session.ledger_id.clone());
    let published = session.ledger.state().published.as_ref();
    let publish = published.map(|p| (PUBLISH_KEY.to_owned(), p.publish.clone()));
    let examine = output::examine(&cx.publishing.spec.target);
    let there = match session.unless_stopped(examine).await? {
        Existing::Ours { identity, complete } => {
            let is_last = publish.is_none_or(|mark| identity.contains(&mark));
            complete && is_last && identity.contains(&ledger_id)
        }
        Existing::Nothing | Existing::Foreign => false,
    };
    if !there {
        cx.publishing.unpublish(true);
    }
    Ok(there)
}

fn last_plan(session: &Session) -> u64 {
    session.ledger.state().last_plan().unwrap_or_default()
}

fn report(session: &Session, plan: u64, cx: Option<&Context>) -> Report {
    let state = session.ledger.state();
    let landed_now = |attempt: &Attempt| {
        attempt.landed.is_some() && !session.landed_before.contains(&attempt.promised.attempt)
    };
    let report = Report::of(state, plan, landed_now);
    let published = state.plans.get(&plan).zip(cx);
    let published = published.is_some_and(|(plan, cx)| cx.publishing.is_shown(state, plan));
    let held_back = cx.and_then(|cx| cx.publishing.held_back());
    Report {
        counts: held_back.unwrap_or(report.counts),
        held_back: held_back.is_some(),
        job: session.setup.job.name.clone(),
        run: session.run.clone(),
        output: session.setup.job.output.path.clone(),
        ledger: session.root.url.to_string(),
        published,
        over_budget: published && is_over(session.setup.job.budget.max_failed, &report.counts),
        ..report
    }
}

fn changed() -> Error {
    plans_anew("the source changed after it was planned")
}

fn plans_anew(why: &str) -> Error {
    Error::invalid(why).hint("`columnist run` plans it anew; what was answered is not paid again")
}
