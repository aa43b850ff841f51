//! The heart: what the ledger says, and what time it is, into what to do next. Pure; no I/O.
//!
//! The loop that carries the steps out writes each result into the ledger and asks again. It adds
//! only what the ledger cannot know: which steps are being carried out right now, and when a thing
//! may be tried again.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Time;
use crate::ledger::action::read_counts;
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::work::RowStatus;

use super::queue::{Admission, Gauge, Queue};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Promise an attempt to send the chunk, and send it.
    Submit {
        /// Of the current plan.
        chunk: u64,
    },
    /// Find out what became of an attempt whose answer we never saw.
    Recover {
        /// Which.
        attempt: String,
    },
    /// Look where a batch stands; land it if it has ended.
    Poll {
        /// Whose batch.
        attempt: String,
    },
    /// Tell the provider to cancel a batch.
    Cancel {
        /// Whose batch.
        attempt: String,
    },
    /// Delete an uploaded body that nothing needs any more.
    Discard {
        /// Whose.
        attempt: String,
    },
    /// Look once more for an attempt that was given up, after another one at its chunk landed.
    Recheck {
        /// Which.
        attempt: String,
    },
    /// Land a chunk of one request that the provider finds too large, as failed.
    Fail {
        /// Of the current plan.
        chunk: u64,
    },
    /// Make smaller chunks of one that is too large for the provider.
    Split {
        /// Of the current plan.
        chunk: u64,
    },
    /// Make chunks of what failed in passing in the last wave.
    Resend {
        /// The wave to make.
        wave: u32,
    },
    /// Join and publish.
    Publish,
}

/// What the loop knows and the ledger does not.
#[derive(Debug, Default)]
pub(super) struct Desk {
    /// Steps that are being carried out.
    pub busy: BTreeSet<Step>,
    /// What must not be done before a moment.
    pub not_before: BTreeMap<Step, Time>,
    /// Discards, last looks, and looks at batches that the provider does not show: they failed, and are
    /// not worth another try in this process.
    pub given_up: BTreeSet<Step>,
    /// Chunks of the current plan that the provider found too large for one batch.
    pub too_large: BTreeSet<u64>,
}

/// The limits within which the engine works.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    /// Bodies that are uploaded at the same time.
    pub submits_max: usize,
    /// Batches that are looked at, or landed, at the same time.
    pub polls_max: usize,
    /// Times that a request is sent, in all.
    pub sends_max: u32,
    /// Whether chunks may be sent at all; harvesting goes on in any case.
    pub may_submit: bool,
    /// Whether an output with rows that nobody can settle is published, those rows `pending`.
    pub publish_partial: bool,
    /// Whether open batches are canceled when the run is asked to stop.
    pub cancel_on_interrupt: bool,
    /// The provider's queue.
    pub queue: Queue,
}

/// Where the current plan stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
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
pub(super) struct Next {
    /// Steps to begin now.
    pub steps: Vec<Step>,
    /// When to ask again, if nothing happens before.
    pub wake: Option<Time>,
    /// Where the current plan stands.
    pub standing: Standing,
}

/// What to do next about `plan`, and about whatever is open of earlier plans.
pub(super) fn next(
    state: &State,
    plan: Option<&PlanState>,
    desk: &Desk,
    pace: &Pace,
    now: Time,
) -> Next {
    let mut asked = Asked {
        desk,
        now,
        steps: Vec::new(),
        wake: None,
    };
    harvest(state, &mut asked, pace);
    let standing = match plan {
        Some(plan) => advance(state, plan, &mut asked, pace),
        None => abroad(state),
    };
    Next {
        steps: asked.steps,
        wake: asked.wake,
        standing,
    }
}

/// Where everything that is open stands, where there is no plan to bring on.
fn abroad(state: &State) -> Standing {
    let mut standing = Standing::Settled;
    for (id, attempt) in &state.attempts {
        if attempt.phase.is_open() {
            if attempt.unsettled.is_none() {
                return Standing::Working;
            }
            standing = Standing::Unsettled {
                attempt: id.clone(),
            };
        }
    }
    standing
}

/// Steps as they come up: those that are not being carried out, and whose time has come.
struct Asked<'a> {
    desk: &'a Desk,
    now: Time,
    steps: Vec<Step>,
    wake: Option<Time>,
}

impl Asked<'_> {
    /// Whether the step begins now.
    fn ask(&mut self, step: Step) -> bool {
        if self.desk.busy.contains(&step) {
            return false;
        }
        match self.desk.not_before.get(&step) {
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
        if !self.desk.given_up.contains(&step) {
            self.ask(step);
        }
    }

    /// Whether the chunk is being sent, split, given up, or looked for.
    fn is_at_work_on(&self, chunk: &ChunkState) -> bool {
        let number = chunk.stored.chunk;
        let work = [
            Step::Fail { chunk: number },
            Step::Split { chunk: number },
            Step::Submit { chunk: number },
        ];
        let looks = chunk.attempts.iter().map(|attempt| Step::Recover {
            attempt: attempt.clone(),
        });
        let mut work = work.into_iter().chain(looks);
        work.any(|step| self.desk.busy.contains(&step))
    }

    /// How many steps of a kind are under way or about to be.
    fn count(&self, kind: impl Fn(&Step) -> bool) -> usize {
        let busy = self.desk.busy.iter().filter(|step| kind(step)).count();
        busy + self.steps.iter().filter(|step| kind(step)).count()
    }
}

/// Whatever is open, of whatever plan, is looked after: it may have been paid for.
fn harvest(state: &State, asked: &mut Asked<'_>, pace: &Pace) {
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
                if asked.count(|step| matches!(step, Step::Poll { .. })) < pace.polls_max =>
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
fn advance(state: &State, plan: &PlanState, asked: &mut Asked<'_>, pace: &Pace) -> Standing {
    let trial = trial(state, plan);
    let refused = account_refused(state, plan).filter(|_| !plan.canceled);
    let gauge = pace.queue.gauge(state, asked.now);
    let mut entering = entering(state, plan, asked.desk, &gauge);
    let mut standing = Standing::Settled;
    for chunk in plan.chunks.values() {
        let is_trial = plan.is_trial(chunk);
        match stage(state, chunk) {
            Stage::Done => {}
            Stage::Open => standing = Standing::Working,
            Stage::Refused(attempt) => return Standing::Refused { attempt },
            Stage::Unsettled(attempt) => {
                standing = worse(standing, Standing::Unsettled { attempt });
            }
            Stage::Unsent if plan.canceled || refused.is_some() => {}
            Stage::Unsent if !pace.may_submit => standing = worse(standing, Standing::Unsent),
            Stage::Unsent => {
                standing = Standing::Working;
                if is_trial || trial == Trial::Passed {
                    send(plan, chunk, asked, pace, (&gauge, &mut entering, is_trial));
                }
            }
        }
    }
    if let Trial::Failed(attempt) = trial {
        return Standing::TrialFailed { attempt };
    }
    if plan.sealed.is_none() {
        return Standing::Working;
    }
    let standing = match (standing, refused) {
        (Standing::Settled | Standing::Unsettled { .. }, Some(attempt)) => {
            Standing::AccountRefused {
                attempt: attempt.to_owned(),
            }
        }
        (Standing::Settled, None) => return settle(state, plan, asked, pace),
        (standing, _) => standing,
    };
    let is_stuck = matches!(
        standing,
        Standing::Unsettled { .. } | Standing::AccountRefused { .. }
    );
    if is_stuck && pace.publish_partial && state.shown(plan.started.plan).is_none() {
        asked.ask(Step::Publish);
    }
    standing
}

/// The attempt that came home with requests of `plan` that were refused for the account's sake, if one
/// did: nothing more of the plan is sent then, and the next run makes a new one of what has no answer.
pub(super) fn account_refused<'a>(state: &'a State, plan: &PlanState) -> Option<&'a str> {
    let of_plan = |attempt: &&Attempt| attempt.promised.plan == plan.started.plan;
    let mut attempts = state.attempts.values().filter(of_plan);
    let refused = |attempt: &&Attempt| {
        let landed = attempt.landed.as_ref();
        landed.is_some_and(|landed| landed.account > 0)
    };
    Some(&*attempts.find(refused)?.promised.attempt)
}

/// What is on its way into the queue, and not in the ledger yet.
fn entering(state: &State, plan: &PlanState, desk: &Desk, gauge: &Gauge) -> u64 {
    let chunks = desk.busy.iter().filter_map(|step| match step {
        Step::Submit { chunk } => plan.chunks.get(chunk),
        _ => None,
    });
    chunks
        .filter(|chunk| !matches!(stage(state, chunk), Stage::Open))
        .map(|chunk| gauge.weigh(&chunk.stored))
        .sum()
}

/// Sends `chunk`, if its time has come and the provider's queue has room for it.
fn send(
    plan: &PlanState,
    chunk: &ChunkState,
    asked: &mut Asked<'_>,
    pace: &Pace,
    (gauge, entering, is_trial): (&Gauge, &mut u64, bool),
) {
    let number = chunk.stored.chunk;
    // Whoever is at it is left alone: a chunk is sent whole or in parts, never both.
    if asked.is_at_work_on(chunk) {
        return;
    }
    if asked.desk.too_large.contains(&number) && chunk.stored.requests == 1 {
        asked.ask(Step::Fail { chunk: number });
        return;
    }
    let admission = if asked.desk.too_large.contains(&number) {
        Admission::Split
    } else {
        gauge.admit(&chunk.stored, *entering)
    };
    match admission {
        Admission::Wait => {}
        // The trial is as small as a queue can ask for.
        Admission::Split if is_trial && !asked.desk.too_large.contains(&number) => {
            asked.ask(Step::Submit { chunk: number });
        }
        // New chunks are numbered after the last one, so that two cannot be made at once.
        Admission::Split => {
            let alone = asked.count(|step| matches!(step, Step::Split { .. })) == 0;
            if plan.sealed.is_some() && alone {
                asked.ask(Step::Split { chunk: number });
            }
        }
        Admission::Enter => {
            let room = asked.count(|step| matches!(step, Step::Submit { .. })) < pace.submits_max;
            // One whose time has not come takes no room from those behind it.
            if room && asked.ask(Step::Submit { chunk: number }) {
                *entering += gauge.weigh(&chunk.stored);
            }
        }
    }
}

/// The worse of two standings: what is under way first, then what is not sent yet.
fn worse(standing: Standing, other: Standing) -> Standing {
    match (&standing, &other) {
        (Standing::Working, _) | (Standing::Unsent, Standing::Unsettled { .. }) => standing,
        _ => other,
    }
}

/// Everything that was sent is home: send again what failed in passing, or publish.
fn settle(state: &State, plan: &PlanState, asked: &mut Asked<'_>, pace: &Pace) -> Standing {
    let wave = plan.last_wave();
    let transient: u64 = plan
        .wave(wave)
        .into_iter()
        .filter_map(|chunk| {
            state
                .attempts_of(chunk)
                .filter_map(|a| a.landed.as_ref())
                .last()
        })
        .map(|landed| landed.transient)
        .sum();
    if transient > 0 && wave + 1 < pace.sends_max && !plan.canceled {
        if !pace.may_submit {
            return Standing::Unsent;
        }
        asked.ask(Step::Resend { wave: wave + 1 });
        return Standing::Working;
    }
    let rechecks = asked.count(|step| matches!(step, Step::Recheck { .. }));
    if rechecks == 0 {
        asked.ask(Step::Publish);
    }
    Standing::Settled
}

/// Where a chunk stands.
pub(super) enum Stage {
    /// It is to be sent, for the first time or after a "not now".
    Unsent,
    /// Something may still come of it.
    Open,
    /// Nobody can tell whether the provider has it.
    Unsettled(String),
    /// Its results are ours.
    Done,
    /// The provider refused it for good.
    Refused(String),
}

/// Where `chunk` stands.
pub(super) fn stage(state: &State, chunk: &ChunkState) -> Stage {
    if state.is_home(chunk) {
        return Stage::Done;
    }
    let Some(last) = state.attempts_of(chunk).last() else {
        return Stage::Unsent;
    };
    match last.phase {
        Phase::Landed => Stage::Done,
        Phase::Promised if last.unsettled.is_some() => {
            Stage::Unsettled(last.promised.attempt.clone())
        }
        Phase::Promised | Phase::Accepted => Stage::Open,
        Phase::RejectedForNow | Phase::Absent => Stage::Unsent,
        Phase::RejectedForGood => Stage::Refused(last.promised.attempt.clone()),
    }
}

/// What the trial says of the other chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trial {
    /// There is none, or a request of it was accepted: the others may go.
    Passed,
    /// Its answer is not there yet.
    Open,
    /// Every request of it was refused for good.
    Failed(String),
}

/// Whether the plan's trial says that no request of its shape can succeed.
pub(super) fn trial_failed(state: &State, plan: &PlanState) -> bool {
    matches!(trial(state, plan), Trial::Failed(_))
}

/// What the plan's trial has said so far. One request of it that is not refused lets the others go;
/// where the trial was split, whichever of its parts comes home first.
pub(super) fn trial(state: &State, plan: &PlanState) -> Trial {
    if plan.started.trial == 0 {
        return Trial::Passed;
    }
    let (mut failed, mut is_whole) = (None, true);
    let wave = plan.wave(0);
    for chunk in wave.into_iter().filter(|chunk| plan.is_trial(chunk)) {
        let landed = state
            .attempts_of(chunk)
            .find_map(|attempt| Some((attempt, attempt.landed.as_ref()?)));
        let Some((attempt, landed)) = landed else {
            is_whole = false;
            continue;
        };
        let refused = read_counts(&landed.counts).of(RowStatus::Failed);
        // Whatever passes may pass next time; only what the provider refuses for good stops the others.
        if refused.saturating_sub(landed.transient) != attempt.promised.requests {
            return Trial::Passed;
        }
        failed = Some(attempt.promised.attempt.clone());
    }
    match failed {
        Some(attempt) if is_whole => Trial::Failed(attempt),
        _ => Trial::Open,
    }
}

#[cfg(test)]
#[path = "next_tests.rs"]
mod tests;
