//! Looking where a batch stands, and what follows from it: wait, land it, put its chunk back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;

use crate::base::{Error, ErrorKind, Result, Time};
use crate::ledger::action::{Action, read_counts};
use crate::ledger::state::{Attempt, ChunkState, Phase, State};
use crate::provider::{Provider, Seen};
use crate::spec::AmbiguousPolicy;
use crate::work::batch::BatchError;
use crate::work::price::Pricing;
use crate::work::progress::Event;
use crate::work::{BatchFailure, BatchId, BatchStatus, BatchView};

use super::land::{Came, Landing};
use super::queue::refusals;
use super::recover::other_account;
use super::scribe::Scribe;
use super::submit::{After, QUEUE_WAIT, later, learn};
use super::tasks::Tasks;

/// How patiently each batch is looked at, by attempt.
#[derive(Debug, Default)]
pub(super) struct Pauses(Mutex<BTreeMap<String, Poll>>);

/// How patiently a batch is looked at.
#[derive(Clone, Copy, Debug)]
struct Poll {
    pause: Duration,
    /// When it was first seen ended without anything to download.
    empty_since: Option<Time>,
    /// Whether its age was spoken of.
    alarmed: bool,
}

/// How long results may be late after a batch has ended.
const LATE_MAX: Duration = Duration::from_mins(10);
/// The files of a batch that ended so long ago, by the provider's own clock, are not awaited by another
/// process once more.
const LONG_AGO: TimeDelta = TimeDelta::hours(1);
/// The age at which a batch is spoken of: vendors end theirs after 24 hours.
const ALARM: Duration = Duration::from_hours(25);

impl Tasks {
    /// Looks where a batch stands, and lands it if it has ended.
    pub(super) async fn poll(
        &self,
        attempt: &Attempt,
        state: &State,
        scribe: &Scribe,
    ) -> Result<After> {
        let accepted = attempt.accepted.as_ref();
        let accepted = accepted.ok_or_else(|| Error::internal("a batch without an id"))?;
        let provider = self.provider_of(attempt)?;
        let view = match provider.poll(&accepted.batch).await {
            Ok(Seen::There(view)) => view,
            Ok(Seen::Unseen(error)) => return self.unseen(attempt, state, error, scribe).await,
            // An account that is closed shows nothing any more; a person says that it is so.
            Err(error)
                if error.kind() == ErrorKind::Refused
                    && !is_own(provider, attempt)
                    && self.may_resubmit() =>
            {
                return self.unseen(attempt, state, error, scribe).await;
            }
            Err(error) => return Err(error),
        };
        self.watch.event(&Event::Polled {
            batch: view.id.to_string(),
            status: view.status.to_string(),
            done: view.counts.succeeded + view.counts.failed,
            total: attempt.promised.requests,
        });
        let is_late = view.status.is_ended() && self.is_late(attempt, &view);
        let done = view.counts.succeeded + view.counts.failed;
        let id = &attempt.promised.attempt;
        self.seen.polled(id, done, is_late);
        if !view.status.is_ended() || is_late {
            self.mind_age(attempt, scribe).await?;
            return Ok(After::NotBefore(
                self.components.clock.now() + self.pause(attempt),
            ));
        }
        if let Some(error) = lacks_answers(&view) {
            return self.gone(attempt, state, (&view, error), scribe).await;
        }
        match view.failed_as_a_whole() {
            Some(BatchFailure::QueueFull(limit)) => {
                self.put_back(attempt, state, (&view, limit), scribe).await
            }
            Some(BatchFailure::Account) => self.refused(attempt, &view, scribe).await,
            _ => self.land(attempt, state, &view, scribe).await,
        }
    }

    /// The provider says that it has no such batch: it is another account's, or gone.
    async fn unseen(
        &self,
        attempt: &Attempt,
        state: &State,
        error: Error,
        scribe: &Scribe,
    ) -> Result<After> {
        if !is_own(self.provider_of(attempt)?, attempt) && !self.may_resubmit() {
            return Err(other_account(&attempt.promised));
        }
        let accepted = attempt.accepted.as_ref();
        let batch = accepted.map_or_else(|| BatchId(String::new()), |a| a.batch.clone());
        let nothing = BatchView::bare(batch, BatchStatus::Unknown("gone".to_owned()));
        self.gone(attempt, state, (&nothing, error), scribe).await
    }

    /// Whether a person said that what is lost is to be sent, and paid, again.
    fn may_resubmit(&self) -> bool {
        self.job.ledger.on_ambiguous == AmbiguousPolicy::Resubmit
    }

    /// The account may not have the batch: nothing ran, nothing was paid. Once that is mended, the chunk
    /// is as good as before.
    async fn refused(&self, attempt: &Attempt, view: &BatchView, scribe: &Scribe) -> Result<After> {
        let rejected = rejected_for_now(attempt, view);
        scribe.write(vec![rejected]).await?;
        Err(refused_for_the_account(attempt).with("said", view.said()))
    }

    /// The provider took the batch, and does not show what it held: that is lost, or late, or was not
    /// looked for in the right place. Only a person's word has it sent again; what is in `view` is kept.
    async fn gone(
        &self,
        attempt: &Attempt,
        state: &State,
        (view, error): (&BatchView, Error),
        scribe: &Scribe,
    ) -> Result<After> {
        if !self.may_resubmit() {
            return Err(not_shown(view, error));
        }
        self.land(attempt, state, view, scribe).await
    }

    /// Lands a chunk of one request that the provider finds too large: the row fails, and the others
    /// go on.
    pub(super) async fn fail(
        &self,
        chunk: &ChunkState,
        state: &State,
        scribe: &Scribe,
    ) -> Result<After> {
        let last = state.attempts_of(chunk).last();
        let last = last.ok_or_else(|| Error::internal("a chunk that was never sent"))?;
        let error = BatchError {
            code: "request_too_large".to_owned(),
            message: last.refusal.clone().unwrap_or_default(),
            line: None,
        };
        let view = BatchView {
            errors: vec![error],
            failure: Some(BatchFailure::Requests),
            ..BatchView::bare(BatchId(String::new()), BatchStatus::Failed)
        };
        self.land(last, state, &view, scribe).await
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
            pricing: Pricing::of(&plan.started.shape.service, &plan.started.shape.model),
            provider: self.provider_of(attempt)?,
            take_what_is_there: self.may_resubmit(),
            files: &self.files,
            components: &self.components,
        };
        let landed = match landing.land(view).await? {
            Came::Home(landed) => landed,
            Came::NotShown(error) => return Err(not_shown(view, error)),
        };
        self.watch.event(&Event::Landed {
            batch: view.id.to_string(),
            requests: attempt.promised.requests,
            counts: read_counts(&landed.counts),
        });
        scribe.write(vec![Action::Landed(landed)]).await?;
        Ok(After::Done)
    }

    /// Whether a batch has ended while files of it are still to come. They are not waited for without
    /// end: what was not answered is missing then, and of what was a person has to say.
    fn is_late(&self, attempt: &Attempt, view: &BatchView) -> bool {
        if !view.awaited {
            return false;
        }
        let now = self.components.clock.now();
        let over = view.ended_at.or(view.expires_at).zip(view.as_of);
        if over.is_some_and(|(end, as_of)| as_of - end > LONG_AGO) {
            return false;
        }
        self.with_poll(attempt, |poll| {
            now < *poll.empty_since.get_or_insert(now) + LATE_MAX
        })
    }

    /// What this process remembers of the polling of `attempt`.
    fn with_poll<T>(&self, attempt: &Attempt, with: impl FnOnce(&mut Poll) -> T) -> T {
        let mut pauses = self.pauses.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = attempt.promised.attempt.clone();
        with(pauses.entry(id).or_insert(Poll {
            pause: self.job.model.poll_min,
            empty_since: None,
            alarmed: false,
        }))
    }

    /// Says so when a batch runs for longer than any should, and cancels it when it has run for as
    /// long as the job lets it. What it finished is harvested.
    async fn mind_age(&self, attempt: &Attempt, scribe: &Scribe) -> Result<()> {
        let now = self.components.clock.now();
        let batch = attempt.accepted.as_ref().map(|accepted| &accepted.batch.0);
        let batch = batch.map_or("", String::as_str);
        if let Some(hours) = overdue(attempt, now)
            && !self.with_poll(attempt, |poll| std::mem::replace(&mut poll.alarmed, true))
        {
            self.warn(&format!("batch {batch} has been running for {hours} hours"));
        }
        let max = self.job.model.max_batch_age;
        if max.is_some_and(|max| age(attempt, now) > max) && !attempt.cancel_sent {
            self.warn(&format!(
                "batch {batch} is older than `max_batch_age`: canceled"
            ));
            self.cancel(attempt, scribe).await?;
        }
        Ok(())
    }

    /// The queue had no room for the batch: nothing ran, nothing was paid, and the chunk is as good
    /// as before.
    async fn put_back(
        &self,
        attempt: &Attempt,
        state: &State,
        (view, named): (&BatchView, Option<u64>),
        scribe: &Scribe,
    ) -> Result<After> {
        let rejected = rejected_for_now(attempt, view);
        let (plan, chunk) = (attempt.promised.plan, attempt.promised.chunk);
        let stored = state
            .plans
            .get(&plan)
            .and_then(|plan| plan.chunks.get(&chunk));
        let stored = stored.ok_or_else(|| Error::internal("no such chunk"))?;
        // As the queue is without the batch that it refused.
        let mut without = state.clone();
        without.apply(&rejected)?;
        let refusals = refusals(&without, stored);
        let now = self.components.clock.now();
        let learned = learn(
            &self.queue,
            &without,
            &stored.stored,
            (refusals, named),
            now,
        );
        let wait = if learned.is_some() {
            QUEUE_WAIT
        } else {
            later(refusals)
        };
        let actions = [rejected].into_iter().chain(learned).collect();
        scribe.write(actions).await?;
        Ok(After::SendAgain(plan, chunk, now + wait))
    }

    /// How long to wait before the next look: longer each time.
    fn pause(&self, attempt: &Attempt) -> Duration {
        let max = self.job.model.poll_max;
        let pause = self.with_poll(attempt, |poll| {
            let pause = poll.pause;
            poll.pause = (pause * 3 / 2).min(max);
            pause
        });
        self.components.ids.jitter(pause)
    }

    pub(super) async fn cancel(&self, attempt: &Attempt, scribe: &Scribe) -> Result<After> {
        let provider = self.provider_of(attempt)?;
        if let Some(accepted) = &attempt.accepted {
            match provider.cancel(&accepted.batch).await? {
                Seen::Unseen(_) if !is_own(provider, attempt) && !self.may_resubmit() => {
                    return Err(other_account(&attempt.promised));
                }
                // What is gone needs no cancel; the next look says so.
                Seen::Unseen(_) | Seen::There(()) => {}
            }
        }
        let attempt = attempt.promised.attempt.clone();
        scribe.write(vec![Action::CancelSent { attempt }]).await?;
        Ok(After::Done)
    }
}

/// The provider refused a batch as a whole, and would take it later.
fn rejected_for_now(attempt: &Attempt, view: &BatchView) -> Action {
    Action::Rejected {
        attempt: attempt.promised.attempt.clone(),
        why: view.said(),
        again: true,
    }
}

/// The account may not have what it asks for now. Nothing was paid.
pub(super) fn refused_for_the_account(attempt: &Attempt) -> Error {
    let what = "the provider refused requests for the account's sake; nothing was paid for them";
    Error::new(ErrorKind::Refused, what)
        .with("provider", &attempt.promised.provider)
        .hint(
            "check the account's credit, its quota and spend limits, and that it may use the model; \
             then run again: what was refused is sent again, and counts against no row",
        )
}

/// The provider counts answers, so that they were paid, and they cannot be had.
fn not_shown(view: &BatchView, error: Error) -> Error {
    let lost = "the provider took a batch, and does not show this account what it answered";
    Error::new(ErrorKind::Refused, lost)
        .with("batch", &view.id)
        .with("why", &error)
        .hint(
            "what one account made no other can see: set the key and the base URL that it was \
             submitted with. If it or its results were deleted there, never come, or do not say whose \
             the answers are, run once with --set ledger.on_ambiguous=resubmit: what has no answer is \
             sent, and paid, again",
        )
        .because(error)
}

/// Answers were paid for, and the file that would hold them has not come, or is kept no more.
fn lacks_answers(view: &BatchView) -> Option<Error> {
    use BatchStatus::{Canceled, Completed, Expired};
    let is_over = matches!(view.status, Completed | Expired | Canceled);
    let is_there = !view.awaited && !view.results.is_empty();
    let why = view.errors.first().map_or("", |error| &error.message);
    (is_over && !is_there && view.counts.succeeded > 0).then(|| {
        Error::new(
            ErrorKind::Refused,
            "there are answers without a result file",
        )
        .with("answers", view.counts.succeeded)
        .with("said", why)
    })
}

/// Whether `attempt` was made with the key and at the endpoint that `provider` was opened with.
pub(super) fn is_own(provider: &dyn Provider, attempt: &Attempt) -> bool {
    attempt.promised.account == provider.capability().account
}

/// For how many hours a batch has been running, if that is longer than any should.
pub(super) fn overdue(attempt: &Attempt, now: Time) -> Option<u64> {
    let age = age(attempt, now);
    (attempt.phase == Phase::Accepted && age > ALARM).then_some(age.as_secs() / 3600)
}

fn age(attempt: &Attempt, now: Time) -> Duration {
    let accepted = attempt.accepted.as_ref();
    let since = accepted.and_then(|accepted| accepted.created_at);
    let age = now - since.unwrap_or(attempt.promised.at);
    age.to_std().unwrap_or_default()
}
