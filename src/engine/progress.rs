//! How far a plan is, by what the ledger says and by what this process has seen since. Pure; no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ledger::action::{Landed, PlanCounts, read_counts};
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::work::progress::{Planned, Progress};
use crate::work::{RowStatus, Usage};

use super::next::{Trial, trial};
use super::open::SENDS_MAX;

/// What a process has seen that the ledger does not hold.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Sight>);

/// The same, to look at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    /// What the plan has made of the rows so far.
    pub planned: Planned,
    /// Requests that are done, by attempt, as the provider counts.
    pub done: BTreeMap<String, u64>,
    /// Attempts whose batch has ended, and whose results do not come.
    pub late: BTreeSet<String>,
}

impl Seen {
    pub(super) fn planned(&self, planned: Planned) {
        self.lock().planned = planned;
    }

    /// The provider was asked where the batch of `attempt` stands.
    pub(super) fn polled(&self, attempt: &str, done: u64, is_late: bool) {
        let mut sight = self.lock();
        sight.done.insert(attempt.to_owned(), done);
        if is_late {
            sight.late.insert(attempt.to_owned());
        } else {
            sight.late.remove(attempt);
        }
    }

    pub(super) fn sight(&self) -> Sight {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Sight> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows that a plan has counted, as whoever watches knows them.
pub(super) fn planned(rows: &PlanCounts) -> Planned {
    Planned {
        requests: rows.new + rows.changed,
        identical: rows.identical,
        answered: rows.answered,
        skipped: rows.skipped,
        failed: rows.failed,
        deferred: rows.deferred,
    }
}

/// How far `plan` is.
pub(super) fn progress(state: &State, plan: u64, sight: &Sight) -> Progress {
    let mut progress = Progress {
        plan,
        cost_micros: Some(0),
        ..Progress::default()
    };
    let Some(planned) = state.plans.get(&plan) else {
        return progress;
    };
    progress.rows = planned.started.rows;
    progress.planned = counted(planned, sight);
    for chunk in planned.chunks.values().filter(|chunk| !chunk.split) {
        add(&mut progress, state, planned, chunk, sight);
    }
    let own = state.attempts.values().filter(|a| a.promised.plan == plan);
    for attempt in own {
        progress.batches += u64::from(attempt.phase.is_open());
        if let Some(landed) = &attempt.landed {
            spend(&mut progress.usage, &mut progress.cost_micros, landed);
        }
    }
    if trial(state, planned) == Trial::Open && progress.to_send() > 0 {
        progress.trial = planned.started.trial;
    }
    progress
}

/// Adds what a landed batch used to the sums.
fn spend(usage: &mut Usage, cost: &mut Option<u64>, landed: &Landed) {
    *usage += landed.usage;
    *cost = cost.zip(landed.cost_micros).map(|(a, b)| a + b);
}

/// What the plan has made of its rows: all of them, if it is complete, else what this process has seen
/// or, where another one is at it, what is in the chunks so far.
fn counted(plan: &PlanState, sight: &Sight) -> Planned {
    if let Some(sealed) = &plan.sealed {
        return planned(&sealed.rows);
    }
    let first = plan.wave(0).into_iter();
    let stored: u64 = first.map(|chunk| chunk.stored.requests).sum();
    Planned {
        requests: sight.planned.requests.max(stored),
        ..sight.planned
    }
}

/// Counts the requests of `chunk`. What failed in passing and is in a chunk of the next wave counts
/// there.
fn add(
    progress: &mut Progress,
    state: &State,
    plan: &PlanState,
    chunk: &ChunkState,
    sight: &Sight,
) {
    let requests = chunk.stored.requests;
    let landed = state.attempts_of(chunk).filter_map(|a| a.landed.as_ref());
    if let Some(landed) = landed.last() {
        let counts = read_counts(&landed.counts);
        let passing = landed.transient;
        progress.succeeded += counts.of(RowStatus::Succeeded);
        progress.failed += counts.failed().saturating_sub(passing);
        if chunk.stored.wave == plan.last_wave() {
            if may_resend(state, plan) {
                progress.again += passing;
            } else {
                progress.failed += passing;
            }
        }
        return;
    }
    match state.attempts_of(chunk).last() {
        Some(attempt) if attempt.phase == Phase::Accepted => {
            progress.sent += requests;
            progress.done += done(attempt, sight).min(requests);
        }
        Some(attempt) if attempt.phase == Phase::Promised => progress.unconfirmed += requests,
        // Nothing more is sent of it.
        _ if plan.canceled => progress.failed += requests,
        _ if chunk.stored.wave > 0 => progress.again += requests,
        _ => {}
    }
}

fn done(attempt: &Attempt, sight: &Sight) -> u64 {
    let done = sight.done.get(&attempt.promised.attempt).copied();
    done.unwrap_or_default()
}

/// Whether what failed in passing in the last wave is sent once more.
fn may_resend(state: &State, plan: &PlanState) -> bool {
    let number = plan.started.plan;
    let is_over = state.published.as_ref().is_some_and(|published| {
        published.plan == number
            && !published.partial
            && published.landed == state.landed_count(number)
    });
    plan.last_wave() + 1 < SENDS_MAX && !plan.canceled && !is_over
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;
    use crate::ledger::action::Action;

    fn of(story: &Story) -> Progress {
        progress(&story.0, 0, &Sight::default())
    }

    /// What is to be sent, not confirmed, at the provider, to be sent again, answered, and settled without
    /// an answer.
    fn stands(story: &Story) -> [u64; 6] {
        let at = of(story);
        let sent = [at.to_send(), at.unconfirmed, at.sent];
        let home = [at.again, at.succeeded, at.failed];
        [sent[0], sent[1], sent[2], home[0], home[1], home[2]]
    }

    #[test]
    fn a_request_is_in_one_state_however_often_it_was_sent() {
        let mut story = Story::of(&[3, 4]);
        assert_eq!(stands(&story), [7, 0, 0, 0, 0, 0]);
        let first = story.accepted(0);
        assert_eq!(stands(&story), [4, 0, 3, 0, 0, 0]);
        story.rejected(1, true);
        assert_eq!(stands(&story), [4, 0, 3, 0, 0, 0]);
        story.promised(1);
        assert_eq!(stands(&story), [0, 4, 3, 0, 0, 0]);
        story.lands(&first, 2);
        assert_eq!(stands(&story), [0, 4, 0, 2, 1, 0]);
        let second = story.0.attempts.keys().next_back().cloned().expect("one");
        story.lands(&second, 1);
        assert_eq!(stands(&story), [0, 0, 0, 3, 4, 0]);
        // The three are sent again, in a chunk of their own.
        story.stored(1, 0, 3);
        assert_eq!(stands(&story), [0, 0, 0, 3, 4, 0]);
        let again = story.accepted(2);
        assert_eq!(stands(&story), [0, 0, 3, 0, 4, 0]);
        story.lands(&again, 1);
        assert_eq!(stands(&story), [0, 0, 0, 1, 6, 0]);
        // And the last of them a third time, which is the last.
        story.stored(2, 0, 1);
        story.landed(3, 1);
        assert_eq!(stands(&story), [0, 0, 0, 0, 6, 1]);
    }

    #[test]
    fn what_is_published_is_not_sent_again() {
        let mut story = Story::of(&[3]);
        story.landed(0, 1);
        assert_eq!(stands(&story), [0, 0, 0, 1, 2, 0]);
        story.published(true);
        assert_eq!(stands(&story), [0, 0, 0, 1, 2, 0]);
        story.published(false);
        assert_eq!(stands(&story), [0, 0, 0, 0, 2, 1]);
    }

    #[test]
    fn of_what_is_canceled_nothing_more_is_sent() {
        let mut story = Story::of(&[3, 4]);
        story.landed(0, 1);
        story.tell(Action::CancelAsked { plan: 0 });
        assert_eq!(stands(&story), [0, 0, 0, 0, 2, 5]);
    }

    #[test]
    fn a_trial_is_told_of_while_others_wait_for_it() {
        let mut story = Story::with_trial(3);
        story.stored(0, 0, 3);
        story.stored(0, 3, 10);
        assert_eq!(of(&story).trial, 3);
        let trial = story.accepted(0);
        assert_eq!((of(&story).trial, of(&story).to_send()), (3, 10));
        story.lands(&trial, 0);
        assert_eq!(of(&story).trial, 0);
    }

    #[test]
    fn what_the_provider_has_done_counts_until_it_lands() {
        let mut story = Story::of(&[3, 4]);
        let (first, second) = (story.accepted(0), story.accepted(1));
        let seen = Seen::default();
        seen.polled(&first, 2, false);
        seen.polled(&second, 9, true);
        let at = progress(&story.0, 0, &seen.sight());
        assert_eq!((at.sent, at.done, at.batches), (7, 6, 2));
        assert_eq!(seen.sight().late, BTreeSet::from([second.clone()]));
        seen.polled(&second, 4, false);
        assert!(seen.sight().late.is_empty());
        story.lands(&first, 0);
        let at = progress(&story.0, 0, &seen.sight());
        assert_eq!((at.sent, at.done, at.succeeded), (4, 4, 3));
        assert_eq!((at.finished(), at.batches), (7, 1));
    }

    #[test]
    fn rows_that_are_still_being_read_are_known_by_who_reads_them_or_by_their_chunks() {
        let mut story = Story::with_trial(0);
        story.stored(0, 0, 3);
        assert_eq!(of(&story).planned.requests, 3);
        let seen = Seen::default();
        seen.planned(Planned {
            requests: 5,
            skipped: 2,
            ..Planned::default()
        });
        let at = progress(&story.0, 0, &seen.sight());
        assert_eq!((at.planned.rows(), at.to_send()), (7, 5));
    }
}
