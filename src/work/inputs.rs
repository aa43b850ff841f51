//! Requests on the wire that carry several texts: how they are packed, and how they become bytes.
//!
//! ```text
//!  requests of ours:   0      1      2          3        each a text, or the pieces of a long one
//!                      │      │    ┌─┴─┐        │
//!  lines of the body:  └──────┴──┬─┘   ┘        └── ...   each with an id, and inputs in order
//!                        {"custom_id":"..-000000", .. "input":["0","1","2a","2b"] ..}
//! ```
//!
//! A [`Frame`] is around a line here; between two inputs of one line stand the quotes and the comma.

use super::escape::{escape, escaped_len};
use super::{Content, CustomId, Frame, Limits, LineLimits};

/// What stands between two inputs of a line: the end of one, the beginning of the next.
const JOINT: &[u8] = b"\",\"";

/// What a request adds to a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its inputs: one, or as many as its text has pieces.
    pub inputs: u64,
    /// Its tokens, roughly.
    pub tokens: u64,
    /// Bytes of its inputs, with what stands between them.
    pub bytes: u64,
}

impl Load {
    /// What `text` adds, if it is sent in `inputs` pieces.
    #[must_use]
    pub fn of(text: &str, inputs: usize) -> Load {
        let joints = (inputs.max(1) - 1) * JOINT.len();
        Load {
            inputs: inputs as u64,
            tokens: super::embedding::tokens_of(text),
            bytes: escaped_len(text) + joints as u64,
        }
    }
}

impl Frame {
    /// Bytes that a line adds to a body beside its inputs. The first line of a body pays for a separator
    /// that is not there.
    #[must_use]
    pub fn line_len(&self) -> u64 {
        self.added_len(Content::text(""))
    }

    /// Begins line `n`, up to its first input.
    pub fn begin_line(&self, ids: &CustomId, n: u64, out: &mut Vec<u8>) {
        if n > 0 {
            out.extend_from_slice(&self.after_text);
            out.extend_from_slice(&self.between);
        }
        out.extend_from_slice(&self.before_id);
        ids.write(n, out);
        out.extend_from_slice(&self.after_id);
    }

    /// Goes on to another input of the line that has begun.
    pub fn next_input(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(JOINT);
    }

    /// Appends `text` as inputs of so many bytes each.
    pub fn write_inputs(&self, text: &str, lens: &[u32], out: &mut Vec<u8>) {
        let mut rest = text;
        for (at, len) in lens.iter().enumerate() {
            if at > 0 {
                self.next_input(out);
            }
            let Some((piece, after)) = rest.split_at_checked(*len as usize) else {
                break;
            };
            escape(piece, out);
            rest = after;
        }
        escape(rest, out);
    }

    /// Ends the last line, if there is one, and the body.
    pub fn end_lines(&self, lines: u64, out: &mut Vec<u8>) {
        if lines > 0 {
            out.extend_from_slice(&self.after_text);
        }
        out.extend_from_slice(&self.close);
    }
}

/// Fills chunks line by line: says in which line the next request goes, if it still fits.
#[derive(Clone, Debug)]
pub struct LinePacker {
    limits: Limits,
    line: LineLimits,
    /// Bytes of the body's frame, and of each line's.
    base: u64,
    per_line: u64,
    /// Requests, inputs and bytes of the chunk so far.
    count: u64,
    inputs: u64,
    bytes: u64,
    /// Lines that have begun, and what the last of them has.
    lines: u64,
    line_inputs: u64,
    line_tokens: u64,
}

impl LinePacker {
    /// An empty chunk within `limits`, whose requests stand for inputs here, in lines within `line`.
    #[must_use]
    pub fn new(limits: Limits, line: LineLimits, frame: &Frame) -> Self {
        LinePacker {
            limits,
            line,
            base: frame.base_len(),
            per_line: frame.line_len(),
            count: 0,
            inputs: 0,
            bytes: frame.base_len(),
            lines: 0,
            line_inputs: 0,
            line_tokens: 0,
        }
    }

    /// The line in which a request goes, `alone` or with others; `None` if it does not fit any more. The
    /// first request always fits: what is too large for a line of its own is refused before it gets here.
    pub fn take(&mut self, load: Load, alone: bool) -> Option<u64> {
        let joins = !alone
            && self.lines > 0
            && self.line_inputs + load.inputs <= self.line.inputs_max
            && self.line_tokens + load.tokens <= self.line.tokens_max;
        let more = if joins {
            JOINT.len() as u64
        } else {
            self.per_line
        };
        let bytes = load.bytes + more;
        let fits = self.inputs + load.inputs <= self.limits.requests_max
            && self.bytes.saturating_add(bytes) <= self.limits.bytes_max;
        if !fits && self.count > 0 {
            return None;
        }
        if !joins {
            self.lines += 1;
            (self.line_inputs, self.line_tokens) = (0, 0);
        }
        self.count += 1;
        self.inputs += load.inputs;
        self.bytes += bytes;
        self.line_inputs += load.inputs;
        self.line_tokens += load.tokens;
        Some(self.lines - 1)
    }

    /// Starts the next chunk, which may have another size.
    pub fn reset(&mut self, requests_max: u64) {
        self.limits.requests_max = requests_max;
        (self.count, self.inputs, self.bytes) = (0, 0, self.base);
        (self.lines, self.line_inputs, self.line_tokens) = (0, 0, 0);
    }

    /// Lines of the chunk so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Bytes of the body so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> Frame {
        Frame {
            open: b"<".to_vec(),
            before_id: b"{\"id\":\"".to_vec(),
            after_id: b"\",\"input\":[\"".to_vec(),
            after_text: b"\"]}".to_vec(),
            between: b"\n".to_vec(),
            close: b">".to_vec(),
            parts: None,
            inputs: None,
            turns: None,
        }
    }

    /// The body of `texts`, each in pieces of so many bytes, in the lines that `packer` says; and how many
    /// of them fit.
    fn body(
        packer: &mut LinePacker,
        texts: &[(String, Vec<u32>)],
        alone: bool,
    ) -> (Vec<u8>, usize) {
        let (frame, ids) = (frame(), CustomId::new("abcdefghjkmn", 0));
        let mut out = frame.open.clone();
        let (mut last, mut taken) = (None, 0);
        for (text, lens) in texts {
            let Some(line) = packer.take(Load::of(text, lens.len()), alone) else {
                break;
            };
            match last {
                Some(last) if last == line => frame.next_input(&mut out),
                _ => frame.begin_line(&ids, line, &mut out),
            }
            frame.write_inputs(text, lens, &mut out);
            (last, taken) = (Some(line), taken + 1);
        }
        frame.end_lines(packer.lines(), &mut out);
        (out, taken)
    }

    fn texts() -> impl Strategy<Value = Vec<(String, Vec<u32>)>> {
        let text = ("[a-z\"\n\\\\]{1,12}", any::<prop::sample::Index>()).prop_map(
            |(text, cut): (String, _)| {
                let at = cut.index(text.len());
                let len = |n: usize| u32::try_from(n).expect("small");
                let lens = if at == 0 {
                    vec![len(text.len())]
                } else {
                    vec![len(at), len(text.len() - at)]
                };
                (text, lens)
            },
        );
        prop::collection::vec(text, 1..40)
    }

    proptest! {
        #[test]
        fn a_body_is_as_long_as_it_was_promised_and_within_every_limit(
            texts in texts(), inputs_max in 2u64..6, tokens_max in 4u64..12,
            requests_max in 2u64..50, bytes_max in 150u64..900, alone in prop::bool::weighted(0.2),
        ) {
            let limits = Limits { requests_max, bytes_max, request_bytes_max: bytes_max };
            let mut packer = LinePacker::new(limits, LineLimits { inputs_max, tokens_max }, &frame());
            let (out, taken) = body(&mut packer, &texts, alone);
            prop_assert!(taken > 0);
            prop_assert_eq!(out.len() as u64 + 1, packer.bytes(), "one separator less than lines");
            prop_assert!(out.len() as u64 <= bytes_max);
            let text = String::from_utf8(out).expect("UTF-8");
            let text = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).expect("framed");
            let mut inputs = Vec::new();
            for (n, line) in text.split('\n').enumerate() {
                let line: serde_json::Value = serde_json::from_str(line).expect("valid JSON");
                prop_assert_eq!(&line["id"], &format!("abcdefghjkmn-000000-{n:06}"));
                let own = line["input"].as_array().expect("a list");
                prop_assert!(own.len() as u64 <= inputs_max);
                let tokens: u64 = own.iter().map(|text| text.as_str().expect("a text").len() as u64).sum();
                prop_assert!(tokens / 4 <= tokens_max + own.len() as u64);
                inputs.extend(own.iter().map(|text| text.as_str().expect("a text").to_owned()));
            }
            prop_assert!(inputs.len() as u64 <= requests_max);
            let expect: Vec<String> = texts[..taken].iter().flat_map(|(text, lens)| {
                let (first, rest) = text.split_at(lens[0] as usize);
                [first, rest].into_iter().filter(|piece| !piece.is_empty()).map(str::to_owned).collect::<Vec<_>>()
            }).collect();
            prop_assert_eq!(inputs, expect, "every input once, in order");
            if let Some((text, lens)) = texts.get(taken) {
                let load = Load::of(text, lens.len());
                let bytes = packer.bytes() + load.bytes + frame().line_len();
                let count: usize = texts[..taken].iter().map(|(_, lens)| lens.len()).sum();
                prop_assert!(bytes > bytes_max || count as u64 + load.inputs > requests_max, "cut before it was full");
            }
        }
    }
}
