//! Looking where a batch stands, and what follows from it: wait, land it, put its chunk back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;

use crate::base::{Error, ErrorKind, Result, Time};
use crate::ledger::action::{Action, read_counts};
use crate::ledger::state::{Attempt, ChunkState, Phase, State};
use crate::provider::{Provider, queue_limit};
use crate::spec::AmbiguousPolicy;
use crate::work::batch::BatchError;
use crate::work::price::Price;
use crate::work::progress::Event;
use crate::work::{BatchId, BatchStatus, BatchView};

use super::land::Landing;
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
/// Errors of a batch that say "the queue is full", not "the requests are wrong".
const QUEUE_CODES: [&str; 2] = ["token_limit_exceeded", "too_many_tasks"];
/// Errors of a batch that speak of the account: its money, and what it may use.
const ACCOUNT_CODES: [&str; 3] = [
    "billing_hard_limit_reached",
    "insufficient_quota",
    "model_not_found",
];

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
            Ok(view) => view,
            Err(error) if is_unseen(&error) && !is_own(provider, attempt) => {
                return Err(other_account(&attempt.promised));
            }
            Err(error) if is_unseen(&error) => {
                let gone = BatchStatus::Unknown("gone".to_owned());
                let nothing = BatchView::bare(accepted.batch.clone(), gone);
                return self.gone(attempt, state, (&nothing, error), scribe).await;
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
        if let Some(error) = refused_as_a_whole(&view, &QUEUE_CODES) {
            return self.put_back(attempt, state, error, scribe).await;
        }
        if let Some(error) = refused_as_a_whole(&view, &ACCOUNT_CODES) {
            return self.refused(attempt, error, scribe).await;
        }
        self.land(attempt, state, &view, scribe).await
    }

    /// The account may not have the batch: nothing ran, nothing was paid. Once that is mended, the chunk
    /// is as good as before.
    async fn refused(
        &self,
        attempt: &Attempt,
        error: &BatchError,
        scribe: &Scribe,
    ) -> Result<After> {
        let rejected = rejected_for_now(attempt, error);
        scribe.write(vec![rejected]).await?;
        Err(Error::new(ErrorKind::Refused, "the provider refused a batch for the account's sake")
            .with("provider", &attempt.promised.provider)
            .with("code", &error.code)
            .with("said", &error.message)
            .hint("check the account's credit and spend limits, and that it may use the model; then run again"))
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
        if self.job.ledger.on_ambiguous != AmbiguousPolicy::Resubmit {
            let lost = "the provider took a batch, and does not show this account what it answered";
            return Err(Error::new(ErrorKind::Refused, lost)
                .with("batch", &view.id)
                .hint(
                    "what one account made no other can see: set the key and the base URL that it was \
                     submitted with. If it or its results were deleted there, or never come, run once with \
                     --set ledger.on_ambiguous=resubmit: its requests are sent, and paid, again",
                )
                .because(error));
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
            price: Price::of(&attempt.promised.provider, &plan.started.shape.model),
            provider: self.provider_of(attempt)?,
            take_what_is_there: self.job.ledger.on_ambiguous == AmbiguousPolicy::Resubmit,
            files: &self.files,
            components: &self.components,
        };
        let landed = landing.land(view).await?;
        self.watch.event(&Event::Landed {
            batch: view.id.to_string(),
            requests: attempt.promised.requests,
            counts: read_counts(&landed.counts),
        });
        scribe.write(vec![Action::Landed(Box::new(landed))]).await?;
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
        error: &BatchError,
        scribe: &Scribe,
    ) -> Result<After> {
        let rejected = rejected_for_now(attempt, error);
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
        let named = queue_limit(&error.message);
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
            match provider.cancel(&accepted.batch).await {
                Err(error) if is_unseen(&error) && !is_own(provider, attempt) => {
                    return Err(other_account(&attempt.promised));
                }
                // What is gone needs no cancel; the next look says so.
                Err(error) if !is_unseen(&error) => return Err(error),
                _ => {}
            }
        }
        let attempt = attempt.promised.attempt.clone();
        scribe.write(vec![Action::CancelSent { attempt }]).await?;
        Ok(After::Done)
    }
}

/// The provider refused a batch as a whole, and would take it later.
fn rejected_for_now(attempt: &Attempt, error: &BatchError) -> Action {
    Action::Rejected {
        attempt: attempt.promised.attempt.clone(),
        why: format!("{}: {}", error.code, error.message),
        again: true,
    }
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

/// The provider's word that a batch failed as a whole for one of these reasons, and not for what is
/// in it. One that answered some of its requests first did not.
fn refused_as_a_whole<'v>(view: &'v BatchView, codes: &[&str]) -> Option<&'v BatchError> {
    let ran = view.counts.succeeded > 0 || !view.results.is_empty();
    if view.status != BatchStatus::Failed || ran {
        return None;
    }
    view.errors
        .iter()
        .find(|error| codes.contains(&error.code.as_str()))
}

/// Whether a batch failed for a reason that passes or can be mended: its requests are as good as
/// before.
pub(super) fn failed_in_passing(view: &BatchView) -> bool {
    let codes = [&QUEUE_CODES[..], &ACCOUNT_CODES].concat();
    let passes = |error: &BatchError| codes.contains(&error.code.as_str());
    view.errors.iter().any(passes)
}

/// Whether the provider says that it has nothing of that name, for this account.
pub(super) fn is_unseen(error: &Error) -> bool {
    error.value("status") == Some("404")
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
