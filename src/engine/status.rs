//! `status` and `cancel`: looking at a job without holding it.

use crate::base::{Error, Result, Time};
use crate::ledger::action::{Action, Counts};
use crate::ledger::state::{Attempt, Phase};
use crate::ledger::{Holder, Leases, Scope};

use super::Setup;
use super::book::Book;
use super::poll::overdue;
use super::report::Report;

/// Where everything stands.
#[derive(Clone, Debug, PartialEq)]
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
    let now = setup.components.clock.now();
    let holder = Holder::this_process("status", "status", now);
    let uptime = std::sync::Arc::clone(&setup.components.uptime);
    let leases = Leases::new(
        &setup.components,
        uptime,
        &root,
        holder,
        setup.job.ledger.lease,
    );
    let holder = leases
        .holder(&Scope::job())
        .await?
        .and_then(|held| held.holder);
    let number = state.plans.keys().next_back().copied().unwrap_or_default();
    let plan = state.plans.get(&number);
    let shown = |a: &&Attempt| a.promised.plan == number || a.phase.is_open();
    let shown = state.attempts.values().filter(shown);
    let batches: Vec<BatchLine> = shown.map(|attempt| line(attempt, now)).collect();
    let published = state.published.as_ref().filter(|published| {
        published.plan == number && published.landed == state.landed_count(number)
    });
    Ok(StatusReport {
        planned: plan.is_some_and(|plan| plan.sealed.is_some()),
        differs: plan.is_some_and(|p| p.started.digest != setup.job.fingerprints().plan),
        canceled: plan.is_some_and(|plan| plan.canceled),
        holder: holder.map(|holder| holder.to_string()),
        landed: batches.iter().flat_map(|line| line.counts.values()).sum(),
        batches,
        report: Report {
            job: setup.job.name.clone(),
            run: state
                .run
                .as_ref()
                .map(|run| run.run.clone())
                .unwrap_or_default(),
            output: setup.job.output.path.clone(),
            ledger: root.url.to_string(),
            published: published.is_some(),
            ..Report::of(state, number)
        },
    })
}

/// Asks for everything open to be canceled. The holder takes it up; if there is none, the next
/// `run` or `collect` does. How many batches were open.
///
/// # Errors
/// `Invalid` if there is nothing to cancel.
pub async fn cancel(setup: Setup) -> Result<u64> {
    let (mut book, _) = read(&setup).await?;
    let state = book.state();
    let open = state.open_attempts().count() as u64;
    let mut plans: Vec<u64> = state.open_attempts().map(|a| a.promised.plan).collect();
    plans.extend(
        state
            .plan()
            .filter(|plan| !plan.canceled)
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

async fn read(setup: &Setup) -> Result<(Book, crate::base::Location)> {
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

fn line(attempt: &Attempt, now: Time) -> BatchLine {
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
