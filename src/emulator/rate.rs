//! So many calls in so long: what a vendor allows, and how much of it is used.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::Time;

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
