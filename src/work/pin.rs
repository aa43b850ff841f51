//! A source file, as it was when it was planned over.

use serde::{Deserialize, Serialize};

use crate::base::Time;

/// What pins a file: if any of it differs, it is another file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The whole address.
    pub url: String,
    /// Its length in bytes.
    pub size: u64,
    /// The store's own tag of this content, if it has one.
    pub etag: Option<String>,
    /// When it was last written.
    pub modified: Time,
}
