//! Time that goes on while the machine sleeps, and that nobody can set.

use std::fmt::Debug;
use std::time::Duration;

use super::TokioClock;

/// How long something has lasted, to the holder of a lease: a laptop that was shut for an hour must
/// know that the hour has passed.
pub trait Uptime: Debug + Send + Sync + 'static {
    /// Time since some fixed moment. Never goes back.
    fn uptime(&self) -> Duration;
}

/// The machine's own: since it was started, sleep included.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemUptime;

#[cfg(unix)]
impl Uptime for SystemUptime {
    fn uptime(&self) -> Duration {
        // Apple's monotonic clock counts sleep; Linux has another for that.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        Duration::new(
            u64::try_from(time.tv_sec).unwrap_or_default(),
            u32::try_from(time.tv_nsec).unwrap_or_default(),
        )
    }
}

#[cfg(not(unix))]
#[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
impl Uptime for SystemUptime {
    fn uptime(&self) -> Duration {
        use std::sync::LazyLock;
        use std::time::Instant;
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
}

impl Uptime for TokioClock {
    fn uptime(&self) -> Duration {
        use super::Clock;
        u64::try_from(self.now().timestamp_micros()).map_or(Duration::ZERO, Duration::from_micros)
    }
}
