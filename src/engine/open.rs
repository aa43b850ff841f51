//! A job, held: its ledger, its lease, and what a run of it does from beginning to end.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::base::{Error, ErrorKind, Location, Result};
use crate::ledger::action::{Action, LedgerMade, RunStarted};
use crate::ledger::state::{Attempt, State};
use crate::ledger::{Author, Held, Holder, Keeper, Lease, Leases, Patience, Scope, Taken, probe};
use crate::output::{self, Existing, PUBLISH_KEY};
use crate::provider::Provider;
use crate::spec::{Job, ModelSpec, SourceInput};
use crate::work::progress::{Event, Then, Wait, Waits};

use super::book::Book;
use super::calls::Calls;
use super::draw_up::Drawn;
use super::files::Files;
use super::next::Pace;
use super::publish::LEDGER_KEY;
use super::report::{Awaits, Report, is_over};
use super::run::{Goal, Loop, Stop};
use super::stop::{is_stop, unless_stopped, unless_stopped_long_since};
use super::tasks::Tasks;
use super::{GRACE, Setup};

/// A job, held by this process.
pub(super) struct Office {
    pub setup: Setup,
    pub provider: Arc<dyn Provider>,
    pub root: Location,
    pub files: Files,
    pub book: Book,
    pub run: String,
    pub ledger: String,
    /// What is still to be written before the first plan of a new ledger.
    pub opening: Vec<Action>,
    pub lease: Lease,
    /// The attempts that had landed when the job was taken.
    landed_before: BTreeSet<String>,
    _keeper: Keeper,
}

/// Bodies that are uploaded at the same time.
const SUBMITS_MAX: usize = 2;
/// Batches that are looked at or landed at the same time.
const POLLS_MAX: usize = 4;
/// Plans that one run makes of a source that changes under it.
const PLANS_MAX: u32 = 5;
/// Times that a request is sent, in all.
pub(super) const SENDS_MAX: u32 = 3;

impl Office {
    /// Takes the job: its lease, then its ledger.
    pub(super) async fn open(
        setup: Setup,
        provider: Arc<dyn Provider>,
        patience: Patience,
    ) -> Result<Office> {
        let components = &setup.components;
        let root = components.stores.locate(&setup.job.ledger.path)?.private();
        let provider = Calls::of(provider, &components.crash);
        let now = components.clock.now();
        let run = components.ids.uuid(now).to_string();
        let read = Book::read(components, &root, &run);
        let book = unless_stopped(&setup.interrupt, read).await?;
        if book.state().made.is_none() {
            unless_stopped(&setup.interrupt, probe(&root, &components.ids)).await?;
        } else {
            check_ours(book.state(), &setup.job)?;
        }
        let scope = Scope::job();
        let holder = Holder::this_process(&run, setup.command, now);
        let uptime = Arc::clone(&components.uptime);
        let leases = Leases::new(components, uptime, &root, holder, setup.job.ledger.lease);
        let watch = Arc::clone(&setup.watch);
        let leases = leases.telling(move |held| watch.event(&Event::Waiting(lease_wait(held))));
        let take = leases.take(&scope, book.epoch(&scope), patience);
        let clock = &*components.clock;
        let lease = match unless_stopped_long_since(&setup.interrupt, clock, take).await? {
            Taken::Lease(lease) => lease,
            Taken::Held(held) => return Err(held.into()),
        };
        let held = lease.clone();
        let moved_in = Self::move_in(setup, provider, (root, run), book, lease).await;
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
        mut book: Book,
        lease: Lease,
    ) -> Result<Office> {
        setup.watch.event(&Event::Opened { run: run.clone() });
        let keeper = lease.keep();
        // Made once the job is ours: what else lies there was left by the dead.
        let files = Files::new(&root, &setup.components.crash)?;
        files.sweep();
        book.sign_as(Author {
            run: run.clone(),
            lease: Some(lease.stamp()),
        });
        // Whoever held the job before may have written until a moment ago.
        unless_stopped(&setup.interrupt, book.catch_up()).await?;
        check_ours(book.state(), &setup.job)?;
        let (ledger, mut opening) = opening(book.state(), &setup, &run);
        // A new ledger is bound to its job by its first plan: a job that is refused before leaves
        // nothing behind that another one would trip over.
        if book.state().made.is_some() {
            book.record(std::mem::take(&mut opening)).await?;
        }
        let attempts = book.state().attempts.values();
        let landed = attempts.filter(|attempt| attempt.landed.is_some());
        let landed_before = landed.map(|a| a.promised.attempt.clone()).collect();
        Ok(Office {
            setup,
            provider,
            root,
            files,
            book,
            run,
            ledger,
            opening,
            lease,
            landed_before,
            _keeper: keeper,
        })
    }

    /// Everything: plan, submit, wait, collect, publish.
    pub(super) async fn run(mut self) -> Result<Report> {
        let done = self.work(Goal::Publish).await;
        self.close(done).await
    }

    /// Plan and submit.
    pub(super) async fn submit(mut self) -> Result<Report> {
        let done = self.work(Goal::Submit).await;
        if let Ok(report) = &done
            && !self.setup.interrupt.is_cancelled()
        {
            self.say_what_waits(report);
        }
        self.close(done).await
    }

    /// Says why not all was submitted, if not all was.
    fn say_what_waits(&self, report: &Report) {
        let why = match report.awaits {
            None | Some(Awaits::Planning) => return,
            Some(Awaits::EarlierPlan) => {
                "batches of an earlier plan are open; what is new is planned once they are home"
                    .to_owned()
            }
            Some(Awaits::Trial) => {
                let (trial, rest) = (report.progress.trial, report.progress.to_send());
                return self.warn(&format!(
                    "a trial of {trial} requests is under way, and {rest} wait for its answers; \
                     `columnist collect` sends them"
                ));
            }
            Some(Awaits::Queue) => {
                let rest = report.progress.to_send() + report.progress.again;
                return self.warn(&format!(
                    "the provider's queue is full, and {rest} requests wait for room in it; \
                     `columnist collect` sends them"
                ));
            }
            Some(Awaits::Provider) if report.unsent == 0 => {
                "it is not known yet whether the provider took a chunk".to_owned()
            }
            Some(Awaits::Provider) => {
                format!("chunks that the provider has not taken: {}", report.unsent)
            }
        };
        let again = "run `columnist submit` or `collect` again";
        self.warn(&format!("not all was submitted: {why}; {again}"));
    }

    fn warn(&self, text: &str) {
        self.setup.watch.event(&Event::Warning(text.to_owned()));
    }

    /// What is open of the stored plan: once, or until it is published.
    pub(super) async fn collect(mut self, wait: bool) -> Result<Report> {
        let goal = if wait { Goal::Publish } else { Goal::OnePass };
        let done = self.gather(goal).await;
        self.close(done).await
    }

    /// The lease is given back, whatever came of the work.
    async fn close(self, done: Result<Report>) -> Result<Report> {
        let done = match done {
            Err(error) if is_stop(&self.setup.interrupt, &error) => {
                Ok(self.report(self.last_plan(), None))
            }
            done => done,
        };
        self.release().await;
        done
    }

    /// Gives the job back.
    pub(super) async fn release(self) {
        give_back(self.lease).await;
    }

    /// What `work` comes to, unless the run is asked to stop before: see [`unless_stopped`].
    pub(super) async fn unless_stopped<T>(
        &self,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        unless_stopped(&self.setup.interrupt, work).await
    }

    async fn work(&mut self, goal: Goal) -> Result<Report> {
        let mut defer = false;
        for _ in 0..PLANS_MAX {
            let drawn = self.draw_up(goal, defer).await?;
            let (tasks, plan) = match drawn {
                Drawn::Current { tasks, plan } => (tasks, plan),
                Drawn::Waiting => {
                    let report = self.report(self.last_plan(), None);
                    return Ok(Report {
                        awaits: Some(Awaits::EarlierPlan),
                        ..report
                    });
                }
            };
            if self.is_published(&tasks, plan) && self.is_there(&tasks).await? {
                return Ok(self.report(plan, Some(&tasks)).unchanged());
            }
            match self.go(goal, Some(plan), Arc::clone(&tasks)).await? {
                Stop::SourceChanged => {
                    let why = "the source changed after it was planned".to_owned();
                    self.book
                        .record(vec![Action::PlanAbandoned { plan, why }])
                        .await?;
                    defer = self.setup.no_follow;
                }
                // A person asked for a retry meanwhile: what it means is planned anew.
                Stop::Published if goal == Goal::Publish && self.book.state().is_retry_asked() => {}
                _ => return Ok(self.report(plan, Some(&tasks))),
            }
        }
        Err(
            Error::unavailable("the source keeps changing while it is worked on")
                .with("plans", PLANS_MAX)
                .hint("run again when it is at rest; what was answered is not paid again"),
        )
    }

    /// Collects by the stored plan, whatever the job file says now.
    async fn gather(&mut self, goal: Goal) -> Result<Report> {
        let Some(plan) = self.book.state().plan() else {
            return Err(Error::invalid("nothing was submitted for this job yet")
                .with("ledger", &self.root.url)
                .hint("`columnist run` or `columnist submit` comes first"));
        };
        let number = plan.started.plan;
        self.setup.waits_for("the source to be looked at");
        let stored = self.stored_job(number)?;
        let job = self.setup.job.clone().completed_by(&stored);
        if stored.fingerprints() != job.fingerprints() {
            tracing::warn!("the job file differs from what was planned; the stored plan counts");
        }
        self.setup.job = stored;
        let tasks = match Box::pin(self.unless_stopped(self.tasks_for(number))).await {
            Ok(tasks) => tasks,
            Err(error) if self.setup.interrupt.is_cancelled() => return Err(error),
            Err(error) => return Err(self.land_before(error).await),
        };
        // Rows that were not looked at yet must be those of the table and of the service that the others
        // were.
        if let Some(error) = self.kept_from_planning(number, &tasks)? {
            return Err(self.land_before(error).await);
        }
        if self.is_published(&tasks, number) && self.is_there(&tasks).await? {
            return Ok(self.report(number, Some(&tasks)).unchanged());
        }
        let stop = self.go(goal, Some(number), Arc::clone(&tasks)).await?;
        if matches!(stop, Stop::SourceChanged) {
            return Err(changed());
        }
        if self.book.state().is_retry_asked() {
            let text = "a retry was asked for, and is planned anew: `columnist run` sends it";
            self.setup.watch.event(&Event::Warning(text.to_owned()));
        }
        Ok(self.report(number, Some(&tasks)))
    }

    /// What keeps the rest of a plan that is not complete from being made of what is there now.
    fn kept_from_planning(&self, plan: u64, tasks: &Tasks) -> Result<Option<Error>> {
        let planned = self.book.state().plans.get(&plan);
        let Some(planned) = planned.filter(|planned| planned.sealed.is_none()) else {
            return Ok(None);
        };
        let started = &planned.started;
        if !started.snapshot && tasks.source()?.pins() != started.pins {
            return Ok(Some(changed()));
        }
        let another = "the job names another service or model than its plan was made for";
        Ok((!self.serves(Some(plan), tasks)).then(|| plans_anew(another)))
    }

    /// The job of a plan, with the connection and the budget of the present one.
    pub(super) fn stored_job(&self, plan: u64) -> Result<Job> {
        let now = &self.setup.job;
        let stored = self
            .book
            .state()
            .plans
            .get(&plan)
            .map(|plan| plan.started.job.clone());
        let stored: Job = serde_json::from_value(stored.unwrap_or_default())
            .map_err(|error| Error::data("the stored job cannot be read").because(error))?;
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

    pub(super) async fn go(
        &mut self,
        goal: Goal,
        plan: Option<u64>,
        tasks: Arc<Tasks>,
    ) -> Result<Stop> {
        let serves = self.serves(plan, &tasks);
        if !serves {
            self.setup.watch.event(&Event::Warning(
                "the job names another service or model than its plan was made for: nothing of the plan is \
                 sent there; `columnist run` plans anew"
                    .into(),
            ));
        }
        let pace = Pace {
            submits_max: SUBMITS_MAX,
            polls_max: POLLS_MAX,
            sends_max: SENDS_MAX,
            may_submit: goal != Goal::Harvest && serves,
            publish_partial: self.setup.publish_partial,
            cancel_on_interrupt: self.setup.cancel_on_interrupt,
            queue: tasks.queue.clone(),
        };
        let interrupt = self.setup.interrupt.clone();
        let lost = self.lease.clone();
        let work = Loop::new(&mut self.book, tasks, goal, plan, pace);
        let stop = tokio::select! {
            biased;
            () = lost.lost() => None,
            stop = work.run(&interrupt) => Some(stop),
        };
        match stop {
            Some(stop) => stop,
            None => Err(self.lost_lease().await),
        }
    }

    /// Whether requests of `plan` may go where the tasks send them: its answers would be taken for those
    /// of the service that they were planned for.
    fn serves(&self, plan: Option<u64>, tasks: &Tasks) -> bool {
        let plan = plan.and_then(|plan| self.book.state().plans.get(&plan));
        plan.is_none_or(|plan| plan.started.fingerprint == tasks.shape.fingerprint())
    }

    /// Another has the job now: whoever it is, if that can be read soon.
    async fn lost_lease(&self) -> Error {
        let components = &self.setup.components;
        let clock = &components.clock;
        let asking = Holder::this_process(&self.run, self.setup.command, clock.now());
        let uptime = Arc::clone(&components.uptime);
        let ttl = self.setup.job.ledger.lease;
        let leases = Leases::new(components, uptime, &self.root, asking, ttl);
        let scope = Scope::job();
        let held = tokio::select! {
            biased;
            held = leases.holder(&scope) => held.ok().flatten(),
            () = clock.sleep(GRACE) => None,
        };
        let error = Error::new(ErrorKind::Held, "another process has taken the job over")
            .hint("nothing was lost; run again when the other one is done");
        match held.and_then(|held| held.holder) {
            Some(holder) => error.with("holder", holder),
            None => error,
        }
    }

    fn is_published(&self, tasks: &Tasks, plan: u64) -> bool {
        let state = self.book.state();
        state
            .plans
            .get(&plan)
            .is_some_and(|plan| tasks.is_published(state, plan))
    }

    /// Whether the output that the ledger speaks of is there, whole, and from this ledger: that very
    /// one, for a process that had lost its lease may have come late. If it is not, it is published
    /// again: nothing has to be paid for that.
    async fn is_there(&mut self, tasks: &Tasks) -> Result<bool> {
        let ledger = (LEDGER_KEY.to_owned(), self.ledger.clone());
        let published = self.book.state().published.as_ref();
        let publish = published.map(|p| (PUBLISH_KEY.to_owned(), p.publish.clone()));
        let examine = output::examine(&tasks.publication.target);
        let there = match self.unless_stopped(examine).await? {
            Existing::Ours { identity, complete } => {
                let is_last = publish.is_none_or(|mark| identity.contains(&mark));
                complete && is_last && identity.contains(&ledger)
            }
            Existing::Nothing | Existing::Foreign => false,
        };
        if !there {
            tasks.unpublish();
        }
        Ok(there)
    }

    fn last_plan(&self) -> u64 {
        self.book
            .state()
            .plans
            .keys()
            .next_back()
            .copied()
            .unwrap_or_default()
    }

    fn report(&self, plan: u64, tasks: Option<&Tasks>) -> Report {
        let state = self.book.state();
        let landed_now = |attempt: &Attempt| {
            attempt.landed.is_some() && !self.landed_before.contains(&attempt.promised.attempt)
        };
        let report = Report::of(state, plan, landed_now);
        let published = state.plans.get(&plan).zip(tasks);
        let published = published.is_some_and(|(plan, tasks)| tasks.is_shown(state, plan));
        let held_back = tasks.and_then(|tasks| tasks.held_back.get().copied());
        Report {
            counts: held_back.unwrap_or(report.counts),
            held_back: held_back.is_some(),
            job: self.setup.job.name.clone(),
            run: self.run.clone(),
            output: self.setup.job.output.path.clone(),
            ledger: self.root.url.to_string(),
            published,
            over_budget: published && is_over(self.setup.job.budget.max_failed, &report.counts),
            ..report
        }
    }
}

fn changed() -> Error {
    plans_anew("the source changed after it was planned")
}

fn plans_anew(why: &str) -> Error {
    Error::invalid(why).hint("`columnist run` plans it anew; what was answered is not paid again")
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
    let ledger = if let Some(made) = &state.made {
        made.ledger.clone()
    } else {
        let id = setup.components.ids.uuid(now).to_string();
        actions.push(Action::LedgerMade(LedgerMade {
            ledger: id.clone(),
            job: setup.job.name.clone(),
            source: source_name(&setup.job),
            key: setup.job.source.key.clone(),
        }));
        id
    };
    actions.push(Action::RunStarted(RunStarted {
        run: run.to_owned(),
        command: setup.command.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at: now,
    }));
    (ledger, actions)
}

/// What a job reads, by name: the same whatever the variables in it are.
fn source_name(job: &Job) -> String {
    if let Some(pattern) = &job.source.pattern {
        return pattern.clone();
    }
    match &job.source.input {
        SourceInput::Table(address) => address.clone(),
        SourceInput::Query { file, .. } => file.clone(),
    }
}

/// A ledger belongs to one job.
pub(super) fn check_ours(state: &State, job: &Job) -> Result<()> {
    let Some(made) = &state.made else {
        return Ok(());
    };
    check_name(state, job)?;
    same([
        ("source", made.source.clone(), source_name(job)),
        ("key", made.key.join(", "), job.source.key.join(", ")),
    ])
}

/// The ledger is of a job of that name.
pub(super) fn check_name(state: &State, job: &Job) -> Result<()> {
    let made = state.made.as_ref();
    made.map_or(Ok(()), |made| {
        same([("job", made.job.clone(), job.name.clone())])
    })
}

fn same(checks: impl IntoIterator<Item = (&'static str, String, String)>) -> Result<()> {
    match checks.into_iter().find(|(_, theirs, ours)| theirs != ours) {
        None => Ok(()),
        Some((what, theirs, ours)) => Err(Error::invalid("the ledger belongs to another job")
            .with("differs", what)
            .with("ledger", theirs)
            .with("job", ours)
            .hint("give this job a ledger of its own: another `name`, or `[ledger] path`")),
    }
}
