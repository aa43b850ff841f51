//! How the pieces of a request become bytes, where it is more than one text.
//!
//! What stands around a piece is the same in every request of a plan, as in [`Frame`](super::Frame). Bytes
//! go as base64, so that a body's length is known before anything is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::attachment::{Attachment, AttachmentKind, AttachmentSource, Content, Piece, base64_len};
use super::escape::{escape, escaped_len};
use crate::base::{Error, Result};

/// The constant bytes around the pieces of a request, each one object of a JSON list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartFrame {
    /// Around a text, as the inside of a JSON string.
    pub text: [Vec<u8>; 2],
    /// Around a picture.
    pub image: AttachmentFrame,
    /// Around a document.
    pub document: AttachmentFrame,
}

/// The constant bytes around an attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttachmentFrame {
    /// Before its media type, between that and its base64, and after it.
    pub bytes: [Vec<u8>; 3],
    /// Around its URL, as the inside of a JSON string; `None` where the provider reads none.
    pub url: Option<[Vec<u8>; 2]>,
}

impl PartFrame {
    /// Bytes of the list that is `content`.
    #[must_use]
    pub(super) fn len(&self, content: Content<'_>) -> u64 {
        let pieces = content.pieces().map(|piece| match piece {
            Piece::Text(text) => sum(&self.text) + escaped_len(text),
            Piece::Attachment(attached) => self.attachment_len(attached),
        });
        // A comma for each but the first, and the brackets.
        pieces.map(|len| len + 1).sum::<u64>() + 1
    }

    fn attachment_len(&self, attached: &Attachment) -> u64 {
        let frame = self.of(attached.kind);
        match (&attached.source, attached.source.content()) {
            (_, Some((media, bytes))) => {
                sum(&frame.bytes) + media.as_str().len() as u64 + base64_len(bytes)
            }
            (AttachmentSource::Url { url }, _) => {
                frame.url.as_ref().map_or(0, |url| sum(url)) + escaped_len(url)
            }
            _ => 0,
        }
    }

    fn of(&self, kind: AttachmentKind) -> &AttachmentFrame {
        match kind {
            AttachmentKind::Image => &self.image,
            AttachmentKind::Document => &self.document,
        }
    }

    /// Appends the list that is `content` to `out`; `data` appends the base64 of an attachment.
    ///
    /// # Errors
    /// What `data` says; `Data` for a URL where the provider reads none.
    pub(super) fn write(
        &self,
        content: Content<'_>,
        mut data: impl FnMut(&Attachment, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.push(b'[');
        for (at, piece) in content.pieces().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            match piece {
                Piece::Text(text) => around(&self.text, text, out),
                Piece::Attachment(attached) => self.write_attachment(attached, &mut data, out)?,
            }
        }
        out.push(b']');
        Ok(())
    }

    fn write_attachment(
        &self,
        attached: &Attachment,
        data: &mut impl FnMut(&Attachment, &mut Vec<u8>) -> Result<()>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let frame = self.of(attached.kind);
        if let AttachmentSource::Url { url } = &attached.source {
            let none = || Error::data("a URL where the provider reads none");
            around(frame.url.as_ref().ok_or_else(none)?, url, out);
        }
        if let Some((media, _)) = attached.source.content() {
            let [before, between, after] = &frame.bytes;
            out.extend_from_slice(before);
            out.extend_from_slice(media.as_str().as_bytes());
            out.extend_from_slice(between);
            data(attached, out)?;
            out.extend_from_slice(after);
        }
        Ok(())
    }
}

/// Appends `text` between its constant neighbours.
fn around([before, after]: &[Vec<u8>; 2], text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(before);
    escape(text, out);
    out.extend_from_slice(after);
}

/// Appends `bytes` in base64, which are those of `attached`.
///
/// # Errors
/// `Data` if they are not as many as were planned.
pub fn encode(attached: &Attachment, bytes: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let planned = attached.source.content().map(|(_, bytes)| bytes);
    if planned != Some(bytes.len() as u64) {
        return Err(Error::data(
            "an attachment has another length than was planned",
        ));
    }
    let start = out.len();
    let len = usize::try_from(base64_len(bytes.len() as u64)).unwrap_or_default();
    out.resize(start + len, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]);
    written.map_err(|_| Error::internal("base64 has another length than it has"))?;
    Ok(())
}

fn sum(parts: &[Vec<u8>]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}
