//! What a process has seen that the ledger does not hold: plain data, to decide by.

use std::collections::{BTreeMap, BTreeSet};

use crate::work::progress::Planned;

/// What a process has seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    /// What the plan has made of the rows so far.
    pub planned: Planned,
    /// Requests that are done, by attempt, as the provider counts.
    pub done: BTreeMap<String, u64>,
    /// Attempts whose batch has ended, and whose results do not come.
    pub late: BTreeSet<String>,
}
