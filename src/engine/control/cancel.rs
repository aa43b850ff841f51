//! `cancel`: nothing more is sent, and what is open at the provider is stopped.

use crate::base::{Error, Result};
use crate::engine::context::ledger::read;
use crate::engine::context::owner::check_ours;
use crate::engine::context::setup::Setup;
use crate::engine::decide::again::{AgainRule, asked_again};
use crate::engine::decide::limits::SENDS_MAX;
use crate::ledger::action::Action;
use crate::ledger::state::{ChunkState, Phase, PlanState, State};

/// Asks for everything open to be canceled, and for nothing more to be sent of the last plan. The
/// holder takes it up; if there is none, the next `run` or `collect` does. How many batches were open.
///
/// # Errors
/// `Invalid` if there is nothing to cancel, or the ledger belongs to another job.
pub async fn cancel(setup: Setup) -> Result<u64> {
    let (mut ledger, _) = read(&setup).await?;
    let state = ledger.state();
    check_ours(state, &setup.job)?;
    let open = state.open_attempts().count() as u64;
    let mut plans: Vec<u64> = state.open_attempts().map(|a| a.promised.plan).collect();
    plans.extend(
        state
            .plan()
            .filter(|plan| may_send(state, plan))
            .map(|plan| plan.started.plan),
    );
    plans.sort_unstable();
    plans.dedup();
    plans.retain(|plan| state.plans.get(plan).is_some_and(|plan| !plan.canceled));
    if plans.is_empty() {
        return Err(Error::invalid("there is nothing to cancel"));
    }
    ledger
        .record(
            plans
                .into_iter()
                .map(|plan| Action::CancelAsked { plan })
                .collect(),
        )
        .await?;
    Ok(open)
}

/// Whether requests of `plan` are still to be sent, for the first time or again.
fn may_send(state: &State, plan: &PlanState) -> bool {
    let is_home = |chunk: &&ChunkState| {
        let mut attempts = state.attempts_of(chunk);
        state.is_home(chunk) || attempts.any(|a| a.phase == Phase::RejectedForGood)
    };
    let is_whole = plan.completed.is_some() && plan.chunks.values().all(|chunk| is_home(&chunk));
    // What is asked again is sent before the output is published, and not after.
    let number = plan.started.plan;
    let is_published = state.shown(number).is_some_and(|shown| !shown.partial);
    let rule = AgainRule::planned(plan);
    !is_whole || (!is_published && asked_again(&rule, state, plan, SENDS_MAX) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::scenario::Scenario;

    fn sends(scenario: &Scenario) -> bool {
        may_send(&scenario.0, &scenario.0.plans[&0])
    }

    #[test]
    fn a_plan_may_send_until_it_is_whole() {
        assert!(sends(&Scenario::with_trial(0)), "its rows are not read yet");
        let mut scenario = Scenario::of(&[3, 3]);
        scenario.landed(0, 0);
        assert!(sends(&scenario));
        scenario.rejected(1, true);
        assert!(sends(&scenario));
        scenario.landed(1, 0);
        assert!(!sends(&scenario));
        scenario.published(false);
        assert!(!sends(&scenario));
    }

    #[test]
    fn what_failed_in_passing_is_sent_until_the_output_is_published() {
        let mut scenario = Scenario::of(&[3]);
        scenario.landed(0, 1);
        assert!(sends(&scenario));
        scenario.published(true);
        assert!(sends(&scenario));
        scenario.published(false);
        assert!(!sends(&scenario));
    }

    #[test]
    fn what_was_refused_for_good_is_not_sent() {
        let mut scenario = Scenario::of(&[3]);
        scenario.rejected(0, false);
        assert!(!sends(&scenario));
    }
}
