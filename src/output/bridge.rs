//! The way from a blocking thread, where bytes are copied and columns are encoded, back to the
//! runtime, where object stores live.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::base::{Error, Result};

/// Waits for futures from a blocking thread, until whoever started the work has gone.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    runtime: Handle,
    abandoned: CancellationToken,
}

impl Bridge {
    /// A bridge to the present runtime. It breaks when the guard is dropped.
    pub(super) fn new() -> (Self, DropGuard) {
        let abandoned = CancellationToken::new();
        let until_dropped = abandoned.clone().drop_guard();
        let runtime = Handle::current();
        (Bridge { runtime, abandoned }, until_dropped)
    }

    /// The value of `future`. Never call this on one of the runtime's own threads.
    pub(super) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = self.abandoned.cancelled() => Err(Error::internal("publishing was abandoned")),
                value = future => value,
            }
        })
    }
}
