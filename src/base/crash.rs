//! Named points where a test may stop the world.
//!
//! In production a point costs one branch. In a simulation an armed point never returns: the test
//! is told, and drops everything that was running, as a crash would.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;

/// Decides what happens when execution reaches a named point.
pub trait CrashPoint: Debug + Send + Sync + 'static {
    /// Resolves at once to go on; never resolves (or kills the process) to crash here.
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()>;
}

/// The crash points of this process; usually none.
#[derive(Clone, Debug, Default)]
pub struct Crash(Option<Arc<dyn CrashPoint>>);

impl Crash {
    /// No point ever crashes.
    #[must_use]
    pub fn never() -> Self {
        Crash(None)
    }

    /// Asks `points` at every point.
    #[must_use]
    pub fn with(points: Arc<dyn CrashPoint>) -> Self {
        Crash(Some(points))
    }

    /// Passes the point `name`, or does not.
    pub async fn point(&self, name: &'static str) {
        if let Some(points) = &self.0 {
            points.reached(name).await;
        }
    }
}
