//! The ground floor: time, chance, errors, storage and HTTP. No word of the domain.
//!
//! Whatever a test must be able to replace comes in one bundle, [`Components`], made once by `cli`
//! and handed down. Nothing else in the crate reads a clock, draws a number or opens a socket.

mod clock;
mod crash;
mod error;
mod ids;
mod store;
mod uptime;

use std::sync::Arc;

pub use clock::{Clock, SystemClock, Time, TokioClock};
pub use crash::{Crash, CrashPoint};
pub use error::{Error, ErrorKind, Result, ResultExt};
pub use ids::Ids;
pub use store::{BulkWriter, Location, MemoryStore, ObjectMeta, Put, Stores};
pub use uptime::{SystemUptime, Uptime};

/// The seams of the program: everything from outside that a test may replace.
#[derive(Clone, Debug)]
pub struct Components {
    /// What time it is, and how to wait.
    pub clock: Arc<dyn Clock>,
    /// Ids, nonces and jitter.
    pub ids: Arc<Ids>,
    /// Local disk and object storage.
    pub stores: Arc<Stores>,
    /// Where a test may stop the world.
    pub crash: Crash,
}

impl Components {
    /// The real world: the system's clock, the system's randomness, no crash points.
    #[must_use]
    pub fn system() -> Self {
        Components {
            clock: Arc::new(SystemClock),
            ids: Arc::new(Ids::from_entropy()),
            stores: Arc::new(Stores::default()),
            crash: Crash::never(),
        }
    }
}
