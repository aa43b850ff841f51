//! When a call is worth repeating, and how long to wait before it. Pure: it reads an answer and
//! says a duration; who waits is not its concern.
//!
//! The rule is the one that the vendors' own clients share: the server's word goes first
//! (`x-should-retry`, `retry-after-ms`, `retry-after`), then the status, then a wait that doubles.

use std::time::Duration;

use super::Time;
use super::http::{HeaderMap, StatusCode};

/// How often, and how patiently, a call is repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Repetitions after the first try.
    pub retries_max: u32,
    /// The first wait of our own; it doubles.
    pub first: Duration,
    /// The longest wait of our own.
    pub longest: Duration,
    /// The longest wait that a server may ask for. One that asks for more is not waited for: its
    /// answer goes to the caller, who has better things to do meanwhile.
    pub asked_max: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff {
            retries_max: 4,
            first: Duration::from_millis(500),
            longest: Duration::from_secs(8),
            asked_max: Duration::from_mins(2),
        }
    }
}

/// A wait that grows from one time to the next, up to a longest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Growing {
    first: Duration,
    longest: Duration,
    /// What it grows to each time, in hundredths.
    percent: u32,
}

impl Growing {
    /// A wait that doubles.
    #[must_use]
    pub const fn doubling(first: Duration, longest: Duration) -> Growing {
        Growing {
            first,
            longest,
            percent: 200,
        }
    }

    /// A wait that grows by a half.
    #[must_use]
    pub const fn by_half(first: Duration, longest: Duration) -> Growing {
        Growing {
            first,
            longest,
            percent: 150,
        }
    }

    /// The first wait, where it is not longer than the longest.
    #[must_use]
    pub fn first(&self) -> Duration {
        self.first.min(self.longest)
    }

    /// The wait after `last`.
    #[must_use]
    pub fn next(&self, last: Duration) -> Duration {
        (last.saturating_mul(self.percent) / 100).min(self.longest)
    }

    /// The wait that comes after so many others.
    #[must_use]
    pub fn after(&self, others: u32) -> Duration {
        let mut wait = self.first();
        for _ in 0..others {
            let next = self.next(wait);
            if next == wait {
                break;
            }
            wait = next;
        }
        wait
    }
}

/// A wait before the next try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// The server named it; it is kept to exactly.
    Asked(Duration),
    /// Our own; jitter is welcome.
    Own(Duration),
}

impl Backoff {
    /// The wait after try number `tried` (from zero) got this answer; `None` to leave it at that.
    #[must_use]
    pub fn after_answer(
        &self,
        tried: u32,
        status: StatusCode,
        headers: &HeaderMap,
        now: Time,
    ) -> Option<Delay> {
        if tried >= self.retries_max || !is_worth_repeating(status, headers) {
            return None;
        }
        match asked_wait(headers, now) {
            Some(asked) if asked > self.asked_max => None,
            Some(asked) => Some(Delay::Asked(asked)),
            None => Some(Delay::Own(self.own(tried))),
        }
    }

    /// The wait after try number `tried` (from zero) got no answer at all.
    #[must_use]
    pub fn after_silence(&self, tried: u32) -> Option<Delay> {
        (tried < self.retries_max).then(|| Delay::Own(self.own(tried)))
    }

    fn own(&self, tried: u32) -> Duration {
        Growing::doubling(self.first, self.longest).after(tried)
    }
}

/// Whether the same call may have another answer soon.
#[must_use]
pub fn is_worth_repeating(status: StatusCode, headers: &HeaderMap) -> bool {
    match text(headers, "x-should-retry") {
        Some("true") => true,
        Some("false") => false,
        _ => matches!(status.as_u16(), 408 | 409 | 429) || status.is_server_error(),
    }
}

/// How long the server asks us to wait, if it does and it makes sense.
#[must_use]
pub fn asked_wait(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let millis = text(headers, "retry-after-ms").and_then(|text| positive(text, 1e-3));
    let after = text(headers, "retry-after");
    millis
        .or_else(|| after.and_then(|text| positive(text, 1.0)))
        .or_else(|| after.and_then(|text| until(text, now)))
}

/// A moment as HTTP writes it (`Wed, 21 Oct 2026 07:28:00 GMT`).
#[must_use]
pub fn http_date(text: &str) -> Option<Time> {
    chrono::DateTime::parse_from_rfc2822(text)
        .ok()
        .map(|time| time.to_utc())
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn positive(text: &str, unit: f64) -> Option<Duration> {
    let seconds = text.parse::<f64>().ok()? * unit;
    (seconds > 0.0)
        .then(|| Duration::try_from_secs_f64(seconds).ok())
        .flatten()
}

fn until(text: &str, now: Time) -> Option<Duration> {
    let wait = http_date(text)?.signed_duration_since(now);
    wait.to_std().ok().filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = super::super::http::HeaderName::from_static(name);
                (name, value.parse().expect("a header value"))
            })
            .collect()
    }

    fn check(tried: u32, status: u16, pairs: &[(&'static str, &str)], expect: Option<Delay>) {
        let now = http_date("Wed, 21 Oct 2026 07:28:00 GMT").expect("a date");
        let status = StatusCode::from_u16(status).expect("a status");
        let wait = Backoff::default().after_answer(tried, status, &headers(pairs), now);
        assert_eq!(wait, expect, "try {tried}, {status}, {pairs:?}");
    }

    fn own(millis: u64) -> Delay {
        Delay::Own(Duration::from_millis(millis))
    }

    fn asked(millis: u64) -> Delay {
        Delay::Asked(Duration::from_millis(millis))
    }

    #[test]
    fn the_status_says_whether_to_repeat() {
        for status in [408, 409, 429, 500, 502, 503, 504, 529] {
            check(0, status, &[], Some(own(500)));
        }
        for status in [200, 206, 302, 400, 401, 402, 403, 404, 413, 416, 422] {
            check(0, status, &[], None);
        }
    }

    #[test]
    fn the_server_overrides_the_status() {
        check(0, 400, &[("x-should-retry", "true")], Some(own(500)));
        check(0, 500, &[("x-should-retry", "false")], None);
        check(0, 500, &[("x-should-retry", "perhaps")], Some(own(500)));
    }

    #[test]
    fn our_own_wait_doubles_to_its_cap_and_then_it_is_enough() {
        check(1, 500, &[], Some(own(1_000)));
        check(2, 500, &[], Some(own(2_000)));
        check(3, 500, &[], Some(own(4_000)));
        check(4, 500, &[], None);
        let patient = Backoff {
            retries_max: 99,
            ..Backoff::default()
        };
        assert_eq!(patient.after_silence(4), Some(own(8_000)));
        assert_eq!(patient.after_silence(70), Some(own(8_000)));
        assert_eq!(patient.after_silence(99), None);
    }

    #[test]
    fn a_wait_grows_to_its_longest() {
        let waits =
            |growing: Growing| [0, 1, 2, 3, 9, u32::MAX].map(|n| growing.after(n).as_millis());
        let (two, minute) = (Duration::from_secs(2), Duration::from_mins(1));
        let doubling = Growing::doubling(two, minute);
        let by_half = Growing::by_half(two, minute);
        assert_eq!(waits(doubling), [2000, 4000, 8000, 16_000, 60_000, 60_000]);
        assert_eq!(waits(by_half), [2000, 3000, 4500, 6750, 60_000, 60_000]);
        assert_eq!(waits(Growing::doubling(minute, two)), [2000; 6]);
        let seven = Duration::from_secs(7);
        assert_eq!(doubling.next(seven), Duration::from_secs(14));
        assert_eq!(doubling.next(Duration::MAX), minute);
        let none = Growing::doubling(Duration::ZERO, minute);
        assert_eq!(none.after(u32::MAX), Duration::ZERO);
    }

    #[test]
    fn the_server_names_the_wait_in_three_ways() {
        check(3, 429, &[("retry-after", "7")], Some(asked(7_000)));
        check(0, 429, &[("retry-after", "0.25")], Some(asked(250)));
        check(
            0,
            429,
            &[("retry-after-ms", "1500"), ("retry-after", "7")],
            Some(asked(1_500)),
        );
        check(
            0,
            503,
            &[("retry-after", "Wed, 21 Oct 2026 07:28:30 GMT")],
            Some(asked(30_000)),
        );
    }

    #[test]
    fn a_senseless_wait_is_not_kept_to() {
        for word in [
            "0",
            "-3",
            "soon",
            "nan",
            "inf",
            "",
            "Wed, 21 Oct 2026 07:27:59 GMT",
        ] {
            check(0, 429, &[("retry-after", word)], Some(own(500)));
        }
        check(
            0,
            429,
            &[("retry-after-ms", "x"), ("retry-after", "2")],
            Some(asked(2_000)),
        );
        check(0, 429, &[("retry-after", "120")], Some(asked(120_000)));
        check(0, 429, &[("retry-after", "121")], None);
    }
}
