//! A chunk's bytes as they are sent, made from its requests while they are sent.

use std::fs::File;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use crate::base::{Error, Result};
use crate::ledger::requests::{LinePlace, RequestColumns, Requests, RequestsReader};
use crate::provider::Body;
use crate::work::{Attachment, Content, CustomId, Frame};

/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;

/// The body of the requests in `file`, `len` bytes of it.
///
/// # Errors
/// `Data` if the file is not one of requests.
pub(crate) fn body(file: File, frame: Frame, ids: CustomId, len: u64) -> Result<Body> {
    let pieces = BodyReader {
        reader: RequestsReader::open(file, RequestColumns::All)?,
        frame,
        ids,
        n: 0,
        line: None,
        part: BodyPart::Open,
        some: None,
    };
    let stream = stream::iter(pieces).map(|piece| piece.map_err(std::io::Error::other));
    Ok(Body {
        len,
        stream: stream.boxed(),
    })
}

enum BodyPart {
    Open,
    Requests,
    Closed,
}

struct BodyReader {
    reader: RequestsReader,
    frame: Frame,
    ids: CustomId,
    n: u64,
    /// The line that has begun, where lines carry several requests.
    line: Option<u64>,
    part: BodyPart,
    /// Requests that were read and not written yet, from this one on.
    some: Option<(Requests, usize)>,
}

impl BodyReader {
    /// Fills a piece; empty at the end.
    fn fill(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(PIECE + PIECE / 8);
        if matches!(self.part, BodyPart::Open) {
            out.extend_from_slice(&self.frame.open);
            self.part = BodyPart::Requests;
        }
        while matches!(self.part, BodyPart::Requests) && out.len() < PIECE {
            match self.some.take() {
                Some((some, at)) if at < some.len() => self.write(some, at, &mut out)?,
                _ => {
                    self.some = self.reader.next().transpose()?.map(|some| (some, 0));
                    if self.some.is_none() {
                        if self.frame.inputs.is_some() {
                            let lines = self.line.map_or(0, |line| line + 1);
                            self.frame.end_lines(lines, &mut out);
                        } else {
                            out.extend_from_slice(&self.frame.close);
                        }
                        self.part = BodyPart::Closed;
                    }
                }
            }
        }
        Ok(out)
    }

    /// Writes requests until the piece is full.
    fn write(&mut self, some: Requests, mut at: usize, out: &mut Vec<u8>) -> Result<()> {
        while at < some.len() && out.len() < PIECE {
            let prompt = some.prompt(at);
            let prompt =
                prompt.ok_or_else(|| Error::data("a request that is to be sent has no prompt"))?;
            if self.frame.inputs.is_some() {
                self.write_inputs(prompt, some.place(at), out)?;
            } else if let Some(correction) = some.correction(at) {
                let content = Content {
                    correction: Some(correction),
                    ..Content::text(prompt)
                };
                let none = |_: &Attachment, _: &mut Vec<u8>| Ok(());
                self.frame
                    .write_content(&self.ids, self.n, content, none, out)?;
            } else {
                self.frame.write(&self.ids, self.n, prompt, out);
            }
            (at, self.n) = (at + 1, self.n + 1);
        }
        self.some = Some((some, at));
        Ok(())
    }

    /// Writes a request into the line that it belongs to.
    fn write_inputs(
        &mut self,
        prompt: &str,
        place: Option<LinePlace<'_>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let place = place.ok_or_else(|| Error::data("a text that is to be sent has no line"))?;
        let line = u64::from(place.line);
        if self.line == Some(line) {
            self.frame.next_input(out);
        } else {
            self.frame.begin_line(&self.ids, line, out);
            self.line = Some(line);
        }
        self.frame.write_inputs(prompt, place.inputs, out);
        Ok(())
    }
}

impl Iterator for BodyReader {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(Bytes::from(piece))),
            Err(error) => {
                self.part = BodyPart::Closed;
                Some(Err(error))
            }
        }
    }
}
