//! What a lease's file says, and who writes it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Clock, Error, ErrorKind, Ids, Location, Result, ResultExt};

use super::super::framing::FORMAT;
use super::holder::{Held, Holder, Listener};

/// Whoever wants a lease of a ledger, and what it takes to ask for it.
#[derive(Debug)]
pub(super) struct Claimant {
    pub(super) ledger: Location,
    pub(super) holder: Holder,
    pub(super) ttl: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<Ids>,
    pub(super) listener: Listener,
}

impl Claimant {
    /// Tells whoever listens that another holds the lease, before some of the wait for it passes.
    pub(super) fn tell(&self, held: &Held) {
        if let Some(tell) = &self.listener.0 {
            tell(held);
        }
    }

    /// What it writes to hold a lease under `epoch`.
    pub(super) fn entry(&self, epoch: u64) -> Entry {
        Entry {
            format: FORMAT,
            id: self.ids.uuid(self.clock.now()).to_string(),
            epoch,
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            holder: self.holder.clone(),
        }
    }
}

/// What a lease's file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) format: u32,
    pub(super) id: String,
    pub(super) epoch: u64,
    pub(super) ttl_ms: u64,
    pub(super) holder: Holder,
}

/// A year: longer than any lease.
const TTL_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

impl Entry {
    pub(super) fn ttl(&self) -> Duration {
        // Whoever writes more than a year has written nonsense, and dates have an end.
        Duration::from_millis(self.ttl_ms.min(TTL_MS_MAX))
    }

    pub(super) fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).or_err(ErrorKind::Internal, "cannot write the lease")
    }

    pub(super) fn parse(bytes: &[u8], place: &Location) -> Result<Entry> {
        let entry: Entry = serde_json::from_slice(bytes)
            .or_err(ErrorKind::Data, "a lease cannot be read")
            .map_err(|error| {
                error
                    .with("file", place)
                    .hint("delete it once no other process works on this job")
            })?;
        if entry.format > FORMAT {
            return Err(
                Error::data("the ledger was written by a newer version of columnist")
                    .with("file", place)
                    .hint("run that version, or a later one"),
            );
        }
        Ok(entry)
    }
}
