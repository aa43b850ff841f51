//! Whether a run is over: its goal is reached, or nothing is being done and waiting would not help.

use crate::base::{Error, Result};
use crate::engine::context::providers::refused_for_the_account;
use crate::engine::decide::next::{Next, PlanStatus};
use crate::engine::session::faults::{refused, trial_failed, unsettled};
use crate::engine::session::goal::{Goal, Stop};

use super::Driver;

impl Driver<'_> {
    /// Whether the goal is reached already.
    pub(super) fn stop(&self) -> Option<Stop> {
        if self.cx.publishing.has_source_changed() {
            return Some(Stop::SourceChanged);
        }
        if self.cx.publishing.held_back().is_some() {
            return Some(Stop::HeldBack);
        }
        let published = self
            .plan()
            .is_some_and(|plan| self.cx.publishing.is_published(self.ledger.state(), plan));
        if published && !self.planning && matches!(self.goal, Goal::Publish | Goal::OnePass) {
            return Some(Stop::Published);
        }
        None
    }

    /// Nothing is being done: waiting is all that is left, or the run is over.
    pub(super) fn at_rest(&mut self, next: &Next) -> Result<Option<Stop>> {
        // What the provider does not show keeps nothing else from being brought home.
        let is_last = next.wake.is_none() || matches!(self.goal, Goal::Submit | Goal::OnePass);
        if let Some(error) = self.unseen.take_if(|_| is_last) {
            return Err(error);
        }
        let open = self.ledger.state().open_attempts().next().is_some();
        match &next.status {
            PlanStatus::TrialFailed { attempt } => {
                return Err(trial_failed(self.ledger.state(), attempt));
            }
            PlanStatus::Refused { attempt } => return Err(refused(attempt)),
            PlanStatus::AccountRefused { .. } | PlanStatus::Unsettled { .. }
                if self.is_shown_partially() =>
            {
                return Ok(Some(Stop::Published));
            }
            PlanStatus::AccountRefused { attempt } => {
                return Err(self.refused_for_the_account(attempt));
            }
            PlanStatus::Unsettled { attempt } => {
                let attempt = self.ledger.state().attempts.get(attempt);
                return Err(attempt.map_or_else(|| Error::internal("no such attempt"), unsettled));
            }
            _ => {}
        }
        Ok(match self.goal {
            Goal::Harvest if !open => Some(Stop::Idle),
            Goal::Submit | Goal::OnePass => Some(Stop::Pending),
            Goal::Publish if next.status == PlanStatus::Unsent => Some(Stop::Pending),
            Goal::Publish if !open && next.wake.is_none() => {
                return Err(Error::internal(
                    "nothing is left to do, and the output is not there",
                ));
            }
            Goal::Publish | Goal::Harvest => None,
        })
    }

    /// Why nothing more of the plan is sent, by what an attempt came home with.
    fn refused_for_the_account(&self, attempt: &str) -> Error {
        let none = || Error::internal("no such attempt");
        let Some(attempt) = self.ledger.state().attempts.get(attempt) else {
            return none();
        };
        let landed = attempt.landed.as_ref();
        let requests = landed.map_or(0, |landed| landed.account);
        refused_for_the_account(attempt).with("requests", requests)
    }

    /// Whether the output shows all that can be settled, as a person asked for.
    fn is_shown_partially(&self) -> bool {
        let shown = |plan| self.cx.publishing.is_shown(self.ledger.state(), plan);
        self.limits.publish_partial && self.plan().is_some_and(shown)
    }
}
