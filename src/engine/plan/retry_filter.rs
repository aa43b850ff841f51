//! What of a plan a person wants to be asked again.

use std::collections::BTreeSet;

use crate::ledger::state::State;
use crate::work::RowStatus;

/// What of one plan is to be asked anew.
#[derive(Debug, Default)]
pub(crate) struct RetryFilter {
    statuses: BTreeSet<RowStatus>,
    requests: BTreeSet<u64>,
}

impl RetryFilter {
    /// What people asked for of `plan` before the plan `next` was begun: what is asked for while that
    /// looks at its rows is for the one after it, for a plan that is gone on with must find what it
    /// found before.
    pub(crate) fn of(state: &State, plan: u64, next: u64) -> RetryFilter {
        let mut retry_filter = RetryFilter::default();
        let meant = plan..next;
        let asked = state.retries.iter();
        for asked in asked.filter(|asked| meant.contains(&asked.plan)) {
            retry_filter.statuses.extend(&asked.statuses);
            let requests = asked.requests.iter().filter(|place| place.plan == plan);
            retry_filter
                .requests
                .extend(requests.map(|place| place.ordinal));
        }
        retry_filter
    }

    /// Whether the request `ordinal`, of which `status` came back, is asked anew. What was answered
    /// never is.
    pub(crate) fn holds(&self, ordinal: u64, status: RowStatus) -> bool {
        status.is_failure() && (self.statuses.contains(&status) || self.requests.contains(&ordinal))
    }
}
