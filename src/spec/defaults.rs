//! What a job file means that does not say it: every default of a setting, once. `README.md` and
//! `--help` tell some of them; a test holds their words against these.

use std::time::Duration;

use super::job::{AmbiguousPolicy, MaxFailed, Meta, Mode};

/// `answer.meta`
pub(crate) const META: Meta = Meta::Minimal;
/// `budget.max_failed`
pub(crate) const MAX_FAILED: MaxFailed = MaxFailed::Rows(0);
/// `ledger.keep_prompts`
pub(crate) const KEEP_PROMPTS: bool = true;
/// `ledger.lease`
pub(crate) const LEASE: Duration = Duration::from_mins(1);
/// `ledger.on_ambiguous`
pub(crate) const ON_AMBIGUOUS: AmbiguousPolicy = AmbiguousPolicy::Wait;
/// `ledger.settle`
pub(crate) const SETTLE: Duration = Duration::from_mins(10);
/// `model.max_output_tokens` for text: room for a paragraph.
pub(crate) const TEXT_TOKENS: u32 = 1024;
/// `model.max_output_tokens` for choices: room for one in its JSON, with much to spare.
pub(crate) const CHOICE_TOKENS: u32 = 256;
/// `model.mode`
pub(crate) const MODE: Mode = Mode::Batch;
/// `model.poll_min`
pub(crate) const POLL_MIN: Duration = Duration::from_secs(2);
/// `model.poll_max`
pub(crate) const POLL_MAX: Duration = Duration::from_mins(5);
/// `output.overwrite`
pub(crate) const OVERWRITE: bool = false;
/// `prompt.dedupe`
pub(crate) const DEDUPE: bool = true;
/// `source.seed`
pub(crate) const SEED: u64 = 0;
