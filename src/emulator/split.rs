//! Cuts a body into requests while it streams in: lines of a file, elements of a JSON array. Only
//! the piece that straddles two chunks is ever copied.

use memchr::{memchr, memchr2};

use super::problem::Problem;

/// The longest request that is taken; what a vendor takes online as well.
const PIECE_MAX: usize = 64_000_000;

/// What is done with each piece.
pub(super) type Each<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), Problem>;

/// Lines, split on `\n` alone. The last one needs no end.
#[derive(Debug, Default)]
pub(super) struct Lines {
    open: Vec<u8>,
}

impl Lines {
    pub(super) fn feed(&mut self, mut chunk: &[u8], each: Each<'_>) -> Result<(), Problem> {
        while let Some(end) = memchr(b'\n', chunk) {
            let (line, rest) = (&chunk[..end], &chunk[end + 1..]);
            if self.open.is_empty() {
                each(line)?;
            } else {
                self.open.extend_from_slice(line);
                each(&self.open)?;
                self.open.clear();
            }
            chunk = rest;
        }
        keep(&mut self.open, chunk)
    }

    pub(super) fn finish(self, each: Each<'_>) -> Result<(), Problem> {
        if self.open.is_empty() {
            Ok(())
        } else {
            each(&self.open)
        }
    }
}

fn keep(open: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Problem> {
    open.extend_from_slice(bytes);
    if open.len() > PIECE_MAX {
        return Err(Problem::too_large("one request is too large"));
    }
    Ok(())
}

/// Finds where a nested JSON value ends.
#[derive(Debug, Default)]
struct Nesting {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

impl Nesting {
    /// The place after the value's last byte, if it is in `bytes`.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
            } else if self.in_string {
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                self.escaped = bytes[at] == b'\\';
                self.in_string = self.escaped;
                if !self.in_string && self.depth == 0 {
                    return Some(at + 1);
                }
            } else {
                match bytes[at] {
                    b'"' => self.in_string = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.depth == 0 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Before the object.
    Start,
    /// Before a key, or after the last value.
    Pairs { after_comma: bool },
    /// Within a key.
    Key,
    /// Between a key and its value.
    Colon,
    /// Before a value.
    Value,
    /// Within a value nobody asked for: a string, a list, an object.
    Nested,
    /// Within a number or a word.
    Scalar,
    /// Within the array, before an element or its end.
    Before { after_comma: bool },
    /// Within an element.
    Element,
    /// Within the array, after an element.
    After,
    /// After the object.
    End,
}

/// The elements of the array under one key of a top-level JSON object.
#[derive(Debug)]
pub(super) struct Elements {
    wanted: &'static str,
    state: State,
    nesting: Nesting,
    key: Vec<u8>,
    open: Vec<u8>,
    found: bool,
}

impl Elements {
    pub(super) fn under(wanted: &'static str) -> Self {
        Elements {
            wanted,
            state: State::Start,
            nesting: Nesting::default(),
            key: Vec::new(),
            open: Vec::new(),
            found: false,
        }
    }

    pub(super) fn feed(&mut self, mut chunk: &[u8], each: Each<'_>) -> Result<(), Problem> {
        while let Some(first) = chunk.first() {
            let used = match self.state {
                State::Element => self.element(chunk, each)?,
                State::Nested => self.nested(chunk),
                State::Key => self.within_key(chunk),
                _ if first.is_ascii_whitespace() => 1,
                _ => self.step(*first)?,
            };
            chunk = &chunk[used..];
        }
        Ok(())
    }

    /// Whether the key was there, once the body has ended.
    pub(super) fn finish(&self) -> Result<bool, Problem> {
        if self.state == State::End {
            Ok(self.found)
        } else {
            Err(broken("unexpected end of data"))
        }
    }

    fn element(&mut self, chunk: &[u8], each: Each<'_>) -> Result<usize, Problem> {
        let Some(end) = self.nesting.end(chunk) else {
            keep(&mut self.open, chunk)?;
            return Ok(chunk.len());
        };
        if self.open.is_empty() {
            each(&chunk[..end])?;
        } else {
            self.open.extend_from_slice(&chunk[..end]);
            each(&self.open)?;
            self.open.clear();
        }
        self.state = State::After;
        Ok(end)
    }

    fn nested(&mut self, chunk: &[u8]) -> usize {
        let Some(end) = self.nesting.end(chunk) else {
            return chunk.len();
        };
        self.state = State::Pairs { after_comma: false };
        end
    }

    fn within_key(&mut self, chunk: &[u8]) -> usize {
        let end = self.nesting.end(chunk);
        let used = end.unwrap_or(chunk.len());
        // A key of any length is not kept: none that is wanted is longer.
        self.key.extend(
            chunk[..used]
                .iter()
                .take(64_usize.saturating_sub(self.key.len())),
        );
        if end.is_some() {
            self.state = State::Colon;
        }
        used
    }

    /// One byte of punctuation. Returns the bytes used: none where the byte begins something.
    fn step(&mut self, byte: u8) -> Result<usize, Problem> {
        let (state, used) = match (self.state, byte) {
            (State::Start, b'{') => (State::Pairs { after_comma: true }, 1),
            (State::Pairs { after_comma: true }, b'"') => {
                self.key.clear();
                (State::Key, 0)
            }
            (State::Pairs { after_comma: false } | State::Scalar, b',') => {
                (State::Pairs { after_comma: true }, 1)
            }
            (State::Pairs { .. } | State::Scalar, b'}') => (State::End, 1),
            (State::Colon, b':') => (State::Value, 1),
            (State::Value, b'[') if self.is_wanted() => {
                self.found = true;
                (State::Before { after_comma: false }, 1)
            }
            (State::Value, _) if self.is_wanted() => {
                let wanted = self.wanted;
                return Err(Problem::invalid(format!(
                    "{wanted}: Input should be a valid list"
                )));
            }
            (State::Value, b'{' | b'[' | b'"') => (State::Nested, 0),
            (State::Value | State::Scalar, _) => (State::Scalar, 1),
            (State::Before { .. }, b'{') => (State::Element, 0),
            (State::Before { after_comma: false } | State::After, b']') => {
                (State::Pairs { after_comma: false }, 1)
            }
            (State::After, b',') => (State::Before { after_comma: true }, 1),
            _ => return Err(broken("unexpected character")),
        };
        self.state = state;
        Ok(used)
    }

    fn is_wanted(&self) -> bool {
        self.key
            .strip_prefix(b"\"")
            .and_then(|key| key.strip_suffix(b"\""))
            == Some(self.wanted.as_bytes())
    }
}

fn broken(what: &str) -> Problem {
    Problem::invalid(format!("The request body is not valid JSON: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is found, whatever the chunks.
    fn elements(body: &str, chunk: usize) -> Result<(Vec<String>, bool), Problem> {
        let mut found = Vec::new();
        let mut splitter = Elements::under("requests");
        for chunk in body.as_bytes().chunks(chunk) {
            splitter.feed(chunk, &mut |piece| {
                found.push(String::from_utf8_lossy(piece).into_owned());
                Ok(())
            })?;
        }
        Ok((found, splitter.finish()?))
    }

    #[test]
    fn elements_come_out_whole_wherever_the_chunks_are_cut() {
        let one = r#"{"a":"x]}\"\\","b":[1,{"c":"ü"}]}"#;
        let body = format!(
            " {{\"other\": {{\"requests\":[1]}}, \"n\": -1.5 , \"t\":\"a}}b\",\"requests\" : [ {one},\n{{}} ] , \"z\":null}} "
        );
        for chunk in 1..body.len() {
            let (found, seen) = elements(&body, chunk).expect("valid");
            assert_eq!(found, [one, "{}"], "chunks of {chunk}");
            assert!(seen);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for body in [
            "",
            "{",
            "[]",
            r#"{"requests":[{}"#,
            r#"{"requests":[{}{}]}"#,
            r#"{"requests":[{},]}"#,
            r#"{"requests":[1]}"#,
            r#"{"requests":{}}"#,
            r#"{"requests":[]}}"#,
            r#"{"requests":[] "a":1}"#,
        ] {
            assert!(elements(body, 3).is_err(), "{body}");
        }
        assert_eq!(elements(r#"{"requests":[]}"#, 3), Ok((vec![], true)));
        assert_eq!(elements(r#"{"a":[{}]}"#, 3), Ok((vec![], false)));
    }

    #[test]
    fn lines_come_out_whole_wherever_the_chunks_are_cut() {
        let text = "one\n\nthree ü\u{2028}still\nlast";
        for chunk in 1..text.len() {
            let mut found = Vec::new();
            let mut each = |line: &[u8]| {
                found.push(String::from_utf8_lossy(line).into_owned());
                Ok(())
            };
            let mut lines = Lines::default();
            for chunk in text.as_bytes().chunks(chunk) {
                lines.feed(chunk, &mut each).expect("short");
            }
            lines.finish(&mut each).expect("short");
            assert_eq!(found, ["one", "", "three ü\u{2028}still", "last"]);
        }
    }
}
