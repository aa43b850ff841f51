//! The steps, carried out: what each needs, gathered once for a run.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::base::{Components, Error, Result, Time};
use crate::ledger::action::{self as ledger, Action, PlanSealed};
use crate::ledger::row_map::RowMapWriter;
use crate::ledger::state::{Attempt, PlanState, State};
use crate::provider::Provider;
use crate::source::{Pin, Predicate, Source};
use crate::spec::Job;
use crate::work::price::Price;
use crate::work::progress::{Event, Watch};
use crate::work::{BatchStatus, BatchView, Frame, Keyer, Limits, Shape};

use super::chunks::ChunkWriter;
use super::draw_up::compile;
use super::files::Files;
use super::land::Landing;
use super::next::Step;
use super::points;
use super::prepare::{Past, Planning, Sink, Tally};
use super::prompts::with_prompts;
use super::publish::Publication;
use super::scribe::Scribe;
use super::submit::{After, Recovery, Sending, other_account};

/// All that the steps of a run share.
#[derive(Debug)]
pub(super) struct Tasks {
    pub job: Job,
    pub components: Components,
    pub files: Files,
    pub provider: Arc<dyn Provider>,
    pub source: Arc<Source>,
    pub filter: Option<Predicate>,
    /// The columns that the prompt names.
    pub columns: Vec<String>,
    pub shape: Shape,
    pub frame: Frame,
    pub keyer: Keyer,
    pub limits: Limits,
    pub price: Option<&'static Price>,
    /// New requests are deferred, not sent.
    pub defer: bool,
    pub publication: Publication,
    pub watch: Arc<dyn Watch>,
    pub memory: usize,
    pub changed: AtomicBool,
    /// The output is to be made again, though the ledger says that it was.
    pub unpublished: AtomicBool,
    pub pauses: Mutex<BTreeMap<String, Poll>>,
}

/// How patiently a batch is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poll {
    pause: Duration,
    /// When it was first seen ended without anything to download.
    empty_since: Option<Time>,
}

/// How long results may be late after a batch has ended.
const LATE_MAX: Duration = Duration::from_mins(10);
/// Errors of a batch that say "the queue is full", not "the requests are wrong".
const QUEUE_CODES: [&str; 2] = ["token_limit_exceeded", "too_many_tasks"];
/// How long a chunk waits when the queue was full.
const QUEUE_WAIT: Duration = Duration::from_mins(1);

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
            Step::Submit { chunk } => self.submit(current()?, *chunk, scribe).await,
            Step::Recover { attempt: id } => self.recover(attempt(id)?, state, scribe).await,
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
        let first_wave = plan.chunks.values().filter(|chunk| chunk.stored.wave == 0);
        let stored = first_wave.map(|chunk| chunk.stored.requests).sum();
        let next = plan.chunks.keys().next_back().map_or(0, |last| last + 1);
        let draft = self.files.draft("rows.parquet");
        let ids = &self.components.ids;
        let sink = Sink::Ledger {
            chunks: Box::new(ChunkWriter::new(
                &self.files,
                ids,
                &self.frame,
                self.limits,
                (number, 0, next),
                self.job.ledger.keep_prompts,
            )),
            rows: Box::new(RowMapWriter::create(&draft)?),
            scribe,
            stored,
        };
        let past = Past::read(state, number, &self.files).await?;
        let planning = self.planning(plan.started.trial);
        let template = compile(&self.job, &self.source)?;
        let (tally, rows) = planning
            .carry_out(number, template, past, sink, |tally| {
                self.watch.event(&planned(tally));
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

    /// What is planned, and how.
    pub(super) fn planning(&self, trial: u64) -> Planning<'_> {
        Planning {
            source: &self.source,
            key: &self.job.source.key,
            filter: self.filter.as_ref(),
            limit: self.job.source.limit,
            columns: &self.columns,
            dedupe: self.job.prompt.dedupe,
            defer: self.defer,
            keyer: self.keyer.clone(),
            frame: &self.frame,
            limits: self.limits,
            trial,
        }
    }

    /// Says something that a person should know.
    pub(super) fn warn(&self, text: &str) {
        self.watch.event(&Event::Warning(text.to_owned()));
    }

    /// Whether publishing found that the source is not what was planned.
    pub(super) fn source_changed(&self) -> bool {
        self.changed.load(Ordering::Acquire)
    }

    /// Whether the output shows all that has landed of `plan`.
    pub(super) fn is_published(&self, state: &State, plan: &PlanState) -> bool {
        let landed = state.landed_count(plan.started.plan);
        if self.unpublished.load(Ordering::Acquire) {
            return false;
        }
        state.published.as_ref().is_some_and(|published| {
            published.plan == plan.started.plan
                && published.digest == self.publication.digest
                && published.landed == landed
        })
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

    async fn submit(&self, plan: &PlanState, chunk: u64, scribe: &Scribe) -> Result<After> {
        let chunk = plan
            .chunks
            .get(&chunk)
            .ok_or_else(|| Error::internal("no such chunk"))?;
        let sending = Sending {
            job: &self.job.name,
            chunk: &chunk.stored,
            number: u32::try_from(chunk.attempts.len() + 1).unwrap_or(u32::MAX),
            shape: &self.shape,
            frame: &self.frame,
            provider: &*self.provider,
            requests: self
                .prompts_of(chunk.stored.plan, chunk.stored.chunk)
                .await?,
            components: &self.components,
            scribe,
        };
        let after = sending.send().await?;
        self.watch.event(&Event::Submitted {
            chunk: chunk.stored.chunk,
        });
        Ok(after)
    }

    /// The requests of a chunk, with their prompts.
    pub(super) async fn prompts_of(&self, plan: u64, chunk: u64) -> Result<File> {
        let template = compile(&self.job, &self.source)?;
        with_prompts(&self.planning(0), template, &self.files, (plan, chunk)).await
    }

    async fn recover(&self, attempt: &Attempt, state: &State, scribe: &Scribe) -> Result<After> {
        let mine = &attempt.promised.attempt;
        let others = state
            .attempts
            .values()
            .filter(|other| other.promised.attempt != *mine);
        let accepted = others.filter_map(|other| other.accepted.as_ref());
        Recovery {
            job: &self.job.name,
            attempt,
            not: accepted.map(|accepted| accepted.batch.clone()).collect(),
            settle: self.job.ledger.settle,
            provider: &*self.provider,
            components: &self.components,
            scribe,
        }
        .look()
        .await
    }

    /// Looks where a batch stands, and lands it if it has ended.
    async fn poll(&self, attempt: &Attempt, state: &State, scribe: &Scribe) -> Result<After> {
        let accepted = attempt.accepted.as_ref();
        let accepted = accepted.ok_or_else(|| Error::internal("a batch without an id"))?;
        if attempt.promised.account != self.provider.capability().account {
            return Err(other_account(&attempt.promised));
        }
        let view = self.provider.poll(&accepted.batch).await?;
        self.watch.event(&Event::Polled {
            batch: view.id.to_string(),
            status: view.status.to_string(),
            done: view.counts.succeeded + view.counts.failed,
            total: attempt.promised.requests,
        });
        if !view.status.is_ended() || self.is_late(attempt, &view) {
            return Ok(After::NotBefore(
                self.components.clock.now() + self.pause(attempt),
            ));
        }
        if let Some(why) = queue_was_full(&view) {
            let id = attempt.promised.attempt.clone();
            scribe
                .write(vec![Action::Rejected {
                    attempt: id,
                    why,
                    again: true,
                }])
                .await?;
            let at = self.components.clock.now() + QUEUE_WAIT;
            return Ok(After::SendAgain(attempt.promised.chunk, at));
        }
        self.land(attempt, state, &view, scribe).await
    }

    async fn land(
        &self,
        attempt: &Attempt,
        state: &State,
        view: &BatchView,
        scribe: &Scribe,
    ) -> Result<After> {
        let plan = state.plans.get(&attempt.promised.plan);
        let chunk = plan.and_then(|plan| plan.chunks.get(&attempt.promised.chunk));
        let (plan, chunk) = plan
            .zip(chunk)
            .ok_or_else(|| Error::internal("no such chunk"))?;
        let landing = Landing {
            attempt,
            chunk: &chunk.stored,
            answer: &plan.started.shape.answer,
            price: self.price,
            provider: &*self.provider,
            files: &self.files,
            components: &self.components,
        };
        let landed = landing.land(view).await?;
        self.watch.event(&Event::Landed {
            batch: view.id.to_string(),
            requests: attempt.promised.requests,
            counts: landed.counts.clone(),
        });
        scribe.write(vec![Action::Landed(Box::new(landed))]).await?;
        Ok(After::Done)
    }

    /// Whether a batch has ended while answers are still to come, and may be waited for.
    fn is_late(&self, attempt: &Attempt, view: &BatchView) -> bool {
        if !view.late {
            return false;
        }
        let now = self.components.clock.now();
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let poll = pauses
            .entry(attempt.promised.attempt.clone())
            .or_insert(self.first_poll());
        now < *poll.empty_since.get_or_insert(now) + LATE_MAX
    }

    fn first_poll(&self) -> Poll {
        Poll {
            pause: self.job.model.poll_min,
            empty_since: None,
        }
    }

    /// How long to wait before the next look: longer each time.
    fn pause(&self, attempt: &Attempt) -> Duration {
        let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let poll = pauses
            .entry(attempt.promised.attempt.clone())
            .or_insert(self.first_poll());
        let pause = poll.pause;
        poll.pause = (pause * 3 / 2).min(self.job.model.poll_max);
        self.components.ids.jitter(pause)
    }

    async fn cancel(&self, attempt: &Attempt, scribe: &Scribe) -> Result<After> {
        if let Some(accepted) = &attempt.accepted {
            self.provider.cancel(&accepted.batch).await?;
        }
        let attempt = attempt.promised.attempt.clone();
        scribe.write(vec![Action::CancelSent { attempt }]).await?;
        Ok(After::Done)
    }

    async fn discard(&self, attempt: &Attempt, scribe: &Scribe) -> Result<After> {
        if let Some(file) = &attempt.staged {
            self.provider.discard(file).await?;
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
        self.publication
            .carry_out(self, plan, state, scribe)
            .await?;
        self.unpublished.store(false, Ordering::Release);
        Ok(After::Done)
    }
}

impl Tasks {
    /// Whether a pinned file is another one by now, or gone.
    async fn has_changed(&self, pins: &[ledger::Pin]) -> Result<bool> {
        for pin in pins.iter().cloned() {
            let ledger::Pin {
                url,
                size,
                etag,
                modified,
            } = pin;
            let pin = Pin {
                url,
                size,
                etag,
                modified,
            };
            if pin.drift(&self.components.stores).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn planned(tally: &Tally) -> Event {
    Event::Planned {
        rows: tally.rows.total(),
        requests: tally.requests,
    }
}

/// The provider's word that a batch failed for want of room, not for what is in it.
fn queue_was_full(view: &BatchView) -> Option<String> {
    if view.status != BatchStatus::Failed {
        return None;
    }
    let error = view
        .errors
        .iter()
        .find(|error| QUEUE_CODES.contains(&error.code.as_str()))?;
    Some(format!("{}: {}", error.code, error.message))
}
