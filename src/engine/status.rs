//! `status` and `cancel`: looking at a job without holding it.

use std::time::Duration;

use crate::base::{Error, Location, Result, Time};
use crate::ledger::action::{Action, Counts};
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::ledger::{Holder, Leases, Scope};
use crate::work::progress::Progress;

use super::Setup;
use super::book::Book;
use super::live::Live;
use super::next::{account_refused, trial_failed};
use super::open::check_ours;
use super::poll::overdue;
use super::progress::{Sight, progress};
use super::report::Report;
use super::waits::settles_at;

/// Where everything stands.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct StatusReport {
    /// What the last plan came to so far.
    pub report: Report,
    /// Whether the last plan has looked at every row.
    pub planned: bool,
    /// Whether the job file says something else than what was planned.
    pub differs: bool,
    /// Whether a cancel was asked for.
    pub canceled: bool,
    /// Who is at work on it, if anybody is.
    pub holder: Option<String>,
    /// What the holder knows of it, if it has said so.
    pub live: Option<Live>,
    /// How far the last plan is.
    pub progress: Progress,
    /// Whether a run would still have something to do about the last plan, or about whatever is open of
    /// earlier ones.
    pub pending: bool,
    /// Requests of the last plan that have an outcome.
    pub landed: u64,
    /// The attempts of the last plan, and whatever is open of earlier ones.
    pub batches: Vec<BatchLine>,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchLine {
    /// The plan.
    pub plan: u64,
    /// The chunk.
    pub chunk: u64,
    /// The provider's batch, once it is known.
    pub batch: Option<String>,
    /// Where it stands, in a word.
    pub phase: &'static str,
    /// Its requests.
    pub requests: u64,
    /// How many of them are done: all that have landed, else as the provider told the holder.
    pub done: Option<u64>,
    /// When its state is looked at next by whoever holds the job.
    pub next_look: Option<Time>,
    /// Where nobody knows whether the provider took it: when it counts as never accepted.
    pub settles_at: Option<Time>,
    /// When it was promised.
    pub at: Time,
    /// Batches of which one may be its own, while it is not known whether the provider took it.
    pub candidates: Vec<String>,
    /// What a person should know of it: why it was refused, why nobody can
    /// tell what became of it, or that it is old.
    pub note: Option<String>,
    /// Its requests by status, once it has landed.
    pub counts: Counts,
}

/// Where everything stands. Takes no lease.
///
/// # Errors
/// `Invalid` if there is no ledger yet; whatever keeps it from being read.
pub async fn status(setup: Setup) -> Result<StatusReport> {
    let (book, root) = read(&setup).await?;
    let state = book.state();
    let number = state.plans.keys().next_back().copied().unwrap_or_default();
    let plan = state.plans.get(&number);
    let planned = plan.and_then(|plan| serde_json::from_value(plan.started.job.clone()).ok());
    let job = match &planned {
        Some(planned) => setup.job.clone().completed_by(planned),
        None => setup.job.clone(),
    };
    let now = setup.components.clock.now();
    let holder = holder(&setup, &root).await?;
    let live = match &holder {
        Some(holder) => Live::of(&root, &holder.run).await,
        None => None,
    };
    let shown = |a: &&Attempt| a.promised.plan == number || a.phase.is_open();
    let shown = state.attempts.values().filter(shown);
    let settle = setup.job.ledger.settle;
    let line = |attempt| line(attempt, (now, settle), live.as_ref());
    let batches: Vec<BatchLine> = shown.map(line).collect();
    let published = state.shown(number);
    Ok(StatusReport {
        planned: plan.is_some_and(|plan| plan.sealed.is_some()),
        differs: plan.is_some_and(|p| p.started.digest != job.fingerprints().plan),
        canceled: plan.is_some_and(|plan| plan.canceled),
        holder: holder.map(|holder| holder.to_string()),
        progress: progress(state, number, &sight(live.as_ref())),
        pending: is_pending(state, plan, published.is_some()),
        live,
        landed: batches.iter().flat_map(|line| line.counts.values()).sum(),
        batches,
        report: Report {
            job: job.name.clone(),
            run: state
                .run
                .as_ref()
                .map(|run| run.run.clone())
                .unwrap_or_default(),
            output: job.output.path.clone(),
            ledger: root.url.to_string(),
            published: published.is_some(),
            ..Report::of(state, number, |_| false)
        },
    })
}

/// What the holder has seen, as far as it said so.
fn sight(live: Option<&Live>) -> Sight {
    let looks = live.into_iter().flat_map(|live| &live.waits.looks);
    let done = looks.filter_map(|(attempt, look)| Some((attempt.clone(), look.done?)));
    Sight {
        done: done.collect(),
        ..Sight::default()
    }
}

/// Whether a run would still have something to do: open batches to bring home, rows to send, an output
/// to write. What was canceled, or what the trial showed to be in vain, waits for a person.
fn is_pending(state: &State, plan: Option<&PlanState>, is_published: bool) -> bool {
    let is_open = state.open_attempts().next().is_some();
    let is_stuck = |plan: &PlanState| {
        plan.canceled || trial_failed(state, plan) || account_refused(state, plan).is_some()
    };
    is_open || plan.is_some_and(|plan| !is_published && !is_stuck(plan))
}

/// Who holds the job, if anybody does.
pub(super) async fn holder(setup: &Setup, root: &Location) -> Result<Option<Holder>> {
    let components = &setup.components;
    let asking = Holder::this_process("status", "status", components.clock.now());
    let uptime = std::sync::Arc::clone(&components.uptime);
    let leases = Leases::new(components, uptime, root, asking, setup.job.ledger.lease);
    let held = leases.holder(&Scope::job()).await?;
    Ok(held.and_then(|held| held.holder))
}

/// Asks for everything open to be canceled, and for nothing more to be sent of the last plan. The
/// holder takes it up; if there is none, the next `run` or `collect` does. How many batches were open.
///
/// # Errors
/// `Invalid` if there is nothing to cancel, or the ledger belongs to another job.
pub async fn cancel(setup: Setup) -> Result<u64> {
    let (mut book, _) = read(&setup).await?;
    let state = book.state();
    check_ours(state, &setup.job)?;
    let open = state.open_attempts().count() as u64;
    let mut plans: Vec<u64> = state.open_attempts().map(|a| a.promised.plan).collect();
    plans.extend(
        state
            .plan()
            .filter(|plan| may_send(state, plan))
            .map(|plan| plan.started.plan),
    );
    plans.sort_unstable();
    plans.dedup();
    plans.retain(|plan| state.plans.get(plan).is_some_and(|plan| !plan.canceled));
    if plans.is_empty() {
        return Err(Error::invalid("there is nothing to cancel"));
    }
    book.record(
        plans
            .into_iter()
            .map(|plan| Action::CancelAsked { plan })
            .collect(),
    )
    .await?;
    Ok(open)
}

/// Whether requests of `plan` are still to be sent, for the first time or again.
fn may_send(state: &State, plan: &PlanState) -> bool {
    let is_home = |chunk: &&ChunkState| {
        let mut attempts = state.attempts_of(chunk);
        state.is_home(chunk) || attempts.any(|a| a.phase == Phase::RejectedForGood)
    };
    let is_whole = plan.sealed.is_some() && plan.chunks.values().all(|chunk| is_home(&chunk));
    // What fails in passing is sent again before the output is published, and not after.
    let number = plan.started.plan;
    let is_published = state.shown(number).is_some_and(|shown| !shown.partial);
    let last = plan.wave(plan.last_wave()).into_iter();
    let mut landed = last
        .flat_map(|chunk| state.attempts_of(chunk))
        .filter_map(|attempt| attempt.landed.as_ref());
    !is_whole || (!is_published && landed.any(|landed| landed.transient > 0))
}

pub(super) async fn read(setup: &Setup) -> Result<(Book, Location)> {
    let components = &setup.components;
    let root = components.stores.locate(&setup.job.ledger.path)?.private();
    let book = Book::read(components, &root, setup.command).await?;
    if book.state().made.is_none() {
        return Err(Error::invalid("there is no ledger for this job yet")
            .with("ledger", &root.url)
            .hint("`columnist run` or `columnist submit` makes one"));
    }
    Ok((book, root))
}

fn line(attempt: &Attempt, (now, settle): (Time, Duration), live: Option<&Live>) -> BatchLine {
    let look = live.and_then(|live| live.waits.looks.get(&attempt.promised.attempt));
    let is_landed = attempt.phase == Phase::Landed;
    BatchLine {
        plan: attempt.promised.plan,
        chunk: attempt.promised.chunk,
        batch: attempt
            .accepted
            .as_ref()
            .map(|accepted| accepted.batch.to_string()),
        phase: match attempt.phase {
            Phase::Promised => "unknown",
            Phase::Accepted => "open",
            Phase::RejectedForNow => "rejected for now",
            Phase::RejectedForGood => "rejected",
            Phase::Absent => "never accepted",
            Phase::Landed => "landed",
        },
        requests: attempt.promised.requests,
        done: if is_landed {
            Some(attempt.promised.requests)
        } else {
            look.and_then(|look| look.done)
        },
        next_look: look.and_then(|look| look.next).filter(|_| !is_landed),
        settles_at: settles_at(attempt, settle),
        at: attempt.promised.at,
        candidates: attempt.candidates.iter().map(ToString::to_string).collect(),
        note: note(attempt, now),
        counts: attempt
            .landed
            .as_ref()
            .map(|landed| landed.counts.clone())
            .unwrap_or_default(),
    }
}

/// What a person should know of an attempt.
fn note(attempt: &Attempt, now: Time) -> Option<String> {
    if matches!(
        attempt.phase,
        Phase::RejectedForNow | Phase::RejectedForGood
    ) {
        return attempt.refusal.clone();
    }
    if !attempt.phase.is_open() {
        return None;
    }
    if let Some(why) = &attempt.unsettled {
        return Some(why.clone());
    }
    let hours = overdue(attempt, now)?;
    Some(format!("has been running for {hours} hours"))
}

#[cfg(test)]
mod tests {
    use super::super::story::Story;
    use super::*;

    fn sends(story: &Story) -> bool {
        may_send(&story.0, &story.0.plans[&0])
    }

    #[test]
    fn work_is_pending_until_all_is_published_or_a_person_must_come() {
        let pending =
            |story: &Story, published| is_pending(&story.0, story.0.plans.get(&0), published);
        let mut story = Story::of(&[3, 4]);
        assert!(pending(&story, false), "it is to be sent");
        story.landed(0, 0);
        let open = story.accepted(1);
        assert!(pending(&story, false), "a batch is open");
        assert!(
            pending(&story, true),
            "a batch is open, though the output is there"
        );
        story.lands(&open, 0);
        assert!(pending(&story, false), "it is to be published");
        assert!(!pending(&story, true));

        let mut story = Story::of(&[3, 4]);
        let open = story.accepted(0);
        story.tell(Action::CancelAsked { plan: 0 });
        assert!(pending(&story, false), "what it finished is to come home");
        story.lands(&open, 0);
        assert!(!pending(&story, false), "nothing more is sent of it");
    }

    #[test]
    fn a_plan_may_send_until_it_is_whole() {
        assert!(sends(&Story::with_trial(0)), "its rows are not read yet");
        let mut story = Story::of(&[3, 3]);
        story.landed(0, 0);
        assert!(sends(&story));
        story.rejected(1, true);
        assert!(sends(&story));
        story.landed(1, 0);
        assert!(!sends(&story));
        story.published(false);
        assert!(!sends(&story));
    }

    #[test]
    fn what_failed_in_passing_is_sent_until_the_output_is_published() {
        let mut story = Story::of(&[3]);
        story.landed(0, 1);
        assert!(sends(&story));
        story.published(true);
        assert!(sends(&story));
        story.published(false);
        assert!(!sends(&story));
    }

    #[test]
    fn what_was_refused_for_good_is_not_sent() {
        let mut story = Story::of(&[3]);
        story.rejected(0, false);
        assert!(!sends(&story));
    }
}
