//! The limits within which a run works.

use super::again::AgainRule;
use super::cache::CachePolicy;
use super::queue::Queue;

/// Bodies that are uploaded at the same time.
pub(crate) const SUBMITS_MAX: usize = 2;
/// Batches that are looked at or landed at the same time.
pub(crate) const POLLS_MAX: usize = 4;
/// Times that a request is sent, in all.
pub(crate) const SENDS_MAX: u32 = 3;

/// The limits within which the engine works.
#[derive(Clone, Debug)]
pub(crate) struct RunLimits {
    /// Bodies that are uploaded at the same time.
    pub submits_max: usize,
    /// Batches that are looked at, or landed, at the same time.
    pub polls_max: usize,
    /// Times that a request is sent, in all, where it fails in passing.
    pub sends_max: u32,
    /// What else is asked again.
    pub again: AgainRule,
    /// Whether chunks may be sent at all; harvesting goes on in any case.
    pub may_submit: bool,
    /// Whether an output with rows that nobody can settle is published, those rows `pending`.
    pub publish_partial: bool,
    /// Whether open batches are canceled when the run is asked to stop.
    pub cancel_on_interrupt: bool,
    /// The provider's queue.
    pub queue: Queue,
    /// The provider's prompt cache.
    pub cache: CachePolicy,
}

impl RunLimits {
    /// How the provider's cache is used, and by which account.
    pub(crate) fn cached(&self) -> (&CachePolicy, &str) {
        (&self.cache, &self.queue.account)
    }
}
