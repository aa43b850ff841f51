//! How a chunk's requests become the bytes of a body.
//!
//! All that the requests of a plan share is made once, as constant bytes around the two things that
//! differ: the custom id, and the row's text as a JSON string. Writing a request is three copies and
//! one escape.

use super::CustomId;

/// The constant bytes of a body. The text stands between `after_id` and `after_text`, which bring
/// the quotes around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Before the first request.
    pub open: Vec<u8>,
    /// A request's start, up to its custom id.
    pub before_id: Vec<u8>,
    /// From the custom id to the text.
    pub after_id: Vec<u8>,
    /// From the text to the request's end.
    pub after_text: Vec<u8>,
    /// Between two requests.
    pub between: Vec<u8>,
    /// After the last request.
    pub close: Vec<u8>,
}

impl Frame {
    /// Bytes of a body of no request.
    #[must_use]
    pub fn base_len(&self) -> u64 {
        (self.open.len() + self.close.len()) as u64
    }

    /// Bytes of the request for `text`, without a separator.
    #[must_use]
    pub fn request_len(&self, text: &str) -> u64 {
        let fixed = self.before_id.len() + self.after_id.len() + self.after_text.len();
        (fixed + CustomId::LEN) as u64 + escaped_len(text)
    }

    /// Bytes that the request for `text` adds to a body. The first request of a body pays for a
    /// separator that is not there, which errs on the safe side.
    #[must_use]
    pub fn added_len(&self, text: &str) -> u64 {
        self.request_len(text) + self.between.len() as u64
    }

    /// Appends request `n`, for `text`, to `out`; with the separator unless it is the first.
    pub fn write(&self, ids: &CustomId, n: u64, text: &str, out: &mut Vec<u8>) {
        if n > 0 {
            out.extend_from_slice(&self.between);
        }
        out.extend_from_slice(&self.before_id);
        ids.write(n, out);
        out.extend_from_slice(&self.after_id);
        escape(text, out);
        out.extend_from_slice(&self.after_text);
    }
}

/// Appends `text` to `out` as the inside of a JSON string.
pub fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    if bytes.iter().fold(false, |any, byte| any | is_rare(*byte)) {
        let quoted = serde_json::Value::from(text).to_string();
        out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
        return;
    }
    out.reserve(bytes.len() + bytes.len() / 16 + 16);
    let mut start = 0;
    for at in memchr::memchr3_iter(b'\n', b'"', b'\\', bytes) {
        out.extend_from_slice(&bytes[start..at]);
        let letter = if bytes[at] == b'\n' { b'n' } else { bytes[at] };
        out.extend_from_slice(&[b'\\', letter]);
        start = at + 1;
    }
    out.extend_from_slice(&bytes[start..]);
}

/// What must be escaped and hardly ever stands in a text: where there is none, the rest is found faster
/// than by what writes any text as JSON.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch it is a vector instruction"
)]
fn is_rare(byte: u8) -> bool {
    (byte < 0x20) & (byte != b'\n')
}

/// Bytes that are counted together: compilers make a few vector instructions of such a block.
const BLOCK: usize = 32;

/// Bytes that [`escape`] would append.
#[must_use]
pub fn escaped_len(text: &str) -> u64 {
    let more = |block: &[u8]| block.iter().fold(0, |sum, byte| sum + added(*byte));
    let blocks = text.as_bytes().chunks(BLOCK);
    text.len() as u64 + blocks.map(|block| u64::from(more(block))).sum::<u64>()
}

/// Bytes that a byte becomes more when it is escaped, without a branch. A block's sum of them fits
/// into a byte.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without a branch it is a vector instruction"
)]
fn added(byte: u8) -> u8 {
    let is_short = (byte == b'"') | (byte == b'\\') | (byte == 0x0c) | (byte == b'\r');
    let is_short = is_short | ((0x08..=0x0a).contains(&byte));
    let is_long = (byte < 0x20) & !is_short;
    u8::from(is_short) + 5 * u8::from(is_long)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_escaped_text_is_the_text_again_when_parsed(text in "(?s)[\\x00-\\x7f\u{80}-\u{10ffff}\"\\\\\n]{0,80}") {
            let mut out = vec![b'"'];
            escape(&text, &mut out);
            prop_assert_eq!(out.len() as u64 - 1, escaped_len(&text));
            out.push(b'"');
            let back: String = serde_json::from_slice(&out).expect("valid JSON");
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn every_byte_is_escaped_wherever_it_stands() {
        for code in 0..=0x7fu8 {
            for pad in 0..17 {
                for common in ["zzzzzzzz", "\n\"\\zz", "\tz\n"] {
                    let text = format!("{}{}{common}", "é".repeat(pad), char::from(code));
                    let mut out = vec![b'"'];
                    escape(&text, &mut out);
                    assert_eq!(out.len() as u64 - 1, escaped_len(&text));
                    out.push(b'"');
                    let back: String = serde_json::from_slice(&out).expect("valid JSON");
                    assert_eq!(back, text);
                }
            }
        }
    }

    #[test]
    fn a_body_is_as_long_as_it_was_promised() {
        let frame = Frame {
            open: b"[".to_vec(),
            before_id: b"{\"id\":\"".to_vec(),
            after_id: b"\",\"q\":\"".to_vec(),
            after_text: b"\"}".to_vec(),
            between: b",".to_vec(),
            close: b"]".to_vec(),
        };
        let ids = CustomId::new("abcdefghjkmn", 0);
        let texts = ["plain", "a \"quoted\"\nline \u{1}", ""];
        let mut out = frame.open.clone();
        let mut promised = frame.base_len();
        for (n, text) in texts.iter().enumerate() {
            frame.write(&ids, n as u64, text, &mut out);
            promised += frame.added_len(text);
        }
        out.extend_from_slice(&frame.close);
        assert_eq!(
            out.len() as u64 + 1,
            promised,
            "one separator less than requests"
        );
        let parsed: Vec<serde_json::Value> = serde_json::from_slice(&out).expect("valid JSON");
        assert_eq!(parsed[1]["q"], texts[1]);
        assert_eq!(parsed[2]["id"], "abcdefghjkmn-000000-000002");
    }
}
