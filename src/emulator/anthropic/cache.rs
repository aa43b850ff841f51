//! Marks: what a request asks to be cached, and what that costs.

use serde::Deserialize;
use xxhash_rust::xxh3::Xxh3;

use crate::emulator::prefix::Wanted;
use crate::emulator::text::{Content, Mark, Message, tokens_of};

/// The most marks of one request.
const MARKS_MAX: u32 = 4;

/// A mark at the top of a request: it stands at the last block that can bear one.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct TopMark<'a>(#[serde(borrow)] pub(super) Mark<'a>);

/// All that is rendered into a prompt.
pub(super) struct Rendered<'a, 'p> {
    pub(super) model: &'a str,
    /// The tools, as they were written.
    pub(super) tools: Option<&'p str>,
    /// The schema of the answer, as it was written.
    pub(super) schema: Option<&'p str>,
    pub(super) system: Option<&'a Content<'p>>,
    pub(super) messages: &'a [Message<'p>],
    pub(super) top: Option<&'a TopMark<'p>>,
}

impl Rendered<'_, '_> {
    /// What is wrong with the marks.
    pub(super) fn complaint(&self) -> Option<String> {
        let contents = || self.contents();
        let marks: u32 = contents().map(|content| content.marks).sum();
        let marks = marks + u32::from(self.top.is_some()) + u32::from(self.marks_tools());
        if marks > MARKS_MAX {
            return Some(format!(
                "A maximum of {MARKS_MAX} blocks with cache_control may be provided. Found {marks}."
            ));
        }
        if contents().any(|content| content.marks_nothing) {
            return Some("cache_control cannot be set for empty text blocks".into());
        }
        let top = self.top.map(|top| &top.0);
        let all = contents().filter_map(|content| content.mark.as_ref());
        all.chain(top).find_map(mark_complaint)
    }

    fn contents(&self) -> impl Iterator<Item = &Content<'_>> {
        let messages = self.messages.iter().map(|message| &message.content);
        self.system.into_iter().chain(messages)
    }

    fn marks_tools(&self) -> bool {
        self.tools
            .is_some_and(|tools| tools.contains("\"cache_control\""))
    }

    /// What is to be cached: all before the last mark. Of several marks only that one is looked at.
    pub(super) fn wanted(&self) -> Wanted {
        let mut hash = Xxh3::new();
        let mut texts = 0;
        let mut take = |name: &str, text: &str, counts: bool| {
            hash.update(name.as_bytes());
            hash.update(&(text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
            texts += if counts { text.len() } else { 0 };
        };
        take("model", self.model, false);
        take("tools", self.tools.unwrap_or_default(), false);
        take("schema", self.schema.unwrap_or_default(), false);
        let marked = self.messages.iter().rposition(|one| one.content.marks > 0);
        let last = match (self.top, self.messages.len().checked_sub(1)) {
            (Some(_), Some(last)) => Some(last),
            _ => marked,
        };
        let mark = if let Some(last) = last {
            take(
                "system",
                self.system.map_or("", |system| &system.text),
                true,
            );
            for message in &self.messages[..last] {
                take(&message.role, &message.content.text, true);
            }
            let content = &self.messages[last].content;
            let end = match self.top {
                Some(_) => content.text.len(),
                None => content.marked,
            };
            take(&self.messages[last].role, &content.text[..end], true);
            self.top.map(|top| &top.0).or(content.mark.as_ref())
        } else {
            let system = self.system.filter(|system| system.marks > 0);
            let text = system.map_or("", |system| &system.text[..system.marked]);
            take("system", text, true);
            system.and_then(|system| system.mark.as_ref())
        };
        let tokens = tokens_of(texts);
        let prices = prices(self.model);
        match mark {
            Some(mark) if tokens >= prices.tokens_min => Wanted {
                prefix: hash.digest().max(1),
                tokens,
                life: if mark.is_hour() { 3600 } else { 300 },
                read: prices.read,
                write: if mark.is_hour() { 2000 } else { 1250 },
            },
            _ => Wanted::default(),
        }
    }
}

fn mark_complaint(mark: &Mark<'_>) -> Option<String> {
    if mark.kind != "ephemeral" {
        return Some("cache_control.type: Input should be 'ephemeral'".into());
    }
    let ttl = mark.ttl.as_ref().map(|ttl| &*ttl.0);
    let is_known = matches!(ttl, None | Some("5m" | "1h"));
    (!is_known).then(|| "cache_control.ttl: Input should be '5m' or '1h'".into())
}

/// What a model takes for its cache.
struct Prices {
    /// The fewest tokens that are cached.
    tokens_min: u32,
    /// Thousandths of the price of input for what is read.
    read: u32,
}

fn prices(model: &str) -> Prices {
    let is = |names: &[&str]| {
        names
            .iter()
            .any(|name| model.starts_with(&format!("claude-{name}")))
    };
    let tokens_min = if is(&["opus-4-8", "sonnet-4-6", "sonnet-4-5"]) {
        1024
    } else if is(&["opus-4-7"]) {
        2048
    } else if is(&["sonnet-5-5", "opus-5", "fable-5", "mythos-5"]) {
        512
    } else if is(&["sonnet-5"]) {
        1024
    } else {
        4096
    };
    let read = if is(&["opus-5-5", "sonnet-5-5"]) {
        50
    } else if is(&["fable-5-1", "mythos-5-1"]) {
        25
    } else {
        100
    };
    Prices { tokens_min, read }
}

/// Tokens of the usage, by class: as the vendor names them.
pub(super) fn usage(input: u32, read: u32, written: u32, life: u32) -> String {
    let (minutes, hour) = if life == 3600 {
        (0, written)
    } else {
        (written, 0)
    };
    format!(
        concat!(
            r#""input_tokens":{},"cache_creation_input_tokens":{},"cache_read_input_tokens":{},"#,
            r#""cache_creation":{{"ephemeral_5m_input_tokens":{},"ephemeral_1h_input_tokens":{}}}"#,
        ),
        input - read - written,
        written,
        read,
        minutes,
        hour
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_model_caches_from_its_own_length_on() {
        for (model, tokens_min, read) in [
            ("claude-haiku-4-5-20251001", 4096, 100),
            ("claude-haiku-5-5", 4096, 100),
            ("claude-opus-4-5", 4096, 100),
            ("claude-opus-4-7", 2048, 100),
            ("claude-opus-4-8", 1024, 100),
            ("claude-sonnet-5", 1024, 100),
            ("claude-sonnet-5-5", 512, 50),
            ("claude-opus-5", 512, 100),
            ("claude-opus-5-5", 512, 50),
            ("claude-fable-5-1", 512, 25),
            ("claude-mythos-5", 512, 100),
            ("whatever", 4096, 100),
        ] {
            let prices = prices(model);
            assert_eq!(
                (prices.tokens_min, prices.read),
                (tokens_min, read),
                "{model}"
            );
        }
    }
}
