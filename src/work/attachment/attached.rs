//! One picture or document, and where it comes from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::media::{AttachmentKind, MediaType};

/// One picture or document of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Byte of the request's text before which it stands.
    pub at: usize,
    /// What it is to the model.
    pub kind: AttachmentKind,
    /// Tokens that it may count as, roughly and at most.
    #[serde(default)]
    pub tokens: u64,
    /// Where it comes from.
    pub source: AttachmentSource,
}

/// Where an attachment comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum AttachmentSource {
    /// The row itself.
    Cell {
        /// The column.
        column: String,
        /// Which one of the cell's, from 0.
        item: usize,
        /// What its bytes are.
        media: MediaType,
        /// How many there are.
        bytes: u64,
        /// SHA-256 of them, in hexadecimal.
        sha256: String,
    },
    /// An object of a bucket, whose address is in the row.
    Object {
        /// The address, absolute.
        url: String,
        /// What its bytes are.
        media: MediaType,
        /// How many there are.
        bytes: u64,
        /// What its store calls this version of it.
        etag: String,
    },
    /// A URL or a local path in the row, that is read whole from here.
    Fetched {
        /// The URL, as it is asked for; of a file its `file://` URL.
        url: String,
        /// What its bytes are.
        media: MediaType,
        /// How many there are.
        bytes: u64,
        /// SHA-256 of them, in hexadecimal.
        sha256: String,
    },
    /// A URL that the provider reads.
    Url {
        /// As it stands in the row.
        url: String,
    },
}

impl fmt::Display for AttachmentSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttachmentSource::Cell {
                column,
                media,
                bytes,
                sha256,
                ..
            } => write!(
                f,
                "{column}: {}, {bytes} bytes, sha256 {sha256}",
                media.as_str()
            ),
            AttachmentSource::Object {
                url, media, bytes, ..
            } => write!(f, "{url}: {}, {bytes} bytes", media.as_str()),
            AttachmentSource::Fetched {
                url,
                media,
                bytes,
                sha256,
            } => write!(
                f,
                "{url}: {}, {bytes} bytes, sha256 {sha256}",
                media.as_str()
            ),
            AttachmentSource::Url { url } => write!(f, "{url}"),
        }
    }
}

impl AttachmentSource {
    /// What its bytes are, and how many, if they go with the request.
    #[must_use]
    pub fn content(&self) -> Option<(MediaType, u64)> {
        match self {
            AttachmentSource::Cell { media, bytes, .. }
            | AttachmentSource::Object { media, bytes, .. }
            | AttachmentSource::Fetched { media, bytes, .. } => Some((*media, *bytes)),
            AttachmentSource::Url { .. } => None,
        }
    }

    /// What tells it from others: bytes that were read whole by their digest, an object by its address and
    /// version, a URL by its text.
    pub(super) fn identity(&self) -> [&str; 3] {
        match self {
            AttachmentSource::Cell { sha256, .. } | AttachmentSource::Fetched { sha256, .. } => {
                ["bytes", sha256, ""]
            }
            AttachmentSource::Object { url, etag, .. } => ["object", url, etag],
            AttachmentSource::Url { url } => ["url", url, ""],
        }
    }
}
