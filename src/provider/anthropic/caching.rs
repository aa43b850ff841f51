//! Where the end of what all requests share is marked, and how much of it a cache can hold.
//!
//! The service renders tools, then `system`, then the messages, and caches what is before a mark. The last
//! message of a user is the row's own; what the examples say comes before it.
//!
//! <https://platform.claude.com/docs/en/build-with-claude/prompt-caching>

use serde_json::{Map, Value, json};

use crate::work::{CacheStyle, CacheUse, Prefix};

/// The name of a mark, wherever it stands.
const MARK: &str = "cache_control";

/// Marks the last block of `params` that all requests share; nothing, where they share none.
pub(super) fn mark(params: &mut Map<String, Value>, cache: CacheUse) {
    let mark = match cache {
        CacheUse::Minutes => json!({ "type": "ephemeral" }),
        CacheUse::Hour => json!({ "type": "ephemeral", "ttl": "1h" }),
        CacheUse::Key | CacheUse::Off => return,
    };
    let Some(block) = last_shared(params) else {
        return;
    };
    // A text is a block of its own only in its longer form.
    if let Value::String(text) = block {
        *block = json!([{ "type": "text", "text": text }]);
    }
    let block = match block {
        Value::Array(blocks) => blocks.last_mut(),
        block => Some(block),
    };
    if let Some(Value::Object(block)) = block {
        block.insert(MARK.to_owned(), mark);
    }
}

/// What is rendered last before the row's own message.
fn last_shared(params: &mut Map<String, Value>) -> Option<&mut Value> {
    let before = examples(params).len();
    let is_there = |params: &Map<String, Value>, name: &str| {
        params.get(name).is_some_and(|value| match value {
            Value::String(text) => !text.is_empty(),
            Value::Array(blocks) => !blocks.is_empty(),
            _ => false,
        })
    };
    if before > 0 {
        let turns = params.get_mut("messages")?.as_array_mut()?;
        return turns.get_mut(before - 1)?.get_mut("content");
    }
    let name = ["system", "tools"]
        .into_iter()
        .find(|name| is_there(params, name))?;
    params.get_mut(name)
}

/// What the requests with these parameters begin with. A schema is cached with it, and adds only a few
/// tokens: it is not counted.
pub(super) fn prefix(params: &Map<String, Value>) -> Prefix {
    let shared = examples(params).iter().chain(
        ["tools", "system"]
            .iter()
            .filter_map(|name| params.get(*name)),
    );
    Prefix {
        style: CacheStyle::Marked,
        bytes: shared.map(text_bytes).sum(),
        is_own: params.values().any(says_mark) || params.contains_key(MARK),
    }
}

/// The messages before the row's own, which is the last that a user says.
fn examples(params: &Map<String, Value>) -> &[Value] {
    let turns = params.get("messages").and_then(Value::as_array);
    let turns = turns.map_or(&[][..], Vec::as_slice);
    let own = turns.iter().rposition(|turn| turn["role"] == "user");
    &turns[..own.unwrap_or(0)]
}

/// Bytes of the texts in `value`.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(list) => list.iter().map(text_bytes).sum(),
        Value::Object(object) => object.values().map(text_bytes).sum(),
        _ => 0,
    }
}

/// Whether a mark stands anywhere in `value`.
fn says_mark(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(says_mark),
        Value::Object(object) => object.contains_key(MARK) || object.values().any(says_mark),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(params: &Value, cache: CacheUse, marked: &Value) {
        let mut params = params.as_object().expect("parameters").clone();
        mark(&mut params, cache);
        assert_eq!(&Value::Object(params), marked);
    }

    #[test]
    fn the_mark_stands_at_the_end_of_what_all_rows_share() {
        let hour = json!({ "type": "ephemeral", "ttl": "1h" });
        let row = json!({ "role": "user", "content": "row" });
        check(
            &json!({ "system": "Label.", "messages": [row] }),
            CacheUse::Hour,
            &json!({
                "system": [{ "type": "text", "text": "Label.", "cache_control": hour }],
                "messages": [row],
            }),
        );
        check(
            &json!({ "system": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }], "messages": [row] }),
            CacheUse::Minutes,
            &json!({
                "system": [
                    { "type": "text", "text": "a" },
                    { "type": "text", "text": "b", "cache_control": { "type": "ephemeral" } },
                ],
                "messages": [row],
            }),
        );
        // Examples are turns before the row's own.
        let turns = |answer: Value| {
            json!({
                "system": "Label.",
                "messages": [{ "role": "user", "content": "x" }, { "role": "assistant", "content": answer }, row],
            })
        };
        check(
            &turns(json!("y")),
            CacheUse::Hour,
            &turns(json!([{ "type": "text", "text": "y", "cache_control": hour }])),
        );
        let tools = json!([{ "name": "a" }, { "name": "b" }]);
        check(
            &json!({ "tools": tools, "messages": [row] }),
            CacheUse::Hour,
            &json!({ "tools": [{ "name": "a" }, { "name": "b", "cache_control": hour }], "messages": [row] }),
        );
        let bare = json!({ "messages": [row] });
        check(&bare, CacheUse::Hour, &bare);
        check(&bare, CacheUse::Key, &bare);
    }

    #[test]
    fn a_prefix_is_all_that_stands_before_the_row() {
        let of = |params: Value| prefix(params.as_object().expect("parameters"));
        let row = json!({ "role": "user", "content": "a long row" });
        let plain = of(json!({ "system": "12345", "messages": [row] }));
        assert_eq!((plain.bytes, plain.is_own), (5, false));
        // "12345" + "user" + "12" + "assistant" + "1": roles are a few bytes more.
        let turns = json!([{ "role": "user", "content": "12" }, { "role": "assistant", "content": "1" }, row]);
        assert_eq!(
            of(json!({ "system": "12345", "messages": turns })).bytes,
            21
        );
        let own = json!({ "system": [{ "type": "text", "text": "1", "cache_control": {} }], "messages": [row] });
        assert!(of(own).is_own);
        assert!(of(json!({ "cache_control": { "type": "ephemeral" }, "messages": [row] })).is_own);
        assert_eq!(of(json!({ "messages": [row] })).bytes, 0);
    }
}
