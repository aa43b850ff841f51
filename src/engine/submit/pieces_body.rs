//! A chunk's bytes where requests have attachments: those are read again, one request at a time, while the
//! body is sent. Nothing of them is kept.

use std::fs::File;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::base::{Error, Result};
use crate::engine::attachments::reader::{AttachmentReader, AttachmentReads};
use crate::ledger::requests::{RequestColumns, Requests, RequestsReader};
use crate::provider::Body;
use crate::work::parts::encode;
use crate::work::{Attachment, Content, Correction, CustomId, Frame};

/// The body of the requests in `file`, `len` bytes of it.
///
/// # Errors
/// `Data` if the file is not one of requests.
pub(crate) fn pieces_body(
    file: File,
    frame: Frame,
    ids: CustomId,
    len: u64,
    reads: &AttachmentReads,
) -> Result<Body> {
    let body = PiecesBody {
        requests: Stored::open(file)?,
        attachments: reads.reader(),
        frame,
        ids,
        n: 0,
        is_closed: false,
    };
    let stream = stream::try_unfold(body, |mut body| async move {
        let piece = body.next().await.map_err(std::io::Error::other)?;
        Ok(piece.map(|piece| (piece, body)))
    });
    Ok(Body {
        len,
        stream: stream.boxed(),
    })
}

/// That whatever is attached to the requests in `file` is still what was planned.
///
/// # Errors
/// `Invalid` if it is not; whatever keeps it from being read.
pub(crate) async fn verify(file: File, reads: &AttachmentReads) -> Result<()> {
    let (mut requests, mut reader) = (Stored::open(file)?, reads.reader());
    while let Some(next) = requests.next()? {
        reader.read(next.row, &next.attachments).await?;
        tokio::task::yield_now().await;
    }
    Ok(())
}

/// Stored requests, one after the other.
struct Stored {
    reader: RequestsReader,
    some: Option<(Requests, usize)>,
}

/// A request as it was stored.
struct StoredRequest {
    row: u64,
    text: String,
    attachments: Vec<Attachment>,
    /// What follows the text, where it is asked again.
    correction: Option<(String, String)>,
}

impl Stored {
    fn open(file: File) -> Result<Stored> {
        Ok(Stored {
            reader: RequestsReader::open(file, RequestColumns::All)?,
            some: None,
        })
    }

    fn next(&mut self) -> Result<Option<StoredRequest>> {
        loop {
            match self.some.take() {
                Some((some, at)) if at < some.len() => {
                    let gone = || Error::data("a request that is to be sent has no prompt");
                    let request = StoredRequest {
                        row: some.rows.value(at),
                        text: some.prompt(at).ok_or_else(gone)?.to_owned(),
                        attachments: some.attachments(at)?,
                        correction: some.correction(at).map(Correction::to_owned),
                    };
                    self.some = Some((some, at + 1));
                    return Ok(Some(request));
                }
                _ => match self.reader.next().transpose()? {
                    Some(some) => self.some = Some((some, 0)),
                    None => return Ok(None),
                },
            }
        }
    }
}

struct PiecesBody {
    requests: Stored,
    attachments: AttachmentReader,
    frame: Frame,
    ids: CustomId,
    n: u64,
    is_closed: bool,
}

impl PiecesBody {
    /// The next request's bytes; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.is_closed {
            return Ok(None);
        }
        let mut out = Vec::new();
        if self.n == 0 {
            out.extend_from_slice(&self.frame.open);
        }
        if let Some(next) = self.requests.next()? {
            self.write(&next, &mut out).await?;
        } else {
            out.extend_from_slice(&self.frame.close);
            self.is_closed = true;
        }
        Ok(Some(Bytes::from(out)))
    }

    async fn write(&mut self, next: &StoredRequest, out: &mut Vec<u8>) -> Result<()> {
        let attachments = &next.attachments;
        let all = self.attachments.read(next.row, attachments).await?;
        // Pieces are written in the order of the attachments; a URL is no data.
        let has_data = |attached: &&Attachment| attached.source.content().is_some();
        let all = all.into_iter().zip(attachments.iter());
        let mut all = all
            .filter(|(_, attached)| has_data(attached))
            .map(|(bytes, _)| bytes);
        let data = |attached: &Attachment, out: &mut Vec<u8>| {
            let bytes = all.next();
            let bytes = bytes.ok_or_else(|| Error::internal("an attachment was not read"))?;
            encode(attached, &bytes, out)
        };
        let content = Content {
            text: &next.text,
            attachments,
            correction: Correction::borrow(next.correction.as_ref()),
        };
        self.frame
            .write_content(&self.ids, self.n, content, data, out)?;
        self.n += 1;
        Ok(())
    }
}
