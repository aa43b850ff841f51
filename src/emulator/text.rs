//! The text in a request's messages, whichever of its shapes it came in.

use std::borrow::Cow;
use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::attached::{Attached, FileData, ImageUrl, Source};
pub(super) use super::borrowed::Borrowed;

/// One message.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) role: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) content: Content<'a>,
}

/// The text of a message: a string, or the text parts of a list, joined without a separator.
#[derive(Debug, Default)]
pub(super) struct Content<'a> {
    pub(super) text: Cow<'a, str>,
    /// Parts that are not text.
    pub(super) attached: Vec<Attached<'a>>,
    /// Parts that bear a mark for the cache.
    pub(super) marks: u32,
    /// Bytes of the text up to the end of the last of them.
    pub(super) marked: usize,
    /// The last mark.
    pub(super) mark: Option<Mark<'a>>,
    /// Whether a mark stands at a text in which there is nothing.
    pub(super) marks_nothing: bool,
}

/// A mark for the cache.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mark<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) ttl: Option<Borrowed<'a>>,
}

impl Mark<'_> {
    /// Whether what it marks is kept for an hour.
    pub(super) fn is_hour(&self) -> bool {
        self.ttl.as_ref().is_some_and(|ttl| ttl.0 == "1h")
    }
}

impl Content<'_> {
    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.attached.is_empty()
    }
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, default)]
    text: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    cache_control: Option<Mark<'a>>,
    #[serde(borrow, default, rename = "type")]
    kind: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    source: Option<Source<'a>>,
    #[serde(borrow, default)]
    image_url: Option<ImageUrl<'a>>,
    #[serde(borrow, default)]
    file: Option<FileData<'a>>,
}

impl<'a> Part<'a> {
    /// What it is, if it is no text.
    fn attached(self) -> Attached<'a> {
        let kind = self.kind.as_ref().map_or("", |kind| &*kind.0);
        match (self.source, self.image_url, self.file) {
            (Some(source), None, None) => Attached::of_source(kind, source),
            (None, Some(image), None) if kind == "image_url" => Attached::of_image_url(image),
            (None, None, Some(file)) if kind == "file" => Attached::of_file(file),
            _ => Attached::unknown(),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content {
            text: Cow::Borrowed(text),
            ..Content::default()
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content {
            text: Cow::Owned(text.to_owned()),
            ..Content::default()
        })
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Content::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let mut content = Content::default();
        while let Some(mut part) = parts.next_element::<Part<'de>>()? {
            let is_empty = part.text.as_ref().is_some_and(|text| text.0.is_empty());
            let mark = part.cache_control.take();
            match part.text.take() {
                Some(Borrowed(text)) if content.text.is_empty() => content.text = text,
                Some(Borrowed(text)) => content.text.to_mut().push_str(&text),
                None => content.attached.push(part.attached()),
            }
            if let Some(mark) = mark {
                content.marks += 1;
                content.marked = content.text.len();
                content.marks_nothing |= is_empty;
                content.mark = Some(mark);
            }
        }
        Ok(content)
    }
}

/// What an answer is drawn from: the first 8 bytes, big-endian, of SHA-256 over the seed in
/// decimal, a newline, and the text.
pub(super) fn draw_of(seed: u64, text: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(seed.to_string());
    hash.update(b"\n");
    hash.update(text.as_bytes());
    let bytes = hash.finalize();
    bytes
        .first_chunk()
        .map_or(0, |first| u64::from_be_bytes(*first))
}

/// How a user begins who says what is wrong with the answer before: that is no question of its own.
const CORRECTION: &str = "That answer cannot be used: ";

/// The message that is answered: the last of a user, but for those that correct the answer to it.
pub(super) fn question(messages: &[Message<'_>]) -> Option<usize> {
    let mut last = messages
        .iter()
        .rposition(|message| message.role == "user")?;
    while messages[last].content.text.starts_with(CORRECTION) {
        match &messages[..last] {
            [.., asked, answered] if asked.role == "user" && answered.role == "assistant" => {
                last -= 2;
            }
            _ => break,
        }
    }
    Some(last)
}

/// What is wrong with the turns of `messages` as a conversation: where an assistant has said nothing, or a
/// user was not the last to speak before the answer (which may have begun).
pub(super) fn turns_complaint(messages: &[Message<'_>]) -> Option<(usize, &'static str)> {
    let (last, before) = messages.split_last()?;
    let is_silent = |message: &Message<'_>| {
        message.role == "assistant" && message.content.text.trim().is_empty()
    };
    if let Some(at) = before.iter().position(is_silent) {
        return Some((at, "assistant messages must have non-empty content"));
    }
    let asked = match (&*last.role, before.last()) {
        ("assistant", Some(before)) => &*before.role,
        (role, _) => role,
    };
    (asked == "assistant").then_some((before.len(), "there is no question to answer"))
}

/// The draw of the message that is answered: of its text, and of whatever is attached to it, the base64 or the
/// URL of each after a newline.
pub(super) fn draw_of_messages(seed: u64, messages: &[Message<'_>]) -> u64 {
    let Some(content) = question(messages).map(|at| &messages[at].content) else {
        return draw_of(seed, "");
    };
    if content.attached.is_empty() {
        return draw_of(seed, &content.text);
    }
    let mut drawn = content.text.to_string();
    for attached in &content.attached {
        drawn.push('\n');
        drawn.push_str(&attached.data);
    }
    draw_of(seed, &drawn)
}

/// Tokens of what is attached to messages.
pub(super) fn attached_tokens(messages: &[Message<'_>]) -> u32 {
    let attached = messages
        .iter()
        .flat_map(|message| &message.content.attached);
    attached.map(Attached::tokens).sum()
}

/// A quarter of the bytes, rounded up: near enough to any tokenizer.
pub(super) fn tokens_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(4)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_in_every_shape() {
        let check = |json: &str, text: &str| {
            let content: Content<'_> = serde_json::from_str(json).expect(json);
            assert_eq!(content.text, text);
        };
        check(r#""a\nb""#, "a\nb");
        check(r#""ab""#, "ab");
        check(
            r#"[{"type":"text","text":"a"},{"type":"text","text":"\u0062"}]"#,
            "ab",
        );
        check(
            r#"[{"type":"image","source":{}},{"type":"text","text":"a"}]"#,
            "a",
        );
        check("null", "");
    }

    #[test]
    fn the_draw_is_the_start_of_the_documented_hash() {
        // python3: hashlib.sha256(b"0\nhello").hexdigest()[:16]
        assert_eq!(format!("{:016x}", draw_of(0, "hello")), "f6c5c364cd6e8340");
        assert_eq!(format!("{:016x}", draw_of(7, "grüße")), "3bb024945a5cdd84");
    }
}
