//! A chunk's bytes on their way to the provider.

use std::fmt::{self, Debug};

use bytes::Bytes;
use futures::stream::BoxStream;

/// A chunk's bytes as they are sent, made while they are sent. Exactly `len` bytes follow.
pub struct Body {
    /// Length in bytes.
    pub len: u64,
    /// The bytes.
    pub stream: BoxStream<'static, std::io::Result<Bytes>>,
}

impl Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
