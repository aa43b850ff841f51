//! What the first requests of a plan say of all others, and whether the account may ask at all.

use crate::ledger::state::{Attempt, PlanState, State};
use crate::work::{RowStatus, StatusCounts};

/// What the trial says of the other chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TrialStatus {
    /// There is none, or a request of it was accepted: the others may go.
    Passed,
    /// Its answer is not there yet.
    Open,
    /// No request of it was accepted, and some were refused for good, or have no vector of the right
    /// length.
    Failed(String),
}

/// Whether the plan's trial says that no request of its shape can succeed.
pub(crate) fn trial_failed(state: &State, plan: &PlanState) -> bool {
    matches!(trial_status(state, plan), TrialStatus::Failed(_))
}

/// Whether it was refused, and not answered: to try it again costs nothing.
pub(crate) fn trial_refused(state: &State, plan: &PlanState) -> bool {
    match trial_status(state, plan) {
        TrialStatus::Failed(id) => !state.attempts.get(&id).is_some_and(is_answered),
        TrialStatus::Passed | TrialStatus::Open => false,
    }
}

/// Whether the attempt at a trial that failed says so by answers: they are paid, and would be paid again.
pub(crate) fn is_answered(attempt: &Attempt) -> bool {
    let landed = attempt.landed.as_ref();
    landed.is_some_and(|landed| landed.counts.of(RowStatus::Invalid) > 0)
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
        let is_vector = plan.started.shape.answer.dimensions().is_some();
        let counts = (&landed.counts, landed.transient);
        if !refuses(attempt.promised.requests, counts, is_vector) {
            return TrialStatus::Passed;
        }
        failed = Some(attempt.promised.attempt.clone());
    }
    match failed {
        Some(attempt) if is_whole => TrialStatus::Failed(attempt),
        _ => TrialStatus::Open,
    }
}

/// Whether what came home says that the provider refuses such `requests`: some were refused for good, and
/// none was accepted. What failed in passing says nothing for the others, and nothing against them.
fn refuses(requests: u64, (counts, transient): (&StatusCounts, u64), is_vector: bool) -> bool {
    use RowStatus::{Canceled, Expired, Failed, Invalid, Missing};
    let count = |status| counts.of(status);
    let unanswered = count(Expired) + count(Canceled) + count(Missing);
    let failed_in_passing = transient.saturating_sub(unanswered);
    // Vectors of another length than the job says are so for every text.
    let wrong = if is_vector { count(Invalid) } else { 0 };
    let refused = count(Failed).saturating_sub(failed_in_passing) + wrong;
    refused > 0 && refused + transient >= requests
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(counted: &[(RowStatus, u64)], transient: u64, is_vector: bool, expect: bool) {
        let mut counts = StatusCounts::default();
        for (status, count) in counted {
            counts.add(*status, *count);
        }
        let refused = refuses(3, (&counts, transient), is_vector);
        assert_eq!(refused, expect, "{counted:?}, {transient} in passing");
    }

    #[test]
    fn what_fails_in_passing_does_not_speak_for_what_was_refused() {
        use RowStatus::{Expired, Failed, Invalid, Missing, Refused, Succeeded};
        check(&[(Failed, 3)], 0, false, true);
        check(&[(Failed, 2), (Missing, 1)], 1, false, true);
        check(&[(Failed, 2), (Expired, 1)], 1, false, true);
        // One of the three came back with a server's error.
        check(&[(Failed, 3)], 1, false, true);
        check(&[(Failed, 1), (Missing, 2)], 2, false, true);
        // Nothing was said of the request at all.
        check(&[(Failed, 3)], 3, false, false);
        check(&[(Missing, 3)], 3, false, false);
        check(&[(Failed, 1), (Expired, 2)], 3, false, false);
        // Somebody answered.
        check(&[(Succeeded, 1), (Failed, 2)], 0, false, false);
        check(&[(Refused, 1), (Failed, 1), (Missing, 1)], 1, false, false);
        check(&[(Invalid, 3)], 0, false, false);
        check(&[(Invalid, 2), (Missing, 1)], 1, true, true);
        check(&[(Invalid, 1), (Failed, 2)], 2, true, true);
        check(&[(Invalid, 2), (Succeeded, 1)], 0, true, false);
    }
}
