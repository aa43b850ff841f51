//! A chunk's bytes where requests have attachments.
//!
//! Whatever is attached is read once, before anything is promised, into a file without a name: what is not
//! what was planned is found out while nothing was said of the chunk yet, and what is sent is what was found
//! to be right. The body is made of that file while it is sent, one attachment at a time; it goes away with it.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt, stream};

use crate::base::{Error, ErrorKind, Result, ResultExt, scratch_error};
use crate::engine::attachments::reader::AttachmentReads;
use crate::ledger::requests::{RequestColumns, Requests, RequestsReader};
use crate::provider::Body;
use crate::work::parts::encode;
use crate::work::{Attachment, Content, Correction, CustomId, Frame};

/// The body of the requests in `file`, `len` bytes of it, with the attachments that were [gathered](gather).
///
/// # Errors
/// `Data` if the file is not one of requests.
pub(crate) fn pieces_body(
    file: File,
    frame: Frame,
    ids: CustomId,
    len: u64,
    gathered: File,
) -> Result<Body> {
    let body = PiecesBody {
        requests: Stored::open(file)?,
        attachments: BufReader::new(gathered),
        bytes: Vec::new(),
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

/// The bytes of whatever is attached to the requests in `file`, one after the other, in a file in `scratch`.
///
/// # Errors
/// `Invalid` if something is not what was planned; whatever keeps it from being read or written.
pub(crate) async fn gather(file: File, reads: &AttachmentReads, scratch: &Path) -> Result<File> {
    let (mut requests, mut reader) = (Stored::open(file)?, reads.reader());
    let full = |error| scratch_error(scratch, error);
    let mut gathered = BufWriter::new(tempfile::tempfile_in(scratch).map_err(full)?);
    while let Some(next) = requests.next()? {
        let mut keep = |bytes: &[u8]| gathered.write_all(bytes).map_err(full);
        reader.read(next.row, &next.attachments, &mut keep).await?;
        tokio::task::yield_now().await;
    }
    let mut gathered = gathered
        .into_inner()
        .map_err(|error| full(error.into_error()))?;
    gathered.rewind().map_err(full)?;
    Ok(gathered)
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
    /// The attachments' bytes, from the next one on.
    attachments: BufReader<File>,
    /// Those of one attachment.
    bytes: Vec<u8>,
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
            self.write(&next, &mut out)?;
            tokio::task::yield_now().await;
        } else {
            out.extend_from_slice(&self.frame.close);
            self.is_closed = true;
        }
        Ok(Some(Bytes::from(out)))
    }

    fn write(&mut self, next: &StoredRequest, out: &mut Vec<u8>) -> Result<()> {
        let (gathered, own) = (&mut self.attachments, &mut self.bytes);
        let data = |attached: &Attachment, out: &mut Vec<u8>| {
            let len = attached.source.content().map_or(0, |(_, bytes)| bytes);
            own.clear();
            let read = gathered.by_ref().take(len).read_to_end(own);
            read.or_err(ErrorKind::Unavailable, "cannot read an attachment")?;
            encode(attached, own, out)
        };
        let content = Content {
            text: &next.text,
            attachments: &next.attachments,
            correction: Correction::borrow(next.correction.as_ref()),
        };
        self.frame
            .write_content(&self.ids, self.n, content, data, out)?;
        self.n += 1;
        Ok(())
    }
}
