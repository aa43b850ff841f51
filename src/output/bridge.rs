//! The way from a blocking thread, where bytes are copied and columns are encoded, back to the
//! runtime, where object stores live.

use std::future::Future;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::base::{Error, Result};

/// Waits for futures from a blocking thread, until whoever started the work has gone.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    runtime: Handle,
    abandoned: CancellationToken,
}

impl Bridge {
    /// A bridge to the present runtime. It breaks when `abandoned` is cancelled.
    pub(super) fn new(abandoned: CancellationToken) -> Self {
        Bridge {
            runtime: Handle::current(),
            abandoned,
        }
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
