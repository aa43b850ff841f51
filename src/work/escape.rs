//! Text as the inside of a JSON string: written, and measured before it is.

/// Appends `text` to `out` as the inside of a JSON string.
pub(super) fn escape(text: &str, out: &mut Vec<u8>) {
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
pub(super) fn escaped_len(text: &str) -> u64 {
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
}
