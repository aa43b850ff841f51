//! Named points where a test may stop the world.
//!
//! In production a point costs one branch. In a simulation an armed point never returns: the test
//! is told, and drops everything that was running, as a crash would. A real process can be told to
//! kill itself at one, which is less kind than a drop: see [`Kill`].
//!
//! Each room that has points lists them with [`points!`], which makes a name and its place in the
//! list in one go, so that no point can be left out of a sweep over all of them.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;

use super::{Error, Result};

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

/// At which of its points a process dies.
///
/// | written | dies at |
/// |---|---|
/// | `submit-after` | this point, the first time |
/// | `submit-after:3` | this point, the third time |
/// | `*:7` | the seventh point that is reached, whichever it is |
/// | `!a,b` | the first point that is neither `a` nor `b`; `!` alone, the first of all |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doom {
    /// The nth time that a point of this name is reached.
    At(String, u64),
    /// The nth point that is reached.
    Nth(u64),
    /// The first point that has none of these names.
    NotAt(Vec<String>),
}

impl Doom {
    /// Whether it is due at `name`, reached for the `nth` time, as the `count`th point of all.
    fn is_due(&self, name: &str, nth: u64, count: u64) -> bool {
        match self {
            Doom::At(point, at) => point == name && *at == nth,
            Doom::Nth(at) => *at == count,
            Doom::NotAt(points) => !points.iter().any(|point| point == name),
        }
    }
}

impl FromStr for Doom {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some(points) = text.strip_prefix('!') {
            let points = points.split(',').filter(|point| !point.is_empty());
            return Ok(Doom::NotAt(points.map(str::to_owned).collect()));
        }
        let (point, nth) = text.split_once(':').unwrap_or((text, "1"));
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        match (point, nth) {
            ("*", Some(nth)) => Ok(Doom::Nth(nth)),
            (point, Some(nth)) if !point.is_empty() => Ok(Doom::At(point.to_owned(), nth)),
            _ => Err(Error::invalid("no crash point is named")
                .with("crash-at", text)
                .hint("write NAME, NAME:N, *:N or !NAME,NAME")),
        }
    }
}

/// Kills this process where its doom says: by SIGKILL, so that nothing is flushed, dropped or
/// unlocked by anybody but the system.
#[derive(Debug)]
pub struct Kill {
    doom: Doom,
    last_words: fn(&'static str),
    reached: Mutex<BTreeMap<&'static str, u64>>,
}

impl Kill {
    /// Dies at `doom`, after `last_words` with the point's name.
    #[must_use]
    pub fn new(doom: Doom, last_words: fn(&'static str)) -> Self {
        Kill {
            doom,
            last_words,
            reached: Mutex::default(),
        }
    }

    /// Counts the point `name`, and tells whether the process dies there.
    fn note(&self, name: &'static str) -> bool {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        *reached.entry(name).or_default() += 1;
        self.doom
            .is_due(name, reached[name], reached.values().sum())
    }
}

impl CrashPoint for Kill {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if self.note(name) {
            (self.last_words)(name);
            die();
        }
        Box::pin(async {})
    }
}

/// Ends this process as `kill -9` would.
fn die() -> ! {
    #[cfg(unix)]
    {
        use rustix::process::{Signal, getpid, kill_process};
        // If even this is refused, what follows comes close.
        let _ = kill_process(getpid(), Signal::KILL);
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doom_is_read_as_it_is_documented() {
        let doom = |text: &str| text.parse::<Doom>().ok();
        assert_eq!(doom("a-b"), Some(Doom::At("a-b".into(), 1)));
        assert_eq!(doom("a.b:3"), Some(Doom::At("a.b".into(), 3)));
        assert_eq!(doom("*:7"), Some(Doom::Nth(7)));
        assert_eq!(doom("!"), Some(Doom::NotAt(vec![])));
        assert_eq!(
            doom("!a,b"),
            Some(Doom::NotAt(vec!["a".into(), "b".into()]))
        );
        for wrong in ["", ":1", "a:0", "a:x", "*:"] {
            assert_eq!(doom(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_dies_where_it_is_doomed_and_nowhere_else() {
        let way = ["a", "b", "a", "c", "a"];
        let deaths = |doom: &str| -> Vec<usize> {
            let kill = Kill::new(doom.parse().expect("a doom"), |_| ());
            let due = way.iter().map(|point| kill.note(point));
            due.enumerate()
                .filter_map(|(at, due)| due.then_some(at))
                .collect()
        };
        assert_eq!(deaths("a"), [0]);
        assert_eq!(deaths("a:3"), [4]);
        assert_eq!(deaths("*:4"), [3]);
        assert_eq!(deaths("!a")[0], 1);
        assert_eq!(deaths("!a,b"), [3]);
        assert_eq!(deaths("d"), [0; 0]);
    }
}
