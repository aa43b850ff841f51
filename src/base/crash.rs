//! Named points where a test may stop the world.
//!
//! In production a point costs one branch. In a simulation an armed point never returns: the test
//! is told, and drops everything that was running, as a crash would. A real process can be told to
//! kill itself at one, which is less kind than a drop: see [`Kill`](super::Kill).
//!
//! Each room that has points lists them with [`points!`], which makes a name and its place in the
//! list in one go, so that no point can be left out of a sweep over all of them.

use std::fmt::Debug;
use std::sync::Arc;

use futures::future::BoxFuture;

/// Decides what happens when execution reaches a named point.
pub trait CrashPoint: Debug + Send + Sync + 'static {
    /// Resolves at once to go on; never resolves (or kills the process) to crash here.
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()>;
}

/// The points before and after one thing that matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Points {
    /// Nothing is done yet.
    pub before: &'static str,
    /// It is done; nobody was told.
    pub after: &'static str,
}

impl Default for Points {
    /// Around something that has no name.
    fn default() -> Self {
        Points {
            before: "before",
            after: "after",
        }
    }
}

/// Defines a list of [`Points`], and a constant for each of them.
macro_rules! points {
    ($(#[$about:meta])* $list:ident: $($name:ident = $room:literal, $what:literal;)+) => {
        $(
            pub(crate) const $name: $crate::base::Points = $crate::base::Points {
                before: concat!($room, ".before_", $what),
                after: concat!($room, ".after_", $what),
            };
        )+
        $(#[$about])*
        pub(crate) const $list: &[$crate::base::Points] = &[$($name),+];
    };
}

pub(crate) use points;

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

    /// Does `work` between two points.
    pub async fn around<T>(&self, points: Points, work: impl Future<Output = T>) -> T {
        self.point(points.before).await;
        let done = work.await;
        self.point(points.after).await;
        done
    }
}
