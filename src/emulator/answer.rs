//! Seeded answers. The rule is in the module doc of [`super`].

use super::random::{self, mix};
use super::record::Stored;
use super::schema::{BEGUN, type_name};
use super::text::tokens_of;
use crate::base::Json;

/// How deep an answer to a recursive schema goes.
const DEPTH_MAX: usize = 24;

const SENTENCES: [&str; 8] = [
    "All is well with this row.",
    "This row was read with care.",
    "Nothing unusual was found here.",
    "The answer is a short one.",
    "One thing stands out in this row.",
    "It is much like the others.",
    "A closer look would be worthwhile.",
    "That is all there is to say.",
];

/// What a model says before and after an answer that no grammar holds it to.
const AROUND: [(&str, &str); 3] = [
    ("", ""),
    ("```json\n", "\n```"),
    ("Here is the answer:\n\n```json\n", "\n```\n\nThat is all."),
];

/// What an answer is made from, once for many requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    Sentence,
    Object,
    Instance(Json),
    /// An instance of a schema of which the prompt alone told, and how it was begun.
    Told(Json, String),
    Vectors {
        dimensions: u32,
        base64: bool,
    },
}

impl Plan {
    /// The plan of a stored shape; `schema` fetches the schema's text.
    pub(super) fn of<E>(
        shape: Stored,
        schema: impl FnOnce(u32, u32) -> Result<String, E>,
    ) -> Result<Self, E> {
        Ok(match shape {
            Stored::Text => Plan::Sentence,
            Stored::Object => Plan::Object,
            Stored::Schema(at, len) => Plan::for_schema(&schema(at, len)?),
            Stored::Told(at, len) => Plan::for_told(&schema(at, len)?),
            Stored::Vectors { dimensions, base64 } => Plan::Vectors { dimensions, base64 },
        })
    }

    /// The plan of a schema's text.
    pub(super) fn for_schema(text: &str) -> Self {
        Plan::Instance(Json::parse(text).unwrap_or(Json::Null))
    }

    /// The plan of a schema's text that stood in a prompt.
    pub(super) fn for_told(text: &str) -> Self {
        let (schema, begun) = text.split_once(BEGUN).unwrap_or((text, ""));
        Plan::Told(Json::parse(schema).unwrap_or(Json::Null), begun.to_owned())
    }

    /// The answer drawn from `draw`, at its full length.
    pub(super) fn whole(&self, draw: u64) -> String {
        let mut out = String::new();
        self.write(draw, u32::MAX, &mut out);
        out
    }

    /// The same of an answer that is none of what was asked for: words, JSON that breaks off, or an object
    /// whose first value is of another type, by the draw. Where any text would do, it is a long one.
    pub(super) fn write_wrong(&self, draw: u64, budget: u32, out: &mut String) -> (u32, bool) {
        let start = out.len();
        match self {
            Plan::Instance(schema) | Plan::Told(schema, _) => {
                let ask = Draw { root: schema, draw };
                match draw >> 20 & 3 {
                    0 => sentence(draw, out),
                    1 => {
                        instance(&ask, schema, draw, 0, out);
                        cut(out, out.len().saturating_sub(1).max(start));
                    }
                    _ => misfit(&ask, schema, draw, out),
                }
            }
            Plan::Object => sentence(draw, out),
            Plan::Sentence => {
                for _ in 0..80 {
                    out.push_str(SENTENCES[(draw % 8) as usize]);
                    out.push(' ');
                }
                sentence(draw, out);
            }
            Plan::Vectors { .. } => {}
        }
        let tokens = tokens_of(out.len() - start);
        if tokens <= budget {
            return (tokens, false);
        }
        cut(out, start + 4 * budget as usize);
        (budget, true)
    }

    /// Writes the answer drawn from `draw`, of at most `budget` tokens. Returns its tokens, and
    /// whether it was cut.
    pub(super) fn write(&self, draw: u64, budget: u32, out: &mut String) -> (u32, bool) {
        let start = out.len();
        match self {
            Plan::Sentence => sentence(draw, out),
            Plan::Instance(schema) => instance(&Draw { root: schema, draw }, schema, draw, 0, out),
            Plan::Told(schema, begun) => told(schema, begun, draw, out),
            Plan::Object => {
                out.push_str("{\"answer\":\"");
                sentence(draw, out);
                out.push_str("\"}");
            }
            Plan::Vectors { .. } => {}
        }
        let tokens = tokens_of(out.len() - start);
        if tokens <= budget {
            return (tokens, false);
        }
        cut(out, start + 4 * budget as usize);
        (budget, true)
    }
}

/// Writes an instance of `schema` with words around. What has `begun` is not said again: the answer goes on
/// from there, and closes the block of code that is open.
fn told(schema: &Json, begun: &str, draw: u64, out: &mut String) {
    let ask = Draw { root: schema, draw };
    let (before, after) = AROUND[(draw >> 40) as usize % AROUND.len()];
    if begun.is_empty() {
        out.push_str(before);
        instance(&ask, schema, draw, 0, out);
        return out.push_str(after);
    }
    let mut whole = String::new();
    instance(&ask, schema, draw, 0, &mut whole);
    out.push_str(match begun.find('{') {
        None => &whole,
        Some(at) => rest_of(&whole, &begun[at..]),
    });
    if !begun.matches("```").count().is_multiple_of(2) {
        out.push_str("\n```");
    }
    if after.contains("That is all.") {
        out.push_str("\n\nThat is all.");
    }
}

/// What follows in `whole` after `begun`, which may have blanks that it has not. Where another answer was
/// begun, what is left of this one does not go with it.
fn rest_of<'w>(whole: &'w str, begun: &str) -> &'w str {
    let mut rest = whole;
    for letter in begun.chars() {
        match rest.strip_prefix(letter) {
            Some(after) => rest = after,
            None if letter.is_whitespace() => {}
            None => return &whole[1..],
        }
    }
    rest
}

/// Cuts `text` at `end`, or at the character before it.
pub(super) fn cut(text: &mut String, end: usize) {
    let end = (0..=end.min(text.len()))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    text.truncate(end.unwrap_or(0));
}

fn sentence(draw: u64, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push_str(SENTENCES[(draw % 8) as usize]);
    out.push_str(" #");
    for shift in (0..64).step_by(4).rev() {
        out.push(char::from(HEX[(draw >> shift & 15) as usize]));
    }
}

/// An object of `schema`, but for a list where its first value has to be a word or a number; words, where the
/// schema is no such object.
fn misfit(ask: &Draw<'_>, schema: &Json, draw: u64, out: &mut String) {
    const SCALARS: [&str; 4] = ["string", "integer", "number", "boolean"];
    let properties = schema.get("properties").map(Json::map).unwrap_or_default();
    let first = properties.first().filter(|(_, child)| {
        let is_scalar = type_name(child).is_some_and(|name| SCALARS.contains(&name));
        is_scalar || child.get("enum").is_some()
    });
    let Some((first, _)) = first else {
        return sentence(draw, out);
    };
    out.push('{');
    for (at, (name, child)) in properties.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        quoted(name, out);
        out.push(':');
        if name == first {
            out.push_str("[[null]]");
        } else {
            instance(ask, child, mix(draw ^ random::named(0, name)), 1, out);
        }
    }
    out.push('}');
}

struct Draw<'a> {
    root: &'a Json,
    draw: u64,
}

impl Draw<'_> {
    fn pick<'t, T>(&self, items: &'t [T]) -> Option<&'t T> {
        let at = self.draw.checked_rem(items.len() as u64)?;
        items.get(usize::try_from(at).ok()?)
    }
}

/// Writes an instance of `node`. Enumerations are drawn from the request's own draw, all else from
/// `local`, which differs from place to place.
fn instance(ask: &Draw<'_>, node: &Json, local: u64, depth: usize, out: &mut String) {
    if depth > DEPTH_MAX {
        return out.push_str("null");
    }
    if let Some(target) = node.get("$ref").and_then(Json::text) {
        let target = ask.root.at(target).unwrap_or(&Json::Null);
        return instance(ask, target, local, depth + 1, out);
    }
    if let Some(value) = node.get("const") {
        return json(value, out);
    }
    if let Some(value) = node.get("enum").and_then(|values| ask.pick(values.list())) {
        return json(value, out);
    }
    if let Some(choice) = ["anyOf", "oneOf"].into_iter().find_map(|key| node.get(key)) {
        let choices = choice
            .list()
            .iter()
            .filter(|choice| type_name(choice) != Some("null"));
        let choices: Vec<_> = choices.collect();
        return match ask.pick(&choices) {
            Some(choice) => instance(ask, choice, local, depth + 1, out),
            None => out.push_str("null"),
        };
    }
    if let Some(parts) = node.get("allOf") {
        return instance(ask, &merged(parts.list()), local, depth + 1, out);
    }
    match type_name(node) {
        Some("object") => object(ask, node, local, depth, out),
        Some("array") => array(ask, node, local, depth, out),
        Some("integer") => number(node, local, true, out),
        Some("number") => number(node, local, false, out),
        Some("boolean") => out.push_str(if local & 1 == 0 { "true" } else { "false" }),
        Some("null") => out.push_str("null"),
        _ => text(node, local, out),
    }
}

fn merged(parts: &[Json]) -> Json {
    let mut properties = Vec::new();
    for part in parts {
        properties.extend_from_slice(part.get("properties").map(Json::map).unwrap_or_default());
    }
    let object = Json::Text("object".into());
    Json::Map(vec![
        ("type".into(), object),
        ("properties".into(), Json::Map(properties)),
    ])
}

/// Required properties first, as the vendors write them, each group in the schema's order.
fn object(ask: &Draw<'_>, node: &Json, local: u64, depth: usize, out: &mut String) {
    let required = node.get("required").map(Json::list).unwrap_or_default();
    let is_required = |name: &str| required.iter().any(|item| item.text() == Some(name));
    let properties = node.get("properties").map(Json::map).unwrap_or_default();
    let (first, last): (Vec<_>, Vec<_>) =
        properties.iter().partition(|(name, _)| is_required(name));
    if properties.is_empty()
        && let Some(child @ Json::Map(_)) = node.get("additionalProperties")
    {
        return map(ask, child, local, depth, out);
    }
    out.push('{');
    for (at, (name, child)) in first.into_iter().chain(last).enumerate() {
        if at > 0 {
            out.push(',');
        }
        quoted(name, out);
        out.push(':');
        instance(
            ask,
            child,
            mix(local ^ random::named(0, name)),
            depth + 1,
            out,
        );
    }
    out.push('}');
}

/// Two values under names that no schema said.
fn map(ask: &Draw<'_>, child: &Json, local: u64, depth: usize, out: &mut String) {
    out.push('{');
    for (at, name) in ["first", "second"].into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        quoted(name, out);
        out.push(':');
        let local = mix(local ^ random::named(0, name));
        instance(ask, child, local, depth + 1, out);
    }
    out.push('}');
}

fn array(ask: &Draw<'_>, node: &Json, local: u64, depth: usize, out: &mut String) {
    let bound = |key| bound(node, key);
    let most = bound("maxItems").unwrap_or(1024.0);
    let least = bound("minItems").unwrap_or(if depth < DEPTH_MAX / 4 { 1.0 } else { 0.0 });
    out.push('[');
    let mut count = 0.0;
    // Words of a list differ: each item draws the next one.
    let mut ask = Draw { ..*ask };
    while count < least.min(most) {
        if count > 0.0 {
            out.push(',');
            ask.draw = ask.draw.wrapping_add(1);
        }
        let item = node.get("items").unwrap_or(&Json::Null);
        instance(
            &ask,
            item,
            mix(local.wrapping_add(count.to_bits())),
            depth + 1,
            out,
        );
        count += 1.0;
    }
    out.push(']');
}

/// The number that `node` says for `key`: as a keyword or, where the vendor does not take that, in its
/// description, as in `{minimum: 1, maxLength: 3}`. A model reads both.
fn bound(node: &Json, key: &str) -> Option<f64> {
    let told = || {
        let told = node.get("description")?.text()?;
        let (_, after) = told.rsplit_once(&format!("{key}: "))?;
        after.split([',', '}']).next()?.parse().ok()
    };
    node.get(key).and_then(Json::float).or_else(told)
}

/// A number from 0 to 100, or within the bounds.
#[expect(
    clippy::cast_possible_truncation,
    reason = "an integer is floored on purpose"
)]
fn number(node: &Json, local: u64, integer: bool, out: &mut String) {
    use std::fmt::Write as _;
    let bound = |key| bound(node, key);
    let step = bound("multipleOf").unwrap_or(if integer { 1.0 } else { 0.5 });
    let low = bound("minimum").or(bound("exclusiveMinimum").map(|low| low + step));
    let high = bound("maximum").or(bound("exclusiveMaximum").map(|high| high - step));
    let low = low.unwrap_or_else(|| high.map_or(0.0, |high| high.min(0.0)));
    let high = high.unwrap_or(low + 100.0 * step).max(low);
    let first = (low / step).ceil() * step;
    let steps = ((high - first) / step).floor().max(0.0);
    let value = first + (random::unit(local) * (steps + 1.0)).floor().min(steps) * step;
    // Writing to a string cannot fail.
    let _ = if integer {
        write!(out, "{}", value as i64)
    } else {
        write!(out, "{value:?}")
    };
}

fn text(node: &Json, local: u64, out: &mut String) {
    let (a, b) = (local % 28 + 1, local >> 8 & 255);
    let value = match node.get("format").and_then(Json::text) {
        Some("date-time") => format!("2026-01-{a:02}T12:00:00Z"),
        Some("date") => format!("2026-01-{a:02}"),
        Some("time") => format!("12:00:{a:02}Z"),
        Some("duration") => format!("PT{a}M"),
        Some("email") => format!("row{b}@example.com"),
        Some("hostname") => format!("row{b}.example.com"),
        Some("uri") => format!("https://example.com/{b}"),
        Some("ipv4") => format!("192.0.2.{b}"),
        Some("ipv6") => format!("2001:db8::{b:x}"),
        Some("uuid") => {
            let (high, low) = (local >> 32, local & 0xffff_ffff_ffff);
            format!("{high:08x}-0000-4000-8000-{low:012x}")
        }
        _ => match example(node) {
            Some(example) => example.to_owned(),
            None => sized(node, format!("text {local:016x}")),
        },
    };
    quoted(&value, out);
}

/// The date, time or number that its description gives as an example, for which there is no format: `a time such
/// as 12:30:00`.
fn example(node: &Json) -> Option<&str> {
    let told = node.get("description").and_then(Json::text)?;
    let (_, rest) = told.split_once("such as ")?;
    let example = rest.split_whitespace().next()?;
    let example = example.trim_end_matches(['.', ',', ';', ')']);
    let is_figure = example.starts_with(|first: char| first.is_ascii_digit());
    is_figure.then_some(example)
}

fn sized(node: &Json, mut value: String) -> String {
    let bound = |key| bound(node, key);
    let least = bound("minLength").unwrap_or(0.0).min(100_000.0);
    while f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX)) < least {
        value.push('x');
    }
    let most = bound("maxLength").unwrap_or(f64::INFINITY);
    while f64::from(u32::try_from(value.len()).unwrap_or(u32::MAX)) > most {
        value.pop();
    }
    value
}

fn json(value: &Json, out: &mut String) {
    out.push_str(&serde_json::to_string(value).expect("a tree is plain data"));
}

/// Writes `text` as a JSON string.
pub(super) fn quoted(text: &str, out: &mut String) {
    let plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.as_bytes().iter().position(|byte| !plain(byte)) {
        out.push_str(&rest[..at]);
        let special = &rest[at..=at];
        let escaped = serde_json::to_string(special).expect("a string");
        out.push_str(&escaped[1..escaped.len() - 1]);
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// The unit vector of a draw: component n is the n-th `SplitMix64` of the draw in `-1.0..1.0`,
/// and all are divided by their length.
#[expect(
    clippy::cast_possible_truncation,
    reason = "vectors are of 32 bits at every vendor"
)]
pub(super) fn vector(draw: u64, dimensions: u32) -> impl Iterator<Item = f32> {
    let component = move |n: u32| 2.0 * random::unit(mix(draw.wrapping_add(n.into()))) - 1.0;
    let square: f64 = (0..dimensions).map(|n| component(n).powi(2)).sum();
    let length = square.sqrt().max(f64::MIN_POSITIVE);
    (0..dimensions).map(move |n| (component(n) / length) as f32)
}

/// Writes a vector as a JSON list, or as standard base64 of its little-endian bytes.
pub(super) fn write_vector(draw: u64, dimensions: u32, base64: bool, out: &mut String) {
    use std::fmt::Write as _;
    if base64 {
        let bytes: Vec<u8> = vector(draw, dimensions)
            .flat_map(f32::to_le_bytes)
            .collect();
        out.push('"');
        encode_base64(&bytes, out);
        out.push('"');
        return;
    }
    for (n, value) in vector(draw, dimensions).enumerate() {
        // Writing to a string cannot fail.
        let _ = write!(out, "{}{value:?}", if n == 0 { '[' } else { ',' });
    }
    out.push(']');
}

fn encode_base64(bytes: &[u8], out: &mut String) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * at) & 63) as usize];
            out.push(if at <= three.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_on_from_where_it_was_begun() {
        let schema = r#"{"properties":{"word":{"const":"red"}},"required":["word"]}"#;
        for draw in [0, 1 << 40, 2 << 40] {
            let whole =
                |begun: &str| Plan::for_told(&format!("{schema}{BEGUN}{begun}")).whole(draw);
            let tail = if draw == 2 << 40 {
                "\n\nThat is all."
            } else {
                ""
            };
            for (begun, goes_on) in [
                ("{", r#""word":"red"}"#),
                ("{ \"word\" :\n", r#""red"}"#),
                ("Here: {\"word\":\"r", "ed\"}"),
                ("Here:", r#"{"word":"red"}"#),
                ("```json\n{", "\"word\":\"red\"}\n```"),
                // Another answer than its own.
                ("{\"colour\":", r#""word":"red"}"#),
            ] {
                assert_eq!(whole(begun), format!("{goes_on}{tail}"), "{begun}");
            }
        }
    }

    #[test]
    fn bounds_that_only_the_description_says_are_kept() {
        let schema = r#"{"type":"object","properties":{
            "word":{"type":"string","description":"A code.\n\n{minLength: 2, maxLength: 3}"},
            "stars":{"type":"integer","description":"{minimum: 4, maximum: 5}"}}}"#;
        for draw in 0..20 {
            let answer = Plan::for_schema(schema).whole(draw);
            let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
            let chars = answer["word"].as_str().expect("a word").len();
            assert!((2..=3).contains(&chars), "{answer}");
            assert!(
                (4..=5).contains(&answer["stars"].as_i64().expect("a number")),
                "{answer}"
            );
        }
    }
}
