//! What the commands work with that look at a job, or ask something of it.

use std::io::Write as _;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::base::{Components, Error, Exit, Result};
use crate::cli::providers;
use crate::engine::{Setup, find_ledger};
use crate::provider::Provider;
use crate::spec::Job;
use crate::work::progress::Unwatched;

/// What these commands work with.
pub(in crate::cli) struct CommandContext {
    /// The job.
    pub job: Job,
    /// Bytes that sorting and joining may use.
    pub memory: usize,
    /// The seams.
    pub components: Components,
}

impl CommandContext {
    /// What a command works with that asks for `job`, wherever its ledger is.
    pub(in crate::cli) async fn of(
        mut job: Job,
        memory: usize,
        components: &Components,
    ) -> Result<Self> {
        find_ledger(&mut job.ledger, &components.stores).await?;
        let components = components.clone();
        Ok(CommandContext {
            job,
            memory,
            components,
        })
    }

    /// What the engine is told.
    pub(in crate::cli) fn setup(&self, command: &'static str) -> Setup {
        Setup {
            job: self.job.clone(),
            command,
            components: self.components.clone(),
            watch: Arc::new(Unwatched),
            memory: self.memory,
            no_follow: false,
            publish_partial: false,
            cancel_on_interrupt: false,
            vendors: None,
            interrupt: CancellationToken::new(),
        }
    }

    /// The provider, of which nothing is asked that needs a key.
    pub(in crate::cli) fn provider(&self) -> Result<Arc<dyn Provider>> {
        providers::open_offline(&self.job, &self.components)
    }
}

/// Prints what a command has found.
pub(in crate::cli) fn print(text: &str) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads the first lines alone has what was wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Error::unavailable("cannot write to standard output").because(error)),
        Ok(()) => Ok(Exit::Done),
    }
}
