//! What stops the world: at a named point, or at the nth point passed.

use std::sync::{Mutex, MutexGuard};

use columnist::base::CrashPoint;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use tokio::sync::Notify;

/// When the world stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Where this point is reached for the first time.
    At(&'static str),
    /// At the nth point, whichever it is.
    Nth(usize),
    /// Not at all.
    Never,
}

/// The points of one life. From the moment at which it stops, nobody passes any point.
#[derive(Debug)]
pub(super) struct Stop {
    when: When,
    stopped: Notify,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    passed: Vec<&'static str>,
    at: Option<&'static str>,
}

impl Stop {
    pub(super) fn new(when: When) -> Stop {
        Stop {
            when,
            stopped: Notify::new(),
            seen: Mutex::default(),
        }
    }

    /// Resolves when the world has stopped, with the point's name.
    pub(super) async fn stopped(&self) -> &'static str {
        self.stopped.notified().await;
        self.seen().at.expect("it was stopped at a point")
    }

    /// The points that were reached, in order.
    pub(super) fn passed(&self) -> Vec<&'static str> {
        self.seen().passed.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

impl CrashPoint for Stop {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        let mut seen = self.seen();
        if seen.at.is_some() {
            return future::pending().boxed();
        }
        seen.passed.push(name);
        let stops = match self.when {
            When::At(point) => name == point,
            When::Nth(nth) => seen.passed.len() == nth,
            When::Never => false,
        };
        if !stops {
            return future::ready(()).boxed();
        }
        seen.at = Some(name);
        self.stopped.notify_one();
        future::pending().boxed()
    }
}
