//! What a command works with, and how it opens providers.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::base::{Components, Result};
use crate::provider::Provider;
use crate::spec::Job;
use crate::work::progress::{Event, Wait, Watch};

/// Opens providers.
pub trait Vendors: std::fmt::Debug + Send + Sync {
    /// The provider that `job` names.
    ///
    /// # Errors
    /// `Refused` if there is no key for it; `Invalid` if there is no such provider.
    fn open(&self, job: &Job) -> Result<Arc<dyn Provider>>;
}

/// What a command works with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The job, resolved.
    pub job: Job,
    /// The command's name, for the ledger and for whoever finds the job held.
    pub command: &'static str,
    /// The seams.
    pub components: Components,
    /// Who is told what happens.
    pub watch: Arc<dyn Watch>,
    /// Bytes that sorting and joining may hold in memory.
    pub memory: usize,
    /// New requests of a source that changed meanwhile are deferred, not sent.
    pub no_follow: bool,
    /// Where nobody can tell whether the provider took a chunk, the other rows are published, and
    /// its rows are `pending`.
    pub publish_partial: bool,
    /// Open batches are canceled when the run is asked to stop. Otherwise they go on.
    pub cancel_on_interrupt: bool,
    /// Opens the providers of open batches that another job file, or an older one, submitted.
    pub vendors: Option<Arc<dyn Vendors>>,
    /// Asks the run to stop: what is being sent is finished, nothing more is begun.
    pub interrupt: CancellationToken,
}

impl Setup {
    /// Tells whoever watches that `what` is waited for.
    pub(crate) fn waits_for(&self, what: &str) {
        self.watch.event(&Event::Waiting(Wait::of(what).into()));
    }
}
