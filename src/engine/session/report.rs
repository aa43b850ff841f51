//! What a command came to, for the last line of its output.

use crate::base::Exit;
use crate::ledger::action::Oddities;
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::spec::MaxFailed;
use crate::work::progress::Progress;
use crate::work::{RowStatus, StatusCounts, Usage};

use crate::engine::decide::cache::open_primers;
use crate::engine::decide::chunk::{ChunkStatus, chunk_status};
use crate::engine::decide::observed::Observed;
use crate::engine::decide::progress::progress;

/// What is waited for before all that may be sent can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// The batches of an earlier plan: what is new is planned once they are home.
    EarlierPlan,
    /// The rest of the rows: the plan has not looked at all of them.
    Planning,
    /// The answers of the trial.
    Trial,
    /// The answer of the request that goes first, for the others to read what it leaves in the provider's
    /// cache.
    Primer,
    /// Room in the provider's queue, which has chunks of the plan in it.
    Queue,
    /// The provider: it has not taken some chunks, or not said so.
    Provider,
}

impl Awaits {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Awaits::EarlierPlan => "earlier_plan",
            Awaits::Planning => "planning",
            Awaits::Trial => "trial",
            Awaits::Primer => "primer",
            Awaits::Queue => "queue",
            Awaits::Provider => "provider",
        }
    }
}

/// What a command came to.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts of the last line, each of which stands alone"
)]
pub struct Report {
    /// The job's name.
    pub job: String,
    /// The run's id.
    pub run: String,
    /// The plan's number.
    pub plan: u64,
    /// The source's rows.
    pub rows: u64,
    /// Rows by status. They sum to `rows`.
    pub counts: StatusCounts,
    /// Distinct requests of the plan that were sent for it.
    pub requests: u64,
    /// Rows that ask what an earlier row of the plan asks.
    pub identical: u64,
    /// Rows whose request was answered in an earlier plan.
    pub answered: u64,
    /// Tokens of the batches below.
    pub usage: Usage,
    /// What the batches below cost, in millionths of a US dollar; `None` where a price is unknown.
    pub cost_micros: Option<u64>,
    /// What the provider's cache saved of it, in the same; less than nothing, where it cost more.
    pub cache_saved_micros: i64,
    /// The plan's batches at the provider, and those of earlier plans that this run has landed.
    pub batches: Vec<String>,
    /// Batches that have not landed.
    pub open: u64,
    /// Attempts of which nobody can tell whether the provider took them.
    pub unsettled: u64,
    /// Chunks of the plan that are to be sent, and that the provider has not taken.
    pub unsent: u64,
    /// What keeps the provider from having all that may be sent; nothing, if it has it.
    pub awaits: Option<Awaits>,
    /// How far the plan is.
    pub progress: Progress,
    /// Lines of result files that were no answer to anything.
    pub oddities: Oddities,
    /// Second batches of one body, which were canceled.
    pub wasted: u64,
    /// Where the output is.
    pub output: String,
    /// Where the ledger is.
    pub ledger: String,
    /// Requests that the provider refused for the account's sake, and that wait until it is mended.
    pub account_refused: u64,
    /// Whether the output shows the plan.
    pub published: bool,
    /// Whether there was nothing to do.
    pub unchanged: bool,
    /// Whether more rows failed than the job allows.
    pub over_budget: bool,
    /// Whether the plan was canceled, and not put over an older output.
    pub held_back: bool,
}

impl Report {
    /// What there is to say of a command that was asked to stop before it had looked into its ledger.
    pub(crate) fn before(setup: &crate::engine::context::setup::Setup) -> Report {
        let ledger = &setup.job.ledger.path;
        let place = setup.components.stores.locate(ledger);
        Report {
            job: setup.job.name.clone(),
            output: setup.job.output.path.clone(),
            ledger: place.map_or_else(|_| ledger.clone(), |place| place.url.to_string()),
            cost_micros: Some(0),
            awaits: Some(Awaits::Planning),
            ..Report::default()
        }
    }

    /// What the ledger says of `plan`, and of the attempts of earlier ones that `landed_now` names.
    pub(crate) fn of(state: &State, plan: u64, landed_now: impl Fn(&Attempt) -> bool) -> Report {
        let mut report = Report {
            plan,
            cost_micros: Some(0),
            awaits: Some(Awaits::Planning),
            ..Report::default()
        };
        let Some(planned) = state.plans.get(&plan) else {
            return report;
        };
        report.rows = planned.started.rows;
        report.progress = progress(state, plan, &Observed::default());
        if let Some(completed) = &planned.completed {
            report.requests = completed.requests;
            report.identical = completed.rows.identical;
            report.answered = completed.rows.answered;
        }
        let chunks = planned.chunks.values();
        let unsent = chunks.filter(|chunk| !planned.canceled && is_unsent(state, chunk));
        report.unsent = unsent.count() as u64;
        let mine = |a: &&Attempt| a.promised.plan == plan || landed_now(a);
        for attempt in state.attempts.values().filter(mine) {
            report.open += u64::from(attempt.phase.is_open());
            report.unsettled += u64::from(attempt.unsettled.is_some() && attempt.phase.is_open());
            report.wasted += attempt.wasted.len() as u64;
            let batch = attempt
                .accepted
                .as_ref()
                .map(|accepted| accepted.batch.to_string());
            report.batches.extend(batch);
            if let Some(landed) = &attempt.landed {
                if attempt.promised.plan == plan {
                    report.account_refused += landed.account;
                }
                report.oddities += landed.oddities;
                report.usage += landed.usage;
                report.cache_saved_micros += landed.cache_saved_micros.unwrap_or_default();
                report.cost_micros = report
                    .cost_micros
                    .zip(landed.cost_micros)
                    .map(|(a, b)| a + b);
            }
        }
        report.awaits = awaits(state, planned, report.unsent);
        let published = state.published.as_ref().filter(|p| p.plan == plan);
        report.counts = match published {
            Some(published) => published.rows,
            None => unpublished(planned),
        };
        report
    }

    /// The same for a run that found nothing to do.
    pub(crate) fn unchanged(self) -> Report {
        Report {
            unchanged: true,
            ..self.unspent()
        }
    }

    /// The same for a run that had nothing to ask: what was spent before is not its own, and whoever
    /// adds up the runs of a month must not count it again.
    pub(crate) fn unspent(self) -> Report {
        Report {
            requests: 0,
            usage: Usage::default(),
            cost_micros: Some(0),
            cache_saved_micros: 0,
            batches: Vec::new(),
            ..self
        }
    }

    /// How the process ends: `TooManyFailed` also where a canceled plan was held back, `Ambiguous` where a
    /// person must say what became of a chunk, `Refused` where the account has to be mended, `Pending`
    /// where there is work to do or to wait for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.account_refused > 0 {
            return Exit::Refused;
        }
        if self.unsettled > 0 {
            return Exit::Ambiguous;
        }
        // To try again would send what a person has canceled.
        if self.held_back {
            return Exit::TooManyFailed;
        }
        if !self.published {
            return Exit::Pending;
        }
        if self.over_budget {
            Exit::TooManyFailed
        } else {
            Exit::Done
        }
    }

    /// That exit's code.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit().code()
    }
}

/// The rows of a plan that was never published: what is known of them before any answer, the rest is
/// pending.
fn unpublished(plan: &PlanState) -> StatusCounts {
    let known = plan.completed.as_ref().map(|completed| completed.rows);
    let known = known.unwrap_or_default();
    let mut counts = StatusCounts::default();
    counts.add(RowStatus::Skipped, known.skipped);
    counts.add(RowStatus::Failed, known.failed);
    counts.add(RowStatus::Deferred, known.deferred);
    counts.add(RowStatus::Pending, plan.started.rows - counts.total());
    counts
}

/// Whether `chunk` is to be sent, for the first time or again.
fn is_unsent(state: &State, chunk: &ChunkState) -> bool {
    matches!(chunk_status(state, chunk), ChunkStatus::Unsent)
}

/// What is waited for before all of `plan` that may be sent can be.
fn awaits(state: &State, plan: &PlanState, unsent: u64) -> Option<Awaits> {
    let number = plan.started.plan;
    let mut own = state
        .attempts
        .values()
        .filter(|a| a.promised.plan == number);
    if plan.completed.is_none() && !plan.canceled {
        return Some(Awaits::Planning);
    }
    let mut trial = plan.chunks.values().filter(|chunk| plan.is_trial(chunk));
    if unsent > 0 && trial.any(|chunk| state.attempts_of(chunk).any(is_taken)) {
        return Some(Awaits::Trial);
    }
    if unsent > 0 && open_primers(state, plan).next().is_some() {
        return Some(Awaits::Primer);
    }
    if unsent > 0 && waits_in_queue(state, plan) {
        return Some(Awaits::Queue);
    }
    let unknown = own.any(|a| a.phase == Phase::Promised);
    (unsent > 0 || unknown).then_some(Awaits::Provider)
}

/// Whether all that is unsent of `plan` waits for room in a queue that the provider has told of, behind
/// what is in it of the plan.
fn waits_in_queue(state: &State, plan: &PlanState) -> bool {
    let chunks = || plan.chunks.values();
    let mut open = chunks().flat_map(|chunk| state.attempts_of(chunk));
    let Some(open) = open.find(|attempt| is_taken(attempt)) else {
        return false;
    };
    let chunk = plan.chunks.get(&open.promised.chunk);
    let model = chunk.map(|chunk| plan.model_of(&chunk.stored));
    let told = state
        .queues
        .iter()
        .rfind(|queue| queue.account == open.promised.account && Some(&*queue.model) == model);
    let Some(told) = told.filter(|queue| queue.at >= plan.started.at) else {
        return false;
    };
    // A refusal that came later than the word of the queue was for another reason.
    let waits = |chunk: &ChunkState| {
        let last = state.attempts_of(chunk).last();
        last.is_none_or(|last| last.promised.at <= told.at)
    };
    chunks().filter(|chunk| is_unsent(state, chunk)).all(waits)
}

/// Whether the provider has taken `attempt`, and its answers are to come.
fn is_taken(attempt: &Attempt) -> bool {
    attempt.phase == Phase::Accepted
}

/// Whether `counts` has more failed rows than `max` allows.
pub(crate) fn is_over(max: MaxFailed, counts: &StatusCounts) -> bool {
    match max {
        MaxFailed::Rows(rows) => counts.failed() > rows,
        #[expect(
            clippy::cast_precision_loss,
            reason = "a share of rows needs no last digit"
        )]
        MaxFailed::Percent(percent) => {
            counts.failed() as f64 * 100.0 > percent * counts.total() as f64
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::scenario::Scenario;
    use crate::ledger::action::Action;

    fn awaits_of(scenario: &Scenario) -> Option<Awaits> {
        Report::of(&scenario.0, 0, |_| false).awaits
    }

    #[test]
    fn what_waits_in_a_queue_is_no_failure_of_a_submission() {
        let mut scenario = Scenario::of(&[3, 4, 5]);
        assert_eq!(awaits_of(&scenario), Some(Awaits::Provider));
        scenario.accepted(0);
        assert_eq!(awaits_of(&scenario), Some(Awaits::Provider));
        scenario.rejected(1, true);
        assert_eq!(
            awaits_of(&scenario),
            Some(Awaits::Provider),
            "for whatever reason"
        );
        scenario.learned(3, true);
        assert_eq!(awaits_of(&scenario), Some(Awaits::Queue));
        let report = Report::of(&scenario.0, 0, |_| false);
        assert_eq!((report.unsent, report.progress.to_send()), (2, 9));
    }

    #[test]
    fn a_trial_that_was_split_is_awaited_like_any_other() {
        let awaits = |scenario: &Scenario| Report::of(&scenario.0, 0, |_| false).awaits;
        let mut scenario = Scenario::with_trial(3);
        scenario.stored(0, 0, 3);
        scenario.stored(0, 3, 10);
        scenario.completed();
        assert_eq!(awaits(&scenario), Some(Awaits::Provider));
        scenario.tell(Action::ChunkSplit { plan: 0, chunk: 0 });
        scenario.stored(0, 0, 2);
        scenario.stored(0, 2, 1);
        scenario.landed(2, 0);
        scenario.accepted(3);
        assert_eq!(awaits(&scenario), Some(Awaits::Trial));
    }
}
