//! The heart: what the ledger says, and what time it is, into what to do next. Pure; no I/O.
//!
//! The loop that carries the steps out writes each result into the ledger and asks again. It adds
//! only what the ledger cannot know: which steps are being carried out right now, and when a thing
//! may be tried again.

use std::collections::BTreeMap;

use crate::base::Time;
use crate::ledger::action::ChunkStored;
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};

use super::again::asked_again;
use super::cache::{Caching, caching};
use super::chunk::{ChunkStatus, chunk_status};
use super::limits::RunLimits;
use super::queue::{Admission, Gauge, Queue};
use super::step::{InFlight, Step};
use super::trial::{TrialStatus, account_refused, trial_status};

/// Where the current plan stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PlanStatus {
    /// Something is under way, or waits for its time.
    Working,
    /// Everything is settled; the output may be published, or is already.
    Settled,
    /// The trial failed: the provider refuses every request of this shape.
    TrialFailed {
        /// The attempt that says why.
        attempt: String,
    },
    /// The provider refused a chunk for good.
    Refused {
        /// The attempt that says why.
        attempt: String,
    },
    /// The provider refused requests for the account's sake: nothing more is sent until that is mended,
    /// and all else is home.
    AccountRefused {
        /// The attempt that came home with it.
        attempt: String,
    },
    /// There are chunks to send, and sending is not asked for.
    Unsent,
    /// Nobody can tell whether the provider took an attempt; all else is settled.
    Unsettled {
        /// The attempt.
        attempt: String,
    },
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// Steps to begin now.
    pub steps: Vec<Step>,
    /// When to ask again, if nothing happens before.
    pub wake: Option<Time>,
    /// Where the current plan stands.
    pub status: PlanStatus,
}

/// What to do next about `plan`, and about whatever is open of earlier plans.
pub(crate) fn next(
    state: &State,
    plan: Option<&PlanState>,
    in_flight: &InFlight,
    limits: &RunLimits,
    now: Time,
) -> Next {
    let mut asked = DueSteps {
        in_flight,
        now,
        steps: Vec::new(),
        wake: None,
    };
    harvest(state, &mut asked, limits);
    let status = match plan {
        Some(plan) => advance(state, plan, &mut asked, limits),
        None => without_plan(state),
    };
    Next {
        steps: asked.steps,
        wake: asked.wake,
        status,
    }
}

/// Where everything that is open stands, where there is no plan to bring on.
fn without_plan(state: &State) -> PlanStatus {
    let mut status = PlanStatus::Settled;
    for (id, attempt) in &state.attempts {
        if attempt.phase.is_open() {
            if attempt.unsettled.is_none() {
                return PlanStatus::Working;
            }
            status = PlanStatus::Unsettled {
                attempt: id.clone(),
            };
        }
    }
    status
}

/// Steps as they come up: those that are not being carried out, and whose time has come.
struct DueSteps<'a> {
    in_flight: &'a InFlight,
    now: Time,
    steps: Vec<Step>,
    wake: Option<Time>,
}

impl DueSteps<'_> {
    /// Whether the step begins now.
    fn ask(&mut self, step: Step) -> bool {
        if self.in_flight.busy.contains(&step) {
            return false;
        }
        match self.in_flight.not_before.get(&step) {
            Some(at) if *at > self.now => {
                self.wake = Some(self.wake.map_or(*at, |wake| wake.min(*at)));
                false
            }
            _ => {
                self.steps.push(step);
                true
            }
        }
    }

    /// The same for what is worth no second try in this process.
    fn ask_unless_given_up(&mut self, step: Step) {
        if !self.in_flight.given_up.contains(&step) {
            self.ask(step);
        }
    }

    /// Whether the chunk is being sent, split, given up, or looked for.
    fn is_at_work_on(&self, chunk: &ChunkState) -> bool {
        let number = chunk.stored.chunk;
        let work = [
            Step::Fail { chunk: number },
            Step::Prime { chunk: number },
            Step::Recast { chunk: number },
            Step::Split { chunk: number },
            Step::Submit { chunk: number },
        ];
        let looks = chunk.attempts.iter().map(|attempt| Step::Recover {
            attempt: attempt.clone(),
        });
        let mut work = work.into_iter().chain(looks);
        work.any(|step| self.in_flight.busy.contains(&step))
    }

    /// Has other chunks made of `chunk`, unless somebody is at it. New chunks are numbered after the last
    /// one, so that two steps cannot make some at once.
    fn remake(&mut self, chunk: &ChunkState, step: Step) {
        let makes = |step: &Step| {
            matches!(
                step,
                Step::Prime { .. } | Step::Recast { .. } | Step::Split { .. }
            )
        };
        if !self.is_at_work_on(chunk) && self.count(makes) == 0 {
            self.ask(step);
        }
    }

    /// How many steps of a kind are under way or about to be.
    fn count(&self, kind: impl Fn(&Step) -> bool) -> usize {
        let busy = self.in_flight.busy.iter().filter(|step| kind(step)).count();
        busy + self.steps.iter().filter(|step| kind(step)).count()
    }
}

/// Whatever is open, of whatever plan, is looked after: it may have been paid for.
fn harvest(state: &State, asked: &mut DueSteps<'_>, limits: &RunLimits) {
    for (id, attempt) in &state.attempts {
        match attempt.phase {
            Phase::Promised if attempt.unsettled.is_some() => {}
            Phase::Promised => {
                asked.ask(Step::Recover {
                    attempt: id.clone(),
                });
            }
            phase if needs_recheck(phase, attempt) && is_over(state, attempt) => {
                asked.ask_unless_given_up(Step::Recheck {
                    attempt: id.clone(),
                });
            }
            Phase::Accepted if is_canceled(state, attempt) && !attempt.cancel_sent => {
                asked.ask(Step::Cancel {
                    attempt: id.clone(),
                });
            }
            Phase::Accepted
                if asked.count(|step| matches!(step, Step::Poll { .. })) < limits.polls_max =>
            {
                asked.ask_unless_given_up(Step::Poll {
                    attempt: id.clone(),
                });
            }
            phase
                if attempt.staged.is_some()
                    && !attempt.discarded
                    && (phase == Phase::RejectedForGood || is_over(state, attempt)) =>
            {
                asked.ask_unless_given_up(Step::Discard {
                    attempt: id.clone(),
                });
            }
            _ => {}
        }
    }
}

/// Whether there may be a batch of `attempt` that nobody knows of: it was given up, or its answer was
/// lost and a proxy may have sent the call twice.
fn needs_recheck(phase: Phase, attempt: &Attempt) -> bool {
    let adopted = attempt.accepted.as_ref().is_some_and(|a| a.adopted);
    !attempt.rechecked && (phase == Phase::Absent || (phase == Phase::Landed && adopted))
}

/// Whether the chunk of `attempt` needs it no more: an attempt at it has landed, or it was split.
fn is_over(state: &State, attempt: &Attempt) -> bool {
    let chunk = state
        .plans
        .get(&attempt.promised.plan)
        .and_then(|plan| plan.chunks.get(&attempt.promised.chunk));
    chunk.is_some_and(|chunk| state.is_home(chunk))
}

fn is_canceled(state: &State, attempt: &Attempt) -> bool {
    state
        .plans
        .get(&attempt.promised.plan)
        .is_some_and(|plan| plan.canceled)
}

/// Where the current plan stands, and what brings it on.
fn advance(
    state: &State,
    plan: &PlanState,
    asked: &mut DueSteps<'_>,
    limits: &RunLimits,
) -> PlanStatus {
    let trial = trial_status(state, plan);
    let refused = account_refused(state, plan).filter(|_| !plan.canceled);
    let cache = caching(limits.cached(), state, plan, asked.now);
    let mut queues = Queues {
        state,
        plan,
        queue: &limits.queue,
        open: BTreeMap::new(),
    };
    let mut status = PlanStatus::Settled;
    for chunk in plan.chunks.values() {
        let is_trial = plan.is_trial(chunk);
        match chunk_status(state, chunk) {
            ChunkStatus::Done => {}
            ChunkStatus::Open => status = PlanStatus::Working,
            ChunkStatus::Refused(attempt) => return PlanStatus::Refused { attempt },
            ChunkStatus::Unsettled(attempt) => {
                status = worse(status, PlanStatus::Unsettled { attempt });
            }
            ChunkStatus::Unsent if plan.canceled || refused.is_some() => {}
            ChunkStatus::Unsent if !limits.may_submit => status = worse(status, PlanStatus::Unsent),
            // What waits for a trial that nobody can settle waits for the same person.
            ChunkStatus::Unsent if !is_trial && is_trial_unsettled(state, plan) => {}
            ChunkStatus::Unsent => {
                status = PlanStatus::Working;
                let number = chunk.stored.chunk;
                let may = is_trial || trial == TrialStatus::Passed;
                if limits.again.recast(plan, &chunk.stored).is_some() {
                    asked.remake(chunk, Step::Recast { chunk: number });
                } else if may && cache.lets(&chunk.stored) {
                    let (gauge, entering) = queues.of(&chunk.stored, asked);
                    send(plan, chunk, asked, limits, (gauge, entering, is_trial));
                } else if may && cache == Caching::Parts(number) {
                    asked.remake(chunk, Step::Prime { chunk: number });
                }
            }
        }
    }
    if let TrialStatus::Failed(attempt) = trial {
        return PlanStatus::TrialFailed { attempt };
    }
    if plan.completed.is_none() {
        return PlanStatus::Working;
    }
    let status = match (status, refused) {
        (PlanStatus::Settled | PlanStatus::Unsettled { .. }, Some(attempt)) => {
            PlanStatus::AccountRefused {
                attempt: attempt.to_owned(),
            }
        }
        (PlanStatus::Settled, None) => return settle(state, plan, asked, limits),
        (status, _) => status,
    };
    let is_stuck = matches!(
        status,
        PlanStatus::Unsettled { .. } | PlanStatus::AccountRefused { .. }
    );
    if is_stuck && limits.publish_partial && state.shown(plan.started.plan).is_none() {
        asked.ask(Step::Publish);
    }
    status
}

/// Whether the trial, or what is left of it, is where nobody can tell.
fn is_trial_unsettled(state: &State, plan: &PlanState) -> bool {
    let mut trial = plan.chunks.values().filter(|chunk| plan.is_trial(chunk));
    trial_status(state, plan) == TrialStatus::Open
        && trial.any(|chunk| matches!(chunk_status(state, chunk), ChunkStatus::Unsettled(_)))
}

/// The queues at the provider that the chunks of a plan meet, by whose they are.
struct Queues<'a> {
    state: &'a State,
    plan: &'a PlanState,
    queue: &'a Queue,
    /// Each with the weight of what is on its way into it, and not in the ledger yet.
    open: BTreeMap<String, (Gauge, u64)>,
}

impl Queues<'_> {
    /// The one that `chunk` meets.
    fn of(&mut self, chunk: &ChunkStored, asked: &DueSteps<'_>) -> (&Gauge, &mut u64) {
        let queue = self.queue.for_chunk(chunk);
        let whose = queue.counted_by().to_owned();
        let (state, plan, own) = (self.state, self.plan, self.queue);
        let (gauge, entering) = self.open.entry(whose).or_insert_with(|| {
            let gauge = queue.gauge(state, asked.now);
            let entering = entering(state, plan, asked.in_flight, (own, &queue, &gauge));
            (gauge, entering)
        });
        (gauge, entering)
    }
}

/// What is on its way into a queue, and not in the ledger yet.
fn entering(
    state: &State,
    plan: &PlanState,
    in_flight: &InFlight,
    (own, queue, gauge): (&Queue, &Queue, &Gauge),
) -> u64 {
    let chunks = in_flight.busy.iter().filter_map(|step| match step {
        Step::Submit { chunk } => plan.chunks.get(chunk),
        _ => None,
    });
    chunks
        .filter(|chunk| !matches!(chunk_status(state, chunk), ChunkStatus::Open))
        .filter(|chunk| own.for_chunk(&chunk.stored).counted_by() == queue.counted_by())
        .map(|chunk| gauge.weigh(&chunk.stored))
        .sum()
}

/// Sends `chunk`, if its time has come and the provider's queue has room for it.
fn send(
    plan: &PlanState,
    chunk: &ChunkState,
    asked: &mut DueSteps<'_>,
    limits: &RunLimits,
    (gauge, entering, is_trial): (&Gauge, &mut u64, bool),
) {
    let number = chunk.stored.chunk;
    // Whoever is at it is left alone: a chunk is sent whole or in parts, never both.
    if asked.is_at_work_on(chunk) {
        return;
    }
    if asked.in_flight.too_large.contains(&number) && chunk.stored.requests == 1 {
        asked.ask(Step::Fail { chunk: number });
        return;
    }
    let admission = if asked.in_flight.too_large.contains(&number) {
        Admission::Split
    } else {
        gauge.admit(&chunk.stored, *entering)
    };
    match admission {
        Admission::Wait => {}
        // The trial is as small as a queue can ask for.
        Admission::Split if is_trial && !asked.in_flight.too_large.contains(&number) => {
            asked.ask(Step::Submit { chunk: number });
        }
        Admission::Split => {
            if plan.completed.is_some() {
                asked.remake(chunk, Step::Split { chunk: number });
            }
        }
        Admission::Enter => {
            let room = asked.count(|step| matches!(step, Step::Submit { .. })) < limits.submits_max;
            // One whose time has not come takes no room from those behind it.
            if room && asked.ask(Step::Submit { chunk: number }) {
                *entering += gauge.weigh(&chunk.stored);
            }
        }
    }
}

/// The worse of two standings: what is under way first, then what is not sent yet.
fn worse(status: PlanStatus, other: PlanStatus) -> PlanStatus {
    match (&status, &other) {
        (PlanStatus::Working, _) | (PlanStatus::Unsent, PlanStatus::Unsettled { .. }) => status,
        _ => other,
    }
}

/// Everything that was sent is home: ask again what is to be, or publish.
fn settle(
    state: &State,
    plan: &PlanState,
    asked: &mut DueSteps<'_>,
    limits: &RunLimits,
) -> PlanStatus {
    if !plan.canceled && asked_again(&limits.again, state, plan, limits.sends_max) > 0 {
        if !limits.may_submit {
            return PlanStatus::Unsent;
        }
        let round = plan.last_round() + 1;
        asked.ask(Step::Resend { round });
        return PlanStatus::Working;
    }
    let rechecks = asked.count(|step| matches!(step, Step::Recheck { .. }));
    if rechecks == 0 {
        asked.ask(Step::Publish);
    }
    PlanStatus::Settled
}

#[cfg(test)]
#[path = "next_tests.rs"]
mod tests;
