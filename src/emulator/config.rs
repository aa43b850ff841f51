//! What a sandbox can be told.

use std::path::PathBuf;
use std::time::Duration;

use super::Faults;

/// The settings of a sandbox. The default is the real vendors' behaviour, but quick.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Decides answers, ids, orders, times and faults.
    pub seed: u64,
    /// The shortest and the longest time from a batch's creation to its end. A batch that would
    /// take longer than the vendor's 24 hours expires.
    pub batch_time: (Duration, Duration),
    /// Batches end at once. For benchmarks.
    pub instant: bool,
    /// Whether uploaded files can be read back. Off saves their size on disk.
    pub keep_uploads: bool,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// Where files, batches and the bill live on. A temporary folder if there is none.
    pub state_dir: Option<PathBuf>,
    /// What the Anthropic dialect refuses.
    pub anthropic: AnthropicLimits,
    /// What the `OpenAI` dialect refuses.
    pub openai: OpenAiLimits,
}

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

impl SandboxConfig {
    /// The same, with `limits` in the dialects that know them.
    #[must_use]
    pub fn limited(mut self, limits: AccountLimits) -> Self {
        self.anthropic.queue_requests_max = limits.queue_requests;
        self.anthropic.calls_per_minute_max = limits.calls_per_minute;
        self.openai.enqueued_tokens_max = limits.enqueued_tokens;
        self.openai.enqueued_tokens_refusal = limits.enqueued_tokens_refusal;
        self.openai.batches_per_hour_max = limits.batches_per_hour;
        self.openai.uploads_per_minute_max = limits.uploads_per_minute;
        self.openai.files_max = limits.files;
        self
    }
}

impl Default for SandboxConfig {
    fn default() -> Self {
        SandboxConfig {
            seed: 0,
            batch_time: (Duration::from_secs(1), Duration::from_secs(3)),
            instant: false,
            keep_uploads: true,
            faults: Faults::default(),
            state_dir: None,
            anthropic: AnthropicLimits::default(),
            openai: OpenAiLimits::default(),
        }
    }
}

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
            results_kept: days(29),
            page_max: 1000,
        }
    }
}

/// How `OpenAI` says that a batch's tokens do not fit beside those that run. All three are seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokensRefusal {
    /// The batch is created, and fails validation with `token_limit_exceeded`.
    #[default]
    FailedBatch,
    /// The creating call is answered with 400.
    BadRequest,
    /// The creating call is answered with 429.
    TooManyRequests,
}

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
            results_kept: days(30),
            page_max: 100,
            file_page_max: 10_000,
        }
    }
}

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3600)
}
