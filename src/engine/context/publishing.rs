//! Where the output of a run stands, beside what the ledger says of it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::publish_spec::PublishSpec;
use crate::ledger::state::{PlanState, State};
use crate::work::StatusCounts;

/// The output of a run: where it goes, and what this process found out about it.
#[derive(Debug)]
pub(crate) struct Publishing {
    /// Where the output goes, and what it says of itself.
    pub spec: PublishSpec,
    /// What nobody can settle is shown as `pending`.
    pub partial: bool,
    source_changed: AtomicBool,
    /// The output is to be made again, though the ledger says that it was.
    unpublished: AtomicBool,
    held_back: OnceLock<StatusCounts>,
}

impl Publishing {
    /// Nothing is known yet of the output that `spec` describes.
    pub(crate) fn of(spec: PublishSpec, partial: bool) -> Self {
        Publishing {
            spec,
            partial,
            source_changed: AtomicBool::new(false),
            unpublished: AtomicBool::new(false),
            held_back: OnceLock::new(),
        }
    }

    /// Whether publishing found that the source is not what was planned.
    pub(crate) fn has_source_changed(&self) -> bool {
        self.source_changed.load(Ordering::Acquire)
    }

    /// The source is not what was planned.
    pub(crate) fn source_changed(&self) {
        self.source_changed.store(true, Ordering::Release);
    }

    /// The rows by status that were not put over an older output, for some were canceled.
    pub(crate) fn held_back(&self) -> Option<StatusCounts> {
        self.held_back.get().copied()
    }

    /// `counts` are not put over an older output. Whether that is news.
    pub(crate) fn hold_back(&self, counts: StatusCounts) -> bool {
        self.held_back.set(counts).is_ok()
    }

    /// Whether the output shows all there will ever be of `plan`, or all until something lands.
    pub(crate) fn is_published(&self, state: &State, plan: &PlanState) -> bool {
        let shown = state.published_whole(plan.started.plan);
        shown.is_some() && self.is_shown(state, plan)
    }

    /// Whether the output shows all that has landed of `plan`, rows that nobody can settle or not.
    pub(crate) fn is_shown(&self, state: &State, plan: &PlanState) -> bool {
        if self.unpublished.load(Ordering::Acquire) {
            return false;
        }
        let shown = state.shown(plan.started.plan);
        shown.is_some_and(|published| published.digest == self.spec.digest)
    }

    /// From now on the output counts as not published, or as published again.
    pub(crate) fn unpublish(&self, unpublished: bool) {
        self.unpublished.store(unpublished, Ordering::Release);
    }
}
