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

/// Bytes within which the mark of a PDF may stand, as its readers have it, and that of a drawing in text.
const MARK_WITHIN: usize = 1024;

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
        let head = &bytes[..bytes.len().min(MARK_WITHIN)];
        memchr::memmem::find(head, b"%PDF-").map(|_| MediaType::Pdf)
    }
}

/// What files are that no provider here takes, by their first bytes: so that people are told what they have.
const OTHERS: [(&[u8], &str); 9] = [
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
    (b"\0\0\0\x0cjP  ", "image/jp2"),
    (b"\xff\x0a", "image/jxl"),
    (b"\0\0\0\x0cJXL ", "image/jxl"),
    (b"BM", "image/bmp"),
    (b"\0\0\x01\0", "image/x-icon"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
];

/// What a file is called that begins with `bytes`, also one that is taken nowhere.
pub(super) fn name_of(bytes: &[u8]) -> Option<&'static str> {
    if let Some(media) = MediaType::sniff(bytes) {
        return Some(media.as_str());
    }
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12)? {
            b"avif" | b"avis" => Some("image/avif"),
            b"heic" | b"heix" | b"hevc" | b"hevx" | b"heim" | b"heis" | b"mif1" | b"msf1" => {
                Some("image/heic")
            }
            _ => Some("video/mp4"),
        };
    }
    let known = OTHERS.iter().find(|(mark, _)| bytes.starts_with(mark));
    known.map(|(_, name)| *name).or_else(|| markup(bytes))
}

/// A drawing or a page that is written as text.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(MARK_WITHIN)];
    let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    let head = head.trim_ascii_start().to_ascii_lowercase();
    let has = |mark| memchr::memmem::find(&head, mark).is_some();
    match &head[..] {
        [b'<', ..] if has(b"<svg") => Some("image/svg+xml"),
        [b'<', ..] if has(b"<html") || has(b"<!doctype html") => Some("text/html"),
        _ => None,
    }
}

/// Whether a picture of `bytes` bytes, which begins with `head`, certainly lacks its end.
pub(super) fn is_cut(media: MediaType, head: &[u8], bytes: u64) -> bool {
    let is_whole = head.len() as u64 == bytes;
    match media {
        MediaType::Png => is_whole && !ends_as_png(head),
        MediaType::Webp => {
            // The length of what follows stands before it.
            let length = head.get(4..8).and_then(|length| length.try_into().ok());
            length.is_some_and(|length| u64::from(u32::from_le_bytes(length)) + 8 > bytes)
        }
        _ => false,
    }
}

/// Whether a PNG has its last chunk.
fn ends_as_png(png: &[u8]) -> bool {
    // Eight bytes of mark; each chunk has its length, its name and a sum.
    let mut rest = png.get(8..);
    while let Some((length, after)) = rest.and_then(|rest| rest.split_first_chunk::<4>()) {
        if after.starts_with(b"IEND") {
            return true;
        }
        let length = u32::from_be_bytes(*length) as usize;
        rest = after.get(4 + length + 4..);
    }
    false
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

    #[test]
    fn what_nobody_takes_has_its_name() {
        for (bytes, name) in [
            (&b"<svg xmlns="[..], Some("image/svg+xml")),
            (
                b"\xef\xbb\xbf <?xml version='1.0'?>\n<SVG ",
                Some("image/svg+xml"),
            ),
            (b"\n<!DOCTYPE html><title>Log in", Some("text/html")),
            (b"II*\0", Some("image/tiff")),
            (b"\0\0\0\x20ftypheic", Some("image/heic")),
            (b"\0\0\0\x20ftypmif1", Some("image/heic")),
            (b"\0\0\0\x1cftypavif", Some("image/avif")),
            (b"\0\0\0\x20ftypisom", Some("video/mp4")),
            (b"BM6\0", Some("image/bmp")),
            (b"PK\x03\x04", Some("application/zip")),
            (b"%PDF-1.7", Some("application/pdf")),
            (b"<note>", None),
            (b"svg <svg", None),
            (b"\0\0\0\x20ftyp", None),
            (b"", None),
        ] {
            assert_eq!(name_of(bytes), name, "{bytes:?}");
        }
    }

    #[test]
    fn a_picture_without_its_end_is_told() {
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\x02IDATab1234\0\0\0\0IEND1234";
        let len = png.len() as u64;
        assert!(!is_cut(MediaType::Png, png, len));
        assert!(!is_cut(
            MediaType::Png,
            &[&png[..], b"more"].concat(),
            len + 4
        ));
        for end in [8, 10, 20, 22, 25, 27, 29] {
            assert!(is_cut(MediaType::Png, &png[..end], end as u64), "{end}");
            assert!(
                !is_cut(MediaType::Png, &png[..end], len),
                "the rest was not looked at"
            );
        }
        let huge = b"\x89PNG\r\n\x1a\n\xff\xff\xff\xffIDATab1234";
        assert!(is_cut(MediaType::Png, huge, huge.len() as u64));
        let webp = b"RIFF\x08\0\0\0WEBPVP8 ";
        assert!(!is_cut(MediaType::Webp, webp, 16));
        assert!(is_cut(MediaType::Webp, webp, 15));
    }
}
