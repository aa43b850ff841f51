//! What the dialect refuses, as a sandbox can be told.

use std::time::Duration;

use crate::emulator::account::AccountLimits;

/// The limits of Anthropic's Message Batches.
#[derive(Clone, Debug)]
pub struct AnthropicLimits {
    /// Requests in one batch.
    pub requests_max: u64,
    /// Bytes of a create call's body.
    pub body_bytes_max: u64,
    /// Bytes of an online call's body.
    pub online_bytes_max: u64,
    /// Requests in all batches that have not ended; none is no limit.
    pub queue_requests_max: Option<u64>,
    /// Calls to all batch endpoints together, in one minute; none is no limit.
    pub calls_per_minute_max: Option<u64>,
    /// How long results are kept, from the batch's creation.
    pub results_kept: Duration,
    /// Batches on one page of a list.
    pub page_max: u64,
}

impl Default for AnthropicLimits {
    fn default() -> Self {
        AnthropicLimits {
            requests_max: 100_000,
            body_bytes_max: 256_000_000,
            online_bytes_max: 32_000_000,
            queue_requests_max: None,
            calls_per_minute_max: None,
            results_kept: Duration::from_hours(29 * 24),
            page_max: 1000,
        }
    }
}

impl AnthropicLimits {
    /// Takes over those of `limits` that the dialect knows.
    pub(crate) fn limit(&mut self, limits: AccountLimits) {
        self.queue_requests_max = limits.queue_requests;
        self.calls_per_minute_max = limits.calls_per_minute;
    }
}
