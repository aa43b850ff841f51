//! A request's body: what is wrong with it, and what must be kept of it.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::cache::{self, CacheOptions};
use super::embedding::{embedding_parts, is_embedder};
use super::parts::Parts;
use super::protocol::{CHAT, EMBEDDINGS, NAME};
use crate::emulator::prefix::Wanted;
use crate::emulator::problem::Problem;
use crate::emulator::record::{Request, Shape};
use crate::emulator::schema::{Verdicts, strict_complaint, told};
use crate::emulator::text::{
    Borrowed, Message, attached_tokens, draw_of_messages, tokens_of, turns_complaint,
};
use crate::emulator::world::body_hash;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "known to the vendor, and without meaning here")]
struct Chat<'a> {
    #[serde(borrow)]
    model: Option<Borrowed<'a>>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    max_completion_tokens: Option<i64>,
    max_tokens: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    n: Option<u32>,
    stream: Option<bool>,
    #[serde(borrow)]
    response_format: Option<ResponseFormat<'a>>,
    frequency_penalty: Option<IgnoredAny>,
    logit_bias: Option<IgnoredAny>,
    logprobs: Option<IgnoredAny>,
    metadata: Option<IgnoredAny>,
    modalities: Option<IgnoredAny>,
    moderation: Option<IgnoredAny>,
    parallel_tool_calls: Option<IgnoredAny>,
    prediction: Option<IgnoredAny>,
    presence_penalty: Option<IgnoredAny>,
    #[serde(borrow)]
    prompt_cache_key: Option<Borrowed<'a>>,
    #[serde(borrow)]
    prompt_cache_options: Option<CacheOptions<'a>>,
    prompt_cache_retention: Option<IgnoredAny>,
    reasoning_effort: Option<IgnoredAny>,
    safety_identifier: Option<IgnoredAny>,
    seed: Option<IgnoredAny>,
    service_tier: Option<IgnoredAny>,
    stop: Option<IgnoredAny>,
    store: Option<IgnoredAny>,
    stream_options: Option<IgnoredAny>,
    tool_choice: Option<IgnoredAny>,
    tools: Option<IgnoredAny>,
    top_logprobs: Option<IgnoredAny>,
    user: Option<IgnoredAny>,
    verbosity: Option<IgnoredAny>,
    web_search_options: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct ResponseFormat<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    json_schema: Option<JsonSchema<'a>>,
}

#[derive(Debug, Deserialize)]
struct JsonSchema<'a> {
    #[serde(borrow)]
    name: Option<Borrowed<'a>>,
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
    strict: Option<bool>,
}

/// Understands the body of a call to `endpoint`, as far as it can be.
pub(super) fn understand<'a>(
    raw: &'a str,
    custom_id: Cow<'a, str>,
    seed: u64,
    endpoint: &str,
    verdicts: &mut Verdicts,
) -> Request<'a> {
    let request = Request {
        custom_id,
        model: Cow::Borrowed(""),
        body: body_hash(NAME, endpoint, raw),
        draws: Vec::new(),
        input_tokens: 0,
        budget: u32::MAX,
        shape: Shape::Text,
        cache: Wanted::default(),
        problem: None,
    };
    let understood = match endpoint {
        CHAT => serde_json::from_str(raw).map(|chat| chat_parts(chat, seed, verdicts)),
        EMBEDDINGS => serde_json::from_str(raw).map(|body| embedding_parts(body, seed)),
        _ => {
            return Request {
                model: model_of(raw),
                problem: Some(not_served(endpoint)),
                ..request
            };
        }
    };
    match understood {
        Ok(parts) => Request {
            model: parts.model,
            draws: parts.draws,
            input_tokens: tokens_of(parts.bytes).max(1),
            budget: parts.budget,
            shape: parts.shape,
            cache: parts.cache,
            problem: parts.problem,
            ..request
        },
        // The model is part of the envelope; whatever else is wrong fails this request alone.
        Err(error) => Request {
            model: model_of(raw),
            problem: Some(said(&error)),
            ..request
        },
    }
}

/// Verdicts on schemas, for [`understand`].
pub(super) fn verdicts() -> Verdicts {
    Verdicts::new(strict_complaint)
}

/// The model that a body names, if nothing else can be understood.
fn model_of(raw: &str) -> Cow<'_, str> {
    #[derive(Deserialize)]
    struct Named<'a> {
        #[serde(borrow)]
        model: Option<Borrowed<'a>>,
    }
    let named: Option<Named<'_>> = serde_json::from_str(raw).ok();
    named
        .and_then(|named| named.model)
        .map_or(Cow::Borrowed(""), |model| model.0)
}

/// The endpoint exists at the vendor, and not here.
pub(super) fn not_served(endpoint: &str) -> Problem {
    Problem::invalid(format!("the sandbox does not serve {endpoint}"))
        .param("endpoint")
        .code("unsupported_value")
}

fn chat_parts<'a>(chat: Chat<'a>, seed: u64, verdicts: &mut Verdicts) -> Parts<'a> {
    let problem = chat_complaint(&chat, verdicts);
    let messages = chat.messages.unwrap_or_default();
    let budget = chat.max_completion_tokens.or(chat.max_tokens);
    let shape = match chat.response_format {
        Some(format) if format.r#type == "json_object" => Shape::Object,
        Some(ResponseFormat {
            json_schema:
                Some(JsonSchema {
                    schema: Some(schema),
                    ..
                }),
            ..
        }) => Shape::Schema(schema.get()),
        _ => messages
            .iter()
            .find(|message| ["system", "developer"].contains(&&*message.role))
            .and_then(|message| told(&message.content.text, &messages))
            .map_or(Shape::Text, Shape::Told),
    };
    let model = chat.model.map_or(Cow::Borrowed(""), |model| model.0);
    let key = chat.prompt_cache_key.as_ref().map(|key| &*key.0);
    let cache = cache::wanted(&model, &messages, (key, chat.prompt_cache_options.as_ref()));
    Parts {
        model,
        cache,
        draws: vec![draw_of_messages(seed, &messages)],
        bytes: messages
            .iter()
            .map(|message| message.content.text.len())
            .sum::<usize>()
            + 4 * attached_tokens(&messages) as usize,
        budget: budget
            .and_then(|budget| u32::try_from(budget).ok())
            .unwrap_or(u32::MAX),
        shape,
        problem,
    }
}

fn chat_complaint(chat: &Chat<'_>, verdicts: &mut Verdicts) -> Option<Problem> {
    let refuse = |text: &str, param, code| Some(Problem::invalid(text).param(param).code(code));
    if chat
        .model
        .as_ref()
        .is_some_and(|model| is_embedder(&model.0))
    {
        let text =
            "This is not a chat model and thus not supported in the v1/chat/completions endpoint.";
        return Some(Problem::new(404, "invalid_request_error", text).param("model"));
    }
    let Some(messages) = &chat.messages else {
        let code = "missing_required_parameter";
        return refuse("Missing required parameter: 'messages'.", "messages", code);
    };
    if messages.is_empty() {
        let text = "Invalid 'messages': empty array. Expected an array with minimum length 1.";
        return refuse(text, "messages", "empty_array");
    }
    for (at, message) in messages.iter().enumerate() {
        if !["developer", "system", "user", "assistant", "tool"].contains(&&*message.role) {
            let text = format!("Invalid value: '{}'.", message.role);
            return refuse(&text, &format!("messages[{at}].role"), "invalid_value");
        }
        for (part, one) in message.content.attached.iter().enumerate() {
            if let Some(why) = one.complaint(usize::MAX, usize::MAX) {
                let param = format!("messages[{at}].content[{part}]");
                return refuse(&why, &param, "invalid_value");
            }
        }
    }
    if let Some((at, why)) = turns_complaint(messages) {
        return refuse(why, &format!("messages[{at}]"), "invalid_value");
    }
    if chat.stream == Some(true) {
        return refuse(
            "The sandbox and the Batch API do not stream.",
            "stream",
            "unsupported_value",
        );
    }
    if chat.n.is_some_and(|n| n != 1) {
        return refuse("The sandbox gives one choice.", "n", "unsupported_value");
    }
    if chat
        .temperature
        .is_some_and(|value| !(0.0..=2.0).contains(&value))
    {
        let text = "Invalid 'temperature': expected a value between 0 and 2.";
        return refuse(text, "temperature", "decimal_above_max_value");
    }
    if let Some(problem) = budget_complaint(chat) {
        return Some(problem);
    }
    let model = chat.model.as_ref().map_or("", |model| &*model.0);
    let options = chat.prompt_cache_options.as_ref();
    if let Some((param, text)) = options.and_then(|options| options.complaint(model)) {
        return refuse(&text, param, "invalid_value");
    }
    chat.response_format
        .as_ref()
        .and_then(|format| format_complaint(format, messages, verdicts))
}

fn budget_complaint(chat: &Chat<'_>) -> Option<Problem> {
    let refuse = |text: &str, param, code| Some(Problem::invalid(text).param(param).code(code));
    let budgets = [
        ("max_completion_tokens", chat.max_completion_tokens),
        ("max_tokens", chat.max_tokens),
    ];
    if let [(_, Some(_)), (_, Some(_))] = budgets {
        let text =
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return refuse(text, "max_tokens", "invalid_parameter_combination");
    }
    if let Some((name, _)) = budgets
        .iter()
        .find(|(_, budget)| budget.is_some_and(|max| max < 1))
    {
        let text = format!("Invalid '{name}': integer below minimum value.");
        return refuse(&text, name, "integer_below_min_value");
    }
    None
}

fn format_complaint(
    format: &ResponseFormat<'_>,
    messages: &[Message<'_>],
    verdicts: &mut Verdicts,
) -> Option<Problem> {
    let refuse =
        |text: String, param: &str, code| Some(Problem::invalid(text).param(param).code(code));
    match &*format.r#type {
        "text" => return None,
        "json_object" => {
            let named =
                |message: &Message<'_>| message.content.text.to_lowercase().contains("json");
            let text = "'messages' must contain the word 'json' in some form, to use \
                        'response_format' of type 'json_object'.";
            return if messages.iter().any(named) {
                None
            } else {
                Some(Problem::invalid(text).param("messages"))
            };
        }
        "json_schema" => {}
        other => {
            let text = format!("Invalid value: '{other}'.");
            return refuse(text, "response_format.type", "invalid_value");
        }
    }
    let missing = |param: &str| {
        let text = format!("Missing required parameter: '{param}'.");
        refuse(text, param, "missing_required_parameter")
    };
    let Some(json_schema) = &format.json_schema else {
        return missing("response_format.json_schema");
    };
    let Some(Borrowed(name)) = &json_schema.name else {
        return missing("response_format.json_schema.name");
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(allowed) {
        let text = format!("Invalid 'response_format.json_schema.name': '{name}'.");
        return refuse(text, "response_format.json_schema.name", "invalid_value");
    }
    let Some(schema) = json_schema.schema else {
        return missing("response_format.json_schema.schema");
    };
    if json_schema.strict != Some(true) {
        return None;
    }
    let complaint = verdicts.of(schema.get())?;
    let text = format!("Invalid schema for response_format '{name}': {complaint}");
    refuse(text, "response_format", "invalid_json_schema")
}

/// The vendor's words for what the parser says.
fn said(error: &serde_json::Error) -> Problem {
    let text = error.to_string();
    match text
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    {
        Some((field, _)) => {
            let text = format!("Unknown parameter: '{field}'.");
            Problem::invalid(text)
                .param(field)
                .code("unknown_parameter")
        }
        None => Problem::invalid(format!("Invalid body: {text}")).code("invalid_type"),
    }
}
