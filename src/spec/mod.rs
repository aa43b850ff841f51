//! The job: what the user wrote, and what holds afterwards.
//!
//! ```text
//! job file ── file ──┐
//! --set, flags ──────┴── Draft ── resolve ──► Job ── fingerprints
//!                                    └──► Mistakes: all of them, each with its line
//! ```
//!
//! [`Draft`] is close to the text and believes nothing. [`Job`] is what the program uses: paths
//! are absolute, defaults filled in, files read. In between everything is checked that can be
//! checked without the data: unknown keys, keys of a later version, types, names, and whether the
//! output, the source and the ledger lie apart.

mod address;
mod answer;
mod choices;
pub(crate) mod defaults;
mod digest;
mod draft;
mod embedding;
mod fields;
mod file;
mod fill;
mod job;
mod keys;
mod mistake;
mod model;
mod output;
mod prompt;
mod reader;
mod reask;
mod resolve;
mod source;
mod surroundings;
#[cfg(test)]
mod tests;
mod unknown_keys;
mod unused;

pub use answer::one_value;
pub use digest::Fingerprints;
pub use draft::{Draft, FlagValue};
pub use job::{
    AmbiguousPolicy, AnswerSpec, BudgetSpec, CacheSetting, EmbeddingSpec, ExamplesTable, Job,
    LayoutSpec, LedgerSpec, MaxFailed, Meta, Mode, ModelSpec, OutputSpec, PromptSpec, SourceInput,
    SourceSpec,
};
pub use mistake::{Excerpt, Mistake, MistakeAt, Mistakes};
pub use prompt::EXAMPLES_MAX;
pub use reader::parse_bytes;
pub use surroundings::Surroundings;
