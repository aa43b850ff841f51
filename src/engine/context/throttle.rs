//! What was said already: the same thing is said once, and then at growing intervals.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Time;
use crate::base::backoff::Growing;

/// How long a thing that was said stays unsaid at most.
const PAUSE_MAX: Duration = Duration::from_hours(1);
/// How long it stays unsaid; twice as long each time that it is said again.
const PAUSE: Growing = Growing::doubling(Duration::from_mins(1), PAUSE_MAX);

/// What was said, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Throttle(BTreeMap<String, Last>);

/// When a thing was said last.
#[derive(Debug)]
struct Last {
    at: Time,
    pause: Duration,
    kept_back: u64,
}

impl Throttle {
    /// Whether `what` may be said at `now`, and how often it was kept back since it was said last.
    pub(crate) fn may_say(&mut self, what: &str, now: Time) -> Option<u64> {
        let Some(last) = self.0.get_mut(what) else {
            let first = Last {
                at: now,
                pause: PAUSE.first(),
                kept_back: 0,
            };
            self.0.insert(what.to_owned(), first);
            return Some(0);
        };
        let since = (now - last.at).to_std().unwrap_or_default();
        if since < last.pause {
            last.kept_back += 1;
            return None;
        }
        // What has not come up for so long is news again.
        let is_news = last.kept_back == 0 && since > PAUSE_MAX;
        last.pause = if is_news {
            PAUSE.first()
        } else {
            PAUSE.next(last.pause)
        };
        last.at = now;
        Some(std::mem::take(&mut last.kept_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::scenario::at;

    #[test]
    fn the_same_is_said_at_growing_intervals_and_other_things_at_once() {
        let mut said = Throttle::default();
        let times: Vec<i64> = (0..24 * 3600)
            .step_by(5)
            .filter(|second| said.may_say("the queue is full", at(*second)).is_some())
            .collect();
        assert_eq!(times[..5], [0, 60, 180, 420, 900]);
        let gaps: Vec<i64> = times.windows(2).map(|two| two[1] - two[0]).collect();
        assert!(gaps.windows(2).all(|two| two[0] <= two[1]), "{gaps:?}");
        assert_eq!(gaps.last(), Some(&3600));
        assert_eq!(said.may_say("the key is refused", at(24 * 3600)), Some(0));
    }

    #[test]
    fn what_was_kept_back_is_counted() {
        let mut said = Throttle::default();
        assert_eq!(said.may_say("a", at(0)), Some(0));
        assert_eq!(said.may_say("a", at(10)), None);
        assert_eq!(said.may_say("a", at(20)), None);
        assert_eq!(said.may_say("a", at(61)), Some(2));
        assert_eq!(said.may_say("a", at(4000)), Some(0));
    }
}
