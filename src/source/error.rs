//! What DataFusion and the stores say, as our errors.

use std::error::Error as _;

use datafusion::common::DataFusionError;

use crate::base::{Error, ErrorKind, store_error};

/// A store that does not answer, as our error.
pub(crate) fn unreachable_store(error: object_store::Error, address: &str) -> Error {
    store_error(error, "read from the store", address)
        .hint("check the bucket's name, the endpoint, and the credentials in the environment")
}

/// What DataFusion says, as our error: a wrong query is the user's to mend, a store that does not answer
/// is not. An error of ours that passed through DataFusion comes out as it went in.
pub(crate) fn from_datafusion(error: DataFusionError, message: &str) -> Error {
    let error = match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => return *ours,
            Err(inner) => DataFusionError::External(inner),
        },
        other => other,
    };
    let root = error.find_root();
    let ours = ours(root);
    let hint = ours.and_then(Error::hint_text).map(str::to_owned);
    let kind = ours.map_or_else(|| kind_of(root), Error::kind);
    let is_exhausted = matches!(root, DataFusionError::ResourcesExhausted(_));
    let error = Error::new(kind, message).because(error.strip_backtrace());
    if is_exhausted {
        return error.hint("the query holds more in memory than it may: join fewer or smaller tables in it, or prepare it as a table first");
    }
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn kind_of(root: &DataFusionError) -> ErrorKind {
    match root {
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) => ErrorKind::Unavailable,
        DataFusionError::Internal(_) => ErrorKind::Internal,
        _ => ErrorKind::Invalid,
    }
}

/// The error of ours that `root` is, or that a store of ours says.
fn ours(root: &DataFusionError) -> Option<&Error> {
    match root {
        DataFusionError::External(inner) => inner.downcast_ref(),
        DataFusionError::ObjectStore(inner) => inner.source()?.downcast_ref(),
        _ => None,
    }
}

/// Refuses a column whose type Arrow's reader breaks down over: without the type, its bytes would be taken
/// for something else.
pub(crate) fn unknown_type(column: &str, url: impl std::fmt::Display) -> Error {
    Error::invalid("a column has a type that cannot be read")
        .with("file", url)
        .with("column", column)
        .hint("write it as another type; in Polars, Int128 by `.cast(pl.Decimal(38, 0))`, which holds 38 digits")
}
