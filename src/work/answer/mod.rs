//! What an answer must be, and whether what came back is one.
//!
//! ```text
//!  [answer] fields ──┐
//!  JSON Schema ──────┴─► AnswerType ──► schema()   what the provider is asked for
//!                             │
//!                             ├───────► value()    the type of the column   value_type.rs
//!                             └───────► Judge      what came back, checked  reader.rs
//! ```

mod asked;
mod choice;
mod constraints;
mod example;
mod fields;
mod json_answer;
mod json_schema;
mod judge;
mod openapi;
mod reader;
mod subschemas;
mod type_name;
mod value_type;
mod vectors;
mod wrapper;

use serde::{Deserialize, Serialize};

use crate::base::{Json, Result};

pub use asked::{Asked, holds_json};
pub use choice::{ChoiceAnswer, Other, Several};
pub use fields::{FieldSpec, of_fields};
pub use json_answer::JsonAnswer;
pub use json_schema::without_titles;
pub use judge::Judge;
pub use openapi::of_today;
pub use reader::Misfit;
pub use value_type::{Kind, ValueType};
pub use vectors::{LineInputs, floats};

/// The type of the new column. Part of every request key: what is new stands there only where a job uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AnswerType {
    /// Whatever the model says, byte for byte.
    Text,
    /// The same, no longer than the job allows.
    BoundedText(TextBounds),
    /// One of some words, or several.
    Choice(ChoiceAnswer),
    /// A value of a JSON Schema.
    Json(JsonAnswer),
    /// The text's embedding: a vector.
    Embedding {
        /// How many numbers it has.
        dimensions: u32,
        /// Whether it is asked to have so many, which is fewer than the model makes of itself.
        shortened: bool,
    },
}

/// How long a text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextBounds {
    /// At most so many characters, which are Unicode's.
    pub max_chars: u64,
    /// Whether blanks around it count as none of them, for the column has it without.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trimmed: bool,
}

impl AnswerType {
    /// One of `choices`.
    #[must_use]
    pub fn choice(choices: Vec<String>) -> Self {
        AnswerType::Choice(ChoiceAnswer {
            choices,
            ..ChoiceAnswer::default()
        })
    }

    /// The JSON Schema to ask the provider for, where it takes one and the answer is not free text: always of
    /// an object. Which words of it a vendor takes is the vendor's to know.
    #[must_use]
    pub fn schema(&self) -> Option<Json> {
        self.told().filter(|_| self.asked() == Asked::Schema)
    }

    /// The same, whichever way the model is told of it.
    #[must_use]
    pub fn told(&self) -> Option<Json> {
        match self {
            AnswerType::Text | AnswerType::BoundedText(_) | AnswerType::Embedding { .. } => None,
            AnswerType::Choice(answer) => Some(wrapper::wrapped(&answer.schema())),
            AnswerType::Json(answer) => Some(answer.told()),
        }
    }

    /// What the system prompt ends with, where the model is told so what its answer must be.
    #[must_use]
    pub fn instructions(&self) -> Option<String> {
        let schema = self.told().filter(|_| self.asked() == Asked::Prompt)?;
        Some(asked::instructions(&schema))
    }

    /// How the model is told what its answer must be.
    #[must_use]
    pub fn asked(&self) -> Asked {
        match self {
            AnswerType::Text | AnswerType::BoundedText(_) | AnswerType::Embedding { .. } => {
                Asked::default()
            }
            AnswerType::Choice(answer) => answer.asked,
            AnswerType::Json(answer) => answer.asked,
        }
    }

    /// The same answer, of which the model is told so.
    #[must_use]
    pub fn asked_by(mut self, how: Asked) -> Self {
        match &mut self {
            AnswerType::Text | AnswerType::BoundedText(_) | AnswerType::Embedding { .. } => {}
            AnswerType::Choice(answer) => answer.asked = how,
            AnswerType::Json(answer) => answer.asked = how,
        }
        self
    }

    /// What the values of the column are; `None` if they are texts or vectors, which the ledger keeps as
    /// they are and not as JSON.
    ///
    /// # Errors
    /// `Invalid` if a schema says no type.
    pub fn value(&self) -> Result<Option<ValueType>> {
        match self {
            AnswerType::Text | AnswerType::BoundedText(_) | AnswerType::Embedding { .. } => {
                Ok(None)
            }
            AnswerType::Choice(answer) => Ok(answer.value()),
            AnswerType::Json(answer) => Ok(Some(answer.types()?.value)),
        }
    }

    /// How many numbers a vector has, where the answer is one.
    #[must_use]
    pub fn dimensions(&self) -> Option<u32> {
        match self {
            AnswerType::Embedding { dimensions, .. } => Some(*dimensions),
            _ => None,
        }
    }
}
