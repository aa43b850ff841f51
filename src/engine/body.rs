//! A chunk's bytes as they are sent, made from its requests while they are sent.

use std::fs::File;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use crate::base::{Error, Result};
use crate::ledger::requests::RequestsReader;
use crate::provider::Body;
use crate::work::{CustomId, Frame};

/// Bytes that are handed on at once.
const PIECE: usize = 256 << 10;

/// The body of the requests in `file`, `len` bytes of it.
///
/// # Errors
/// `Data` if the file is not one of requests.
pub(super) fn body(file: File, frame: Frame, ids: CustomId, len: u64) -> Result<Body> {
    let pieces = Pieces {
        reader: RequestsReader::open(file)?,
        frame,
        ids,
        n: 0,
        state: Stage::Open,
    };
    let stream = stream::iter(pieces).map(|piece| piece.map_err(std::io::Error::other));
    Ok(Body {
        len,
        stream: stream.boxed(),
    })
}

enum Stage {
    Open,
    Requests,
    Closed,
}

struct Pieces {
    reader: RequestsReader,
    frame: Frame,
    ids: CustomId,
    n: u64,
    state: Stage,
}

impl Pieces {
    /// Fills a piece; empty at the end.
    fn fill(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        if matches!(self.state, Stage::Open) {
            out.extend_from_slice(&self.frame.open);
            self.state = Stage::Requests;
        }
        while matches!(self.state, Stage::Requests) && out.len() < PIECE {
            match self.reader.next().transpose()? {
                None => {
                    out.extend_from_slice(&self.frame.close);
                    self.state = Stage::Closed;
                }
                Some(some) => {
                    for at in 0..some.len() {
                        let prompt = some.prompt(at).ok_or_else(|| {
                            Error::data("a request that is to be sent has no prompt")
                        })?;
                        self.frame.write(&self.ids, self.n, prompt, &mut out);
                        self.n += 1;
                    }
                }
            }
        }
        Ok(out)
    }
}

impl Iterator for Pieces {
    type Item = Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.fill() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => Some(Ok(Bytes::from(piece))),
            Err(error) => {
                self.state = Stage::Closed;
                Some(Err(error))
            }
        }
    }
}
