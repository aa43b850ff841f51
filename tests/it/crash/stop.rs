//! What stops the world: a named point, or the nth one that is passed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use columnist::base::CrashPoint;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use tokio::sync::Notify;

/// When the world stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// Where one of these points is reached.
    At(BTreeSet<&'static str>),
    /// At the nth point, whichever it is.
    Nth(usize),
    /// Not at all.
    Never,
}

/// Something that happens in the world when a point is reached for the first time.
pub(super) type Hook = (&'static str, Box<dyn FnOnce() + Send>);

/// The points of one life. From the moment at which it stops, nobody passes any point.
pub(super) struct Stop {
    when: When,
    stopped: Notify,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    passed: Vec<&'static str>,
    at: Option<&'static str>,
    hook: Option<Hook>,
}

impl Stop {
    pub(super) fn new(when: When, hook: Option<Hook>) -> Stop {
        Stop {
            when,
            stopped: Notify::new(),
            seen: Mutex::new(Seen {
                hook,
                ..Seen::default()
            }),
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

    /// The hook, unless it was called.
    pub(super) fn hook(&self) -> Option<Hook> {
        self.seen().hook.take()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stop")
            .field("when", &self.when)
            .finish_non_exhaustive()
    }
}

impl CrashPoint for Stop {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        let mut seen = self.seen();
        if seen.at.is_some() {
            return future::pending().boxed();
        }
        seen.passed.push(name);
        if let Some((_, work)) = seen.hook.take_if(|(point, _)| *point == name) {
            work();
        }
        let stops = match &self.when {
            When::At(points) => points.contains(name),
            When::Nth(nth) => seen.passed.len() == *nth,
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
