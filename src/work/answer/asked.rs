//! How a model is told what its answer must be: by the provider's structured output, or in the prompt, where
//! a server has none; and how the answer is found in what it says then.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::base::Json;

/// How the model is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    /// By a schema that goes to the provider beside the prompt.
    #[default]
    Schema,
    /// By the same schema at the end of the system prompt.
    Prompt,
}

impl Asked {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "this is how serde calls it"
    )]
    pub(super) fn is_schema(&self) -> bool {
        *self == Asked::Schema
    }
}

/// What the end of the system prompt says, where the answer must be a value of `schema`.
pub(super) fn instructions(schema: &Json) -> String {
    format!(
        "Answer with one JSON object and nothing else. It must be valid under this JSON Schema:\n\n\
         ```json\n{schema}\n```"
    )
}

/// Where the answer stands in `text`: the whole of it, or the one JSON value in it, with or without a
/// fence and words around. What a model thought aloud before is no part of it.
///
/// # Errors
/// Why it cannot be told.
pub(super) fn find(text: &str) -> Result<&str, &'static str> {
    let said = after_thoughts(text);
    if is_json(said) {
        return Ok(said);
    }
    let (mut objects, mut lists) = (Vec::new(), Vec::new());
    for value in values(said)? {
        if value.starts_with('{') {
            objects.push(value);
        } else {
            lists.push(value);
        }
    }
    let fenced = || fences(said).into_iter().filter(|block| is_json(block));
    // A list may be a footnote, and a word in a fence a quotation: objects are what we asked for.
    let found = [objects, fenced().collect(), lists];
    let found = found.into_iter().find(|all| !all.is_empty());
    one_of(&found.unwrap_or_default())
}

/// Whether a JSON value stands in `text` from its beginning to its end.
#[must_use]
pub fn holds_json(text: &str) -> bool {
    find(text).is_ok()
}

/// The only block of code in `text`.
pub(super) fn only_fence(text: &str) -> Option<&str> {
    match fences(after_thoughts(text))[..] {
        [one] => Some(one),
        _ => None,
    }
}

/// The first of `values`, if all are the same.
fn one_of<'a>(values: &[&'a str]) -> Result<&'a str, &'static str> {
    let Some(first) = values.first() else {
        return Err("it holds no JSON");
    };
    let distinct: HashSet<_> = values.iter().map(|value| canonical(value)).collect();
    if distinct.len() > 1 {
        return Err("it holds JSON values that differ, and does not say which is the answer");
    }
    Ok(first)
}

/// The same text for the same value, however it is written.
fn canonical(value: &str) -> String {
    let read = serde_json::from_str::<serde_json::Value>(value);
    read.map_or_else(|_| value.to_owned(), |value| value.to_string())
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// What follows the thoughts that some models say before their answer, without blanks around. A text that is
/// JSON as a whole holds none, whatever its words are; thoughts that never end are all that there is.
pub(super) fn after_thoughts(text: &str) -> &str {
    let text = text.trim();
    if is_json(text) {
        return text;
    }
    match text.rsplit_once("</think>") {
        Some((_, said)) => said.trim_start(),
        None if text.starts_with("<think>") => "",
        None => text,
    }
}

/// How many lists that never end are looked into: after each, the rest of the text is read again.
const UNENDED_MAX: usize = 64;

/// The JSON objects and lists in `text` that lie within no other.
fn values(text: &str) -> Result<Vec<&str>, &'static str> {
    let mut found = Vec::new();
    let (mut at, mut unended) = (0, 0);
    while let Some(step) = text[at..].find(['{', '[']) {
        at += step;
        let rest = &text[at..];
        let mut stream = serde_json::Deserializer::from_str(rest).into_iter::<&RawValue>();
        match stream.next() {
            Some(Ok(value)) => {
                found.push(value.get());
                at += value.get().len();
                continue;
            }
            // What lies within a broken object is not the answer.
            _ if is_meant_as_json(rest) => return Err("it holds JSON that is broken"),
            Some(Err(error)) => unended += usize::from(error.is_eof()),
            None => {}
        }
        if unended > UNENDED_MAX {
            return Err("it holds JSON that does not end");
        }
        at += 1;
    }
    Ok(found)
}

/// Whether what starts here is an object or a list of objects, and no brace of another kind.
fn is_meant_as_json(text: &str) -> bool {
    let mut letters = text.chars().filter(|c| !c.is_whitespace());
    matches!(
        (letters.next(), letters.next()),
        (Some('{'), Some('"')) | (Some('['), Some('{'))
    )
}

/// What stands between the fences of blocks of code, without the name of the language.
fn fences(text: &str) -> Vec<&str> {
    let parts: Vec<&str> = text.split("```").collect();
    // Every second part lies within; the last one only if it is closed.
    let within = parts.iter().skip(1).step_by(2).take((parts.len() - 1) / 2);
    within
        .map(|block| {
            let (first, rest) = block.split_once('\n').unwrap_or(("", block));
            let is_name = first.trim().bytes().all(|b| b.is_ascii_alphanumeric());
            if is_name { rest.trim() } else { block.trim() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_found_wherever_it_is_the_only_one() {
        for (text, expect) in [
            (r#" {"a":1} "#, r#"{"a":1}"#),
            ("7", "7"),
            ("```json\n{\"a\":1}\n```", r#"{"a":1}"#),
            ("```\n{\"a\":1}\n```", r#"{"a":1}"#),
            ("```{\"a\":1}```", r#"{"a":1}"#),
            (
                "Sure!\n\n```json\n{\"a\": {\"b\": [1]}}\n```\nHope it helps.",
                r#"{"a": {"b": [1]}}"#,
            ),
            (r#"The answer is {"a":"}"} as asked [1]."#, r#"{"a":"}"}"#),
            (r#"{not json} {"a":1}"#, r#"{"a":1}"#),
            ("```json\n\"billing\"\n```", r#""billing""#),
            ("```json\n[1,2]\n```", "[1,2]"),
            ("It is [{\"a\":1},{\"a\":2}].", r#"[{"a":1},{"a":2}]"#),
            // The same twice is one.
            (
                "{\"a\":1,\"b\":2}\n\nthat is {\"b\": 2, \"a\": 1}",
                r#"{"a":1,"b":2}"#,
            ),
            ("<think>maybe {\"a\":2}</think>\n{\"a\":1}", r#"{"a":1}"#),
            // The tag that opens them may have been put into the model's mouth.
            ("maybe {\"a\":2}</think>\n{\"a\":1}", r#"{"a":1}"#),
            (r#"{"a":"</think>"}"#, r#"{"a":"</think>"}"#),
        ] {
            assert_eq!(find(text), Ok(expect), "{text}");
        }
    }

    #[test]
    fn what_may_be_one_or_another_is_none() {
        let differ = "it holds JSON values that differ, and does not say which is the answer";
        for (text, why) in [
            (r#"{"a":1} or {"a":2}"#, differ),
            ("{\"a\":1}\n```json\n{\"a\":2}\n```", differ),
            ("```json\n1\n```\n```json\n2\n```", differ),
            ("[1] and [2]", differ),
            ("no answer", "it holds no JSON"),
            ("<think>maybe {\"a\":2}", "it holds no JSON"),
            ("", "it holds no JSON"),
            ("{\"a\":1", "it holds JSON that is broken"),
            ("Here: {\"a\":{\"b\":1},}", "it holds JSON that is broken"),
            ("[{\"a\":1},]", "it holds JSON that is broken"),
            (&"{\"a\":".repeat(100_000), "it holds JSON that is broken"),
            (&"[".repeat(1_000_000), "it holds JSON that does not end"),
        ] {
            assert_eq!(find(text), Err(why), "{}", &text[..text.len().min(80)]);
        }
    }

    #[test]
    fn a_word_alone_in_a_fence_is_seen() {
        assert_eq!(only_fence("Here:\n```\nbilling\n```"), Some("billing"));
        assert_eq!(only_fence("```\na\n``` ```\nb\n```"), None);
        assert_eq!(only_fence("billing"), None);
    }
}
