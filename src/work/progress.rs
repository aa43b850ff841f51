//! What happens, for whoever watches.

use std::collections::BTreeMap;
use std::fmt::Debug;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run began; its ledger and its output.
    Opened {
        /// The run's id.
        run: String,
    },
    /// So many rows have been looked at, with so many distinct new requests.
    Planned {
        /// Rows.
        rows: u64,
        /// Requests.
        requests: u64,
    },
    /// A chunk is at the provider.
    Submitted {
        /// Its number.
        chunk: u64,
    },
    /// The provider said where a batch stands.
    Polled {
        /// The provider's id.
        batch: String,
        /// The provider's word, in ours.
        status: String,
        /// Requests that are done, as far as the provider tells.
        done: u64,
        /// Requests in all.
        total: u64,
    },
    /// A batch's results are durable.
    Landed {
        /// The provider's id.
        batch: String,
        /// Its requests.
        requests: u64,
        /// Its requests by status.
        counts: BTreeMap<String, u64>,
    },
    /// The output is visible.
    Published {
        /// Where.
        output: String,
    },
    /// Something that a person should know, and that stops nothing.
    Warning(String),
}

/// Whoever watches a run.
pub trait Watch: Debug + Send + Sync + 'static {
    /// Takes note. Must not wait.
    fn event(&self, event: &Event);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: &Event) {}
}
