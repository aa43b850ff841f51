//! Time as a component: what time it is, and how to wait.

use std::fmt::{self, Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::BoxFuture;

use super::{Error, Result};

/// A moment in UTC. Written as RFC 3339 wherever it is stored.
pub type Time = DateTime<Utc>;

/// The only source of time in the crate.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Time;
    /// Resolves after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
impl Clock for SystemClock {
    fn now(&self) -> Time {
        Utc::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that starts at a given moment and runs with Tokio's own, so that a test with paused time
/// passes a day in no time.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: Time,
    started: tokio::time::Instant,
}

impl TokioClock {
    /// A clock that shows `origin` now.
    #[must_use]
    pub fn starting_at(origin: Time) -> Self {
        TokioClock {
            origin,
            started: tokio::time::Instant::now(),
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
impl Clock for TokioClock {
    fn now(&self) -> Time {
        self.origin + chrono::Duration::from_std(self.started.elapsed()).unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that was right at its origin and has run faster than the machine's ever since, so that a
/// rehearsal waits seconds where a vendor takes hours. All that share an origin and a speed show the
/// same time, in whichever process.
///
/// Written as `<origin>*<speed>`, the origin in RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FastClock {
    origin: Time,
    speed: u32,
}

impl FastClock {
    /// A clock that is right now, and runs `speed` times as fast as the machine's; at least once.
    #[must_use]
    pub fn starting_now(speed: u32) -> Self {
        FastClock {
            origin: SystemClock.now(),
            speed: speed.max(1),
        }
    }

    /// What it shows when the machine's clock shows `time`.
    fn shown_at(&self, time: Time) -> Time {
        let speed = i32::try_from(self.speed).unwrap_or(i32::MAX);
        let passed = (time - self.origin).checked_mul(speed);
        passed.map_or(Time::MAX_UTC, |passed| self.origin + passed)
    }
}

impl Clock for FastClock {
    fn now(&self) -> Time {
        self.shown_at(SystemClock.now())
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        SystemClock.sleep(duration / self.speed)
    }
}

impl Display for FastClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = self.origin.to_rfc3339_opts(SecondsFormat::Nanos, true);
        write!(f, "{origin}*{}", self.speed)
    }
}

impl FromStr for FastClock {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.split_once('*').and_then(|(origin, speed)| {
            Some(FastClock {
                origin: origin.parse().ok()?,
                speed: speed.parse().ok().filter(|speed| *speed > 0)?,
            })
        });
        parsed.ok_or_else(|| {
            Error::invalid("not a clock")
                .with("clock", text)
                .hint("write ORIGIN*SPEED, such as 2026-08-01T00:00:00Z*60")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fast_clock_gains_from_its_origin_on() {
        let at = |text: &str| text.parse::<Time>().expect("a time");
        let clock: FastClock = "2026-08-01T00:00:00Z*60".parse().expect("a clock");
        for (machine, shown) in [
            ("2026-08-01T00:00:00Z", "2026-08-01T00:00:00Z"),
            ("2026-08-01T00:00:01Z", "2026-08-01T00:01:00Z"),
            ("2026-08-01T00:24:00Z", "2026-08-02T00:00:00Z"),
        ] {
            assert_eq!(clock.shown_at(at(machine)), at(shown));
        }
    }

    #[test]
    fn a_fast_clock_is_read_as_it_is_written() {
        let clock = FastClock::starting_now(120);
        assert_eq!(clock.to_string().parse::<FastClock>().ok(), Some(clock));
        for wrong in [
            "",
            "60",
            "2026-08-01T00:00:00Z",
            "2026-08-01T00:00:00Z*0",
            "noon*2",
        ] {
            assert!(wrong.parse::<FastClock>().is_err(), "{wrong}");
        }
    }
}
