//! What the columns are called that say how each answer came about: `<column>_<ending>`.

/// With `meta = "minimal"`, and before all others with `"full"`.
pub const MINIMAL: [&str; 2] = ["status", "error"];

/// With `meta = "full"`.
pub const FULL: [&str; 13] = [
    "key",
    "model",
    "finish",
    "input_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
    "cost_usd",
    "batch",
    "attempts",
    "answered_at",
    "raw",
];

/// The name of the column of `column` that ends so.
#[must_use]
pub fn name(column: &str, ending: &str) -> String {
    format!("{column}_{ending}")
}
