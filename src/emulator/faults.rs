//! What can go wrong at a vendor, by name, and how often.
//!
//! Written as `name=rate,name=rate`. A rate is a share (`0.05`) or every nth (`1/20`). A share is
//! drawn from the seed, the object (a call's path, a batch's id) and the attempt or the request's
//! place, so that a run can be replayed and a repeated call draws anew. Every nth simply counts.

use std::fmt;
use std::str::FromStr;

use super::random;
use crate::base::{Error, Result};

/// One thing that can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A call is refused with 429 and `retry-after`.
    Busy,
    /// A result line comes twice.
    Duplicate,
    /// A request of a batch fails in passing.
    Errored,
    /// A request of a batch is not reached in time.
    Expire,
    /// A batch fails as a whole: the enqueued-token limit (`OpenAI`).
    FailBatch,
    /// A result line is broken JSON; its request is not billed.
    Garbage,
    /// The output file's id comes a while after the end (`OpenAI`).
    LateOutput,
    /// A creating call is carried out, and its answer lost with the connection.
    LostAnswer,
    /// An answer is cut by its budget.
    MaxTokens,
    /// A result line is not there; its request is not billed.
    Missing,
    /// A batch is refused when it is created: the queue is full, whatever is in it.
    QueueFull,
    /// A request is refused by the model, and billed.
    Refusal,
    /// A creating call is not carried out, and the connection is lost.
    RefusedLost,
    /// A call fails with a 5xx status.
    ServerError,
    /// A download of results ends in the middle of a line, as if that were its end.
    Short,
    /// A call takes three seconds longer.
    Slow,
    /// A result line bears an id that nobody sent.
    Stranger,
    /// A download of results is cut in the middle of a line, with the connection.
    Truncate,
    // What came later stands at the end: the place decides the draws.
    /// A result line does not say whose it is; its request is billed.
    Anonymous,
    /// A batch fails as a whole, and nothing says why (`OpenAI`).
    FailSilent,
    /// A request of a batch fails because the account's credit is out.
    NoCredit,
    /// An answer is none of what was asked for, and billed.
    Invalid,
    /// An answer is stopped by a content filter, and billed (`OpenAI`); elsewhere the model refuses.
    Filter,
    /// A line of vectors has not each index once: one comes twice, is beyond them all, or is missing; its
    /// request is not billed.
    Misindexed,
}

const COUNT: usize = 24;

/// The names, in the order of the enum.
const NAMES: [(&str, Fault); COUNT] = [
    ("429", Fault::Busy),
    ("duplicate", Fault::Duplicate),
    ("errored", Fault::Errored),
    ("expire", Fault::Expire),
    ("fail_batch", Fault::FailBatch),
    ("garbage", Fault::Garbage),
    ("late_output", Fault::LateOutput),
    ("lost_answer", Fault::LostAnswer),
    ("max_tokens", Fault::MaxTokens),
    ("missing", Fault::Missing),
    ("queue_full", Fault::QueueFull),
    ("refusal", Fault::Refusal),
    ("refused_lost", Fault::RefusedLost),
    ("5xx", Fault::ServerError),
    ("short", Fault::Short),
    ("slow", Fault::Slow),
    ("stranger", Fault::Stranger),
    ("truncate", Fault::Truncate),
    ("anonymous", Fault::Anonymous),
    ("fail_silent", Fault::FailSilent),
    ("no_credit", Fault::NoCredit),
    ("invalid", Fault::Invalid),
    ("filter", Fault::Filter),
    ("misindexed", Fault::Misindexed),
];

impl Fault {
    /// As it is written.
    pub(super) fn name(self) -> &'static str {
        NAMES[self as usize].0
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Rate {
    Never,
    Share(f64),
    Every(u64),
}

/// How often each fault happens. None by default.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults([Rate; COUNT]);

impl Default for Faults {
    fn default() -> Self {
        Faults([Rate::Never; COUNT])
    }
}

impl Faults {
    /// These faults, and `fault` in a share of the draws.
    #[must_use]
    pub fn with(mut self, fault: Fault, share: f64) -> Self {
        self.0[fault as usize] = Rate::Share(share.clamp(0.0, 1.0));
        self
    }

    /// Whether `fault` can happen at all.
    pub(super) fn can(&self, fault: Fault) -> bool {
        self.0[fault as usize] != Rate::Never
    }

    /// Whether `fault` happens to the object drawn as `key`, at its `turn`th try or place; `count`
    /// is what every nth counts.
    pub(super) fn hits(&self, fault: Fault, key: u64, turn: u64, count: u64) -> bool {
        match self.0[fault as usize] {
            Rate::Never => false,
            Rate::Share(share) => {
                let salt = random::mix(fault as u64 + 1);
                random::unit(random::mix(key ^ salt ^ random::mix(turn))) < share
            }
            Rate::Every(nth) => count % nth == nth - 1,
        }
    }

    /// Whether `fault` happens now, where it is written as every nth; `count` is asked only then.
    pub(super) fn nth_hits(&self, fault: Fault, count: impl FnOnce() -> u64) -> bool {
        matches!(self.0[fault as usize], Rate::Every(nth) if count() % nth == nth - 1)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for ((name, _), rate) in NAMES.iter().zip(self.0) {
            match rate {
                Rate::Never => continue,
                Rate::Share(share) => write!(f, "{comma}{name}={share}")?,
                Rate::Every(nth) => write!(f, "{comma}{name}=1/{nth}")?,
            }
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for Faults {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut faults = Faults::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (name, rate) = part.split_once('=').ok_or_else(|| {
                Error::invalid("a fault needs a rate")
                    .with("fault", part)
                    .hint(known())
            })?;
            let (_, fault) = NAMES
                .iter()
                .find(|(known, _)| *known == name.trim())
                .ok_or_else(|| {
                    Error::invalid("no such fault")
                        .with("fault", name.trim())
                        .hint(known())
                })?;
            faults.0[*fault as usize] = rate_of(rate.trim()).ok_or_else(|| {
                Error::invalid("a fault's rate is a share from 0 to 1, or 1/n for every nth")
                    .with("fault", part)
            })?;
        }
        Ok(faults)
    }
}

fn rate_of(text: &str) -> Option<Rate> {
    if let Some(nth) = text.strip_prefix("1/") {
        return nth.parse().ok().filter(|nth| *nth > 0).map(Rate::Every);
    }
    let share: f64 = text.parse().ok()?;
    match share {
        0.0 => Some(Rate::Never),
        _ => (0.0..=1.0).contains(&share).then_some(Rate::Share(share)),
    }
}

fn known() -> String {
    let names: Vec<_> = NAMES.iter().map(|(name, _)| *name).collect();
    format!("the faults are {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_read_as_they_are_written() {
        let text = "429=0.1,missing=1/20,truncate=1";
        let faults: Faults = text.parse().expect("known names");
        assert_eq!(faults.to_string(), text);
        assert_eq!(
            faults.to_string().parse::<Faults>().expect("printed"),
            faults
        );
        assert_eq!("".parse::<Faults>().expect("none"), Faults::default());
    }

    #[test]
    fn names_stand_in_the_order_of_the_enum() {
        for (at, (_, fault)) in NAMES.iter().enumerate() {
            assert_eq!(*fault as usize, at);
        }
    }

    #[test]
    fn a_wrong_fault_is_told_what_there_is() {
        let error = "lost=0.1".parse::<Faults>().expect_err("no such name");
        assert_eq!(error.to_string(), "no such fault, fault=`lost`");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("lost_answer"))
        );
        for text in ["429", "429=2", "429=-1", "429=1/0", "429=x"] {
            assert!(text.parse::<Faults>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_share_is_drawn_per_turn_and_every_nth_counts() {
        let faults: Faults = "429=0.5,5xx=1/3".parse().expect("known");
        let hits = (0..1000)
            .filter(|turn| faults.hits(Fault::Busy, 9, *turn, 0))
            .count();
        assert!((400..600).contains(&hits), "{hits}");
        let nth: Vec<_> = (0..6)
            .map(|n| faults.hits(Fault::ServerError, 9, 0, n))
            .collect();
        assert_eq!(nth, [false, false, true, false, false, true]);
    }
}
