//! Taking a job and giving it back: its lease, and its ledger.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::{Error, Location, Result};
use crate::engine::context::calls::Calls;
use crate::engine::context::files::Files;
use crate::engine::context::interrupt::{unless_stopped, unless_stopped_long_since};
use crate::engine::context::ledger::{JobLedger, try_place};
use crate::engine::context::owner::{check_ours, source_name, stored_job};
use crate::engine::context::setup::Setup;
use crate::ledger::action::{Action, LedgerMade, RunStarted};
use crate::ledger::state::State;
use crate::ledger::{Author, Held, Holder, Keeper, Lease, Leases, Patience, Scope, Taken};
use crate::provider::Provider;
use crate::spec::{Job, ModelSpec};
use crate::work::progress::{Event, Then, Wait, Waits};

/// A job, held by this process.
pub(crate) struct Session {
    pub setup: Setup,
    pub provider: Arc<dyn Provider>,
    pub root: Location,
    pub files: Files,
    pub ledger: JobLedger,
    pub run: String,
    pub ledger_id: String,
    /// What is still to be written before the first plan of a new ledger.
    pub opening: Vec<Action>,
    pub lease: Lease,
    /// The attempts that had landed when the job was taken.
    pub landed_before: BTreeSet<String>,
    _keeper: Keeper,
}

impl Session {
    /// Takes the job: its lease, then its ledger.
    pub(crate) async fn open(
        setup: Setup,
        provider: Arc<dyn Provider>,
        patience: Patience,
    ) -> Result<Session> {
        let components = &setup.components;
        let root = components.stores.locate(&setup.job.ledger.path)?.private();
        let provider = Calls::of(provider, &components.crash);
        let now = components.clock.now();
        let run = components.ids.uuid(now).to_string();
        let read = JobLedger::read(components, &root, &run);
        let ledger = unless_stopped(&setup.interrupt, read).await?;
        if ledger.state().made.is_none() {
            unless_stopped(&setup.interrupt, try_place(&root, components)).await?;
        } else {
            check_ours(ledger.state(), &setup.job)?;
        }
        let scope = Scope::job();
        let holder = Holder::this_process(&run, setup.command, now);
        let uptime = Arc::clone(&components.uptime);
        let leases = Leases::new(components, uptime, &root, holder, setup.job.ledger.lease);
        let watch = Arc::clone(&setup.watch);
        let leases = leases.telling(move |held| watch.event(&Event::Waiting(lease_wait(held))));
        let take = leases.take(&scope, ledger.epoch(&scope), patience);
        let clock = &*components.clock;
        let lease = match unless_stopped_long_since(&setup.interrupt, clock, take).await? {
            Taken::Lease(lease) => lease,
            Taken::Held(held) => return Err(held.into()),
        };
        let held = lease.clone();
        let moved_in = Self::move_in(setup, provider, (root, run), ledger, lease).await;
        if moved_in.is_err() {
            give_back(held).await;
        }
        moved_in
    }

    /// Sets itself up in the ledger of a job whose lease it has.
    async fn move_in(
        setup: Setup,
        provider: Arc<dyn Provider>,
        (root, run): (Location, String),
        mut ledger: JobLedger,
        lease: Lease,
    ) -> Result<Session> {
        setup.watch.event(&Event::Opened { run: run.clone() });
        let keeper = lease.keep();
        // Made once the job is ours: what else lies there was left by the dead.
        let files = Files::new(&root, &setup.components.crash)?;
        files.sweep();
        ledger.sign_as(Author {
            run: run.clone(),
            lease: Some(lease.stamp()),
        });
        // Whoever held the job before may have written until a moment ago.
        unless_stopped(&setup.interrupt, ledger.catch_up()).await?;
        check_ours(ledger.state(), &setup.job)?;
        let (ledger_id, mut opening) = opening(ledger.state(), &setup, &run);
        // A new ledger is bound to its job by its first plan: a job that is refused before leaves
        // nothing behind that another one would trip over.
        if ledger.state().made.is_some() {
            ledger.record(std::mem::take(&mut opening)).await?;
        }
        let attempts = ledger.state().attempts.values();
        let landed = attempts.filter(|attempt| attempt.landed.is_some());
        let landed_before = landed.map(|a| a.promised.attempt.clone()).collect();
        Ok(Session {
            setup,
            provider,
            root,
            files,
            ledger,
            run,
            ledger_id,
            opening,
            lease,
            landed_before,
            _keeper: keeper,
        })
    }

    /// Gives the job back.
    pub(crate) async fn release(self) {
        give_back(self.lease).await;
    }

    /// What `work` comes to, unless the run is asked to stop before: see [`unless_stopped`].
    pub(crate) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        unless_stopped(&self.setup.interrupt, work).await
    }

    /// The job of a plan, with the connection and the budget of the present one.
    pub(crate) fn stored_job(&self, plan: u64) -> Result<Job> {
        let now = &self.setup.job;
        let plan = self.ledger.state().plans.get(&plan);
        let stored = stored_job(plan.ok_or_else(|| Error::internal("no such plan"))?)?;
        let model = ModelSpec {
            base_url: now.model.base_url.clone(),
            api_key_env: now.model.api_key_env.clone(),
            max_enqueued: now.model.max_enqueued,
            max_batch_age: now.model.max_batch_age,
            poll_min: now.model.poll_min,
            poll_max: now.model.poll_max,
            ..stored.model
        };
        Ok(Job {
            budget: now.budget.clone(),
            ledger: now.ledger.clone(),
            model,
            ..stored
        })
    }
}

/// The wait for a lease that another has.
fn lease_wait(held: &Held) -> Waits {
    let what = match &held.holder {
        Some(holder) => format!("the lease of the job, which {holder} holds"),
        None => "the lease of the job, which another process holds".to_owned(),
    };
    Wait::of(what).until(held.until, Then::End).into()
}

async fn give_back(lease: Lease) {
    if let Err(error) = lease.release().await {
        tracing::warn!(%error, "the lease could not be given back; it runs out by itself");
    }
}

/// What says that a run begins, and whose ledger it is; the ledger's own id.
fn opening(state: &State, setup: &Setup, run: &str) -> (String, Vec<Action>) {
    let now = setup.components.clock.now();
    let mut actions = Vec::new();
    let ledger_id = if let Some(made) = &state.made {
        made.ledger.clone()
    } else {
        let id = setup.components.ids.uuid(now).to_string();
        actions.push(Action::LedgerMade(LedgerMade {
            ledger: id.clone(),
            job: setup.job.name.clone(),
            source: source_name(&setup.job),
            key: setup.job.source.key.clone(),
            output: setup.job.ledger.output.clone(),
        }));
        id
    };
    actions.push(Action::RunStarted(RunStarted {
        run: run.to_owned(),
        command: setup.command.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: now,
    }));
    (ledger_id, actions)
}
