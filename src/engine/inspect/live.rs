//! What whoever holds a job knows of it beside the ledger: how far the provider is with each batch, and
//! when it is looked at next. Left in a file beside the lease for `status` to read; nothing depends on
//! it, and a file that is gone, stale or damaged is as good as none.

use serde::{Deserialize, Serialize};

use crate::base::{Components, ErrorKind, Location, Result, ResultExt, Time};
use crate::spec::Job;
use crate::work::progress::Waits;

/// What the holder of a job knows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// The run that holds the job.
    pub run: String,
    /// When it began.
    pub since: Time,
    /// Seconds that are left, as far as that can be guessed.
    pub seconds_left: Option<u64>,
    /// What it waits for.
    pub waits: Waits,
}

impl Live {
    /// Leaves it for others to read, in the ledger of `job`.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn leave(&self, job: &Job, components: &Components) -> Result<()> {
        let root = components.stores.locate(&job.ledger.path)?.private();
        let text = serde_json::to_vec(self);
        let text = text.or_err(ErrorKind::Internal, "cannot write what is known of the job")?;
        root.join(LIVE).put(text).await
    }

    /// What the holder `run` left in the ledger at `root`.
    pub(crate) async fn of(root: &Location, run: &str) -> Option<Live> {
        let bytes = root.join(LIVE).get().await.ok().flatten()?;
        let live: Live = serde_json::from_slice(&bytes).ok()?;
        (live.run == run).then_some(live)
    }
}

/// Where it lies in the ledger.
const LIVE: &str = "lease/job.live.json";
