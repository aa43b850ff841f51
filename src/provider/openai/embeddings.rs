//! Requests for embeddings: several texts in one request, whose vectors come back as base64.

use serde_json::{Map, Value, json};

use crate::base::{Error, Result};
use crate::provider::Embeddings;
use crate::provider::frame::{contradiction, refuse};
use crate::work::embedding::EmbeddingModel;
use crate::work::{AnswerType, LineLimits, Shape};

/// Parameters that the job sets elsewhere.
const REFUSED: [(&str, &str); 3] = [
    ("model", "the model is set by [model] use"),
    ("input", "the input is made from [prompt] user"),
    ("stream", "a batch does not stream"),
];

/// How vectors come: as base64, a quarter of what their numbers take as text.
const FORMAT: &str = "encoding_format";
/// How long they are, where they are to be shorter than the model makes them.
const DIMENSIONS: &str = "dimensions";

/// Bytes that the answer to one request may have: what is held while it is read, of several batches at a
/// time. As text its numbers take four times as much.
const ANSWER_MAX: u64 = 1_000_000;
/// Bytes of one number in base64, in thirds.
const NUMBER_THIRDS: u64 = 16;

/// What a request of `shape` may carry, for an answer that is not too large to be held.
pub(super) fn line(embeddings: &Embeddings, shape: &Shape) -> LineLimits {
    let numbers = u64::from(shape.answer.dimensions().unwrap_or(1));
    let fit = ANSWER_MAX * 3 / (numbers * NUMBER_THIRDS).max(1);
    LineLimits {
        inputs_max: embeddings.line.inputs_max.min(fit).max(1),
        ..embeddings.line
    }
}

/// Whether nothing of a request that embeds can be wrong but its model's name: what is known of the model
/// says how long its vectors are, and no other length is asked for. Of what embeds nothing, there is
/// nothing to say here.
pub(super) fn is_plain(shape: &Shape) -> bool {
    match shape.answer {
        AnswerType::Embedding { shortened, .. } => {
            !shortened && EmbeddingModel::of(&shape.model).is_some()
        }
        _ => true,
    }
}

/// The body of a request that embeds `text`.
///
/// # Errors
/// `Invalid` if a parameter of the job contradicts what we set, or an instruction is given, which no
/// embedding has.
pub(super) fn body(shape: &Shape, text: &str) -> Result<Map<String, Value>> {
    refuse(&shape.params, &REFUSED)?;
    if shape.system.is_some() || shape.temperature.is_some() {
        return Err(Error::internal(
            "an embedding is asked for with instructions",
        ));
    }
    let mut body = shape.params.clone();
    match body.get(FORMAT).map(|format| format.as_str()) {
        None => {
            body.insert(FORMAT.to_owned(), json!("base64"));
        }
        Some(Some("base64" | "float")) => {}
        Some(_) => {
            let why = "vectors are read as `base64`, which is the default, or as `float`";
            return Err(contradiction(FORMAT, why));
        }
    }
    let dimensions = shape.answer.dimensions();
    if body
        .get(DIMENSIONS)
        .is_some_and(|asked| asked.as_u64() != dimensions.map(u64::from))
    {
        return Err(contradiction(
            DIMENSIONS,
            "[answer] dimensions says how long the vectors are",
        ));
    }
    if let AnswerType::Embedding {
        dimensions,
        shortened: true,
    } = shape.answer
    {
        body.insert(DIMENSIONS.to_owned(), json!(dimensions));
    }
    body.insert("model".to_owned(), json!(shape.model));
    body.insert("input".to_owned(), json!([text]));
    Ok(body)
}
