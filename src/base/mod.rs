//! The ground floor: time, chance, errors, storage and HTTP. No word of the domain.
//!
//! Whatever a test must be able to replace comes in one bundle, [`Components`], made once by `cli`
//! and handed down. Nothing else in the crate reads a clock, draws a number or opens a socket.

mod arrow_schema;
pub mod backoff;
mod bloom;
mod clock;
mod crash;
mod error;
mod exit;
mod folder;
mod hex;
pub mod http;
mod ids;
mod index;
mod io;
mod json;
mod kill;
#[cfg(test)]
pub(crate) mod mutate;
mod nearest;
pub mod pandas;
mod percent;
mod scratch;
mod sort;
mod store;
mod task;
mod uptime;

use std::sync::Arc;

pub use arrow_schema::{unknown_column, unknown_in, written_schema};
pub use bloom::Bloom;
pub use clock::{Clock, FastClock, SystemClock, Time, TokioClock};
pub(crate) use crash::points;
pub use crash::{Crash, CrashPoint, Points};
pub use error::{Error, Result, ResultExt, in_short};
pub use exit::{ErrorKind, Exit};
pub use folder::try_folder;
pub use hex::{hex, write_hex};
pub use ids::Ids;
pub use index::{HashKey, KeyIndex};
pub use io::IoRuntime;
pub use json::Json;
pub use kill::{Kill, KillAt};
pub use nearest::nearest;
pub use percent::{percent_decode, percent_encode_fragment};
pub use scratch::scratch_error;
pub use sort::{Sorted, Sorter};
pub use store::{
    BulkWriter, Location, MemoryStore, ObjectMeta, Put, Stores, make_private, store_error,
};
pub use task::{Task, sent_by};
pub use uptime::{SystemUptime, Uptime};

/// The seams of the program: everything from outside that a test may replace.
#[derive(Clone, Debug)]
pub struct Components {
    /// What time it is, and how to wait.
    pub clock: Arc<dyn Clock>,
    /// How long things last, sleep included.
    pub uptime: Arc<dyn Uptime>,
    /// Ids, nonces and jitter.
    pub ids: Arc<Ids>,
    /// Local disk and object storage.
    pub stores: Arc<Stores>,
    /// The network.
    pub http: Arc<dyn http::HttpService>,
    /// The network for addresses that stand in data: names lead to no private address there.
    pub public_http: Arc<dyn http::HttpService>,
    /// Where connections and leases are kept, beside the work.
    pub io: IoRuntime,
    /// Where a test may stop the world.
    pub crash: Crash,
}

impl Components {
    /// The real world: the system's clock, the system's randomness, no crash points.
    #[must_use]
    pub fn system() -> Self {
        Components::system_with(IoRuntime::default(), Stores::default())
    }

    /// The same with `stores`, and with all connections on `io`.
    #[must_use]
    pub fn system_with(io: IoRuntime, stores: Stores) -> Self {
        let http: Arc<dyn http::HttpService> = Arc::new(http::SystemHttp::on(io.clone()));
        let names = Arc::new(http::SystemNames);
        let public_http = Arc::new(http::SystemHttp::public(io.clone(), names));
        let stores = stores.with_http(Arc::clone(&http)).with_io(io.clone());
        Components {
            clock: Arc::new(SystemClock),
            uptime: Arc::new(SystemUptime),
            ids: Arc::new(Ids::from_entropy()),
            stores: Arc::new(stores),
            http,
            public_http,
            io,
            crash: Crash::never(),
        }
    }
}
