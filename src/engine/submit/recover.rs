//! Looking for what an attempt left at the provider, when its answer was lost.
//!
//! An attempt is given up only when the provider's complete listings, `settle` after the first look
//! that came after its sender was dead, still show nothing that may be of it: by the provider's own
//! clock, wherever it tells the time. That first look is in the ledger, so that restarts do not
//! extend the wait. A look-up that failed says nothing at all.

use std::time::Duration;

use tracing::{info, warn};

use crate::base::{Components, Result, Time};
use crate::ledger::action::Action;
use crate::ledger::state::{Attempt, Phase, State};
use crate::provider::{Found, Provider, Sought, Tag};
use crate::spec::AmbiguousPolicy;
use crate::work::{BatchId, BatchView};

use super::send::accepted;
use crate::engine::context::context::Context;
use crate::engine::context::providers::{is_own, other_account};
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::age::RESULTS_LATE_MAX;
use crate::engine::decide::step::StepResult;

/// Times that a chunk's answer is lost, and nothing comes of it, before it is made smaller.
const LOST_MAX: usize = 3;

/// How long to wait at most between two looks for a lost attempt.
const SEEK_MAX: Duration = Duration::from_secs(30);

/// Looks for `attempt` at the provider: see [`Recovery::look`].
///
/// # Errors
/// As [`Recovery::look`].
pub(crate) async fn recover(
    cx: &Context,
    attempt: &Attempt,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    Recovery::of(cx, attempt, state, writer)?.look().await
}

/// Looks once more for `attempt`: see [`Recovery::look_again`].
///
/// # Errors
/// As [`Recovery::look`].
pub(crate) async fn recheck(
    cx: &Context,
    attempt: &Attempt,
    state: &State,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    Recovery::of(cx, attempt, state, writer)?.look_again().await
}

/// One attempt whose answer was lost, and what it takes to find it.
#[derive(Debug)]
struct Recovery<'a> {
    pub job: &'a str,
    pub attempt: &'a Attempt,
    pub state: &'a State,
    /// How long "not found" must hold.
    pub settle: Duration,
    /// What to do while nobody can tell.
    pub policy: AmbiguousPolicy,
    /// How long to wait at most between two looks.
    pub pause: Duration,
    pub provider: &'a dyn Provider,
    pub components: &'a Components,
    pub writer: &'a LedgerWriter,
}

impl<'a> Recovery<'a> {
    fn of(
        cx: &'a Context,
        attempt: &'a Attempt,
        state: &'a State,
        writer: &'a LedgerWriter,
    ) -> Result<Self> {
        Ok(Recovery {
            job: &cx.job.name,
            attempt,
            state,
            settle: cx.job.ledger.settle,
            policy: cx.job.ledger.on_ambiguous,
            pause: cx.job.model.poll_max.min(SEEK_MAX),
            provider: cx.providers.of(attempt)?,
            components: &cx.components,
            writer,
        })
    }

    /// Looks for the attempt at the provider: adopts what is there, waits while nobody can tell,
    /// and gives it up only when nothing can come any more.
    ///
    /// # Errors
    /// `Refused` if this is another account than the attempt's; whatever keeps the listing from
    /// being read, for then nothing is known.
    async fn look(&self) -> Result<StepResult> {
        let may_overrule = self.policy == AmbiguousPolicy::Resubmit && !self.was_overruled();
        match self.find().await? {
            // Where there is no list to look at, a person's word is all there is.
            Found::Unlisted(_) if may_overrule => self.give_up(true).await,
            Found::Unlisted(error) => Err(error),
            Found::Ours(views) => self.adopt(&views).await,
            // What one account made no other can see: nothing follows from its absence.
            _ if !is_own(self.provider, self.attempt) && !may_overrule => {
                Err(other_account(&self.attempt.promised))
            }
            Found::Maybe { candidates, as_of } => self.unsure(&candidates, None, as_of).await,
            Found::Absent { staged, as_of } => self.unsure(&[], staged, as_of).await,
        }
    }

    /// Looks once more for an attempt that was given up and replaced, or that was adopted and may
    /// have a twin: what has turned up meanwhile is canceled, and counted as waste.
    ///
    /// # Errors
    /// As [`Recovery::look`].
    async fn look_again(&self) -> Result<StepResult> {
        let attempt = self.attempt.promised.attempt.clone();
        match self.find().await? {
            Found::Unlisted(error) => return Err(error),
            Found::Ours(views) => self.waste(&views).await?,
            _ if !is_own(self.provider, self.attempt) => return Ok(StepResult::GivenUp),
            // Only the results of a running batch can tell; a later run looks again.
            Found::Maybe { .. } => return Ok(StepResult::GivenUp),
            Found::Absent { .. } => {}
        }
        self.write(Action::Rechecked { attempt }).await?;
        Ok(StepResult::Done)
    }

    async fn find(&self) -> Result<Found> {
        self.provider.find(&self.sought()).await
    }

    fn sought(&self) -> Sought {
        let promised = &self.attempt.promised;
        let known = self.state.attempts.values().flat_map(|attempt| {
            let accepted = attempt.accepted.as_ref().map(|accepted| &accepted.batch);
            accepted.into_iter().chain(&attempt.wasted).cloned()
        });
        Sought {
            tag: Tag {
                job: self.job.to_owned(),
                chunk: promised.chunk,
                nonce: promised.nonce.clone(),
                attempt: promised.attempt.clone(),
            },
            count: promised.requests,
            bytes: promised.body_bytes,
            since: promised.at,
            staged: self.attempt.staged.clone(),
            not: known.collect(),
        }
    }

    /// Takes the oldest batch as ours, and cancels the others: one body, one batch.
    async fn adopt(&self, views: &[BatchView]) -> Result<StepResult> {
        let attempt = &self.attempt.promised.attempt;
        if let [first, others @ ..] = views {
            // First, for what is accepted is not looked for again.
            self.waste(others).await?;
            self.write(accepted(attempt, first, true)).await?;
        }
        Ok(StepResult::Done)
    }

    async fn waste(&self, views: &[BatchView]) -> Result<()> {
        for view in views {
            let attempt = self.attempt.promised.attempt.clone();
            warn!(attempt, batch = %view.id, "a second batch of one chunk; it is canceled");
            // One that is gone by now is canceled as well as can be.
            self.provider.cancel(&view.id).await?;
            let batch = view.id.clone();
            self.write(Action::Wasted { attempt, batch }).await?;
        }
        Ok(())
    }

    /// Nothing is surely ours: waits, asks a person, or gives it up, as it may.
    async fn unsure(
        &self,
        candidates: &[BatchView],
        staged: Option<String>,
        as_of: Option<Time>,
    ) -> Result<StepResult> {
        let now = self.components.clock.now();
        let as_of = as_of.unwrap_or(now);
        self.note(candidates, staged, as_of).await?;
        let since = self.attempt.sought_since.unwrap_or(as_of);
        let left = (since + self.certain_after() - as_of).to_std();
        let left = left.unwrap_or_default();
        match self.policy {
            AmbiguousPolicy::Resubmit if !self.was_overruled() => self.give_up(true).await,
            _ if candidates.is_empty() && left.is_zero() => self.give_up(false).await,
            AmbiguousPolicy::Fail => self.ask("`on_ambiguous` is `fail`", candidates).await,
            AmbiguousPolicy::Resubmit => {
                self.ask("the answer was lost again after `resubmit`", candidates)
                    .await
            }
            AmbiguousPolicy::Wait if is_hopeless(candidates, since, as_of) => {
                let why = "batches that may be ours have ended, and their results cannot be read";
                self.ask(why, candidates).await
            }
            AmbiguousPolicy::Wait if candidates.is_empty() => {
                Ok(StepResult::NotBefore(now + left.min(self.pause)))
            }
            AmbiguousPolicy::Wait => Ok(StepResult::NotBefore(now + self.pause)),
        }
    }

    /// Whether this run has sent the chunk again on a person's word already: the risk was to pay
    /// twice, and not without end.
    fn was_overruled(&self) -> bool {
        let promised = &self.attempt.promised;
        self.state.attempts.values().any(|other| {
            let same =
                (other.promised.plan, other.promised.chunk) == (promised.plan, promised.chunk);
            same && other.assumed
        })
    }

    /// How long nothing must have been found. Dates are told to the second, so that two of them may
    /// be a second further apart than they are.
    fn certain_after(&self) -> Duration {
        if self.settle.is_zero() {
            return self.settle;
        }
        self.settle + Duration::from_secs(1)
    }

    /// Writes down what the look showed, where it is new.
    async fn note(
        &self,
        candidates: &[BatchView],
        staged: Option<String>,
        as_of: Time,
    ) -> Result<()> {
        let attempt = &self.attempt.promised.attempt;
        let mut actions = Vec::new();
        if let Some(file) = staged.filter(|_| self.attempt.staged.is_none()) {
            let attempt = attempt.clone();
            actions.push(Action::Staged { attempt, file });
        }
        let candidates: Vec<BatchId> = candidates.iter().map(|view| view.id.clone()).collect();
        if self.attempt.sought_since.is_none() || self.attempt.candidates != candidates {
            info!(attempt, ?candidates, "an attempt was not found for sure");
            actions.push(Action::Sought {
                attempt: attempt.clone(),
                as_of,
                candidates,
            });
        }
        if actions.is_empty() {
            return Ok(());
        }
        self.writer.write(actions).await
    }

    async fn give_up(&self, assumed: bool) -> Result<StepResult> {
        let promised = &self.attempt.promised;
        let attempt = promised.attempt.clone();
        self.write(Action::Absent { attempt, assumed }).await?;
        let lost = self.times_lost();
        if lost > 0 && !assumed {
            let (chunk, why) = (promised.chunk, self.attempt.lost.as_deref());
            warn!(
                chunk,
                times = lost,
                why,
                "the answer was lost, and nothing came of it; the chunk is sent again"
            );
        }
        // Whoever cuts every connection at a large body will go on doing so.
        let is_hopeless = lost >= LOST_MAX && !assumed && promised.requests > 1;
        Ok(if is_hopeless {
            StepResult::TooLarge(promised.chunk)
        } else {
            StepResult::Done
        })
    }

    /// How often in all the answer for this chunk was lost, this time included, and nothing came of it.
    fn times_lost(&self) -> usize {
        let promised = &self.attempt.promised;
        let others = self.state.attempts.values().filter(|other| {
            let same =
                (other.promised.plan, other.promised.chunk) == (promised.plan, promised.chunk);
            same && other.phase == Phase::Absent && !other.assumed && other.lost.is_some()
        });
        others.count() + usize::from(self.attempt.lost.is_some())
    }

    async fn ask(&self, why: &str, candidates: &[BatchView]) -> Result<StepResult> {
        let named: Vec<_> = candidates.iter().map(|view| view.id.to_string()).collect();
        let why = match &*named {
            [] => why.to_owned(),
            named => format!("{why}: {}", named.join(", ")),
        };
        let attempt = self.attempt.promised.attempt.clone();
        self.write(Action::Unsettled { attempt, why }).await?;
        Ok(StepResult::Done)
    }

    async fn write(&self, action: Action) -> Result<()> {
        self.writer.write(vec![action]).await
    }
}

/// Whether waiting will not tell: every candidate has ended, and shows nothing, or nothing that can be
/// read for longer than results are ever late: since it ended, or since we look for it, if that is later.
fn is_hopeless(candidates: &[BatchView], since: Time, as_of: Time) -> bool {
    let is_late = |view: &BatchView| {
        let from = view.ended_at.map_or(since, |ended| ended.max(since));
        let waited = (as_of - from).to_std();
        waited.is_ok_and(|waited| waited > RESULTS_LATE_MAX)
    };
    let silent = |view: &BatchView| {
        let may_show = view.awaited || !view.results.is_empty();
        view.status.is_ended() && (!may_show || is_late(view))
    };
    !candidates.is_empty() && candidates.iter().all(silent)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::work::BatchStatus;

    #[test]
    fn results_are_late_only_long_after_their_batch_has_ended() {
        let at = |minutes| Time::UNIX_EPOCH + TimeDelta::minutes(minutes);
        let view = |ended: Option<i64>, awaited| BatchView {
            ended_at: ended.map(at),
            awaited,
            ..BatchView::bare(BatchId("b".into()), BatchStatus::Completed)
        };
        let is_hopeless =
            |view: &BatchView, as_of| is_hopeless(std::slice::from_ref(view), at(0), at(as_of));
        // A batch may run for hours before it shows whose it is.
        assert!(!is_hopeless(&view(Some(120), true), 121));
        assert!(is_hopeless(&view(Some(120), true), 131));
        assert!(is_hopeless(&view(Some(-500), true), 11));
        assert!(
            !is_hopeless(&view(Some(-500), true), 9),
            "we look for it since 0"
        );
        assert!(is_hopeless(&view(None, true), 11));
        assert!(
            is_hopeless(&view(Some(120), false), 121),
            "nothing will come"
        );
        let running = BatchView::bare(BatchId("b".into()), BatchStatus::InProgress);
        assert!(!is_hopeless(&running, 500));
    }
}
