//! A file of the ledger that cannot be read.

use std::error::Error as StdError;
use std::io;

use crate::base::{Error, Location};

/// Why the ledger's file at `place` cannot be read. One that is gone has to be restored; the way to one that
/// is there may be mended, or mend itself.
pub(crate) fn unread(error: impl Into<Box<dyn StdError + Send + Sync>>, place: &Location) -> Error {
    let error = error.into();
    let io = error.downcast_ref::<io::Error>();
    let is_gone = io.is_some_and(|error| error.kind() == io::ErrorKind::NotFound)
        || matches!(
            error.downcast_ref::<object_store::Error>(),
            Some(object_store::Error::NotFound { .. })
        );
    let unread = if is_gone {
        Error::data("a file that the ledger speaks of is gone")
            .hint("restore the file from a backup: what it held is nowhere else")
    } else {
        Error::unavailable("cannot read a file of the ledger")
            .hint("is its store there, and may this account read it? then run again")
    };
    unread.with("file", &place.url).because(error)
}
