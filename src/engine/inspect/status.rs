//! `status`: where everything stands.

use std::time::Duration;

use crate::base::{Result, Time};
use crate::ledger::state::{Attempt, Phase, PlanState, State};
use crate::work::progress::Progress;
use crate::work::{CacheUse, StatusCounts, Usage, Variant};

use super::live::Live;
use crate::engine::context::ledger::{holder, read};
use crate::engine::context::owner::check_job;
use crate::engine::context::setup::Setup;
use crate::engine::decide::age::overdue;
use crate::engine::decide::observed::Observed;
use crate::engine::decide::progress::progress;
use crate::engine::decide::trial::{account_refused, trial_failed};
use crate::engine::decide::waits::settles_at;
use crate::engine::session::report::Report;

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
    pub counts: StatusCounts,
    /// What it used, once it has landed.
    pub usage: Usage,
    /// What that cost, in millionths of a US dollar.
    pub cost_micros: Option<u64>,
    /// What the provider's cache saved of it; less than nothing, where it cost more.
    pub cache_saved_micros: i64,
    /// What its requests say of that cache.
    pub cache: Option<CacheUse>,
    /// Whether it goes before the others, for these to read what it leaves there.
    pub primer: bool,
    /// How its requests differ from what was planned.
    pub variant: Variant,
}

/// Where everything stands. Takes no lease.
///
/// # Errors
/// `Invalid` if there is no ledger yet; whatever keeps it from being read.
pub async fn status(setup: Setup) -> Result<StatusReport> {
    let (ledger, root) = read(&setup).await?;
    let state = ledger.state();
    check_job(state, &setup.job)?;
    let number = state.last_plan().unwrap_or_default();
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
    let line = |attempt| line(state, attempt, (now, settle), live.as_ref());
    let batches: Vec<BatchLine> = shown.map(line).collect();
    let published = state.shown(number);
    Ok(StatusReport {
        planned: plan.is_some_and(|plan| plan.completed.is_some()),
        differs: plan.is_some_and(|p| p.started.digest != job.fingerprints().plan),
        canceled: plan.is_some_and(|plan| plan.canceled),
        holder: holder.map(|holder| holder.to_string()),
        progress: progress(state, number, &observed(live.as_ref())),
        pending: is_pending(state, plan, published.is_some()),
        live,
        landed: batches.iter().map(|line| line.counts.total()).sum(),
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
fn observed(live: Option<&Live>) -> Observed {
    let looks = live.into_iter().flat_map(|live| &live.waits.looks);
    let done = looks.filter_map(|(attempt, look)| Some((attempt.clone(), look.done?)));
    Observed {
        done: done.collect(),
        ..Observed::default()
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

fn line(
    state: &State,
    attempt: &Attempt,
    (now, settle): (Time, Duration),
    live: Option<&Live>,
) -> BatchLine {
    let plan = state.plans.get(&attempt.promised.plan);
    let chunk = plan.and_then(|plan| plan.chunks.get(&attempt.promised.chunk));
    let is_primer = chunk.is_some_and(|chunk| chunk.stored.primer);
    let landed = attempt.landed.as_ref();
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
        counts: landed.map(|landed| landed.counts).unwrap_or_default(),
        usage: landed.map(|landed| landed.usage).unwrap_or_default(),
        cost_micros: landed.and_then(|landed| landed.cost_micros),
        cache_saved_micros: landed
            .and_then(|landed| landed.cache_saved_micros)
            .unwrap_or_default(),
        cache: attempt.promised.cache,
        primer: attempt.promised.cache.is_some() && is_primer,
        variant: chunk
            .map(|chunk| chunk.stored.variant.clone())
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
    use super::*;
    use crate::engine::decide::scenario::Scenario;
    use crate::ledger::action::Action;

    #[test]
    fn work_is_pending_until_all_is_published_or_a_person_must_come() {
        let pending = |scenario: &Scenario, published| {
            is_pending(&scenario.0, scenario.0.plans.get(&0), published)
        };
        let mut scenario = Scenario::of(&[3, 4]);
        assert!(pending(&scenario, false), "it is to be sent");
        scenario.landed(0, 0);
        let open = scenario.accepted(1);
        assert!(pending(&scenario, false), "a batch is open");
        assert!(
            pending(&scenario, true),
            "a batch is open, though the output is there"
        );
        scenario.lands(&open, 0);
        assert!(pending(&scenario, false), "it is to be published");
        assert!(!pending(&scenario, true));

        let mut scenario = Scenario::of(&[3, 4]);
        let open = scenario.accepted(0);
        scenario.tell(Action::CancelAsked { plan: 0 });
        assert!(
            pending(&scenario, false),
            "what it finished is to come home"
        );
        scenario.lands(&open, 0);
        assert!(!pending(&scenario, false), "nothing more is sent of it");
    }
}
