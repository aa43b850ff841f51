//! What went wrong below, in our words: which kind it is, and what to do about it.

use std::fmt::Display;
use std::io;

use parquet::errors::ParquetError;

use crate::base::{Error, ErrorKind};

/// An error of the operating system while `doing` something at `place`.
pub(super) fn from_io(error: io::Error, doing: &'static str, place: impl Display) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => explain(error, doing).with("path", place),
    }
}

fn explain(error: io::Error, doing: &'static str) -> Error {
    use io::ErrorKind as Io;
    let (kind, hint) = match error.kind() {
        Io::StorageFull | Io::QuotaExceeded => (
            ErrorKind::Unavailable,
            "the disk is full: free some space and run again; the old output is as it was",
        ),
        Io::PermissionDenied | Io::ReadOnlyFilesystem => (
            ErrorKind::Refused,
            "choose another place, or make this one accessible to the user who runs the job",
        ),
        Io::NotADirectory => (
            ErrorKind::Invalid,
            "a part of the path is a file where a folder is needed",
        ),
        Io::NotFound => (
            ErrorKind::Invalid,
            "the file or its folder is gone; if the table was rewritten, run the job again",
        ),
        Io::InvalidFilename | Io::InvalidInput => (
            ErrorKind::Invalid,
            "the file system does not take this name",
        ),
        _ => return Error::new(ErrorKind::Unavailable, doing).because(error),
    };
    Error::new(kind, doing).because(error).hint(hint)
}

/// An error of the object store while `doing` something at `place`.
pub(super) fn from_store(
    error: object_store::Error,
    doing: &'static str,
    place: impl Display,
) -> Error {
    use object_store::Error as Store;
    let (kind, hint) = match &error {
        Store::NotFound { .. } => (
            ErrorKind::Invalid,
            Some("the object or its bucket is gone; if the table was rewritten, run the job again"),
        ),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => (
            ErrorKind::Refused,
            Some("check the credentials, and that they may read, write and delete here"),
        ),
        Store::InvalidPath { .. } => (ErrorKind::Invalid, None),
        _ => (ErrorKind::Unavailable, None),
    };
    let ours = Error::new(kind, doing).with("url", place).because(error);
    match hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

/// An error of the Parquet library while `doing` something at `place`. What it wraps of ours, or of
/// the operating system's, is what we report.
pub(super) fn from_parquet(error: ParquetError, doing: &'static str, place: impl Display) -> Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(io) => from_io(*io, doing, place),
            Err(other) => match other.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::invalid(doing).with("path", place).because(other),
            },
        },
        other => Error::invalid(doing).with("path", place).because(other),
    }
}

/// Our error where the library's traits want theirs; [`from_parquet`] takes it out again.
pub(super) fn into_parquet(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// The source's bytes are not what a Parquet file has.
pub(super) fn corrupt(what: &'static str, place: impl Display) -> Error {
    Error::invalid(what)
        .with("path", place)
        .hint("the source file is damaged; write it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_recognised_through_the_parquet_library() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = from_parquet(ParquetError::from(full), "cannot write the output", "/o");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.hint_text().is_some_and(|hint| hint.contains("full")));
    }

    #[test]
    fn what_may_not_be_written_is_refused() {
        for kind in [
            io::ErrorKind::ReadOnlyFilesystem,
            io::ErrorKind::PermissionDenied,
        ] {
            let error = from_io(kind.into(), "cannot write the output", "/o");
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert!(error.hint_text().is_some());
        }
    }

    #[test]
    fn our_own_error_survives_the_ways_through_foreign_traits() {
        let ours = || Error::new(ErrorKind::Refused, "the store said no");
        let through_io = ParquetError::from(io::Error::other(ours()));
        for wrapped in [through_io, into_parquet(ours())] {
            let error = from_parquet(wrapped, "cannot write", "/o");
            assert_eq!(error.kind(), ErrorKind::Refused);
            assert_eq!(error.message(), "the store said no");
        }
    }
}
