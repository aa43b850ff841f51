//! What went wrong with storage, in words: a kind, a sentence, and what to do about it.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use super::{Error, ErrorKind};

/// An error of a store, said as ours. `doing` reads well as "cannot ...".
#[must_use]
pub fn of_store(source: object_store::Error, doing: &str, place: impl Display) -> Error {
    let credentials = credentials_hint(&place.to_string());
    if let object_store::Error::Generic { source: cause, .. } = &source
        && let Some(ours) = cause.downcast_ref::<Error>()
    {
        // Keys could not be had, and why was said already.
        let error = Error::new(ours.kind(), format!("cannot {doing}")).with("place", place);
        let hint = ours.hint_text().map(str::to_owned);
        let error = error.because(source);
        return match hint {
            Some(hint) => error.hint(hint),
            None => error,
        };
    }
    if let Some(error) = io_kind(&source).and_then(|kind| of_io_kind(kind, doing)) {
        return error.with("place", place).because(source);
    }
    let error = match &source {
        _ if is_no_bucket(&source) => {
            Error::invalid(format!("cannot {doing}: there is no such bucket"))
                .hint("check its name and the endpoint, or create it")
        }
        object_store::Error::NotFound { .. } => {
            Error::invalid(format!("cannot {doing}: it does not exist"))
        }
        object_store::Error::PermissionDenied { .. }
        | object_store::Error::Unauthenticated { .. } => Error::new(
            ErrorKind::Refused,
            format!("cannot {doing}: access refused"),
        )
        .hint(format!(
            "check the credentials and their rights: {credentials}"
        )),
        _ if lacks_credentials(&source) => Error::new(
            ErrorKind::Refused,
            format!("cannot {doing}: there are no credentials"),
        )
        .hint(credentials),
        object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } => {
            Error::invalid(format!("cannot {doing}: this store is not able to"))
        }
        object_store::Error::InvalidPath { .. }
        | object_store::Error::UnknownConfigurationKey { .. } => {
            Error::invalid(format!("cannot {doing}"))
        }
        _ => Error::unavailable(format!("cannot {doing}")),
    };
    error.with("place", place).because(source)
}

/// Where credentials for an address like `place` come from.
pub(super) fn credentials_hint(place: &str) -> &'static str {
    match place.split_once("://").map_or("", |(scheme, _)| scheme) {
        "s3" | "s3a" => {
            "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `AWS_SKIP_SIGNATURE=true` for a \
             public bucket; or `AWS_PROFILE` to a profile of `~/.aws/config`"
        }
        "gs" => {
            "set `GOOGLE_APPLICATION_CREDENTIALS` to a key file, or use `gcloud auth \
             application-default login`; `GOOGLE_SKIP_SIGNATURE=true` for a public bucket"
        }
        "az" | "azure" | "adl" | "abfs" | "abfss" => {
            "set `AZURE_STORAGE_ACCOUNT_NAME`, and `AZURE_STORAGE_ACCOUNT_KEY` or \
             `AZURE_STORAGE_SAS_KEY`; `AZURE_USE_AZURE_CLI=true` takes those of `az login`, and \
             `AZURE_SKIP_SIGNATURE=true` is for a public container"
        }
        _ => "whoever asks must be allowed to read and write there",
    }
}

/// Whether the store's client found no credentials: it then asks the machine that it is on, at an
/// address that only a cloud's machine has.
fn lacks_credentials(error: &object_store::Error) -> bool {
    let asked = |host: &&str| error.to_string().contains(host);
    ["//169.254.169.254/", "//metadata.google.internal/"]
        .iter()
        .any(asked)
}

/// Whether it is the whole bucket that is not there: then nothing in it is merely absent. Stores say
/// so in the body of their answer alone.
pub(super) fn is_no_bucket(error: &object_store::Error) -> bool {
    use object_store::Error::{Generic, NotFound};
    if !matches!(error, Generic { .. } | NotFound { .. }) {
        return false;
    }
    let said = error.to_string();
    [
        "NoSuchBucket",
        "ContainerNotFound",
        "The specified bucket does not exist",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

/// An error of the local disk, said as ours.
pub(super) fn of_disk(source: io::Error, doing: &str, place: impl Display) -> Error {
    of_io_kind(source.kind(), doing)
        .unwrap_or_else(|| Error::unavailable(format!("cannot {doing}")))
        .with("place", place)
        .because(source)
}

fn of_io_kind(kind: io::ErrorKind, doing: &str) -> Option<Error> {
    use io::ErrorKind as Io;
    Some(match kind {
        Io::StorageFull | Io::QuotaExceeded => {
            Error::unavailable(format!("cannot {doing}: the disk is full"))
                .hint("free some space and run again; nothing is lost")
        }
        Io::PermissionDenied | Io::ReadOnlyFilesystem => Error::new(
            ErrorKind::Refused,
            format!("cannot {doing}: permission denied"),
        )
        .hint(if doing.starts_with("read") {
            "let this user read it: its own mode and that of every folder above it count"
        } else {
            "make the folder writable for this user, or choose another"
        }),
        Io::NotADirectory | Io::IsADirectory | Io::InvalidFilename | Io::FileTooLarge => {
            Error::invalid(format!("cannot {doing}"))
        }
        Io::Unsupported => {
            Error::invalid(format!("cannot {doing}: this file system is not able to"))
                .hint("use a folder on a local disk, or object storage")
        }
        _ => return None,
    })
}

/// The operating system's own word for it, where there is one in the chain of causes.
fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = error.source();
    }
    None
}
