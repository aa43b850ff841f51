//! A process that kills itself at a crash point: less kind than a future that is dropped, for nothing
//! is flushed, dropped or unlocked by anybody but the system.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::str::FromStr;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;

use super::{CrashPoint, Error, Result};

/// At which of its points a process dies.
///
/// | written | dies at |
/// |---|---|
/// | `submit-after` | this point, the first time |
/// | `submit-after:3` | this point, the third time |
/// | `*:7` | the seventh point that is reached, whichever it is |
/// | `!a,b` | the first point that is neither `a` nor `b`; `!` alone, the first of all |
/// | `!a,b:7` | the same, but at the seventh point at the latest |
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KillAt {
    /// The nth time that a point of this name is reached.
    At(String, u64),
    /// The nth point that is reached.
    Nth(u64),
    /// The first point that has none of these names, or the nth of all if that comes sooner.
    NotAt {
        /// These names.
        but: Vec<String>,
        /// The nth.
        latest: Option<u64>,
    },
}

impl KillAt {
    /// Whether it is due at `name`, reached for the `nth` time, as the `count`th point of all.
    fn is_due(&self, name: &str, nth: u64, count: u64) -> bool {
        match self {
            KillAt::At(point, at) => point == name && *at == nth,
            KillAt::Nth(at) => *at == count,
            KillAt::NotAt { but, latest } => {
                *latest == Some(count) || !but.iter().any(|point| point == name)
            }
        }
    }
}

impl Display for KillAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KillAt::At(point, nth) => write!(f, "{point}:{nth}"),
            KillAt::Nth(nth) => write!(f, "*:{nth}"),
            KillAt::NotAt { but, latest } => {
                write!(f, "!{}", but.join(","))?;
                latest.map_or(Ok(()), |latest| write!(f, ":{latest}"))
            }
        }
    }
}

impl FromStr for KillAt {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (points, nth) = match text.split_once(':') {
            Some((points, nth)) => (points, Some(nth.parse().unwrap_or(0))),
            None => (text, None),
        };
        let at = match (points, nth) {
            ("", _) | (_, Some(0)) | ("*", None) => None,
            ("*", Some(nth)) => Some(KillAt::Nth(nth)),
            (points, latest) => Some(match points.strip_prefix('!') {
                None => KillAt::At(points.to_owned(), latest.unwrap_or(1)),
                Some(but) => KillAt::NotAt {
                    but: but
                        .split(',')
                        .filter(|point| !point.is_empty())
                        .map(str::to_owned)
                        .collect(),
                    latest,
                },
            }),
        };
        at.ok_or_else(|| {
            Error::invalid("no crash point is named")
                .with("crash-at", text)
                .hint("write NAME, NAME:N, *:N, !NAME,NAME or !NAME,NAME:N")
        })
    }
}

/// Kills this process by SIGKILL at the point that it was given, or panics there.
#[derive(Debug)]
pub struct Kill {
    at: KillAt,
    /// What is done before the kill; none where there is a panic.
    last_words: Option<fn(&'static str)>,
    reached: Mutex<BTreeMap<&'static str, u64>>,
}

impl Kill {
    /// Dies at `at`, after `last_words` with the point's name.
    #[must_use]
    pub fn new(at: KillAt, last_words: fn(&'static str)) -> Self {
        Kill {
            at,
            last_words: Some(last_words),
            reached: Mutex::default(),
        }
    }

    /// Panics at `at`, as a defect would.
    #[must_use]
    pub fn by_panic(at: KillAt) -> Self {
        Kill {
            at,
            last_words: None,
            reached: Mutex::default(),
        }
    }

    /// Counts the point `name`, and tells whether the process dies there.
    fn note(&self, name: &'static str) -> bool {
        let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
        *reached.entry(name).or_default() += 1;
        self.at.is_due(name, reached[name], reached.values().sum())
    }
}

impl CrashPoint for Kill {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if self.note(name) {
            match self.last_words {
                Some(last_words) => last_words(name),
                None => panic!("{name} was reached, as was asked for"),
            }
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
        let not_at = |but: &[&str], latest| KillAt::NotAt {
            but: but.iter().map(|point| (*point).to_owned()).collect(),
            latest,
        };
        for (text, kill_at) in [
            ("a-b:1", KillAt::At("a-b".into(), 1)),
            ("a.b:3", KillAt::At("a.b".into(), 3)),
            ("*:7", KillAt::Nth(7)),
            ("!", not_at(&[], None)),
            ("!a,b", not_at(&["a", "b"], None)),
            ("!a:4", not_at(&["a"], Some(4))),
        ] {
            assert_eq!(text.parse::<KillAt>().ok(), Some(kill_at.clone()), "{text}");
            assert_eq!(kill_at.to_string(), text);
        }
        assert_eq!("a".parse::<KillAt>().ok(), Some(KillAt::At("a".into(), 1)));
        for wrong in ["", ":1", "a:0", "a:x", "*", "*:"] {
            assert!(wrong.parse::<KillAt>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_process_dies_where_it_is_doomed_and_nowhere_else() {
        let way = ["a", "b", "a", "c", "a"];
        let deaths = |kill_at: &str| -> Vec<usize> {
            let kill = Kill::new(kill_at.parse().expect("a point"), |_| ());
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
        assert_eq!(deaths("!a,b:2"), [1, 3]);
        assert_eq!(deaths("d"), [0; 0]);
    }
}
