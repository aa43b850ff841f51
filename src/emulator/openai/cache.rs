//! What of a request is cached: by itself, unless the request says otherwise.
//!
//! What stands before the message that is answered is looked at, in steps of 128 tokens.

use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use crate::emulator::prefix::Wanted;
use crate::emulator::text::{Borrowed, Message, question, tokens_of};

/// Tokens that are cached together.
const STEP: u32 = 128;
/// Seconds that an entry lives.
const LIFE: u32 = 30 * 60;

/// What a request says of the cache.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CacheOptions<'a> {
    #[serde(borrow, default)]
    mode: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    ttl: Option<Borrowed<'a>>,
}

impl CacheOptions<'_> {
    /// What is wrong with them.
    pub(super) fn complaint(&self, model: &str) -> Option<(&'static str, String)> {
        let said = |value: &Option<Borrowed<'_>>| value.as_ref().map(|value| value.0.to_string());
        let wrong = |param, value: String| Some((param, format!("Invalid value: '{value}'.")));
        if !is_charged(model) {
            let text = format!("Unsupported parameter: 'prompt_cache_options' with '{model}'.");
            return Some(("prompt_cache_options", text));
        }
        match (said(&self.mode), said(&self.ttl)) {
            (Some(mode), _) if !["implicit", "explicit"].contains(&&*mode) => {
                wrong("prompt_cache_options.mode", mode)
            }
            (_, Some(ttl)) if ttl != "30m" => wrong("prompt_cache_options.ttl", ttl),
            _ => None,
        }
    }

    fn is_explicit(&self) -> bool {
        self.mode.as_ref().is_some_and(|mode| mode.0 == "explicit")
    }
}

/// What a request of `messages` wants of the cache.
pub(super) fn wanted(
    model: &str,
    messages: &[Message<'_>],
    (key, options): (Option<&str>, Option<&CacheOptions<'_>>),
) -> Wanted {
    let before = &messages[..question(messages).unwrap_or(0)];
    let bytes: usize = before.iter().map(|one| one.content.text.len()).sum();
    let tokens = tokens_of(bytes) / STEP * STEP;
    let least = if is_charged(model) { 1024 } else { 2048 };
    if tokens < least || options.is_some_and(CacheOptions::is_explicit) {
        return Wanted::default();
    }
    let mut hash = Xxh3::new();
    for text in [model, key.unwrap_or_default()] {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    for message in before {
        hash.update(message.role.as_bytes());
        hash.update(&(message.content.text.len() as u64).to_le_bytes());
        hash.update(message.content.text.as_bytes());
    }
    Wanted {
        prefix: hash.digest().max(1),
        tokens,
        life: LIFE,
        read: read_price(model),
        write: if is_charged(model) { 1250 } else { 1000 },
    }
}

/// The tokens of the usage that were read and written, as the vendor tells them: what costs nothing more is
/// not told.
pub(super) fn told(model: &str, read: u32, written: u32) -> String {
    if is_charged(model) {
        format!("\"cached_tokens\":{read},\"cache_write_tokens\":{written}")
    } else {
        format!("\"cached_tokens\":{read}")
    }
}

/// Whether a model charges for what is written: gpt-5.6 and later.
fn is_charged(model: &str) -> bool {
    generation(model) >= (5, 6)
}

/// Thousandths of the price of input for what is read in a batch. Models before gpt-5 list none: it is input.
fn read_price(model: &str) -> u32 {
    match generation(model) {
        (6, 1) => 50,
        (5.., _) => 100,
        _ => 1000,
    }
}

/// The generation in a name such as `gpt-5.6-sol`; a name that has none is of the oldest.
fn generation(model: &str) -> (u32, u32) {
    let number = |text: Option<&str>| text.and_then(|text| text.parse().ok()).unwrap_or(0);
    let version = model
        .strip_prefix("gpt-")
        .and_then(|rest| rest.split('-').next());
    let mut parts = version.unwrap_or_default().split('.');
    (number(parts.next()), number(parts.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_has_its_prices() {
        for (model, charged, read) in [
            ("gpt-6-luna", true, 100),
            ("gpt-6.1-sol", true, 50),
            ("gpt-5.6-terra", true, 100),
            ("gpt-5.5", false, 100),
            ("gpt-5-mini-2025-08-07", false, 100),
            ("gpt-4o", false, 1000),
            ("o3", false, 1000),
        ] {
            assert_eq!(
                (is_charged(model), read_price(model)),
                (charged, read),
                "{model}"
            );
        }
    }
}
