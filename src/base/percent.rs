//! Characters that an address writes as `%XX`.

use std::fmt::Write as _;

/// `%XX` into bytes; a `%` that is not followed by two digits stands for itself. `None` if that is not UTF-8.
#[must_use]
pub fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        if let Some(byte) = escaped(bytes, at) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

/// The fragment of an address, in which whatever may not stand there is `%XX`; what is so already stays.
#[must_use]
pub fn percent_encode_fragment(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut encoded = String::with_capacity(bytes.len());
    for (at, byte) in bytes.iter().enumerate() {
        let stays = byte.is_ascii_alphanumeric()
            || b"-._~!$&'()*+,;=:@/?".contains(byte)
            || escaped(bytes, at).is_some();
        if stays {
            encoded.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The byte that `%XX` at `at` stands for.
fn escaped(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_otherwise_is_read_as_it_was() {
        for (plain, encoded) in [
            ("a/b c", "a/b%20c"),
            ("é[0]\"", "%C3%A9%5B0%5D%22"),
            ("50%", "50%25"),
            ("%+5", "%25+5"),
            ("", ""),
        ] {
            assert_eq!(percent_encode_fragment(plain), encoded);
            assert_eq!(percent_decode(encoded).as_deref(), Some(plain));
        }
        assert_eq!(percent_encode_fragment("a%20b"), "a%20b");
        assert_eq!(percent_decode("100%").as_deref(), Some("100%"));
        assert_eq!(percent_decode("%+5 %4").as_deref(), Some("%+5 %4"));
        assert_eq!(percent_decode("%ff"), None);
    }
}
