//! What the dialect refuses, as a sandbox can be told.

use std::time::Duration;

use crate::emulator::account::{AccountLimits, TokensRefusal};

/// The limits of `OpenAI`'s Files and Batches.
#[derive(Clone, Debug)]
pub struct OpenAiLimits {
    /// Requests in one file; for embeddings, inputs as well.
    pub requests_max: u64,
    /// Bytes of a batch's file.
    pub file_bytes_max: u64,
    /// Bytes of an online call's body.
    pub online_bytes_max: u64,
    /// Prompt tokens of one model in all batches that have not ended; none is no limit.
    pub enqueued_tokens_max: Option<u64>,
    /// How a batch over that limit is refused.
    pub enqueued_tokens_refusal: TokensRefusal,
    /// Batches created in one hour; none is no limit.
    pub batches_per_hour_max: Option<u64>,
    /// Files uploaded in one minute; none is no limit.
    pub uploads_per_minute_max: Option<u64>,
    /// Uploaded files that are kept at once; none is no limit.
    pub files_max: Option<u64>,
    /// How long output files are kept, from the batch's end.
    pub results_kept: Duration,
    /// Batches on one page of a list.
    pub page_max: u64,
    /// Files on one page of a list.
    pub file_page_max: u64,
}

impl Default for OpenAiLimits {
    fn default() -> Self {
        OpenAiLimits {
            requests_max: 50_000,
            file_bytes_max: 200_000_000,
            online_bytes_max: 32_000_000,
            enqueued_tokens_max: None,
            enqueued_tokens_refusal: TokensRefusal::default(),
            batches_per_hour_max: None,
            uploads_per_minute_max: None,
            files_max: None,
            results_kept: Duration::from_hours(30 * 24),
            page_max: 100,
            file_page_max: 10_000,
        }
    }
}

impl OpenAiLimits {
    /// Takes over those of `limits` that the dialect knows.
    pub(crate) fn limit(&mut self, limits: AccountLimits) {
        self.enqueued_tokens_max = limits.enqueued_tokens;
        self.enqueued_tokens_refusal = limits.enqueued_tokens_refusal;
        self.batches_per_hour_max = limits.batches_per_hour;
        self.uploads_per_minute_max = limits.uploads_per_minute;
        self.files_max = limits.files;
    }
}
