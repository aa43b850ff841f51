//! Variables by which a rehearsal and the tests rule over a process: where it dies, and what time it has.

use std::sync::Arc;

use super::display::json;
use crate::base::{Clock, Crash, FastClock, Kill, Result, SystemClock};

/// Where this process kills itself, if `COLUMNIST_CRASH_AT` says so, or panics, if `COLUMNIST_PANIC_AT`
/// does: how `rehearse --kill` and the tests try what a crash costs. See [`KillAt`](crate::base::KillAt) for
/// how it is written.
pub(super) fn crash() -> Result<Crash> {
    let kill = if let Ok(kill_at) = std::env::var(CRASH_AT) {
        Kill::new(kill_at.parse()?, json::last_words)
    } else if let Ok(kill_at) = std::env::var(PANIC_AT) {
        Kill::by_panic(kill_at.parse()?)
    } else {
        return Ok(Crash::never());
    };
    Ok(Crash::with(Arc::new(kill)))
}

/// The variable that names the point where a process kills itself.
pub(super) const CRASH_AT: &str = "COLUMNIST_CRASH_AT";
/// The variable that names the point where a process meets a defect.
const PANIC_AT: &str = "COLUMNIST_PANIC_AT";

/// The clock that `COLUMNIST_CLOCK` describes, else the machine's: how all processes of a rehearsal
/// show one time. See [`FastClock`] for how it is written.
pub(super) fn clock() -> Result<Arc<dyn Clock>> {
    match std::env::var(CLOCK) {
        Ok(clock) => Ok(Arc::new(clock.parse::<FastClock>()?)),
        Err(_) => Ok(Arc::new(SystemClock)),
    }
}

/// The variable that describes a fast clock.
pub(super) const CLOCK: &str = "COLUMNIST_CLOCK";
