//! The part of JSON Schema that `OpenAI`'s strict mode takes (guide "Structured model outputs").

use crate::base::{Json, Result};
use crate::provider::schema::{Dialect, reduce};
use crate::work::AnswerType;

const STRICT: Dialect = Dialect {
    keywords: &[
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minItems",
        "maxItems",
    ],
    formats: &[
        "date-time",
        "time",
        "date",
        "duration",
        "email",
        "hostname",
        "ipv4",
        "ipv6",
        "uuid",
    ],
    all_required: true,
    recursion: true,
    typed_enums: true,
    optional_max: 0,
    unions_max: usize::MAX,
    depth_max: 10,
    properties_max: 5000,
    enum_values_max: 1000,
    long_enum: Some((250, 15_000)),
    chars_max: 120_000,
    knows_pattern: |_| true,
};

/// The schema of `answer` as `OpenAI` takes it.
///
/// # Errors
/// `Invalid` if it cannot be said so.
pub(super) fn wire(answer: &AnswerType) -> Result<Option<Json>> {
    let schema = answer.schema();
    schema.map(|schema| reduce(&schema, &STRICT)).transpose()
}
