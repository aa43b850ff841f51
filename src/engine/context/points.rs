//! Where a test may stop the world, all of it: around every durable write, and around every call
//! that matters. Commits are told apart by the fact that they end with.

use crate::base::{Points, points};
use crate::ledger::action::Action;
use crate::{ledger, output};

points! {
    /// Around the bulk files of the ledger.
    FILES:
    INDEX = "file", "index";
    INDEX_CLEARED = "file", "index_cleared";
    INDEX_MANIFEST = "file", "index_manifest";
    OUTCOMES = "file", "outcomes";
    REQUESTS = "file", "requests";
    ROWS = "file", "rows";
    SNAPSHOT = "file", "snapshot";
}

points! {
    /// Around the calls to the provider.
    CALLS:
    CANCEL = "call", "cancel";
    DISCARD = "call", "discard";
    FETCH = "call", "fetch";
    FIND = "call", "find";
    POLL = "call", "poll";
    STAGE = "call", "stage";
    SUBMIT = "call", "submit";
    TRIAL = "call", "trial";
}

/// While the body of the call that costs money is on its way: it is cut in the middle.
pub(crate) const SENDING: &str = "call.amid_submit";

macro_rules! commits {
    ($($($fact:ident)|+ = $name:ident, $what:literal;)+) => {
        points! {
            /// Around the commits of the log.
            COMMITS:
            $($name = "commit", $what;)+
        }

        /// The points around the commit of `actions`.
        pub(crate) fn around(actions: &[Action]) -> Points {
            match actions.last() {
                $(Some($(Action::$fact { .. })|+) => $name,)+
                // Nobody commits nothing.
                None => Points::default(),
            }
        }
    };
}

commits! {
    Absent = ABSENT, "absent";
    Accepted = ACCEPTED, "accepted";
    CancelAsked = CANCEL_ASKED, "cancel_asked";
    CancelSent = CANCEL_SENT, "cancel_sent";
    // What a chunk is split into follows in the same commit.
    ChunkStored | ChunkSplit = CHUNK_STORED, "chunk_stored";
    Cleaned = CLEANED, "cleaned";
    Discarded = DISCARDED, "discarded";
    Landed = LANDED, "landed";
    Lost = LOST, "lost";
    PlanAbandoned = PLAN_ABANDONED, "plan_abandoned";
    PlanCompleted = PLAN_COMPLETED, "plan_sealed";
    // The rule of its keys stands before a plan, where it is a new one.
    PlanStarted | RequestKeys = PLAN_STARTED, "plan_started";
    Promised = PROMISED, "promised";
    PublishStarted = PUBLISH_STARTED, "publish_started";
    Published = PUBLISHED, "published";
    QueueFull = QUEUE_FULL, "queue_full";
    Rechecked = RECHECKED, "rechecked";
    Rejected = REJECTED, "rejected";
    RetryAsked = RETRY_ASKED, "retry_asked";
    // The two are written together where they are written at all.
    RunStarted | LedgerMade = RUN_STARTED, "run_started";
    Sought = SOUGHT, "sought";
    Staged = STAGED, "staged";
    Unsettled = UNSETTLED, "unsettled";
    Wasted = WASTED, "wasted";
}

/// The names of all points.
#[must_use]
pub fn crash_points() -> Vec<&'static str> {
    let pairs = [COMMITS, FILES, CALLS, ledger::CRASH_POINTS].concat();
    let pairs = pairs.into_iter().flat_map(|pair| [pair.before, pair.after]);
    pairs.chain([SENDING]).chain(output::CRASH_POINTS).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names = crash_points();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }

    #[test]
    fn a_commit_is_called_by_its_last_fact() {
        let ask = Action::CancelAsked { plan: 0 };
        let absent = Action::Absent {
            attempt: "a".to_owned(),
            assumed: false,
        };
        assert_eq!(around(&[ask, absent]).after, "commit.after_absent");
    }
}
