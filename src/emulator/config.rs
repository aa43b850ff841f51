//! What a sandbox can be told.

use std::path::PathBuf;
use std::time::Duration;

use super::Faults;
use super::account::AccountLimits;
use super::anthropic::AnthropicLimits;
use super::openai::OpenAiLimits;

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

impl SandboxConfig {
    /// The same, with `limits` in the dialects that know them.
    #[must_use]
    pub fn limited(mut self, limits: AccountLimits) -> Self {
        self.anthropic.limit(limits);
        self.openai.limit(limits);
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
