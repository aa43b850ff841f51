//! A request's parameters: what is wrong with them, and what must be kept of them.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::cache::{Rendered, TopMark};
use super::protocol::{MESSAGES, NAME, Version, not_found};
use crate::emulator::attached::Kind;
use crate::emulator::prefix::Wanted;
use crate::emulator::problem::Problem;
use crate::emulator::record::{Request, Shape};
use crate::emulator::schema::{Verdicts, plain_complaint, told};
use crate::emulator::text::{
    Borrowed, Content, Message, attached_tokens, draw_of_messages, tokens_of, turns_complaint,
};
use crate::emulator::world::body_hash;

/// Where the parameters stand; each endpoint has rules of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Batch,
    Counting,
    Online,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "known to the vendor, and without meaning here")]
struct Params<'a> {
    #[serde(borrow)]
    model: Option<Borrowed<'a>>,
    max_tokens: Option<i64>,
    #[serde(borrow)]
    messages: Option<Vec<Message<'a>>>,
    #[serde(borrow)]
    system: Option<Content<'a>>,
    #[serde(borrow)]
    output_config: Option<OutputConfig<'a>>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<f64>,
    speed: Option<IgnoredAny>,
    fallbacks: Option<IgnoredAny>,
    #[serde(borrow)]
    cache_control: Option<TopMark<'a>>,
    container: Option<IgnoredAny>,
    diagnostics: Option<IgnoredAny>,
    inference_geo: Option<IgnoredAny>,
    metadata: Option<IgnoredAny>,
    service_tier: Option<IgnoredAny>,
    stop_sequences: Option<IgnoredAny>,
    thinking: Option<IgnoredAny>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    tool_choice: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    format: Option<Format<'a>>,
    #[expect(dead_code, reason = "known to the vendor, and without meaning here")]
    effort: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format<'a> {
    #[serde(borrow)]
    r#type: Cow<'a, str>,
    #[serde(borrow)]
    schema: &'a RawValue,
}

/// Understands parameters, as far as they can be.
pub(super) fn understand<'a>(
    raw: &'a str,
    custom_id: Cow<'a, str>,
    seed: u64,
    (version, endpoint): (Version, Endpoint),
    verdicts: &mut Verdicts,
) -> Request<'a> {
    let body = body_hash(NAME, MESSAGES, raw);
    let params: Params<'a> = match serde_json::from_str(raw) {
        Ok(params) => params,
        Err(error) => return broken(custom_id, body, Some(Problem::invalid(said(&error)))),
    };
    let rendered = rendered(&params);
    let problem = complaint(&params, (version, endpoint), verdicts)
        .or_else(|| rendered.complaint().map(Problem::invalid));
    let cache = rendered.wanted();
    let messages = params.messages.unwrap_or_default();
    let texts = messages.iter().map(|message| message.content.text.len());
    let system = params.system.as_ref().map_or("", |system| &*system.text);
    let shape = match params.output_config.and_then(|config| config.format) {
        Some(format) => Shape::Schema(format.schema.get()),
        None => told(system, &messages).map_or(Shape::Text, Shape::Told),
    };
    Request {
        model: params.model.map_or(Cow::Borrowed(""), |model| model.0),
        draws: vec![draw_of_messages(seed, &messages)],
        input_tokens: (tokens_of(texts.sum::<usize>() + system.len()) + attached_tokens(&messages))
            .max(1),
        budget: params
            .max_tokens
            .and_then(|max| u32::try_from(max).ok())
            .unwrap_or(u32::MAX),
        shape,
        cache,
        problem,
        ..broken(custom_id, body, None)
    }
}

/// What the prompt is made of.
fn rendered<'a, 'p>(params: &'a Params<'p>) -> Rendered<'a, 'p> {
    let config = params.output_config.as_ref();
    let format = config.and_then(|config| config.format.as_ref());
    Rendered {
        model: params.model.as_ref().map_or("", |model| &model.0),
        tools: params.tools.map(RawValue::get),
        schema: format.map(|format| format.schema.get()),
        system: params.system.as_ref(),
        messages: params.messages.as_deref().unwrap_or_default(),
        top: params.cache_control.as_ref(),
    }
}

fn broken(custom_id: Cow<'_, str>, body: u64, problem: Option<Problem>) -> Request<'_> {
    Request {
        custom_id,
        model: Cow::Borrowed(""),
        body,
        draws: Vec::new(),
        input_tokens: 0,
        budget: 0,
        shape: Shape::Text,
        cache: Wanted::default(),
        problem,
    }
}

/// The vendor's words for what the parser says.
fn said(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text
        .strip_prefix("unknown field `")
        .and_then(|rest| rest.split_once('`'))
    {
        Some((field, _)) => format!("{field}: Extra inputs are not permitted"),
        None => format!("params: {text}"),
    }
}

/// Verdicts on schemas, for [`understand`].
pub(super) fn verdicts() -> Verdicts {
    Verdicts::new(plain_complaint)
}

fn complaint(
    params: &Params<'_>,
    (version, endpoint): (Version, Endpoint),
    verdicts: &mut Verdicts,
) -> Option<Problem> {
    let model = params.model.as_ref().map_or("", |model| &model.0);
    if model.is_empty() {
        return Some(Problem::invalid("model: Field required"));
    }
    if endpoint != Endpoint::Counting
        && let Some(text) = budget_complaint(params, endpoint)
    {
        return Some(Problem::invalid(text));
    }
    if let Some(text) = messages_complaint(params)
        .or_else(|| endpoint_complaint(params, endpoint))
        .or_else(|| sampling_complaint(params, model, version))
        .or_else(|| format_complaint(params, verdicts))
    {
        return Some(Problem::invalid(text));
    }
    let last = params
        .messages
        .as_ref()
        .and_then(|messages| messages.last());
    if last.is_some_and(|last| last.role == "assistant") && generation(model) >= (4, 6) {
        let text = "Prefilling assistant messages is not supported for this model.";
        return Some(Problem::invalid(text));
    }
    let config = params.output_config.as_ref();
    if last.is_some_and(|last| last.role == "assistant")
        && config.is_some_and(|config| config.format.is_some())
    {
        let text = "output_config.format: not compatible with prefilling the assistant message";
        return Some(Problem::invalid(text));
    }
    model
        .ends_with("-nonexistent")
        .then(|| not_found(format!("model: {model}")))
}

fn budget_complaint(params: &Params<'_>, endpoint: Endpoint) -> Option<String> {
    match params.max_tokens {
        None => Some("max_tokens: Field required".into()),
        Some(0) if endpoint == Endpoint::Batch => {
            Some("max_tokens: 0 is not supported in a batch".into())
        }
        Some(max) if max < 0 => {
            Some("max_tokens: Input should be greater than or equal to 1".into())
        }
        Some(_) => None,
    }
}

fn messages_complaint(params: &Params<'_>) -> Option<String> {
    let Some(messages) = &params.messages else {
        return Some("messages: Field required".into());
    };
    if messages.is_empty() {
        return Some("messages: at least one message is required".into());
    }
    if let Some((at, why)) = turns_complaint(messages) {
        return Some(format!("messages.{at}: {why}"));
    }
    messages
        .iter()
        .enumerate()
        .find_map(|(at, message)| match &*message.role {
            "user" | "system" if message.content.is_empty() => Some(format!(
                "messages.{at}: user messages must have non-empty content"
            )),
            "user" | "assistant" | "system" => attached_complaint(at, &message.content),
            role => Some(format!("messages: Unexpected role \"{role}\"")),
        })
}

/// What the vendor says of pictures and documents: 8000 pixels a side, 2000 where there are more than 20
/// pictures, 10 MB of base64, 600 in all.
fn attached_complaint(at: usize, content: &Content<'_>) -> Option<String> {
    const TOGETHER_MAX: usize = 600;
    let attached = &content.attached;
    let images = attached.iter().filter(|one| one.kind == Kind::Image);
    let side_max = if images.count() > 20 { 2000 } else { 8000 };
    if attached.len() > TOGETHER_MAX {
        return Some(format!(
            "messages.{at}.content: too many images and documents"
        ));
    }
    attached.iter().enumerate().find_map(|(part, one)| {
        let base64_max = if one.kind == Kind::Image {
            10_000_000
        } else {
            usize::MAX
        };
        let why = one.complaint(side_max, base64_max)?;
        Some(format!("messages.{at}.content.{part}: {why}"))
    })
}

fn endpoint_complaint(params: &Params<'_>, endpoint: Endpoint) -> Option<String> {
    let streams = params.stream == Some(true);
    match endpoint {
        Endpoint::Batch if streams => Some("stream: streaming is not supported in a batch".into()),
        Endpoint::Batch if params.speed.is_some() => Some("speed: not supported in a batch".into()),
        Endpoint::Batch if params.fallbacks.is_some() => {
            Some("fallbacks: not supported in a batch".into())
        }
        Endpoint::Online if streams => Some("stream: the sandbox does not stream".into()),
        _ => None,
    }
}

fn sampling_complaint(params: &Params<'_>, model: &str, version: Version) -> Option<String> {
    let given = [
        ("temperature", params.temperature),
        ("top_p", params.top_p),
        ("top_k", params.top_k),
    ];
    let first = given.iter().find(|(_, value)| value.is_some());
    if let Some((name, _)) = first.filter(|_| version == Version::Second) {
        return Some(format!("{name}: not supported in API version 2026-10-21"));
    }
    if let Some((name, _)) = given.iter().find(|(name, value)| {
        value.is_some_and(|value| *name != "temperature" || (value - 1.0).abs() > f64::EPSILON)
    }) && generation(model) >= (4, 7)
    {
        return Some(format!("{name} is not supported for this model"));
    }
    if params
        .temperature
        .is_some_and(|value| !(0.0..=1.0).contains(&value))
    {
        return Some("temperature: range: 0..1".into());
    }
    (params.temperature.is_some() && params.top_p.is_some())
        .then(|| "temperature and top_p cannot both be specified for this model".into())
}

fn format_complaint(params: &Params<'_>, verdicts: &mut Verdicts) -> Option<String> {
    let format = params.output_config.as_ref()?.format.as_ref()?;
    if format.r#type != "json_schema" {
        return Some("output_config.format.type: Input should be 'json_schema'".into());
    }
    let complaint = verdicts.of(format.schema.get())?;
    Some(format!("output_config.format.schema: {complaint}"))
}

/// The generation in a name such as `claude-opus-4-6` or `claude-sonnet-5`; a name that has none is
/// of the oldest.
fn generation(model: &str) -> (u32, u32) {
    let mut words = model
        .split('-')
        .skip_while(|word| word.parse::<u32>().is_err());
    // A date is no version.
    let mut number = || words.next()?.parse().ok().filter(|number| *number < 100);
    (number().unwrap_or(0), number().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(json: &str, version: Version, endpoint: Endpoint) -> Option<String> {
        let request = understand(
            json,
            Cow::Borrowed("a"),
            0,
            (version, endpoint),
            &mut verdicts(),
        );
        request.problem.map(|problem| problem.message)
    }

    #[test]
    fn parameters_are_judged_as_the_vendor_does() {
        let good = r#"{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#;
        let check = |from: &str, to: &str, complaint: Option<&str>| {
            let json = good.replace(from, to);
            let found = said_of(&json, Version::Second, Endpoint::Batch);
            assert_eq!(found.as_deref(), complaint, "{json}");
        };
        check("", "", None);
        check(r#""max_tokens":9,"#, "", Some("max_tokens: Field required"));
        check(
            r#""model":"claude-haiku-4-5","#,
            "",
            Some("model: Field required"),
        );
        check(
            r#"[{"role":"user","content":"x"}]"#,
            "[]",
            Some("messages: at least one message is required"),
        );
        check(
            "\"max_tokens\":9",
            "\"max_tokens\":9,\"foo\":1",
            Some("foo: Extra inputs are not permitted"),
        );
        check(
            "\"max_tokens\":9",
            "\"max_tokens\":9,\"stream\":true",
            Some("stream: streaming is not supported in a batch"),
        );
        check(
            "haiku-4-5",
            "x-nonexistent",
            Some("model: claude-x-nonexistent"),
        );
        let sampled = good.replace("\"max_tokens\":9", "\"max_tokens\":9,\"temperature\":0");
        assert!(said_of(&sampled, Version::Second, Endpoint::Batch).is_some());
        assert_eq!(said_of(&sampled, Version::First, Endpoint::Batch), None);
        let newer = sampled.replace("haiku-4-5", "sonnet-5");
        assert!(said_of(&newer, Version::First, Endpoint::Batch).is_some());
        let format =
            |schema: &str| format!(r#"{{"format":{{"type":"json_schema","schema":{schema}}}}}"#);
        let open = good.replace(
            "\"max_tokens\":9",
            &format!(
                r#""max_tokens":9,"output_config":{}"#,
                format(r#"{"type":"object"}"#)
            ),
        );
        let closed = open.replace(
            r#"{"type":"object"}"#,
            r#"{"type":"object","additionalProperties":false}"#,
        );
        assert_eq!(said_of(&closed, Version::Second, Endpoint::Batch), None);
        let begun = closed.replace(
            "\"x\"}]",
            "\"x\"},{\"role\":\"assistant\",\"content\":\"{\"}]",
        );
        assert!(
            said_of(&begun, Version::Second, Endpoint::Batch)
                .is_some_and(|m| m.contains("not compatible with prefilling"))
        );
        assert!(
            said_of(&open, Version::Second, Endpoint::Batch)
                .is_some_and(|m| m.contains("additionalProperties"))
        );
    }

    #[test]
    fn generations_are_read_from_names() {
        assert_eq!(generation("claude-opus-4-6"), (4, 6));
        assert_eq!(generation("claude-sonnet-5"), (5, 0));
        assert_eq!(generation("claude-haiku-4-5-20251001"), (4, 5));
        assert_eq!(generation("my-model"), (0, 0));
    }
}
