//! Driving a plan to a goal while the job is held.

use std::sync::Arc;

use super::driver::Driver;
use super::goal::{Goal, Stop};
use super::open::Session;
use crate::base::{Error, ErrorKind, Result};
use crate::engine::context::context::Context;
use crate::engine::context::interrupt::GRACE;
use crate::engine::context::ledger::holder;
use crate::engine::decide::again::AgainRule;
use crate::engine::decide::limits::{POLLS_MAX, RunLimits, SENDS_MAX, SUBMITS_MAX};
use crate::work::progress::Event;

/// Brings `plan` on to `goal`; without a plan, whatever is open.
///
/// # Errors
/// `Held` if another process has taken the job over; else the first error that another try would not
/// mend.
pub(crate) async fn drive(
    session: &mut Session,
    goal: Goal,
    plan: Option<u64>,
    cx: Arc<Context>,
) -> Result<Stop> {
    let serves = serves(session, plan, &cx);
    if !serves {
        session.setup.watch.event(&Event::Warning(
                "the job names another service or model than its plan was made for: nothing of the plan is \
                 sent there; `columnist run` plans anew"
                    .into(),
            ));
    }
    let limits = RunLimits {
        submits_max: SUBMITS_MAX,
        polls_max: POLLS_MAX,
        sends_max: SENDS_MAX,
        again: AgainRule::of(&cx.job),
        may_submit: goal != Goal::Harvest && serves,
        publish_partial: session.setup.publish_partial,
        cancel_on_interrupt: session.setup.cancel_on_interrupt,
        queue: cx.queue.clone(),
        cache: cx.parts.cache.policy.clone(),
    };
    let interrupt = session.setup.interrupt.clone();
    let lost = session.lease.clone();
    let work = Driver::new(&mut session.ledger, cx, goal, plan, limits);
    let stop = tokio::select! {
        biased;
        () = lost.lost() => None,
        stop = work.run(&interrupt) => Some(stop),
    };
    match stop {
        Some(stop) => stop,
        None => Err(lost_lease(session).await),
    }
}

/// Whether requests of `plan` may go where the context sends them: its answers would be taken for those
/// of the service that they were planned for.
pub(crate) fn serves(session: &Session, plan: Option<u64>, cx: &Context) -> bool {
    let plan = plan.and_then(|plan| session.ledger.state().plans.get(&plan));
    plan.is_none_or(|plan| plan.started.fingerprint == cx.parts.shape.fingerprint())
}

/// Another has the job now: whoever it is, if that can be read soon.
async fn lost_lease(session: &Session) -> Error {
    let held = tokio::select! {
        biased;
        held = holder(&session.setup, &session.root) => held.ok().flatten(),
        () = session.setup.components.clock.sleep(GRACE) => None,
    };
    let error = Error::new(ErrorKind::Held, "another process has taken the job over")
        .hint("nothing was lost; run again when the other one is done");
    match held {
        Some(holder) => error.with("holder", holder),
        None => error,
    }
}
