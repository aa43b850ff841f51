//! What the first requests of a plan say of all others, and whether the account may ask at all.

use crate::ledger::state::{Attempt, PlanState, State};
use crate::work::RowStatus;

/// What the trial says of the other chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrialStatus {
    /// There is none, or a request of it was accepted: the others may go.
    Passed,
    /// Its answer is not there yet.
    Open,
    /// Every request of it was refused for good, or has no vector of the right length.
    Failed(String),
}

/// Whether the plan's trial says that no request of its shape can succeed.
pub(crate) fn trial_failed(state: &State, plan: &PlanState) -> bool {
    matches!(trial_status(state, plan), TrialStatus::Failed(_))
}

/// What the plan's trial has said so far. One request of it that is not refused lets the others go;
/// where the trial was split, whichever of its parts comes home first.
pub(crate) fn trial_status(state: &State, plan: &PlanState) -> TrialStatus {
    if plan.started.trial == 0 {
        return TrialStatus::Passed;
    }
    let (mut failed, mut is_whole) = (None, true);
    let round = plan.round(0);
    for chunk in round.into_iter().filter(|chunk| plan.is_trial(chunk)) {
        let landed = state
            .attempts_of(chunk)
            .find_map(|attempt| Some((attempt, attempt.landed.as_ref()?)));
        let Some((attempt, landed)) = landed else {
            is_whole = false;
            continue;
        };
        // Vectors of another length than the job says are so for every text.
        let is_vector = plan.started.shape.answer.dimensions().is_some();
        let invalid = landed.counts.of(RowStatus::Invalid);
        let refused = landed.counts.of(RowStatus::Failed) + if is_vector { invalid } else { 0 };
        // Whatever passes may pass next time; only what the provider refuses for good stops the others.
        if refused.saturating_sub(landed.transient) != attempt.promised.requests {
            return TrialStatus::Passed;
        }
        failed = Some(attempt.promised.attempt.clone());
    }
    match failed {
        Some(attempt) if is_whole => TrialStatus::Failed(attempt),
        _ => TrialStatus::Open,
    }
}

/// The attempt that came home with requests of `plan` that were refused for the account's sake, if one
/// did: nothing more of the plan is sent then, and the next run makes a new one of what has no answer.
pub(crate) fn account_refused<'a>(state: &'a State, plan: &PlanState) -> Option<&'a str> {
    let of_plan = |attempt: &&Attempt| attempt.promised.plan == plan.started.plan;
    let mut attempts = state.attempts.values().filter(of_plan);
    let refused = |attempt: &&Attempt| {
        let landed = attempt.landed.as_ref();
        landed.is_some_and(|landed| landed.account > 0)
    };
    Some(&*attempts.find(refused)?.promised.attempt)
}
