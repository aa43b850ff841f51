//! Time in a world of several lives: paused within each of them, and never going back.

use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use columnist::base::{Clock, Time, TokioClock, Uptime};
use futures::future::BoxFuture;

/// The world's clock. Each life runs in a runtime of its own, whose time is paused.
#[derive(Debug)]
pub(super) struct WorldClock(Mutex<TokioClock>);

impl WorldClock {
    /// Shows `origin`; to be called within a runtime.
    pub(super) fn starting_at(origin: Time) -> Self {
        WorldClock(Mutex::new(TokioClock::starting_at(origin)))
    }

    /// Goes on in another runtime, from `origin`.
    pub(super) fn go_on(&self, origin: Time) {
        *self.0.lock().expect("no panic") = TokioClock::starting_at(origin);
    }

    fn inner(&self) -> TokioClock {
        *self.0.lock().expect("no panic")
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Time {
        self.inner().now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.inner().sleep(duration)
    }
}

impl Uptime for WorldClock {
    fn uptime(&self) -> Duration {
        self.inner().uptime()
    }
}

/// A machine's clock that is wrong by so much.
#[derive(Debug)]
pub(super) struct Skewed {
    pub clock: Arc<WorldClock>,
    pub by: chrono::Duration,
}

impl Clock for Skewed {
    fn now(&self) -> Time {
        self.clock.now() + self.by
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.clock.sleep(duration)
    }
}
