//! The part of JSON Schema that Anthropic's structured outputs take.

use crate::base::{Json, Result};
use crate::provider::schema::{Dialect, reduce};
use crate::work::AnswerType;

const FORMAT: Dialect = Dialect {
    keywords: &["default"],
    formats: &[
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "uri",
        "ipv4",
        "ipv6",
        "uuid",
    ],
    all_required: false,
    recursion: false,
    typed_enums: false,
    optional_max: 24,
    unions_max: 16,
    depth_max: usize::MAX,
    properties_max: usize::MAX,
    enum_values_max: usize::MAX,
    long_enum: None,
    chars_max: usize::MAX,
    knows_pattern: is_simple,
};

/// Neither a look around, nor a word's border, nor a count of repeats.
fn is_simple(pattern: &str) -> bool {
    !["(?", "\\b", "\\B", "{"]
        .iter()
        .any(|part| pattern.contains(part))
}

/// The schema of `answer` as Anthropic takes it.
///
/// # Errors
/// `Invalid` if it cannot be said so.
pub(super) fn wire(answer: &AnswerType) -> Result<Option<Json>> {
    let schema = answer.schema();
    schema.map(|schema| reduce(&schema, &FORMAT)).transpose()
}
