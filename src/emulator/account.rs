//! What an account may have, whatever the dialect.

/// What an account may have in any dialect; none is no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct AccountLimits {
    /// Prompt tokens of one model in all batches that have not ended.
    pub enqueued_tokens: Option<u64>,
    /// How a batch over that limit is refused.
    pub enqueued_tokens_refusal: TokensRefusal,
    /// Requests in all batches that have not ended.
    pub queue_requests: Option<u64>,
    /// Batches created in one hour.
    pub batches_per_hour: Option<u64>,
    /// Calls to the batch endpoints in one minute.
    pub calls_per_minute: Option<u64>,
    /// Files uploaded in one minute.
    pub uploads_per_minute: Option<u64>,
    /// Uploaded files that are kept at once.
    pub files: Option<u64>,
}

/// How a vendor says that a batch's tokens do not fit beside those that run. All three are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokensRefusal {
    /// The batch is created, and fails validation.
    #[default]
    FailedBatch,
    /// The creating call is answered with 400.
    BadRequest,
    /// The creating call is answered with 429.
    TooManyRequests,
}
