//! The job file: what the user wrote, and what holds afterwards.

mod job;

pub use job::{
    AmbiguousPolicy, AnswerSpec, BudgetSpec, Job, LayoutSpec, LedgerSpec, MaxFailed, Meta, Mode,
    ModelSpec, OutputSpec, PromptSpec, SourceInput, SourceSpec,
};
