//! What bytes are, told by the bytes.

use serde::{Deserialize, Serialize};

/// What an attachment is to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttachmentKind {
    /// A picture.
    Image,
    /// A document of pages.
    Document,
}

impl AttachmentKind {
    /// As people call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            AttachmentKind::Image => "image",
            AttachmentKind::Document => "document",
        }
    }
}

/// The kinds of files that providers take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaType {
    /// JPEG.
    #[serde(rename = "image/jpeg")]
    Jpeg,
    /// PNG.
    #[serde(rename = "image/png")]
    Png,
    /// GIF.
    #[serde(rename = "image/gif")]
    Gif,
    /// WebP.
    #[serde(rename = "image/webp")]
    Webp,
    /// PDF.
    #[serde(rename = "application/pdf")]
    Pdf,
}

/// Bytes within which the mark of a PDF may stand, as its readers have it.
const PDF_MARK_WITHIN: usize = 1024;

impl MediaType {
    /// The name that goes over the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            MediaType::Jpeg => "image/jpeg",
            MediaType::Png => "image/png",
            MediaType::Gif => "image/gif",
            MediaType::Webp => "image/webp",
            MediaType::Pdf => "application/pdf",
        }
    }

    /// What a file of this type is to a model.
    #[must_use]
    pub fn kind(self) -> AttachmentKind {
        match self {
            MediaType::Pdf => AttachmentKind::Document,
            _ => AttachmentKind::Image,
        }
    }

    /// What a file is that begins with `bytes`, by its first bytes alone: names lie.
    #[must_use]
    pub fn sniff(bytes: &[u8]) -> Option<MediaType> {
        let begins = |mark: &[u8]| bytes.starts_with(mark);
        if begins(&[0xff, 0xd8, 0xff]) {
            return Some(MediaType::Jpeg);
        }
        if begins(b"\x89PNG\r\n\x1a\n") {
            return Some(MediaType::Png);
        }
        if begins(b"GIF87a") || begins(b"GIF89a") {
            return Some(MediaType::Gif);
        }
        if begins(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            return Some(MediaType::Webp);
        }
        let head = &bytes[..bytes.len().min(PDF_MARK_WITHIN)];
        memchr::memmem::find(head, b"%PDF-").map(|_| MediaType::Pdf)
    }
}

/// Width and height of a picture in pixels, if its first bytes say so.
pub(super) fn pixels(bytes: &[u8]) -> Option<(usize, usize)> {
    let size = imagesize::blob_size(bytes).ok()?;
    Some((size.width, size.height))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        for (bytes, media) in [
            (&b"\xff\xd8\xff\xe0\0\x10JFIF"[..], Some(MediaType::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some(MediaType::Png)),
            (b"GIF89a\x01\0", Some(MediaType::Gif)),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Some(MediaType::Webp)),
            (b"RIFF\x24\0\0\0WAVEfmt ", None),
            (b"%PDF-1.7\n", Some(MediaType::Pdf)),
            (b"\r\n%PDF-1.4\n", Some(MediaType::Pdf)),
            (b"<svg xmlns=", None),
            (b"II*\0", None),
            (b"", None),
        ] {
            assert_eq!(MediaType::sniff(bytes), media, "{bytes:?}");
        }
    }
}
