//! What a provider takes of attachments, and why one is refused.

use super::attached::Attachment;
use super::media::{AttachmentKind, MediaType, is_cut, name_of, pixels};
use super::pdf::{is_encrypted, pages};

/// What a provider takes of attachments: plain data, in one place per provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentLimits {
    /// Pictures.
    pub images: ImageLimits,
    /// Documents.
    pub documents: DocumentLimits,
    /// Pictures, and pages of documents, in one request.
    pub together_max: u64,
}

/// What a provider takes of pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLimits {
    /// The types that it knows.
    pub types: &'static [MediaType],
    /// Bytes of one picture in base64.
    pub base64_max: u64,
    /// Pixels of the longer side.
    pub side_max: usize,
    /// From more than so many pictures in a request on, a side may have so many pixels only.
    pub many: (usize, usize),
    /// The tokens of one picture at most.
    pub tokens_max: u64,
}

/// What a provider takes of documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentLimits {
    /// Pages of one document.
    pub pages_max: u64,
    /// Whether it reads them from URLs.
    pub from_urls: bool,
    /// Whether it reads encrypted ones.
    pub encrypted: bool,
}

/// Pixels of the side of what counts as one token of a picture.
const PATCH: usize = 28;
/// Tokens of a page of a document, text and picture together: a rough number, on the safe side.
const TOKENS_OF_PAGE: u64 = 3000;

/// Why bytes that begin with `head` are refused where only `taken` is taken.
fn not_taken(head: &[u8], bytes: u64, taken: &str) -> String {
    match name_of(head) {
        _ if bytes == 0 => "it is empty".into(),
        Some(name) => format!("it is {name}, and the provider takes {taken}"),
        None => format!("its bytes are none of {taken}"),
    }
}

/// Bytes that `bytes` bytes have in base64, with padding.
#[must_use]
pub fn base64_len(bytes: u64) -> u64 {
    bytes.div_ceil(3) * 4
}

impl AttachmentLimits {
    /// What the bytes of an attachment are, if the provider takes them, and the tokens that they may count
    /// as; `many` are the pictures of the request.
    ///
    /// # Errors
    /// Why it does not, in a sentence.
    pub fn check(
        &self,
        kind: AttachmentKind,
        head: &[u8],
        bytes: u64,
        many: usize,
    ) -> Result<(MediaType, u64), String> {
        let known = MediaType::sniff(head).filter(|media| media.kind() == kind);
        match kind {
            AttachmentKind::Image => self.image(known, head, bytes, many),
            AttachmentKind::Document => self.document(known, head, bytes),
        }
    }

    fn image(
        &self,
        known: Option<MediaType>,
        head: &[u8],
        bytes: u64,
        many: usize,
    ) -> Result<(MediaType, u64), String> {
        let limits = &self.images;
        let names: Vec<_> = limits.types.iter().map(|media| media.as_str()).collect();
        let media = known
            .filter(|media| limits.types.contains(media))
            .ok_or_else(|| not_taken(head, bytes, &names.join(", ")))?;
        if is_cut(media, head, bytes) {
            return Err("it is cut: its end is missing".into());
        }
        let (len, max) = (base64_len(bytes), limits.base64_max);
        if len > max {
            return Err(format!(
                "it has {len} bytes in base64, and the provider takes {max}"
            ));
        }
        let size = pixels(head);
        if size.is_none() && head.len() as u64 == bytes {
            return Err("it is damaged: it does not say how large it is".into());
        }
        let side = size.map_or(0, |(width, height)| width.max(height));
        if side > limits.side_max {
            let max = limits.side_max;
            return Err(format!(
                "its longer side has {side} pixels, and the provider takes {max}"
            ));
        }
        let (few, max) = limits.many;
        if many > few && side > max {
            return Err(format!(
                "its longer side has {side} pixels, and of more than {few} images the provider takes {max}"
            ));
        }
        let patches = size.map_or(u64::MAX, |(width, height)| {
            (width.div_ceil(PATCH) * height.div_ceil(PATCH)) as u64
        });
        Ok((media, patches.min(limits.tokens_max)))
    }

    fn document(
        &self,
        known: Option<MediaType>,
        head: &[u8],
        bytes: u64,
    ) -> Result<(MediaType, u64), String> {
        let taken = MediaType::Pdf.as_str();
        let media = known.ok_or_else(|| not_taken(head, bytes, taken))?;
        if !self.documents.encrypted && is_encrypted(head) {
            return Err("it is encrypted, and the provider takes no such documents".into());
        }
        let max = self.documents.pages_max;
        match pages(head) {
            Some(pages) if pages > max => Err(format!(
                "it has {pages} pages, and the provider takes {max}"
            )),
            pages => Ok((media, pages.unwrap_or(1) * TOKENS_OF_PAGE)),
        }
    }

    /// Tokens of what nobody has looked at, at most.
    #[must_use]
    pub fn tokens_unseen(&self, kind: AttachmentKind) -> u64 {
        match kind {
            AttachmentKind::Image => self.images.tokens_max,
            AttachmentKind::Document => TOKENS_OF_PAGE,
        }
    }

    /// That a request of these is not too much in sum, and that the provider reads the URLs among them.
    ///
    /// # Errors
    /// Why it is, in a sentence.
    pub fn check_all(&self, attachments: &[Attachment]) -> Result<(), String> {
        let count = attachments.iter().map(|attached| match attached.kind {
            AttachmentKind::Image => 1,
            AttachmentKind::Document => (attached.tokens / TOKENS_OF_PAGE).max(1),
        });
        let (count, max) = (count.sum::<u64>(), self.together_max);
        if count > max {
            return Err(format!(
                "it has {count} pictures and pages, and the provider takes {max}"
            ));
        }
        let unread = attachments.iter().any(|attached| {
            attached.kind == AttachmentKind::Document && attached.source.content().is_none()
        });
        if unread && !self.documents.from_urls {
            return Err("the provider reads no documents from URLs".into());
        }
        Ok(())
    }
}
