//! Looking where a batch stands, and what follows from it: wait, land it, put its chunk back.

use std::time::Duration;

use chrono::TimeDelta;

use super::cancel::cancel;
use super::land::{LandResult, Landing};
use crate::base::backoff::Growing;
use crate::base::{Error, ErrorKind, Result};
use crate::engine::context::context::Context;
use crate::engine::context::observations::PollState;
use crate::engine::context::providers::{is_own, other_account, refused_for_the_account};
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::again::AgainRule;
use crate::engine::decide::age::{RESULTS_LATE_MAX, age, overdue};
use crate::engine::decide::queue::{learn, refusals, wait_for_room};
use crate::engine::decide::step::StepResult;
use crate::ledger::action::Action;
use crate::ledger::state::{Attempt, ChunkState, State};
use crate::provider::Seen;
use crate::work::price::Pricing;
use crate::work::progress::Event;
use crate::work::{BatchFailure, BatchId, BatchStatus, BatchView, CacheUse, Judge};

/// The files of a batch that ended so long ago, by the provider's own clock, are not awaited by another
/// process once more.
const LONG_AGO: TimeDelta = TimeDelta::hours(1);

/// Looks where the batch of `attempt` stands, and lands it if it has ended.
///
/// # Errors
/// `Refused` if the account does not see it, or may not have what it asked for; whatever keeps the batch
/// from being seen, or its results from being landed.
pub(crate) async fn poll(
    cx: &Context,
    attempt: &Attempt,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    Poll {
        cx,
        attempt,
        state,
        writer,
    }
    .look()
    .await
}

/// Lands a chunk of one request that the provider finds too large: the row fails, and the others
/// go on.
///
/// # Errors
/// Whatever keeps the failure from being written down.
pub(crate) async fn fail(
    cx: &Context,
    chunk: &ChunkState,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let last = state.attempts_of(chunk).last();
    let attempt = last.ok_or_else(|| Error::internal("a chunk that was never sent"))?;
    let view = BatchView::too_large(attempt.refusal.clone().unwrap_or_default());
    Poll {
        cx,
        attempt,
        state,
        writer,
    }
    .land(&view)
    .await
}

/// One look at a batch, and what it takes.
struct Poll<'a> {
    cx: &'a Context,
    attempt: &'a Attempt,
    state: &'a State,
    writer: &'a LedgerWriter,
}

impl Poll<'_> {
    /// Looks where a batch stands, and lands it if it has ended.
    async fn look(&self) -> Result<StepResult> {
        let accepted = self.attempt.accepted.as_ref();
        let accepted = accepted.ok_or_else(|| Error::internal("a batch without an id"))?;
        let provider = self.cx.providers.of(self.attempt)?;
        let view = match provider.poll(&accepted.batch).await {
            Ok(Seen::There(view)) => view,
            Ok(Seen::Unseen(error)) => return self.unseen(error).await,
            // An account that is closed shows nothing any more; a person says that it is so.
            Err(error)
                if error.kind() == ErrorKind::Refused
                    && !is_own(provider, self.attempt)
                    && self.cx.may_resubmit() =>
            {
                return self.unseen(error).await;
            }
            Err(error) => return Err(error),
        };
        let done = self.done(&view);
        self.cx.notices.event(&Event::Polled {
            batch: view.id.to_string(),
            status: view.status.to_string(),
            done,
            total: self.attempt.promised.requests,
        });
        let is_late = view.status.is_ended() && self.is_late(&view);
        let id = &self.attempt.promised.attempt;
        self.cx.observations.polled(id, done, is_late);
        if !view.status.is_ended() || is_late {
            self.mind_age().await?;
            return Ok(StepResult::NotBefore(self.cx.now() + self.pause()));
        }
        if let Some(error) = lacks_answers(&view) {
            return self.gone((&view, error)).await;
        }
        match view.failed_as_a_whole() {
            Some(BatchFailure::QueueFull(limit)) => self.put_back((&view, limit)).await,
            Some(BatchFailure::Account) => self.refused(&view).await,
            _ => self.land(&view).await,
        }
    }

    /// How many requests the provider is through with: about, where it counts lines that carry several.
    fn done(&self, view: &BatchView) -> u64 {
        let done = view.counts.succeeded + view.counts.failed;
        let (plan, chunk) = (self.attempt.promised.plan, self.attempt.promised.chunk);
        let plan = self.state.plans.get(&plan);
        let stored = plan
            .and_then(|plan| plan.chunks.get(&chunk))
            .map(|chunk| &chunk.stored);
        match stored.and_then(|stored| Some((stored.requests, stored.lines?))) {
            Some((requests, lines)) => done.min(lines) * requests / lines.max(1),
            None => done,
        }
    }

    /// The provider says that it has no such batch: it is another account's, or gone.
    async fn unseen(&self, error: Error) -> Result<StepResult> {
        if !is_own(self.cx.providers.of(self.attempt)?, self.attempt) && !self.cx.may_resubmit() {
            return Err(other_account(&self.attempt.promised));
        }
        let accepted = self.attempt.accepted.as_ref();
        let batch = accepted.map_or_else(|| BatchId(String::new()), |a| a.batch.clone());
        let nothing = BatchView::bare(batch, BatchStatus::Gone);
        self.gone((&nothing, error)).await
    }

    /// The account may not have the batch: nothing ran, nothing was paid. Once that is mended, the chunk
    /// is as good as before.
    async fn refused(&self, view: &BatchView) -> Result<StepResult> {
        let rejected = rejected_for_now(self.attempt, view);
        self.writer.write(vec![rejected]).await?;
        if self.is_recast() {
            return Ok(StepResult::Done);
        }
        Err(refused_for_the_account(self.attempt).with("said", view.said()))
    }

    /// Whether the requests of the batch will ask another model than they did: then it is no matter what is
    /// wrong with that one.
    fn is_recast(&self) -> bool {
        let promised = &self.attempt.promised;
        let plan = self.state.plans.get(&promised.plan);
        let chunk = plan.and_then(|plan| plan.chunks.get(&promised.chunk));
        let rule = AgainRule::of(&self.cx.job);
        plan.zip(chunk)
            .is_some_and(|(plan, chunk)| rule.recast(plan, &chunk.stored).is_some())
    }

    /// The provider took the batch, and does not show what it held: that is lost, or late, or was not
    /// looked for in the right place. Only a person's word has it sent again; what is in `view` is kept.
    async fn gone(&self, (view, error): (&BatchView, Error)) -> Result<StepResult> {
        if !self.cx.may_resubmit() {
            return Err(not_shown(view, error));
        }
        self.land(view).await
    }

    async fn land(&self, view: &BatchView) -> Result<StepResult> {
        let plan = self.state.plans.get(&self.attempt.promised.plan);
        let chunk = plan.and_then(|plan| plan.chunks.get(&self.attempt.promised.chunk));
        let (plan, chunk) = plan
            .zip(chunk)
            .ok_or_else(|| Error::internal("no such chunk"))?;
        let shape = &plan.started.shape;
        let landing = Landing {
            attempt: self.attempt,
            chunk: &chunk.stored,
            judge: &Judge::new(&shape.answer)?.after(shape.assistant_prefix.as_deref()),
            pricing: Pricing::of(&shape.service, plan.model_of(&chunk.stored)),
            provider: self.cx.providers.of(self.attempt)?,
            take_what_is_there: self.cx.may_resubmit(),
            files: &self.cx.files,
            components: &self.cx.components,
        };
        let landed = match landing.land(view).await? {
            LandResult::Home(landed) => landed,
            LandResult::NotShown(error) => return Err(not_shown(view, error)),
        };
        self.cx.notices.event(&Event::Landed {
            batch: view.id.to_string(),
            requests: self.attempt.promised.requests,
            counts: landed.counts,
        });
        self.writer.write(vec![Action::Landed(landed)]).await?;
        Ok(StepResult::Done)
    }

    /// Whether a batch has ended while files of it are still to come. They are not waited for without
    /// end: what was not answered is missing then, and of what was a person has to say.
    fn is_late(&self, view: &BatchView) -> bool {
        if !view.awaited {
            return false;
        }
        let now = self.cx.now();
        let over = view.ended_at.or(view.expires_at).zip(view.as_of);
        if over.is_some_and(|(end, as_of)| as_of - end > LONG_AGO) {
            return false;
        }
        self.with_poll(|poll| now < *poll.empty_since.get_or_insert(now) + RESULTS_LATE_MAX)
    }

    /// What this process remembers of the polling of the batch.
    fn with_poll<T>(&self, with: impl FnOnce(&mut PollState) -> T) -> T {
        let (attempt, first) = (&self.attempt.promised.attempt, self.cx.job.model.poll_min);
        self.cx.observations.poll(attempt, first, with)
    }

    /// Says so when a batch runs for longer than any should, and cancels it when it has run for as
    /// long as the job lets it. What it finished is harvested.
    async fn mind_age(&self) -> Result<()> {
        let now = self.cx.now();
        let batch = self
            .attempt
            .accepted
            .as_ref()
            .map(|accepted| &accepted.batch.0);
        let batch = batch.map_or("", String::as_str);
        if let Some(hours) = overdue(self.attempt, now)
            && !self.with_poll(|poll| std::mem::replace(&mut poll.alarmed, true))
        {
            self.cx
                .notices
                .warn(&format!("batch {batch} has been running for {hours} hours"));
        }
        let max = self.cx.job.model.max_batch_age;
        if max.is_some_and(|max| age(self.attempt, now) > max) && !self.attempt.cancel_sent {
            self.cx.notices.warn(&format!(
                "batch {batch} is older than `max_batch_age`: canceled"
            ));
            cancel(self.cx, self.attempt, self.writer).await?;
        }
        Ok(())
    }

    /// The queue had no room for the batch: nothing ran, nothing was paid, and the chunk is as good
    /// as before.
    async fn put_back(&self, (view, named): (&BatchView, Option<u64>)) -> Result<StepResult> {
        let rejected = rejected_for_now(self.attempt, view);
        let (plan, chunk) = (self.attempt.promised.plan, self.attempt.promised.chunk);
        let stored = self
            .state
            .plans
            .get(&plan)
            .and_then(|plan| plan.chunks.get(&chunk));
        let stored = stored.ok_or_else(|| Error::internal("no such chunk"))?;
        // The batch that was refused is not in the queue, and must not be counted there.
        let mut without = self.state.clone();
        without.apply(&rejected)?;
        let refusals = refusals(&without, stored);
        let now = self.cx.now();
        let learned = learn(
            &self.cx.queue.for_chunk(&stored.stored),
            &without,
            &stored.stored,
            (refusals, named),
            now,
        );
        let wait = wait_for_room(learned.is_some(), refusals);
        let actions = [rejected].into_iter().chain(learned).collect();
        self.writer.write(actions).await?;
        Ok(StepResult::SendAgain(plan, chunk, now + wait))
    }

    /// The longest pause between two looks. What a primer leaves in the provider's cache is soon gone, so
    /// that its end must not be missed by much.
    fn pause_max(&self) -> Duration {
        let model = &self.cx.job.model;
        let promised = &self.attempt.promised;
        let plan = self.state.plans.get(&promised.plan);
        let chunk = plan.and_then(|plan| plan.chunks.get(&promised.chunk));
        let is_primer = chunk.is_some_and(|chunk| chunk.stored.primer);
        let life = promised.cache.and_then(CacheUse::life);
        match life.filter(|_| is_primer) {
            Some(life) => model.poll_max.min(life / 10).max(model.poll_min),
            None => model.poll_max,
        }
    }

    /// How long to wait before the next look: longer each time.
    fn pause(&self) -> Duration {
        let model = &self.cx.job.model;
        let growing = Growing::by_half(model.poll_min, self.pause_max());
        let pause = self.with_poll(|poll| {
            let pause = poll.pause;
            poll.pause = growing.next(pause);
            pause
        });
        self.cx.components.ids.jitter(pause)
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
