//! Time as a component: what time it is, and how to wait.

use std::fmt::Debug;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

/// A moment in UTC. Written as RFC 3339 wherever it is stored.
pub type Time = DateTime<Utc>;

/// The only source of time in the crate.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Time;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
impl Clock for SystemClock {
    fn now(&self) -> Time {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that starts at a given moment and runs with Tokio's own, so that a test with paused time
/// passes a day in no time.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: Time,
    started: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `origin` now.
    #[must_use]
    pub fn starting_at(origin: Time) -> Self {
        TokioClock {
            origin,
            started: tokio::time::Instant::now(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
impl Clock for TokioClock {
    fn now(&self) -> Time {
        self.origin + chrono::Duration::from_std(self.started.elapsed()).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
