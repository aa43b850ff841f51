//! `run`, `submit` and `collect`: the commands that hold the job while they work.

use std::sync::Arc;

use super::goal::Goal;
use super::open::Session;
use super::report::Report;
use super::work;
use crate::base::Result;
use crate::engine::context::interrupt::is_stop;
use crate::engine::context::setup::Setup;
use crate::ledger::Patience;
use crate::provider::Provider;

/// Does everything: plan, submit, wait, collect, publish.
///
/// # Errors
/// By kind, as [`crate::base::ErrorKind`] says. The ledger is whole in any case.
pub async fn run(setup: Setup, provider: Arc<dyn Provider>) -> Result<Report> {
    let patience = Patience::Wait(setup.interrupt.clone());
    let run = |session: Session| work::run(session, Goal::Publish);
    within(setup, provider, patience, run).await
}

/// Plans and submits, then returns.
///
/// # Errors
/// As [`run()`].
pub async fn submit(setup: Setup, provider: Arc<dyn Provider>) -> Result<Report> {
    let submit = |session: Session| work::run(session, Goal::Submit);
    within(setup, provider, Patience::NotAtAll, submit).await
}

/// One pass over what is open: poll, land, send again, publish if that completes it. With `wait`,
/// as many passes as it takes.
///
/// # Errors
/// As [`run()`].
pub async fn collect(setup: Setup, provider: Arc<dyn Provider>, wait: bool) -> Result<Report> {
    let collect = |session: Session| work::collect(session, wait);
    within(setup, provider, Patience::NotAtAll, collect).await
}

/// Does `work` with the job in hand. Where the run is asked to stop before it has it, that is no error.
async fn within<Done: Future<Output = Result<Report>>>(
    setup: Setup,
    provider: Arc<dyn Provider>,
    patience: Patience,
    work: impl FnOnce(Session) -> Done,
) -> Result<Report> {
    let (interrupt, before) = (setup.interrupt.clone(), Report::before(&setup));
    match Box::pin(Session::open(setup, provider, patience)).await {
        Ok(session) => Box::pin(work(session)).await,
        Err(error) if is_stop(&interrupt, &error) => Ok(before),
        Err(error) => Err(error),
    }
}
