//! How things are told: progress while it goes on, results and errors in words and as JSON.

mod bars;
pub(super) mod console;
pub(super) mod diagnose;
pub(super) mod json;
pub(super) mod progress;
pub(super) mod resume;
mod stderr;
pub(super) mod summary;
pub(super) mod words;
