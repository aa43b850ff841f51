//! The runtime of connections, beside the one that works.
//!
//! Reading Parquet and writing files block the thread that they run on, and the runtime that works may
//! be blocked by them on all its threads. What must not stand still meanwhile (sockets, a lease that is
//! to be renewed, the time on the screen) runs on a runtime of its own, on which nothing blocks.

use std::future::Future;

use tokio::runtime::Handle;

use super::Task;

/// Where work that never blocks is spawned. By default that is the runtime one is in.
#[derive(Clone, Debug, Default)]
pub struct IoRuntime(Option<Handle>);

impl IoRuntime {
    /// The runtime of `handle`, which the caller keeps alive.
    #[must_use]
    pub fn of(handle: Handle) -> Self {
        IoRuntime(Some(handle))
    }

    /// Runs `work` there, until it ends or the task is dropped.
    ///
    /// # Panics
    /// Outside of any runtime, if none was given.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Task<T> {
        match &self.0 {
            Some(handle) => Task(handle.spawn(work)),
            None => Task::spawn(work),
        }
    }
}
