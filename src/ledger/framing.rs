//! JSON lines with an end that tells whether all of them are there.
//!
//! ```text
//! {"format":1,...}                                the head
//! {...}                                           any number of lines
//! {"end":{"lines":3,"xxh3":"f4a1..32 digits.."}}  lines before this one, and the hash of their bytes
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::{Error, ErrorKind, Result, ResultExt};

/// The version of the ledger's format that this program writes, and the newest that it reads.
pub(super) const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Trailer {
    end: End,
}

#[derive(Serialize, Deserialize)]
struct End {
    lines: usize,
    xxh3: String,
}

/// What every head begins with, in every version.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Why bytes are not a framed file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// All lines are there, and were changed.
    Altered,
    /// The end is not there.
    CutShort,
    /// Nothing is there.
    Empty,
    /// A newer program wrote it, in this format.
    Newer(u32),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Altered => f.write_str("its bytes have changed since it was written"),
            Damage::CutShort => f.write_str("it is cut short"),
            Damage::Empty => f.write_str("it is empty"),
            Damage::Newer(format) => {
                write!(f, "its format is {format}, this program reads {FORMAT}")
            }
        }
    }
}

impl std::error::Error for Damage {}

/// Lines on their way into a framed file.
#[derive(Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    count: usize,
}

impl Lines {
    pub(super) fn push(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.bytes, line)
            .or_err(ErrorKind::Internal, "cannot write a line of the ledger")?;
        self.bytes.push(b'\n');
        self.count += 1;
        Ok(())
    }

    /// Takes lines as they are, for tests that write what this program would not.
    #[cfg(test)]
    pub(super) fn push_raw(&mut self, lines: &str) {
        self.bytes.extend_from_slice(lines.as_bytes());
        self.count += lines.matches('\n').count();
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>> {
        let end = End {
            lines: self.count,
            xxh3: hash(&self.bytes),
        };
        self.push(&Trailer { end })?;
        Ok(self.bytes)
    }
}

/// The lines of a framed file, without its end.
pub(super) fn unframe(bytes: &[u8]) -> Result<Vec<&str>, Damage> {
    let text = match std::str::from_utf8(bytes) {
        Ok("") => return Err(Damage::Empty),
        Ok(text) => text,
        Err(_) => return Err(Damage::Altered),
    };
    // A newer format may end otherwise, so its number comes first.
    let first = text.lines().next().unwrap_or_default();
    if let Ok(Format { format }) = serde_json::from_str(first)
        && format > FORMAT
    {
        return Err(Damage::Newer(format));
    }
    let whole = text.strip_suffix('\n').ok_or(Damage::CutShort)?;
    let (before, last) = whole.rsplit_once('\n').ok_or(Damage::CutShort)?;
    let Trailer { end } = serde_json::from_str(last).map_err(|_| Damage::CutShort)?;
    let framed = &bytes[..=before.len()];
    if end.xxh3 != hash(framed) {
        return Err(Damage::Altered);
    }
    let lines: Vec<_> = before.split('\n').collect();
    if lines.len() == end.lines {
        Ok(lines)
    } else {
        Err(Damage::Altered)
    }
}

fn hash(bytes: &[u8]) -> String {
    format!("{:032x}", xxh3_128(bytes))
}

/// A line as `T`; a line that is none was written by a newer program, for its hash is right.
pub(super) fn line<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T> {
    serde_json::from_str(line).map_err(|error| {
        Error::data("the ledger holds an entry that this program does not know")
            .because(error)
            .hint("a newer version of columnist wrote it: run that version")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed() -> Vec<u8> {
        let mut lines = Lines::default();
        lines
            .push(&serde_json::json!({"format": 1, "version": 7}))
            .unwrap();
        lines.push(&serde_json::json!({"say": "end\n{}"})).unwrap();
        lines.finish().unwrap()
    }

    #[test]
    fn what_was_framed_reads_back() {
        let bytes = framed();
        let lines = unframe(&bytes).unwrap();
        assert_eq!(
            lines,
            [r#"{"format":1,"version":7}"#, r#"{"say":"end\n{}"}"#]
        );
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_found() {
        let bytes = framed();
        for len in 0..bytes.len() {
            assert!(unframe(&bytes[..len]).is_err(), "cut to {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(unframe(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_newer_format_is_named_whatever_its_end() {
        let bytes = b"{\"format\":2,\"anything\":[]}\nsomething else entirely";
        assert_eq!(unframe(bytes), Err(Damage::Newer(2)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_pass(bytes: Vec<u8>) {
            prop_assert!(unframe(&bytes).is_err());
        }

        #[test]
        fn arbitrary_lines_with_a_believable_end_never_pass(
            body in "\\PC{0,60}\n", lines in 0usize..4, xxh3 in "[0-9a-f]{32}",
        ) {
            let text = format!("{body}{{\"end\":{{\"lines\":{lines},\"xxh3\":\"{xxh3}\"}}}}\n");
            prop_assert!(unframe(text.as_bytes()).is_err());
        }
    }
}
