//! What requests say of the cache, which is the service's own doing, and how much of them it can hold.
//!
//! <https://platform.openai.com/docs/guides/prompt-caching>

use serde_json::{Map, Value, json};

use crate::work::{CacheStyle, CacheUse, Prefix, Shape};

/// Leads requests that begin alike to one cache.
const KEY: &str = "prompt_cache_key";
/// Says what is cached.
const OPTIONS: &str = "prompt_cache_options";
/// What a job may say itself, the older name of the options among it.
const OWN: [&str; 3] = [KEY, OPTIONS, "prompt_cache_retention"];

/// Says `cache` in `body`. The key is the same for all requests of a shape, in every run.
pub(super) fn put(body: &mut Map<String, Value>, cache: CacheUse, shape: &Shape) {
    let (name, value) = match cache {
        CacheUse::Key => (KEY, json!(format!("columnist-{}", shape.fingerprint()))),
        // Explicit marks alone, and there are none: nothing is written, and nothing paid for it.
        CacheUse::Off => (OPTIONS, json!({ "mode": "explicit" })),
        CacheUse::Minutes | CacheUse::Hour => return,
    };
    body.insert(name.to_owned(), value);
}

/// What the requests with this body begin with: all messages before the row's own, which is the last that a
/// user says.
pub(super) fn prefix(body: &Map<String, Value>) -> Prefix {
    let turns = body.get("messages").and_then(Value::as_array);
    let turns = turns.map_or(&[][..], Vec::as_slice);
    let own = turns.iter().rposition(|turn| turn["role"] == "user");
    let texts = turns[..own.unwrap_or(0)].iter();
    Prefix {
        style: CacheStyle::Automatic,
        bytes: texts
            .filter_map(|turn| turn.get("content"))
            .map(text_bytes)
            .sum(),
        is_own: OWN.iter().any(|name| body.contains_key(*name)),
    }
}

/// Bytes of the texts in `value`.
fn text_bytes(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(list) => list.iter().map(text_bytes).sum(),
        Value::Object(object) => object.get("text").map_or(0, text_bytes),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::testing::shape;
    use crate::work::Api;

    fn with(params: &Value) -> Map<String, Value> {
        let mut body = params.as_object().expect("an object").clone();
        let row = json!({ "role": "user", "content": "a long row" });
        body.entry("messages").or_insert_with(|| json!([row]));
        body
    }

    #[test]
    fn all_requests_of_a_shape_bear_one_key_and_those_of_another_another() {
        let said = |cache, shape: &Shape| {
            let mut body = with(&json!({}));
            put(&mut body, cache, shape);
            body.remove("messages");
            Value::Object(body)
        };
        let one = shape(Api::ChatCompletions);
        let key = format!("columnist-{}", one.fingerprint());
        assert_eq!(
            said(CacheUse::Key, &one),
            json!({ "prompt_cache_key": key })
        );
        let other = Shape {
            system: Some("Another.".into()),
            ..one.clone()
        };
        assert_ne!(said(CacheUse::Key, &one), said(CacheUse::Key, &other));
        let off = json!({ "prompt_cache_options": { "mode": "explicit" } });
        assert_eq!(said(CacheUse::Off, &one), off);
        assert_eq!(said(CacheUse::Hour, &one), json!({}));
    }

    #[test]
    fn a_prefix_is_all_that_is_said_before_the_row() {
        let turns = json!([
            { "role": "system", "content": "12345" },
            { "role": "user", "content": "12" },
            { "role": "assistant", "content": [{ "type": "text", "text": "1" }] },
            { "role": "user", "content": "a long row" },
            { "role": "assistant", "content": "and so" },
        ]);
        let found = prefix(&with(&json!({ "messages": turns })));
        assert_eq!((found.bytes, found.is_own), (8, false));
        assert_eq!(prefix(&with(&json!({}))).bytes, 0);
        for own in OWN {
            assert!(prefix(&with(&json!({ own: "x" }))).is_own);
        }
    }
}
