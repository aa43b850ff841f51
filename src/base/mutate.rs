//! For tests: real bytes, spoilt a little, so that a reader comes further with them than with noise.

use proptest::prelude::*;
use proptest::sample::Index;

/// Pieces of JSON that stand where something else is due.
const TOKENS: [&str; 16] = [
    "null",
    "true",
    "[]",
    "{}",
    "-1",
    "1e999",
    "18446744073709551616",
    "99999999999999999999999999",
    "\"\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"a\"",
    "[{\"a\":[null]}]",
    "{\"type\":7,\"id\":[]}",
    "\n",
    "\"",
];

/// One thing that goes wrong.
#[derive(Clone, Debug)]
enum Edit {
    Cut(Index, usize),
    End(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize, usize),
    Value(Index, &'static str),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<Index>();
    prop_oneof![
        1 => (any::<Index>(), 1usize..40).prop_map(|(at, len)| Edit::Cut(at, len)),
        1 => any::<Index>().prop_map(Edit::End),
        1 => (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..12))
            .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (any::<Index>(), 1usize..40, 1usize..20)
            .prop_map(|(at, len, times)| Edit::Repeat(at, len, times)),
        4 => (at, prop::sample::select(&TOKENS[..])).prop_map(|(at, token)| Edit::Value(at, token)),
    ]
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let len = bytes.len();
        let start = |at: &Index| if len == 0 { 0 } else { at.index(len) };
        match self {
            Edit::Cut(at, more) => {
                let at = start(at);
                bytes.drain(at..(at + more).min(len));
            }
            Edit::End(at) => bytes.truncate(start(at)),
            Edit::Flip(at, bit) => {
                if let Some(byte) = bytes.get_mut(start(at)) {
                    *byte ^= 1 << bit;
                }
            }
            Edit::Insert(at, new) => {
                let at = start(at);
                bytes.splice(at..at, new.iter().copied());
            }
            Edit::Repeat(at, more, times) => {
                let at = start(at);
                let piece = bytes[at..(at + more).min(len)].repeat(*times);
                bytes.splice(at..at, piece);
            }
            Edit::Value(at, token) => {
                // What stands behind the next colon, as far as the next sign.
                let at = start(at);
                let Some(colon) = bytes[at..].iter().position(|byte| *byte == b':') else {
                    return;
                };
                let from = at + colon + 1;
                let end = bytes[from..].iter().position(|byte| b",}]".contains(byte));
                let to = end.map_or(bytes.len(), |end| from + end);
                bytes.splice(from..to, token.bytes());
            }
        }
    }
}

/// `bytes` after one to five accidents.
pub(crate) fn spoilt(bytes: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(edit(), 1..6).prop_map(move |edits| {
        let mut spoilt = bytes.clone();
        for edit in &edits {
            edit.apply(&mut spoilt);
        }
        spoilt
    })
}

/// One of `texts` after one to five accidents.
pub(crate) fn one_spoilt(texts: Vec<String>) -> impl Strategy<Value = Vec<u8>> {
    prop::sample::select(texts).prop_flat_map(|text| spoilt(text.into_bytes()))
}
