//! What a vendor allows per stretch of time, and how much of it is used.
//!
//! What is made (batches, files) is counted by what is kept of it, so that the next process goes on
//! counting; calls are counted by the process that answers them.

use std::collections::VecDeque;
use std::time::Duration;

use super::batch::{Batch, End, Phase};
use super::faults::Fault;
use super::world::{Caller, World};
use crate::base::{Result, Time};

/// So many in so long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) most: u64,
    pub(super) per: Duration,
}

impl Rate {
    /// How long until there is room for one more after those at `times`; none if there is.
    pub(super) fn wait(self, now: Time, times: impl Iterator<Item = Time>) -> Option<Duration> {
        let mut recent: Vec<Time> = times.filter(|time| now < *time + self.per).collect();
        let used = recent.len() as u64;
        let over = usize::try_from(used.checked_sub(self.most)?).unwrap_or(usize::MAX);
        recent.sort_unstable();
        // One more fits when those that are over, and the one after them, have left.
        let leaves = recent.get(over).map_or(now, |time| *time) + self.per;
        Some((leaves - now).to_std().unwrap_or_default())
    }
}

/// The calls of the last while, each caller's own.
#[derive(Debug, Default)]
pub(super) struct Calls(VecDeque<(String, Time)>);

impl Calls {
    /// Notes a call at `now` if `rate` has room for it; else how long until it has.
    pub(super) fn admit(&mut self, rate: Rate, owner: &str, now: Time) -> Result<(), Duration> {
        while self
            .0
            .front()
            .is_some_and(|(_, time)| *time + rate.per <= now)
        {
            self.0.pop_front();
        }
        let mine = self.0.iter().filter(|(caller, _)| caller == owner);
        if let Some(wait) = rate.wait(now, mine.map(|(_, time)| *time)) {
            return Err(wait);
        }
        self.0.push_back((owner.to_owned(), now));
        Ok(())
    }
}

impl World {
    /// The caller's batches that hold their place in the vendor's queue: neither ended nor doomed.
    pub(super) fn queued(&self, dialect: &str, caller: &Caller) -> Result<Vec<Batch>> {
        let mut batches = self.store.all::<Batch>()?;
        let now = self.now();
        batches.retain(|batch| {
            batch.dialect == dialect
                && batch.owner == caller.owner
                && batch.end() != End::Failed
                && !matches!(batch.phase(now), Phase::Ended(_))
        });
        Ok(batches)
    }

    /// Whether a fault says that the queue is full; if so, a draw of its own.
    pub(super) fn queue_full(&self) -> Option<u64> {
        if !self.config.faults.can(Fault::QueueFull) {
            return None;
        }
        let key = super::chance::named(self.config.seed, "queue_full");
        let attempt = self.attempt(key);
        let full = self
            .config
            .faults
            .hits(Fault::QueueFull, key, attempt, attempt);
        full.then(|| {
            self.strike(Fault::QueueFull);
            super::chance::mix(key ^ attempt)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        chrono::DateTime::from_timestamp(second, 0).expect("in range")
    }

    #[test]
    fn a_rate_has_room_again_when_the_oldest_has_left() {
        let rate = Rate {
            most: 2,
            per: Duration::from_mins(1),
        };
        let wait = |now, times: &[i64]| rate.wait(at(now), times.iter().copied().map(at));
        assert_eq!(wait(100, &[]), None);
        assert_eq!(wait(100, &[90]), None);
        assert_eq!(wait(100, &[40, 90]), None, "one has left");
        assert_eq!(wait(100, &[90, 50]), Some(Duration::from_secs(10)));
        assert_eq!(wait(100, &[50, 60, 70]), Some(Duration::from_secs(20)));
    }

    #[test]
    fn callers_have_rates_of_their_own() {
        let rate = Rate {
            most: 1,
            per: Duration::from_mins(1),
        };
        let mut calls = Calls::default();
        assert_eq!(calls.admit(rate, "a", at(0)), Ok(()));
        assert_eq!(calls.admit(rate, "b", at(1)), Ok(()));
        assert_eq!(calls.admit(rate, "a", at(20)), Err(Duration::from_secs(40)));
        assert_eq!(
            calls.admit(rate, "a", at(60)),
            Ok(()),
            "a refusal does not count"
        );
    }
}
