//! How requests that are sent again may differ from what their plan asks.

use serde::{Deserialize, Serialize};

use super::Shape;

/// What the requests of a chunk differ in from those of their plan's shape. It changes no request key: an
/// answer got so is the answer to the request that the plan asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// How many times they were asked again because an answer was invalid.
    #[serde(skip_serializing_if = "is_zero")]
    pub reasks: u32,
    /// How many times they were asked again with a higher limit of output.
    #[serde(skip_serializing_if = "is_zero")]
    pub growths: u32,
    /// How many times they failed in passing before, where the number of the round does not say it.
    #[serde(skip_serializing_if = "is_zero")]
    pub failures: u32,
    /// The model, where it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The most tokens that an answer may have, where it is another number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands on a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Variant {
    /// Whether the requests are those of the plan.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Variant::default()
    }
}

impl Shape {
    /// What requests of this shape share that are sent as `variant`.
    #[must_use]
    pub fn varied(&self, variant: &Variant) -> Shape {
        Shape {
            model: variant.model.clone().unwrap_or_else(|| self.model.clone()),
            max_output_tokens: variant.max_output_tokens.unwrap_or(self.max_output_tokens),
            ..self.clone()
        }
    }
}
