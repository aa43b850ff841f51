//! The lines of a result file.

use std::borrow::Cow;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use memchr::memmem;
use serde::Deserialize;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::work::{Reply, ReplyBody, Vector};

/// The longest line that is searched for an id: far above the longest answer.
const LINE_MAX: usize = 64 << 20;

/// Reads a result line with `read`; if it is not quite JSON, once more after mending what models and
/// servers are known to break: half of a surrogate pair where an answer was cut, stray bytes, and numbers
/// that JSON has no word for.
///
/// # Errors
/// `Data` if it is no JSON even then, or names no request.
pub(super) fn read_line<'a>(
    line: &'a [u8],
    read: impl for<'l> Fn(&'l [u8]) -> serde_json::Result<Option<Reply<'l>>>,
) -> Result<Reply<'a>> {
    let reply = read(line).or_else(|error| match mended(line) {
        Some(mended) => read(&mended).map(|reply| reply.map(into_owned)),
        None => Err(error),
    });
    reply
        .or_err(ErrorKind::Data, "not a line of results")?
        // An empty id is nobody's, and must not be taken for another's.
        .filter(|reply| !reply.custom_id.is_empty())
        .ok_or_else(|| Error::data("the line of results names no request"))
}

/// What `line` says. Whether it is Unicode is looked at once for the whole line, which is cheaper than for
/// each of its words.
pub(super) fn read_json<'a, T: Deserialize<'a>>(line: &'a [u8]) -> serde_json::Result<T> {
    match simdutf8::basic::from_utf8(line) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(line),
    }
}

fn into_owned(reply: Reply<'_>) -> Reply<'static> {
    fn own(text: Cow<'_, str>) -> Cow<'static, str> {
        Cow::Owned(text.into_owned())
    }
    let body = match reply.body {
        ReplyBody::Answered {
            text,
            finish,
            refusal,
            model,
            usage,
        } => ReplyBody::Answered {
            text: own(text),
            finish,
            refusal: refusal.map(own),
            model: own(model),
            usage,
        },
        ReplyBody::Embedded {
            vectors,
            model,
            usage,
        } => ReplyBody::Embedded {
            vectors: vectors
                .into_iter()
                .map(|vector| Vector {
                    json: own(vector.json),
                    ..vector
                })
                .collect(),
            model: own(model),
            usage,
        },
        ReplyBody::Failed {
            class,
            code,
            message,
        } => ReplyBody::Failed {
            class,
            code: own(code),
            message: own(message),
        },
        ReplyBody::Expired => ReplyBody::Expired,
        ReplyBody::Canceled => ReplyBody::Canceled,
    };
    Reply {
        custom_id: own(reply.custom_id),
        body,
    }
}

/// `line` with the replacement character for what is not Unicode; `None` if it is all well.
fn mended(line: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(line);
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (taken, whole) = match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, true),
            (Some(0xd800..=0xdfff), _) => (6, false),
            _ => (2.min(rest.len()), true),
        };
        out.extend_from_slice(if whole { &rest[..taken] } else { b"\\ufffd" });
        rest = &rest[taken..];
    }
    out.extend_from_slice(rest);
    let out = without_words(out);
    (out != line).then_some(out)
}

/// What Python's `json` writes for numbers that are none, unless it is told not to.
const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];

/// `line` with `null` for numbers that JSON has no word for.
fn without_words(line: Vec<u8>) -> Vec<u8> {
    if !NO_NUMBERS
        .iter()
        .any(|word| memmem::find(&line, word).is_some())
    {
        return line;
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest = &line[..];
    while let Some(first) = rest.first() {
        let word = NO_NUMBERS.iter().find(|word| rest.starts_with(word));
        let (taken, word) = match (first, word) {
            (b'"', _) => (text_len(rest), None),
            (_, Some(word)) => (word.len(), Some(b"null")),
            _ => (1, None),
        };
        out.extend_from_slice(word.map_or(&rest[..taken], |word| word));
        rest = &rest[taken..];
    }
    out
}

/// Bytes of the text with which `bytes` begin, with its quotes.
fn text_len(bytes: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', bytes.get(at..).unwrap_or_default()) {
        at += found + 1;
        if bytes[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    bytes.len()
}

/// The number in an escape (`\u1234`) at the start of `bytes`.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The first result of `read` on a line of `body` that is not `None`; stops downloading there. `read`
/// is told whether the line has its end: the last one may have been cut.
///
/// # Errors
/// When the body is cut before that.
pub(super) async fn first_line<T>(
    mut body: BoxStream<'static, Result<Bytes>>,
    mut read: impl FnMut(&[u8], bool) -> Option<T>,
) -> Result<Option<T>> {
    let mut buffer = Vec::new();
    while let Some(bytes) = body.try_next().await? {
        let mut from = buffer.len();
        buffer.extend_from_slice(&bytes);
        while let Some(end) = memchr::memchr(b'\n', &buffer[from..]) {
            if let Some(found) = read(&buffer[..from + end], true) {
                return Ok(Some(found));
            }
            buffer.drain(..=from + end);
            from = 0;
        }
        if buffer.len() > LINE_MAX {
            return Err(Error::unavailable("a line of results does not end"));
        }
    }
    Ok(read(&buffer, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_surrogate_pair_is_mended_and_a_whole_one_is_left() {
        let check = |line: &str, expect: Option<&str>| {
            let mended =
                mended(line.as_bytes()).map(|line| String::from_utf8(line).expect("UTF-8"));
            assert_eq!(mended.as_deref(), expect, "{line}");
        };
        check(r#""\ud83d\ude00 \\ud83d \n""#, None);
        check(r#""\ud83d""#, Some(r#""\ufffd""#));
        check(r#""\ude00\ud83d\u0041""#, Some(r#""\ufffd\ufffd\u0041""#));
        check(r#""\\\ud83d""#, Some(r#""\\\ufffd""#));
        check("\\", None);
        check(
            r#"{"a":[NaN,-Infinity,Infinity,1]}"#,
            Some(r#"{"a":[null,null,null,1]}"#),
        );
        check(
            r#"{"NaN":"\"NaN\\","b":NaN}"#,
            Some(r#"{"NaN":"\"NaN\\","b":null}"#),
        );
        check(r#"["NaN", "Infinity"#, None);
        check(r#"["a\"#, None);
        assert_eq!(mended(b"\"\xff\""), Some("\"\u{fffd}\"".into()));
    }
}
