//! What an answer must be, and whether what came back is one.
//!
//! ```text
//!  [answer] fields ──┐
//!  JSON Schema ──────┴─► AnswerType ──► schema()   what the provider is asked for
//!                             │
//!                             ├───────► value()    the type of the column   value_type.rs
//!                             └───────► Judge      what came back, checked  reader.rs
//! ```

mod constraints;
mod example;
mod fields;
mod json_answer;
mod json_schema;
mod judge;
mod reader;
mod type_name;
mod value_type;

use serde::{Deserialize, Serialize};

use crate::base::{Json, Result};

pub use fields::{FieldSpec, of_fields};
pub use json_answer::JsonAnswer;
pub use judge::Judge;
pub use reader::Misfit;
pub use value_type::{Kind, ValueType};

/// The type of the new column. Part of every request key: what is new stands there only where a job uses it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum AnswerType {
    /// Whatever the model says, byte for byte.
    Text,
    /// One of these words. Compared without case, stored as written here.
    Choice {
        /// The words.
        choices: Vec<String>,
    },
    /// A value of a JSON Schema.
    Json(JsonAnswer),
}

impl AnswerType {
    /// One of `choices`.
    #[must_use]
    pub fn choice(choices: Vec<String>) -> Self {
        AnswerType::Choice { choices }
    }

    /// The JSON Schema to ask the provider for, where the answer is not free text: always of an object. Which
    /// words of it a vendor takes is the vendor's to know.
    #[must_use]
    pub fn schema(&self) -> Option<Json> {
        match self {
            AnswerType::Text => None,
            AnswerType::Choice { choices } => {
                let words = choices.iter().cloned().map(Json::Text).collect();
                Some(json_answer::wrapped(&Json::Map(vec![
                    ("type".into(), Json::Text("string".into())),
                    ("enum".into(), Json::List(words)),
                ])))
            }
            AnswerType::Json(answer) => Some(answer.asked()),
        }
    }

    /// What the values of the column are; `None` if they are texts, which the ledger keeps as they are and
    /// not as JSON.
    ///
    /// # Errors
    /// `Invalid` if a schema says no type.
    pub fn value(&self) -> Result<Option<ValueType>> {
        match self {
            AnswerType::Text | AnswerType::Choice { .. } => Ok(None),
            AnswerType::Json(answer) => Ok(Some(answer.types()?.value)),
        }
    }
}
