//! The engine: replay the ledger, ask what is next, do it, write it down, again.
//!
//! ```text
//!            ┌──────────── ledger (book) ◄───────────┐ facts, one after the other
//!            ▼                                       │
//!   next: (state, now) ──► steps ──► tasks ──► scribe┘
//!                                     │
//!        prepare   rows ► prompts ► requests ► chunks, row map
//!        submit    promise ► upload ► submit ► receipt; or look for the lost one
//!        land      download ► lines ► slots ► outcome part
//!        resend    what failed in passing, in chunks of the next wave
//!        publish   row map + parts ► new columns ► output
//! ```
//!
//! # Promises
//! - Nothing billable leaves this machine before the intent to send it is durable.
//! - Whatever is open at the provider is looked after first, whatever the job says now.
//! - The engine does not act on an event as it arrives: it is written down, and `next` is asked.
//! - The sum of the rows by status is the number of rows, and is checked before publishing.

mod body;
mod book;
mod calls;
mod changes;
mod chunks;
mod clean;
mod draw_up;
mod files;
mod harvest;
mod join;
mod land;
mod live;
mod next;
mod older;
mod open;
mod parts;
mod plan;
mod points;
mod poll;
mod prepare;
mod prior;
mod progress;
mod prompts;
mod publish;
mod queue;
mod recover;
mod report;
mod resend;
mod retry;
mod run;
mod said;
mod scribe;
mod show;
mod slots;
mod sources;
mod split;
mod status;
mod stop;
#[cfg(test)]
mod story;
mod submit;
mod target;
mod tasks;
mod waits;
mod whereabouts;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::{Components, Result};
use crate::provider::Provider;
use crate::spec::Job;
use crate::work::progress::{Event, Wait, Watch};

use crate::ledger::Patience;

use open::Office;

pub use changes::Change;
pub use clean::{Cleaned, clean};
pub use live::Live;
pub use older::find_ledger;
pub use plan::{Checked, CheckedRow, PlanReport, check, plan, unknown_model};
pub use points::crash_points;
pub use report::{Awaits, Report};
pub use retry::{Asked, Wanted, retry};
pub use show::{Story, Told, show};
pub use sources::source_input;
pub use status::{BatchLine, StatusReport, cancel, status};

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
    fn waits_for(&self, what: &str) {
        self.watch.event(&Event::Waiting(Wait::of(what).into()));
    }
}

/// Does everything: plan, submit, wait, collect, publish.
///
/// # Errors
/// By kind, as [`crate::base::ErrorKind`] says. The ledger is whole in any case.
pub async fn run(setup: Setup, provider: Arc<dyn Provider>) -> Result<Report> {
    let patience = Patience::Wait(setup.interrupt.clone());
    within(setup, provider, patience, Office::run).await
}

/// Plans and submits, then returns.
///
/// # Errors
/// As [`run()`].
pub async fn submit(setup: Setup, provider: Arc<dyn Provider>) -> Result<Report> {
    within(setup, provider, Patience::NotAtAll, Office::submit).await
}

/// One pass over what is open: poll, land, send again, publish if that completes it. With `wait`,
/// as many passes as it takes.
///
/// # Errors
/// As [`run()`].
pub async fn collect(setup: Setup, provider: Arc<dyn Provider>, wait: bool) -> Result<Report> {
    let collect = |office: Office| office.collect(wait);
    within(setup, provider, Patience::NotAtAll, collect).await
}

/// Does `work` with the job in hand. Where the run is asked to stop before it has it, that is no error.
async fn within<Done: Future<Output = Result<Report>>>(
    setup: Setup,
    provider: Arc<dyn Provider>,
    patience: Patience,
    work: impl FnOnce(Office) -> Done,
) -> Result<Report> {
    let (interrupt, before) = (setup.interrupt.clone(), Report::before(&setup));
    match Box::pin(Office::open(setup, provider, patience)).await {
        Ok(office) => Box::pin(work(office)).await,
        Err(error) if stop::is_stop(&interrupt, &error) => Ok(before),
        Err(error) => Err(error),
    }
}

/// How long the loop may go on after it was asked to stop.
pub const GRACE: Duration = Duration::from_secs(4);
