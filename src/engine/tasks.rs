//! The steps, carried out: what each needs, gathered once for a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arrow::datatypes::DataType;
use tokio_util::sync::CancellationToken;

use crate::base::{Components, Error, ErrorKind, Result, ResultExt};
use crate::ledger::Lease;
use crate::ledger::action::{Action, PlanSealed};
use crate::ledger::row_map::RowMapWriter;
use crate::ledger::state::{Attempt, ChunkState, PlanState, State};
use crate::output::Fence;
use crate::provider::{Gate, Provider};
use crate::source::{Predicate, Source, drift};
use crate::spec::Job;
use crate::work::progress::{Event, Watch};
use crate::work::{Frame, Keyer, Limits, Pin, RowStatus, Shape, StatusCounts};

use super::files::Files;
use super::next::Step;
use super::points;
use super::poll::{Pauses, is_own};
use super::prepare::{Planning, Sink};
use super::prior::{Asks, Prior};
use super::progress::{Seen, planned};
use super::prompts::with_prompts;
use super::publish::Publication;
use super::queue::Queue;
use super::recover::Recovery;
use super::said::Said;
use super::scribe::Scribe;
use super::sources::{compile, draw};
use super::submit::{After, BodySource, Sending, Uploaded};

/// All that the steps of a run share.
#[derive(Debug)]
pub(super) struct Tasks {
    pub job: Job,
    pub components: Components,
    pub files: Files,
    pub provider: Arc<dyn Provider>,
    /// What is read. Nothing, where what is open is only to be brought home.
    pub source: Option<Arc<Source>>,
    pub filter: Option<Predicate>,
    /// The columns that the prompt names.
    pub columns: Vec<String>,
    pub shape: Shape,
    pub frame: Frame,
    pub keyer: Keyer,
    pub limits: Limits,
    /// The providers of open batches of earlier plans, where they are not this plan's, by name.
    pub others: BTreeMap<String, Arc<dyn Provider>>,
    pub publication: Publication,
    pub watch: Arc<dyn Watch>,
    /// What was said to a person already.
    pub said: Mutex<Said>,
    pub memory: usize,
    pub changed: AtomicBool,
    /// The output is to be made again, though the ledger says that it was.
    pub unpublished: AtomicBool,
    pub pauses: Pauses,
    /// What was seen that the ledger does not hold.
    pub seen: Seen,
    /// The provider's queue.
    pub queue: Queue,
    /// What it is all done under.
    pub lease: Lease,
    pub interrupt: CancellationToken,
    /// What nobody can settle is shown as `pending`.
    pub partial: bool,
    /// The rows by status that were not put over an older output, for some were canceled.
    pub held_back: OnceLock<StatusCounts>,
}

/// How long to wait at most between two looks for a lost attempt.
const SEEK_MAX: Duration = Duration::from_secs(30);

impl Tasks {
    /// Carries out one step.
    pub(super) async fn carry_out(
        &self,
        step: &Step,
        state: &State,
        plan: Option<u64>,
        scribe: &Scribe,
    ) -> Result<After> {
        let current = || {
            plan.and_then(|plan| state.plans.get(&plan))
                .ok_or_else(|| Error::internal("no plan"))
        };
        let attempt = |id: &String| {
            state
                .attempts
                .get(id)
                .ok_or_else(|| Error::internal("no such attempt").with("id", id))
        };
        match step {
            Step::Submit { chunk } => self.submit(current()?, state, *chunk, scribe).await,
            Step::Recover { attempt: id } => {
                self.recovery(attempt(id)?, state, scribe)?.look().await
            }
            Step::Recheck { attempt: id } => {
                let recovery = self.recovery(attempt(id)?, state, scribe)?;
                recovery.look_again().await
            }
            Step::Fail { chunk } => {
                let chunk = chunk_of(current()?, *chunk)?;
                self.fail(chunk, state, scribe).await
            }
            Step::Split { chunk } => {
                let plan = current()?;
                self.split(chunk_of(plan, *chunk)?, plan, state, scribe)
                    .await
            }
            Step::Poll { attempt: id } => self.poll(attempt(id)?, state, scribe).await,
            Step::Cancel { attempt: id } => self.cancel(attempt(id)?, scribe).await,
            Step::Discard { attempt: id } => self.discard(attempt(id)?, scribe).await,
            Step::Resend { wave } => self.resend(current()?, state, *wave, scribe).await,
            Step::Publish => self.publish(current()?, state, scribe).await,
        }
    }

    /// Plans every row of `plan`, or what is left of it.
    pub(super) async fn plan(&self, state: &State, plan: PlanState, scribe: &Scribe) -> Result<()> {
        let number = plan.started.plan;
        let first_wave = plan.wave(0).into_iter();
        let stored = first_wave.map(|chunk| chunk.stored.requests).sum();
        let next = plan.next_chunk();
        let draft = self.files.draft("rows.parquet");
        let sink = Sink::Ledger {
            chunks: Box::new(self.chunk_writer(state, self.limits, (number, 0, next))),
            rows: Box::new(RowMapWriter::create(&draft, &self.key_columns()?)?),
            scribe,
            stored,
        };
        let asks = Asks {
            plan: number,
            shape: &self.shape,
            rule: plan.key_rule,
        };
        let prior = Prior::read(state, &asks, &self.files, self.memory).await?;
        let mut planning = self.planning(plan.started.trial, plan.started.deferred)?;
        planning.draw = draw(&self.job, self.source()?, self.filter.as_ref()).await?;
        let template = compile(&self.job, self.source()?)?;
        let (tally, rows) = planning
            .carry_out(number, template, prior, sink, |tally| {
                let planned = planned(&tally.rows);
                self.seen.planned(planned);
                self.watch.event(&Event::Planned(planned));
            })
            .await?;
        if let Some(rows) = rows {
            rows.finish()?;
        }
        self.files
            .keep(&draft, &self.files.rows(number), points::ROWS)
            .await?;
        if tally.rows.total() != plan.started.rows {
            return Err(
                Error::internal("the plan's rows do not sum to the source's")
                    .with("planned", tally.rows.total())
                    .with("rows", plan.started.rows),
            );
        }
        let sealed = PlanSealed {
            plan: number,
            requests: tally.requests,
            rows: tally.rows,
            prompt_bytes: tally.prompt_bytes,
        };
        scribe.write(vec![Action::PlanSealed(sealed)]).await
    }

    /// The key's columns, by name and type.
    fn key_columns(&self) -> Result<Vec<(String, DataType)>> {
        let schema = self.source()?.schema();
        let column = |name: &String| {
            let field = schema.field_with_name(name);
            let field = field.or_err(ErrorKind::Internal, "the key is not in the source")?;
            Ok((name.clone(), field.data_type().clone()))
        };
        self.job.source.key.iter().map(column).collect()
    }

    /// What is read.
    pub(super) fn source(&self) -> Result<&Source> {
        let none = || Error::internal("rows are wanted where nothing is read");
        self.source.as_deref().ok_or_else(none)
    }

    /// What is planned, and how.
    fn planning(&self, trial: u64, defer: bool) -> Result<Planning<'_>> {
        Ok(Planning {
            source: self.source()?,
            key: &self.job.source.key,
            filter: self.filter.as_ref(),
            limit: self.job.source.limit,
            draw: None,
            columns: &self.columns,
            dedupe: self.job.prompt.dedupe,
            defer,
            keyer: self.keyer.clone(),
            frame: &self.frame,
            limits: self.limits,
            trial,
        })
    }

    /// Says something that a person should know.
    pub(super) fn warn(&self, text: &str) {
        self.watch.event(&Event::Warning(text.to_owned()));
    }

    /// The same for what may come up again and again: of all that is about `what` the first is said, and
    /// then one at growing intervals.
    pub(super) fn warn_seldom(&self, what: &str, text: &str) {
        let now = self.components.clock.now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.may_say(what, now) {
            None => {}
            Some(0) => self.warn(text),
            Some(kept_back) => self.warn(&format!("{text} (and {kept_back} times before)")),
        }
    }

    /// Whether publishing found that the source is not what was planned.
    pub(super) fn source_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Whether the output shows all there will ever be of `plan`, or all until something lands.
    pub(super) fn is_published(&self, state: &State, plan: &PlanState) -> bool {
        let partial = state.published.as_ref().is_some_and(|p| p.partial);
        !partial && self.is_shown(state, plan)
    }

    /// Whether the output shows all that has landed of `plan`, rows that nobody can settle or not.
    pub(super) fn is_shown(&self, state: &State, plan: &PlanState) -> bool {
        if self.unpublished.load(Ordering::Acquire) {
            return false;
        }
        let shown = state.shown(plan.started.plan);
        shown.is_some_and(|published| published.digest == self.publication.digest)
    }

    /// From now on the output counts as not published.
    pub(super) fn unpublish(&self) {
        self.unpublished.store(true, Ordering::Release);
    }

    /// Why the trial chunk says that no request of the job can succeed.
    pub(super) fn trial_failed(state: &State, attempt: &str) -> Error {
        let batch = state
            .attempts
            .get(attempt)
            .and_then(|a| a.accepted.as_ref());
        let batch = batch.map_or_else(String::new, |accepted| accepted.batch.to_string());
        Error::invalid("the provider refuses every request of the trial; nothing else was sent")
            .with("batch", batch)
            .hint(
                "`columnist show JOB` prints its answer for a row; mend the job's model or params",
            )
    }

    async fn submit(
        &self,
        plan: &PlanState,
        state: &State,
        chunk: u64,
        scribe: &Scribe,
    ) -> Result<After> {
        let chunk = chunk_of(plan, chunk)?;
        let stored = &chunk.stored;
        let source = match Uploaded::of(state, chunk, &self.provider.capability().account) {
            Some(uploaded) => BodySource::There(uploaded),
            None => BodySource::Made(self.prompts_of(stored.plan, stored.chunk).await?),
        };
        let sending = Sending {
            job: &self.job.name,
            chunk,
            state,
            shape: &self.shape,
            frame: &self.frame,
            provider: &*self.provider,
            source,
            gate: self.gate(),
            queue: &self.queue,
            components: &self.components,
            scribe,
        };
        let (after, chunk) = (sending.send().await?, stored.chunk);
        let requests = stored.requests;
        match after {
            After::Done => self.watch.event(&Event::Submitted { chunk, requests }),
            After::Lost => self.warn_seldom(
                "an answer was lost",
                &format!(
                    "the answer for chunk {chunk} was lost; the provider is asked what it has"
                ),
            ),
            _ => {}
        }
        Ok(after)
    }

    /// The provider that an attempt was made at.
    pub(super) fn provider_of(&self, attempt: &Attempt) -> Result<&dyn Provider> {
        let name = &attempt.promised.provider;
        if name == self.provider.capability().name {
            return Ok(&*self.provider);
        }
        let other = self.others.get(name).map(|other| &**other);
        other.ok_or_else(|| {
            Error::new(ErrorKind::Refused, "a batch of another provider is open")
                .with("provider", name)
                .with("attempt", &attempt.promised.attempt)
                .hint(
                    "`columnist collect` with the job file that it was submitted by brings it home",
                )
        })
    }

    /// What the bytes of a billable call have to pass: nothing is sent for a run that was asked to
    /// stop, nor under a lease that another may have by the time the bytes arrive.
    fn gate(&self) -> Gate {
        let (lease, interrupt) = (self.lease.clone(), self.interrupt.clone());
        Gate::new(move || {
            if interrupt.is_cancelled() {
                return Err(Error::unavailable("the run was asked to stop"));
            }
            lease.check(lease.margin())
        })
    }

    /// What an output has to pass before it is seen: another holder may have published by now.
    pub(super) fn fence(&self) -> Fence {
        let lease = self.lease.clone();
        Fence::new(move || lease.check(lease.margin()))
    }

    /// The requests of a chunk, with their prompts.
    pub(super) async fn prompts_of(&self, plan: u64, chunk: u64) -> Result<File> {
        let template = compile(&self.job, self.source()?)?;
        with_prompts(
            &self.planning(0, false)?,
            template,
            &self.files,
            (plan, chunk),
        )
        .await
    }

    fn recovery<'a>(
        &'a self,
        attempt: &'a Attempt,
        state: &'a State,
        scribe: &'a Scribe,
    ) -> Result<Recovery<'a>> {
        Ok(Recovery {
            job: &self.job.name,
            attempt,
            state,
            settle: self.job.ledger.settle,
            policy: self.job.ledger.on_ambiguous,
            pause: self.job.model.poll_max.min(SEEK_MAX),
            provider: self.provider_of(attempt)?,
            components: &self.components,
            scribe,
        })
    }

    async fn discard(&self, attempt: &Attempt, scribe: &Scribe) -> Result<After> {
        let provider = self.provider_of(attempt)?;
        if !is_own(provider, attempt) {
            // Another account sees nothing of it, which must not be taken for its being gone.
            return Ok(After::GivenUp);
        }
        if let Some(file) = &attempt.staged {
            provider.discard(file).await?;
        }
        let attempt = attempt.promised.attempt.clone();
        scribe.write(vec![Action::Discarded { attempt }]).await?;
        Ok(After::Done)
    }

    async fn resend(
        &self,
        plan: &PlanState,
        state: &State,
        wave: u32,
        scribe: &Scribe,
    ) -> Result<After> {
        let stored = self.resend_chunks(plan, state, wave).await?;
        if stored.is_empty() {
            return Err(Error::internal(
                "nothing to send again, and something failed in passing",
            ));
        }
        let requests: u64 = stored.iter().map(|chunk| chunk.requests).sum();
        self.warn(&format!(
            "{requests} requests failed in passing and are sent again"
        ));
        scribe
            .write(stored.into_iter().map(Action::ChunkStored).collect())
            .await?;
        Ok(After::Done)
    }

    /// Joins and publishes, unless the source has changed since it was planned.
    async fn publish(&self, plan: &PlanState, state: &State, scribe: &Scribe) -> Result<After> {
        if !plan.started.snapshot && self.has_changed(&plan.started.pins).await? {
            self.changed.store(true, Ordering::Release);
            return Ok(After::Done);
        }
        // A person stopped the plan, and not in order to have holes where answers were.
        if plan.canceled
            && !self.partial
            && let Some(counts) = self.publication.holes(self, plan, state).await?
        {
            if self.held_back.set(counts).is_ok() {
                self.warn(&format!(
                    "the plan was canceled, and {} rows have no answer for it: the older output stays as it is; \
                     `columnist run` asks them again, `collect --publish-partial` publishes what there is",
                    counts.of(RowStatus::Canceled)
                ));
            }
            return Ok(After::Done);
        }
        self.publication
            .carry_out(self, plan, state, scribe)
            .await?;
        self.unpublished.store(false, Ordering::Release);
        Ok(After::Done)
    }
}

impl Tasks {
    /// Whether a pinned file is another one by now, or gone, or files have come to it.
    async fn has_changed(&self, pinned: &[Pin]) -> Result<bool> {
        if self.source()?.pins() != pinned {
            return Ok(true);
        }
        for pin in pinned {
            if drift(pin, &self.components.stores).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// A chunk of the plan.
fn chunk_of(plan: &PlanState, chunk: u64) -> Result<&ChunkState> {
    plan.chunks
        .get(&chunk)
        .ok_or_else(|| Error::internal("no such chunk").with("chunk", chunk))
}
