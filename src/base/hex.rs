//! Bytes in words.

use std::fmt::{self, Write};

/// `bytes` in hexadecimal digits, two for each.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    // Writing into a string never fails.
    let _ = write_hex(bytes, &mut out);
    out
}

/// Writes them to `out`.
///
/// # Errors
/// What `out` says.
pub fn write_hex(bytes: &[u8], out: &mut impl Write) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_two_digits() {
        assert_eq!(hex(&[0, 9, 0x1f, 0xa0, 0xff]), "00091fa0ff");
        assert_eq!(hex(&[]), "");
    }
}
