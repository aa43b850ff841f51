//! Drawing up a plan: is the last one still good, and if not, what is the next one to be? What is
//! wrong with a job or its input shows here, before any spend.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use crate::base::{Error, Result, Stores};
use crate::ledger::action::{Action, PlanStarted};
use crate::output::check_names;
use crate::prompt::render_system;
use crate::provider::{Provider, Trial};
use crate::source::{Predicate, RowIds, Source};
use crate::spec::{Job, Meta};
use crate::work::progress::Event;
use crate::work::{CustomId, Frame, KeyRule, Limits, Shape};

use super::calls::Calls;
use super::next::{account_refused, trial_failed};
use super::open::Office;
use super::points;
use super::poll::Pauses;
use super::progress::Seen;
use super::publish::Publication;
use super::queue::Queue;
use super::run::{Goal, Stop};
use super::sources::{
    check_key, column_names, compile, first_prompt, needs_snapshot, open_snapshot, open_source,
};
use super::target;
use super::tasks::Tasks;

/// Where a job's plan stands.
pub(super) enum Drawn {
    /// This plan is to be carried out, or carried on.
    Current { tasks: Arc<Tasks>, plan: u64 },
    /// Batches of an earlier plan are still open; a new one comes after them.
    Waiting,
}

/// Requests that are tried before the others, where no free call can tell.
const TRIAL: u64 = 3;

impl Office {
    /// The plan that the job needs now: the last one if it is still good, else a new one, once
    /// everything that is open of earlier ones has been harvested.
    pub(super) async fn draw_up(&mut self, goal: Goal, defer: bool) -> Result<Drawn> {
        let job = self.setup.job.clone();
        let (source, desk) = match Box::pin(self.unless_stopped(self.prepare(&job))).await {
            Ok(prepared) => prepared,
            Err(error) if self.setup.interrupt.is_cancelled() => return Err(error),
            Err(error) => return Err(self.land_before(error).await),
        };
        if let Some(plan) = self.still_good(&desk, &source) {
            let pinned = self.pinned_source(plan, source);
            let source = Box::pin(self.unless_stopped(pinned)).await?;
            let tasks = self.tasks(&job, Some(source), desk, plan)?;
            return Ok(Drawn::Current { tasks, plan });
        }
        if !self.harvest(goal).await? {
            return Ok(Drawn::Waiting);
        }
        // Once more, for the harvest may have taken long.
        let publication = self.publication(&job, &desk)?;
        let check = target::check(&publication, &self.ledger, &self.setup.components);
        self.unless_stopped(check).await?;
        let (plan, source) = self.start_plan(&job, source, &desk, defer).await?;
        let tasks = self.tasks(&job, Some(source), desk, plan)?;
        Ok(Drawn::Current { tasks, plan })
    }

    /// Whatever can be wrong with the job, its source and its output before anything is sent.
    async fn prepare(&self, job: &Job) -> Result<(Source, Desk)> {
        self.setup
            .waits_for("the source and the output to be looked at");
        let source = open_source(job, &self.setup, &self.files).await?;
        let desk = Desk::check(job, &source, &*self.provider)?;
        desk.check_question(job, &source)?;
        let publication = self.publication(job, &desk)?;
        target::check(&publication, &self.ledger, &self.setup.components).await?;
        Ok((source, desk))
    }

    /// The tasks of a stored plan. A plan that has a snapshot needs no other source.
    pub(super) async fn tasks_for(&self, plan: u64) -> Result<Arc<Tasks>> {
        let job = self.setup.job.clone();
        let (source, desk) = if self.has_snapshot(plan) {
            let source = open_snapshot(&self.setup, &self.files, plan).await?;
            let desk = Desk {
                is_table: false,
                is_single_file: false,
                ..Desk::check(&job, &source, &*self.provider)?
            };
            (source, desk)
        } else {
            let source = open_source(&job, &self.setup, &self.files).await?;
            let desk = Desk::check(&job, &source, &*self.provider)?;
            (source, desk)
        };
        self.tasks(&job, Some(source), desk, plan)
    }

    /// The error that keeps the job from going on, once what has ended at the provider is landed: it
    /// was paid for, and is not kept there for ever.
    pub(super) async fn land_before(&mut self, error: Error) -> Error {
        if let Err(why) = self.bring_home(Goal::OnePass).await {
            tracing::warn!(error = %why, "what is open at the provider could not be landed");
        }
        error
    }

    /// The last plan, if neither the job nor the source has changed since.
    fn still_good(&self, desk: &Desk, source: &Source) -> Option<u64> {
        let state = self.book.state();
        let plan = state.plan().filter(|plan| !plan.canceled)?;
        // What was wrong with the trial may have been mended: it is tried again.
        if trial_failed(state, plan) {
            return None;
        }
        // What was refused for the account's sake is asked anew, and so is what a person wants again.
        if account_refused(state, plan).is_some() || state.is_retry_asked() {
            return None;
        }
        // Rows that were put off are for a run that does not put them off.
        let sealed = plan.sealed.as_ref();
        let puts_off = sealed.map_or(plan.started.deferred, |s| s.rows.deferred > 0);
        if puts_off && !self.setup.no_follow {
            return None;
        }
        let same = plan.started.fingerprint == desk.shape.fingerprint()
            && plan.started.digest == self.setup.job.fingerprints().plan
            && plan.started.pins == source.pins()
            // Another layout may ask for one file of many.
            && (plan.started.snapshot || !needs_snapshot(&self.setup.job, source));
        same.then_some(plan.started.plan)
    }

    /// The files that a plan reads: the source's own, or those of its snapshot.
    async fn pinned_source(&self, plan: u64, source: Source) -> Result<Source> {
        if self.has_snapshot(plan) {
            open_snapshot(&self.setup, &self.files, plan).await
        } else {
            Ok(source)
        }
    }

    fn has_snapshot(&self, plan: u64) -> bool {
        let plan = self.book.state().plans.get(&plan);
        plan.is_some_and(|plan| plan.started.snapshot)
    }

    /// Brings home whatever is open of earlier plans; `false` if that has to be waited for.
    async fn harvest(&mut self, goal: Goal) -> Result<bool> {
        let harvest = if goal == Goal::Submit {
            Goal::OnePass
        } else {
            Goal::Harvest
        };
        let stop = self.bring_home(harvest).await?;
        Ok(stop == Stop::Idle || self.book.state().open_attempts().next().is_none())
    }

    /// Looks after whatever is open, by the stored plan alone: the job and its source may be other
    /// ones by now, or wrong.
    async fn bring_home(&mut self, goal: Goal) -> Result<Stop> {
        let state = self.book.state();
        let last = state.plans.values().next_back();
        let Some(last) = last.filter(|_| state.open_attempts().next().is_some()) else {
            return Ok(Stop::Idle);
        };
        let job = self.stored_job(last.started.plan);
        let job = job.unwrap_or_else(|_| self.setup.job.clone());
        let shape = last.started.shape.clone();
        let desk = Desk {
            columns: Vec::new(),
            filter: None,
            // Nothing is sent, so that it is no matter whether this provider could.
            frame: Frame::default(),
            limits: limits(&job, self.provider.capability().limits),
            shape,
            is_table: false,
            is_single_file: false,
        };
        let plan = last.started.plan;
        let tasks = self.tasks(&job, None, desk, plan)?;
        self.go(goal, None, tasks).await
    }

    /// Pins the source and writes down what is going to be asked of it.
    async fn start_plan(
        &mut self,
        job: &Job,
        source: Source,
        desk: &Desk,
        deferred: bool,
    ) -> Result<(u64, Source)> {
        let prepared = self.prepare_plan(job, source, desk);
        let (mut started, source) = Box::pin(self.unless_stopped(prepared)).await?;
        let plan = started.plan;
        started.deferred = deferred;
        let mut actions = std::mem::take(&mut self.opening);
        let rule = KeyRule::NEWEST;
        if self.book.state().key_rule != rule {
            actions.push(Action::RequestKeys { rule });
        }
        actions.push(Action::PlanStarted(Box::new(started)));
        self.book.record(actions).await?;
        Ok((plan, source))
    }

    /// The plan that is going to be made, and the source that it reads.
    async fn prepare_plan(
        &self,
        job: &Job,
        source: Source,
        desk: &Desk,
    ) -> Result<(PlanStarted, Source)> {
        let number = self.book.state().next_plan();
        let pins = source.pins();
        for note in source.notes() {
            self.setup.watch.event(&Event::Warning(note.clone()));
        }
        self.try_publishing(job, &source, desk).await?;
        let snapshot = needs_snapshot(job, &source);
        self.setup
            .waits_for("keys to be checked, and a query's result to be stored");
        let source = if snapshot {
            let folder = self.files.snapshot(number);
            let stores = &self.setup.components.stores;
            let made = source.snapshot(&folder, stores, self.files.scratch());
            let crash = &self.setup.components.crash;
            crash.around(points::SNAPSHOT, made).await?
        } else {
            source
        };
        check_key(job, &source, &self.files, self.setup.memory).await?;
        let rows = source
            .rows()
            .ok_or_else(|| Error::internal("a source without a row count"))?;
        let started = PlanStarted {
            plan: number,
            run: self.run.clone(),
            at: self.setup.components.clock.now(),
            digest: job.fingerprints().plan,
            job: serde_json::to_value(job)
                .map_err(|error| Error::internal("the job cannot be stored").because(error))?,
            shape: desk.shape.clone(),
            fingerprint: desk.shape.fingerprint(),
            pins,
            snapshot,
            rows,
            has_key: !job.source.key.is_empty(),
            trial: self.trial(job, &source, desk).await?,
            deferred: false,
        };
        Ok((started, source))
    }

    /// How many requests have to be tried before the others. None, if the provider has answered a
    /// request of this shape before, or can tell for free that it would.
    async fn trial(&self, job: &Job, source: &Source, desk: &Desk) -> Result<u64> {
        let state = self.book.state();
        let fingerprint = desk.shape.fingerprint();
        let answered = state.attempts.values().any(|attempt| {
            let plan = state.plans.get(&attempt.promised.plan);
            let same = plan.is_some_and(|plan| plan.started.fingerprint == fingerprint);
            same && attempt
                .landed
                .as_ref()
                .is_some_and(|l| l.counts.contains_key("succeeded"))
        });
        if answered {
            return Ok(0);
        }
        let Some(prompt) = first_prompt(job, source).await? else {
            return Ok(0);
        };
        match self.provider.trial(&desk.shape, &prompt).await? {
            Trial::Passed => Ok(0),
            Trial::Refused(error) => Err(error),
            Trial::Untold => Ok(TRIAL),
        }
    }

    /// The tasks of `plan`, whose request keys are made by its own rule.
    fn tasks(
        &self,
        job: &Job,
        source: Option<Source>,
        desk: Desk,
        plan: u64,
    ) -> Result<Arc<Tasks>> {
        let planned = self.book.state().plans.get(&plan);
        let rule = planned.map_or(KeyRule::NEWEST, |plan| plan.key_rule);
        let publication = self.publication(job, &desk)?;
        Ok(Arc::new(Tasks {
            job: job.clone(),
            components: self.setup.components.clone(),
            files: self.files.clone(),
            provider: Arc::clone(&self.provider),
            source: source.map(Arc::new),
            filter: desk.filter,
            columns: desk.columns,
            others: self.others()?,
            keyer: desk.shape.keyer(rule),
            shape: desk.shape,
            frame: desk.frame,
            limits: desk.limits,
            publication,
            watch: Arc::clone(&self.setup.watch),
            said: Mutex::default(),
            memory: self.setup.memory,
            changed: AtomicBool::new(false),
            unpublished: AtomicBool::new(false),
            pauses: Pauses::default(),
            seen: Seen::default(),
            queue: Queue::of(self.provider.capability(), &job.model),
            lease: self.lease.clone(),
            interrupt: self.setup.interrupt.clone(),
            partial: self.setup.publish_partial,
            held_back: OnceLock::new(),
        }))
    }

    /// The providers of open batches, where the job names another one by now.
    fn others(&self) -> Result<BTreeMap<String, Arc<dyn Provider>>> {
        let mut others: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
        let state = self.book.state();
        for attempt in state.open_attempts() {
            let promised = &attempt.promised;
            if promised.provider == self.provider.capability().name
                || others.contains_key(&promised.provider)
            {
                continue;
            }
            let Some(vendors) = &self.setup.vendors else {
                continue;
            };
            let provider = vendors.open(&self.stored_job(promised.plan)?)?;
            others.insert(
                promised.provider.clone(),
                Calls::of(provider, &self.setup.components.crash),
            );
        }
        Ok(others)
    }

    fn publication(&self, job: &Job, desk: &Desk) -> Result<Publication> {
        let stores = &self.setup.components.stores;
        publication(job, desk, stores, (&self.run, &self.ledger))
    }

    /// Tries what publishing needs of the source, and says what will not come along.
    async fn try_publishing(&self, job: &Job, source: &Source, desk: &Desk) -> Result<()> {
        // What is written down first, as Parquet of our own, always fits.
        if needs_snapshot(job, source) {
            return Ok(());
        }
        for note in self.publication(job, desk)?.prepare(source).await? {
            self.setup.watch.event(&Event::Warning(note));
        }
        Ok(())
    }
}

/// Where the output of `job` goes, and what it says of itself; `run` and `ledger` are their ids.
pub(super) fn publication(
    job: &Job,
    desk: &Desk,
    stores: &Stores,
    ids: (&str, &str),
) -> Result<Publication> {
    let location = stores.locate(&job.output.path)?;
    let source = (desk.is_table, desk.is_single_file);
    let fingerprint = desk.shape.fingerprint();
    Ok(Publication::of(job, location, source, fingerprint, ids))
}

/// A job's parts, checked against its source and its provider.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    /// The columns that the prompt names.
    pub columns: Vec<String>,
    pub filter: Option<Predicate>,
    pub shape: Shape,
    pub frame: Frame,
    pub limits: Limits,
    /// Whether the source is Parquet as it stands; what is read may be a snapshot of it.
    pub is_table: bool,
    /// Whether the source is one file.
    pub is_single_file: bool,
}

impl Desk {
    pub(super) fn check(job: &Job, source: &Source, provider: &dyn Provider) -> Result<Desk> {
        let schema = source.schema();
        check_names(
            schema.fields().iter().map(|field| field.name().as_str()),
            new_names(job).iter().map(String::as_str),
        )?;
        let names = column_names(source);
        let columns = compile(job, source)?.columns().to_vec();
        let filter = job.source.filter.as_deref();
        let filter = filter
            .map(|sql| Predicate::compile(sql, schema, &job.vars))
            .transpose()?;
        if !job.source.key.is_empty() {
            RowIds::new(schema, &job.source.key)?;
        }
        let system = job.prompt.system.as_deref();
        let capability = provider.capability();
        let shape = Shape {
            api: capability.api,
            service: capability.service.clone(),
            model: job.model.model.clone(),
            system: system
                .map(|text| render_system(text, "prompt.system", &names, &job.vars))
                .transpose()?,
            max_output_tokens: job.model.max_output_tokens,
            temperature: job.model.temperature,
            params: job.model.params.clone(),
            answer: job.answer.answer.clone(),
        };
        Ok(Desk {
            is_table: source.is_table(),
            is_single_file: source.is_single_file(),
            columns,
            filter,
            frame: provider.frame(&shape)?,
            limits: limits(job, capability.limits),
            shape,
        })
    }
}

impl Desk {
    /// That a row has something of its own to ask: a prompt that names no column is a slip, and its one
    /// answer would be every row's.
    pub(super) fn check_question(&self, job: &Job, source: &Source) -> Result<()> {
        if !self.columns.is_empty() || !job.prompt.dedupe {
            return Ok(());
        }
        let names = column_names(source);
        let prompt: String = job.prompt.user.split_whitespace().collect();
        let in_one_brace = names.iter().find(|name| {
            let name: String = name.split_whitespace().collect();
            prompt.contains(&format!("{{{name}}}"))
        });
        let hint = match (in_one_brace, names.first()) {
            (Some(name), _) => format!("a column has two braces: `{{{{ {name} }}}}`"),
            (None, Some(name)) => format!("name a column, as in `{{{{ {name} }}}}`"),
            (None, None) => "the source has no columns".to_owned(),
        };
        Err(
            Error::invalid("`prompt.user` names no column, so that every row would ask the same")
                .hint(format!(
                    "{hint}; or, for an answer of its own to each row, set `[prompt] dedupe = false` \
                     (--dedupe=false)"
                )),
        )
    }
}

/// The provider's limits, lowered by the job's.
fn limits(job: &Job, provider: Limits) -> Limits {
    let requests = job.model.max_requests_per_batch.unwrap_or(u64::MAX);
    let bytes = job.model.max_bytes_per_batch.unwrap_or(u64::MAX);
    Limits {
        requests_max: provider
            .requests_max
            .min(requests)
            .min(CustomId::REQUESTS_MAX),
        bytes_max: provider.bytes_max.min(bytes),
        request_bytes_max: provider.request_bytes_max.min(bytes),
    }
}

/// The columns that the job adds.
fn new_names(job: &Job) -> Vec<String> {
    let column = &job.answer.column;
    match job.answer.meta {
        Meta::Off => vec![column.clone()],
        Meta::Minimal => {
            vec![
                column.clone(),
                format!("{column}_status"),
                format!("{column}_error"),
            ]
        }
    }
}
