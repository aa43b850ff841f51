//! Reading a list back to a moment: what looking for an orphan has in common.

use crate::base::{Error, Result, Time};
use crate::work::BatchView;

/// By how much the clock of whoever promised an attempt may have been ahead of the provider's. It may
/// have been another machine than this one. A longer list costs nothing.
const SLACK: chrono::Duration = chrono::Duration::hours(1);

/// The moment before which nothing of an attempt can have been made, by the provider's clock, which
/// is `skew` ahead of ours. Whichever clock is right, the earlier moment errs on the safe side.
pub(super) fn horizon(since: Time, skew: chrono::Duration) -> Time {
    since.min(since + skew) - SLACK
}

/// Whether a page is older than `horizon` as a whole, in a list that goes back in time. Where a list
/// goes forward, or does not say, nothing can be concluded, and it is read to its end.
pub(super) fn is_past(made: impl Iterator<Item = Option<Time>>, horizon: Time) -> bool {
    let Some(made) = made.collect::<Option<Vec<Time>>>() else {
        return false;
    };
    match (made.first(), made.last()) {
        (Some(first), Some(last)) => first > last && made.iter().all(|at| *at < horizon),
        _ => false,
    }
}

/// Moves the cursor on to the page after the one that ended with `last`, if it has to be read.
///
/// # Errors
/// `Unavailable` if the list says that there is more and not where, or does not advance: a list that
/// was not seen to its end shows nothing.
pub(super) fn turn(
    cursor: &mut Option<String>,
    last: Option<&str>,
    has_more: Option<bool>,
    is_past: bool,
) -> Result<bool> {
    if is_past || has_more == Some(false) {
        return Ok(false);
    }
    let Some(last) = last else {
        return match has_more {
            Some(true) => Err(Error::unavailable("the provider's list breaks off")),
            _ => Ok(false),
        };
    };
    if cursor.as_deref() == Some(last) {
        let error = Error::unavailable("the provider's list does not advance");
        return Err(error.with("after", last));
    }
    *cursor = Some(last.to_owned());
    Ok(true)
}

/// Sorts by age.
pub(super) fn oldest_first(batches: &mut [BatchView]) {
    batches.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time::from_timestamp(seconds, 0).expect("in range")
    }

    #[test]
    fn only_a_list_that_goes_back_is_left_early() {
        let check = |made: &[i64], expect| {
            let made = made.iter().map(|seconds| Some(at(*seconds)));
            assert_eq!(is_past(made, at(100)), expect);
        };
        check(&[99, 98], true);
        check(&[101, 98], false);
        check(&[98, 99], false);
        check(&[98, 98], false);
        check(&[98], false);
        check(&[], false);
        assert!(!is_past(
            [Some(at(9)), None, Some(at(8))].into_iter(),
            at(100)
        ));
    }

    #[test]
    fn a_list_ends_where_it_says_so() {
        let check = |last: Option<&str>, has_more: Option<bool>, expect: Option<bool>| {
            let mut cursor = Some("a".to_owned());
            let turned = turn(&mut cursor, last, has_more, false).ok();
            assert_eq!(turned, expect, "{last:?} {has_more:?}");
            let moved = turned == Some(true);
            assert_eq!(cursor.as_deref(), if moved { last } else { Some("a") });
        };
        check(Some("b"), Some(true), Some(true));
        check(Some("b"), None, Some(true));
        check(Some("b"), Some(false), Some(false));
        check(None, Some(false), Some(false));
        check(None, None, Some(false));
        check(None, Some(true), None);
        check(Some("a"), Some(true), None);
    }

    #[test]
    fn the_horizon_is_the_earlier_of_both_clocks() {
        let skew = chrono::Duration::seconds;
        assert_eq!(horizon(at(9_000), skew(30)), at(5_400));
        assert_eq!(horizon(at(9_000), skew(-30)), at(5_370));
    }
}
