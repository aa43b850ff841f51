//! How far a plan is, by what the ledger says and by what this process has seen since. Pure; no I/O.

use crate::ledger::action::{Landed, PlanCounts};
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::work::progress::{Planned, Progress};
use crate::work::{RowStatus, Usage};

use super::again::{AgainRule, again_counts, asked_again};
use super::cache::open_primers;
use super::limits::SENDS_MAX;
use super::observed::Observed;
use super::trial::{TrialStatus, trial_status};

/// The rows that a plan has counted, as whoever watches knows them.
pub(crate) fn planned(rows: &PlanCounts) -> Planned {
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
pub(crate) fn progress(state: &State, plan: u64, observed: &Observed) -> Progress {
    let mut progress = Progress {
        plan,
        cost_micros: Some(0),
        ..Progress::default()
    };
    let Some(planned) = state.plans.get(&plan) else {
        return progress;
    };
    progress.rows = planned.started.rows;
    progress.planned = counted(planned, observed);
    for chunk in planned.chunks.values().filter(|chunk| !chunk.split) {
        add(&mut progress, state, planned, chunk, observed);
    }
    settle(&mut progress, state, planned);
    let own = state.attempts.values().filter(|a| a.promised.plan == plan);
    for attempt in own {
        progress.batches += u64::from(attempt.phase.is_open());
        if let Some(landed) = &attempt.landed {
            spend(&mut progress.usage, &mut progress.cost_micros, landed);
        }
    }
    if progress.to_send() > 0 {
        let primers = open_primers(state, planned);
        progress.primer = primers.map(|attempt| attempt.promised.requests).sum();
    }
    if trial_status(state, planned) == TrialStatus::Open && progress.to_send() > 0 {
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
fn counted(plan: &PlanState, observed: &Observed) -> Planned {
    if let Some(completed) = &plan.completed {
        return planned(&completed.rows);
    }
    let first = plan.round(0).into_iter();
    let stored: u64 = first.map(|chunk| chunk.stored.requests).sum();
    Planned {
        requests: observed.planned.requests.max(stored),
        ..observed.planned
    }
}

/// Counts the requests of `chunk`; those that failed as if nothing more came of them.
fn add(
    progress: &mut Progress,
    state: &State,
    plan: &PlanState,
    chunk: &ChunkState,
    observed: &Observed,
) {
    let requests = chunk.stored.requests;
    let landed = state.attempts_of(chunk).filter_map(|a| a.landed.as_ref());
    if let Some(landed) = landed.last() {
        progress.succeeded += landed.counts.of(RowStatus::Succeeded);
        progress.failed += landed.counts.failed();
        return;
    }
    match state.attempts_of(chunk).last() {
        Some(attempt) if attempt.phase == Phase::Accepted => {
            progress.sent += requests;
            progress.done += done(attempt, observed).min(requests);
        }
        Some(attempt) if attempt.phase == Phase::Promised => progress.unconfirmed += requests,
        // Nothing more is sent of it.
        _ if plan.canceled => progress.failed += requests,
        _ if chunk.stored.round > 0 => progress.again += requests,
        _ => {}
    }
}

fn done(attempt: &Attempt, observed: &Observed) -> u64 {
    let done = observed.done.get(&attempt.promised.attempt).copied();
    done.unwrap_or_default()
}

/// What is asked again counts where it is now: the requests of every round but the first failed in the one
/// before, and of the last round some wait for the next.
fn settle(progress: &mut Progress, state: &State, plan: &PlanState) {
    let chunks = plan.chunks.values();
    let again = chunks.filter(|chunk| !chunk.split && chunk.stored.round > 0);
    let again: u64 = again.map(|chunk| chunk.stored.requests).sum();
    progress.failed = progress.failed.saturating_sub(again);
    progress.asked_again = again_counts(state, plan);
    if progress.failed > 0 && !plan.canceled {
        let rule = AgainRule::planned(plan);
        let waits = asked_again(&rule, state, plan, SENDS_MAX).min(progress.failed);
        progress.failed -= waits;
        progress.again += waits;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::context::observations::Observations;
    use crate::engine::decide::scenario::Scenario;
    use crate::ledger::action::Action;

    fn of(scenario: &Scenario) -> Progress {
        progress(&scenario.0, 0, &Observed::default())
    }

    /// What is to be sent, not confirmed, at the provider, to be sent again, answered, and settled without
    /// an answer.
    fn stands(scenario: &Scenario) -> [u64; 6] {
        let at = of(scenario);
        let sent = [at.to_send(), at.unconfirmed, at.sent];
        let home = [at.again, at.succeeded, at.failed];
        [sent[0], sent[1], sent[2], home[0], home[1], home[2]]
    }

    #[test]
    fn a_request_is_in_one_state_however_often_it_was_sent() {
        let mut scenario = Scenario::of(&[3, 4]);
        assert_eq!(stands(&scenario), [7, 0, 0, 0, 0, 0]);
        let first = scenario.accepted(0);
        assert_eq!(stands(&scenario), [4, 0, 3, 0, 0, 0]);
        scenario.rejected(1, true);
        assert_eq!(stands(&scenario), [4, 0, 3, 0, 0, 0]);
        scenario.promised(1);
        assert_eq!(stands(&scenario), [0, 4, 3, 0, 0, 0]);
        scenario.lands(&first, 2);
        assert_eq!(stands(&scenario), [0, 4, 0, 2, 1, 0]);
        let second = scenario
            .0
            .attempts
            .keys()
            .next_back()
            .cloned()
            .expect("one");
        scenario.lands(&second, 1);
        assert_eq!(stands(&scenario), [0, 0, 0, 3, 4, 0]);
        // The three are sent again, in a chunk of their own.
        scenario.stored(1, 0, 3);
        assert_eq!(stands(&scenario), [0, 0, 0, 3, 4, 0]);
        let again = scenario.accepted(2);
        assert_eq!(stands(&scenario), [0, 0, 3, 0, 4, 0]);
        scenario.lands(&again, 1);
        assert_eq!(stands(&scenario), [0, 0, 0, 1, 6, 0]);
        // And the last of them a third time, which is the last.
        scenario.stored(2, 0, 1);
        scenario.landed(3, 1);
        assert_eq!(stands(&scenario), [0, 0, 0, 0, 6, 1]);
    }

    #[test]
    fn what_is_published_is_not_sent_again() {
        let mut scenario = Scenario::of(&[3]);
        scenario.landed(0, 1);
        assert_eq!(stands(&scenario), [0, 0, 0, 1, 2, 0]);
        scenario.published(true);
        assert_eq!(stands(&scenario), [0, 0, 0, 1, 2, 0]);
        scenario.published(false);
        assert_eq!(stands(&scenario), [0, 0, 0, 0, 2, 1]);
    }

    #[test]
    fn of_what_is_canceled_nothing_more_is_sent() {
        let mut scenario = Scenario::of(&[3, 4]);
        scenario.landed(0, 1);
        scenario.tell(Action::CancelAsked { plan: 0 });
        assert_eq!(stands(&scenario), [0, 0, 0, 0, 2, 5]);
    }

    #[test]
    fn a_trial_is_told_of_while_others_wait_for_it() {
        let mut scenario = Scenario::with_trial(3);
        scenario.stored(0, 0, 3);
        scenario.stored(0, 3, 10);
        assert_eq!(of(&scenario).trial, 3);
        let trial = scenario.accepted(0);
        assert_eq!((of(&scenario).trial, of(&scenario).to_send()), (3, 10));
        scenario.lands(&trial, 0);
        assert_eq!(of(&scenario).trial, 0);
    }

    #[test]
    fn what_the_provider_has_done_counts_until_it_lands() {
        let mut scenario = Scenario::of(&[3, 4]);
        let (first, second) = (scenario.accepted(0), scenario.accepted(1));
        let seen = Observations::default();
        seen.polled(&first, 2, false);
        seen.polled(&second, 9, true);
        let at = progress(&scenario.0, 0, &seen.observed());
        assert_eq!((at.sent, at.done, at.batches), (7, 6, 2));
        assert_eq!(seen.observed().late, BTreeSet::from([second.clone()]));
        seen.polled(&second, 4, false);
        assert!(seen.observed().late.is_empty());
        scenario.lands(&first, 0);
        let at = progress(&scenario.0, 0, &seen.observed());
        assert_eq!((at.sent, at.done, at.succeeded), (4, 4, 3));
        assert_eq!((at.finished(), at.batches), (7, 1));
    }

    #[test]
    fn rows_that_are_still_being_read_are_known_by_who_reads_them_or_by_their_chunks() {
        let mut scenario = Scenario::with_trial(0);
        scenario.stored(0, 0, 3);
        assert_eq!(of(&scenario).planned.requests, 3);
        let seen = Observations::default();
        seen.planned(Planned {
            requests: 5,
            skipped: 2,
            ..Planned::default()
        });
        let at = progress(&scenario.0, 0, &seen.observed());
        assert_eq!((at.planned.rows(), at.to_send()), (7, 5));
    }
}
