//! A panic, told like any other error: where it was in the program, and nothing of the rows.
//!
//! What a panic says may quote whatever it met, and it may come from any library and thread. So its
//! words are dropped, and its place is kept: the last line of both streams stays what it is, bars end as
//! they always do, and the exit code is 1, for the ledger holds all that happened.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;

use crate::base::{Error, ErrorKind, Result};

/// The place of the first panic of this process.
static FIRST: Mutex<Option<String>> = Mutex::new(None);

/// What libraries say before the words of a panic in one of their tasks.
const QUOTED: &str = " panicked with message";

/// Has panics noted instead of printed.
pub(super) fn watch() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(
            || "an unknown place".to_owned(),
            |at| format!("{}:{}", short(at.file()), at.line()),
        );
        let mut first = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(place);
    }));
}

/// The path of a source file from its crate on.
fn short(file: &str) -> &str {
    let registry = file.split_once("/registry/src/");
    let within = registry.and_then(|(_, rest)| rest.split_once('/'));
    within.map_or(file, |(_, rest)| rest)
}

fn place() -> Option<String> {
    FIRST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Does `work`; a panic in it is an error.
///
/// # Errors
/// Those of `work`, and `Internal` for a panic.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(explained),
        Err(_) => Err(defect()),
    }
}

/// The same, for work that waits.
///
/// # Errors
/// As [`caught`].
pub(super) async fn caught_while<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(done) => done,
        Err(_) => Err(defect()),
    }
}

/// An error if any task of this process panicked, though nobody may have waited for it.
///
/// # Errors
/// `Internal`.
pub(super) fn none_so_far() -> Result<()> {
    place().map_or(Ok(()), |_| Err(defect()))
}

fn defect() -> Error {
    explained(Error::internal("the program met a defect of its own"))
}

/// Adds to an error of ours where the panic was that it most likely stems from.
fn explained(error: Error) -> Error {
    match place() {
        Some(place) if error.kind() == ErrorKind::Internal && error.value("at").is_none() => error
            .with("at", place)
            .hint("the ledger is whole: run the same command again; if it ends like this again, report the place"),
        _ => error,
    }
}

/// What a library says of a failure, without the words of a panic.
pub(super) fn without_words(text: &str) -> &str {
    match text.find(QUOTED) {
        Some(at) => &text[..at + " panicked".len()],
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_panic_are_not_repeated() {
        let text = "task 5 panicked with message \"row 7 is 'secret'\"";
        assert_eq!(without_words(text), "task 5 panicked");
        assert_eq!(without_words("disk full"), "disk full");
    }

    #[test]
    fn a_place_is_named_from_its_crate_on() {
        let file = "/root/.cargo/registry/src/index.example-1949/arrow-59.3.2/src/lib.rs";
        assert_eq!(short(file), "arrow-59.3.2/src/lib.rs");
        assert_eq!(short("src/main.rs"), "src/main.rs");
    }
}
