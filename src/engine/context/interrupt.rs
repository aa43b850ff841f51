//! Stopping when asked, before anything is written down: what leaves no fact in the ledger may be
//! dropped at any moment, and the next run does it again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Error, ErrorKind, Result};

/// How long the loop may go on after it was asked to stop.
pub const GRACE: Duration = Duration::from_secs(4);

/// What `work` comes to, unless the run is asked to stop before. It is dropped then, wherever it is.
///
/// # Errors
/// Those of `work`; [`is_stop`] tells that the run was asked to stop.
pub(crate) async fn unless_stopped<T>(
    interrupt: &CancellationToken,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        biased;
        () = interrupt.cancelled() => Err(asked_to_stop()),
        done = work => done,
    }
}

/// Whether `error` says that the run was asked to stop, and nothing worse.
pub(crate) fn is_stop(interrupt: &CancellationToken, error: &Error) -> bool {
    interrupt.is_cancelled() && matches!(error.kind(), ErrorKind::Pending | ErrorKind::Held)
}

/// The same for what should come to its end if it can: it is given a little time first.
pub(crate) async fn unless_stopped_long_since<T>(
    interrupt: &CancellationToken,
    clock: &dyn Clock,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let late = async {
        interrupt.cancelled().await;
        clock.sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        done = work => done,
        () = late => Err(asked_to_stop()),
    }
}

fn asked_to_stop() -> Error {
    Error::new(ErrorKind::Pending, "the run was asked to stop")
}
