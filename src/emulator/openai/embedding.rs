//! A body that asks for embeddings: what is wrong with it, and what must be kept of it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::parts::Parts;
use crate::emulator::prefix::Wanted;
use crate::emulator::problem::Problem;
use crate::emulator::record::Shape;
use crate::emulator::text::{Borrowed, draw_of, tokens_of};

/// The most inputs of one request, the most tokens of one of them, and of all together.
const INPUTS_MAX: usize = 2048;
const INPUT_TOKENS_MAX: u32 = 8192;
const TOKENS_MAX: u32 = 300_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "known to the vendor, and without meaning here")]
pub(super) struct Embeddings<'a> {
    #[serde(borrow)]
    model: Option<Borrowed<'a>>,
    #[serde(borrow)]
    input: Option<Input<'a>>,
    dimensions: Option<u32>,
    #[serde(borrow)]
    encoding_format: Option<Borrowed<'a>>,
    user: Option<IgnoredAny>,
}

/// A token list is kept as its JSON.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Input<'a> {
    #[serde(borrow)]
    One(Cow<'a, str>),
    Many(Vec<Cow<'a, str>>),
    Tokens(Vec<u64>),
    ManyTokens(Vec<Vec<u64>>),
}

/// Whether a model of the vendor's embeds, and does nothing else.
pub(super) fn is_embedder(model: &str) -> bool {
    model.starts_with("text-embedding-")
}

/// The length of a model's vectors, and whether a shorter one can be asked for.
fn native(model: &str) -> (u32, bool) {
    match model {
        "text-embedding-3-large" => (3072, true),
        "text-embedding-ada-002" => (1536, false),
        _ => (1536, true),
    }
}

/// What is kept of a body.
pub(super) fn embedding_parts(body: Embeddings<'_>, seed: u64) -> Parts<'_> {
    let model = body.model.map_or(Cow::Borrowed(""), |model| model.0);
    let tokens = |list: &Vec<u64>| Cow::Owned(serde_json::to_string(list).unwrap_or_default());
    let inputs: Vec<Cow<'_, str>> = match body.input {
        None => Vec::new(),
        Some(Input::One(text)) => vec![text],
        Some(Input::Many(texts)) => texts,
        Some(Input::Tokens(list)) => vec![tokens(&list)],
        Some(Input::ManyTokens(lists)) => lists.iter().map(tokens).collect(),
    };
    let format = body
        .encoding_format
        .as_ref()
        .map_or("float", |format| &*format.0);
    let dimensions = body.dimensions.unwrap_or(native(&model).0);
    let base64 = format == "base64";
    let problem = complaint(&model, &inputs, body.dimensions).or_else(|| {
        let known = base64 || format == "float";
        let wrong = || Problem::invalid(format!("Invalid value: '{format}'."));
        (!known).then(|| wrong().param("encoding_format"))
    });
    Parts {
        draws: inputs.iter().map(|input| draw_of(seed, input)).collect(),
        bytes: inputs.iter().map(|input| input.len()).sum(),
        model,
        budget: u32::MAX,
        shape: Shape::Vectors { dimensions, base64 },
        cache: Wanted::default(),
        problem,
    }
}

fn complaint(model: &str, inputs: &[Cow<'_, str>], dimensions: Option<u32>) -> Option<Problem> {
    let refuse = |text: String, param: &str| Some(Problem::invalid(text).param(param));
    if ["gpt-", "o3", "o4-"]
        .iter()
        .any(|chat| model.starts_with(chat))
    {
        let text = "You are not allowed to generate embeddings from this model";
        return Some(Problem::new(403, "invalid_request_error", text));
    }
    if inputs.is_empty() || inputs.iter().any(|input| input.is_empty()) {
        return refuse("'$.input' is invalid: empty input.".into(), "input");
    }
    if inputs.len() > INPUTS_MAX {
        let text = format!("'$.input' is invalid: at most {INPUTS_MAX} inputs.");
        return refuse(text, "input");
    }
    let tokens = inputs.iter().map(|input| tokens_of(input.len()));
    if let Some(most) = tokens.clone().max().filter(|most| *most > INPUT_TOKENS_MAX) {
        let text = format!(
            "This model's maximum context length is {INPUT_TOKENS_MAX} tokens, however you requested \
             {most} tokens. Please reduce your prompt."
        );
        return refuse(text, "input");
    }
    if tokens.sum::<u32>() > TOKENS_MAX {
        let text =
            format!("Requested more than {TOKENS_MAX} tokens, max {TOKENS_MAX} tokens per request");
        return refuse(text, "input").map(|problem| problem.code("max_tokens_per_request"));
    }
    let (native, shortens) = native(model);
    match dimensions {
        Some(_) if !shortens => {
            let text = "This model does not support specifying dimensions.";
            refuse(text.into(), "dimensions")
        }
        Some(asked) if asked == 0 || asked > native => {
            let text = format!(
                "Invalid value for 'dimensions' = {asked}. Must be less than or equal to {native}."
            );
            refuse(text, "dimensions")
        }
        _ => None,
    }
}
