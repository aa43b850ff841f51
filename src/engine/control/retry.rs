//! `retry`: what has no answer is to be sent again, because a person says so.
//!
//! The wish is a fact in the ledger, and takes no lease. The next plan reads it: outcomes that it means
//! do not count as settled there, so that their requests are asked anew, with all the attempts that a
//! new request has. A run that holds the job makes that plan when it has published; else the next one.

use crate::base::{Error, Result};
use crate::ledger::action::{Action, RequestPlace, RetryAsked};
use crate::ledger::outcomes::OutcomeColumns;
use crate::ledger::row_map::{Place, RowPlan};
use crate::ledger::state::{PlanState, State};
use crate::spec::Job;
use crate::work::{RowStatus, StatusCounts};

use crate::engine::context::files::Files;
use crate::engine::context::ledger::{JobLedger, holder, read};
use crate::engine::context::owner::{check_ours, stored_job};
use crate::engine::context::setup::Setup;
use crate::engine::inspect::locate::{find, read_row};
use crate::engine::publish::outcomes::Parts;

/// What `retry` is to send again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Rows with one of these statuses; none for all that count as failed.
    pub statuses: Vec<RowStatus>,
    /// Of those the rows whose keys have these values, one for each key column; none for all.
    pub keys: Vec<Vec<String>>,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySummary {
    /// Rows that it means, as far as is known now. A run that is at work may add to them.
    pub rows: u64,
    /// Whether a run holds the job, which will take it up.
    pub is_held: bool,
}

/// Asks for what has no answer to be sent again.
///
/// # Errors
/// `Invalid` if there is nothing that it could mean, if a row is answered or not settled yet, or if the
/// ledger is another job's. `Unavailable` if a run begins a plan in the same moment.
pub async fn retry(setup: Setup, wanted: Wanted) -> Result<RetrySummary> {
    if let Some(status) = wanted.statuses.iter().find(|status| !status.is_failure()) {
        return Err(Error::invalid("rows of this status are not sent again")
            .with("status", status)
            .hint(format!("the statuses are {}", words(&all_failures()))));
    }
    let (mut ledger, root) = read(&setup).await?;
    check_ours(ledger.state(), &with_key(&setup.job, ledger.state()))?;
    let statuses = if wanted.statuses.is_empty() {
        all_failures()
    } else {
        wanted.statuses
    };
    let (requests, rows) = if wanted.keys.is_empty() {
        (Vec::new(), count(ledger.state(), &statuses)?)
    } else {
        let files = Files::aside(&root)?;
        let places = places(&setup, &ledger, &files, &wanted.keys, &statuses).await?;
        (places, wanted.keys.len() as u64)
    };
    let all = requests.is_empty();
    let asked = RetryAsked {
        plan: ledger.state().next_plan().saturating_sub(1),
        statuses: if all { statuses } else { Vec::new() },
        requests,
        at: setup.components.clock.now(),
    };
    ledger.record(vec![Action::RetryAsked(asked)]).await?;
    // A plan that was begun in this moment stands after the outcomes that were looked at, and before the
    // wish: no other plan follows for its sake.
    if !ledger.state().is_retry_asked() {
        let what = "a run planned the rows anew in this moment, and may not have seen the wish";
        return Err(Error::unavailable(what).hint(
            "`columnist status` shows where the rows stand; ask again for what has no answer then",
        ));
    }
    let is_held = holder(&setup, &root).await?.is_some();
    Ok(RetrySummary { rows, is_held })
}

/// The job, with the key of its ledger where it names none: on the command line `--key` names a row here.
fn with_key(job: &Job, state: &State) -> Job {
    let mut job = job.clone();
    if let Some(made) = state.made.as_ref().filter(|_| job.source.key.is_empty()) {
        job.source.key.clone_from(&made.key);
    }
    job
}

fn all_failures() -> Vec<RowStatus> {
    let all = RowStatus::ALL.into_iter();
    all.filter(|status| status.is_failure()).collect()
}

fn words(statuses: &[RowStatus]) -> String {
    let words: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
    words.join(", ")
}

/// How many rows have one of `statuses`, as they were published; else how many requests have.
fn count(state: &State, statuses: &[RowStatus]) -> Result<u64> {
    let counts = counts(state);
    let rows = statuses.iter().map(|status| counts.of(*status)).sum();
    if rows > 0 {
        return Ok(rows);
    }
    let there = all_failures().into_iter();
    let there: Vec<_> = there.filter(|status| counts.of(*status) > 0).collect();
    let error = Error::invalid("there is no row to send again").with("statuses", words(statuses));
    Err(match &*there {
        [] => error,
        there => error.hint(format!("there are rows that are {}", words(there))),
    })
}

fn counts(state: &State) -> StatusCounts {
    let last = state.plan();
    if let Some(shown) = last.and_then(|plan| state.shown(plan.started.plan)) {
        return shown.rows;
    }
    let mut counts = StatusCounts::default();
    for landed in state.attempts.values().filter_map(|a| a.landed.as_ref()) {
        for (status, count) in landed.counts.iter() {
            counts.add(status, count);
        }
    }
    counts
}

/// Where the requests of the rows with `keys` are.
async fn places(
    setup: &Setup,
    ledger: &JobLedger,
    files: &Files,
    keys: &[Vec<String>],
    statuses: &[RowStatus],
) -> Result<Vec<RequestPlace>> {
    let state = ledger.state();
    let plan = state.plans.values().rfind(|plan| plan.completed.is_some());
    let plan = plan.ok_or_else(|| Error::invalid("no plan of this job is complete yet"))?;
    // A row is what it was when it was planned, whatever the job file says now.
    let setup = Setup {
        job: Job {
            ledger: setup.job.ledger.clone(),
            ..stored_job(plan)?
        },
        ..setup.clone()
    };
    let mut places = Vec::new();
    for key in keys {
        let place = place(&setup, plan, files, key).await?;
        let status = status_at(state, place, files).await?;
        if !status.is_some_and(|status| statuses.contains(&status)) {
            let what = match status {
                None => "nothing has come back for a row yet",
                Some(RowStatus::Succeeded) => "a row is answered, and is not sent again",
                Some(_) => "a row has another status",
            };
            let status = status.map_or("pending", RowStatus::as_str);
            return Err(Error::invalid(what)
                .with("key", key.join(", "))
                .with("status", status));
        }
        places.push(RequestPlace {
            plan: place.plan.into(),
            ordinal: place.ordinal,
        });
    }
    Ok(places)
}

/// Where the request of the row with `key` is.
async fn place(setup: &Setup, plan: &PlanState, files: &Files, key: &[String]) -> Result<Place> {
    let found = find(setup, plan, files, key).await?;
    let none = || Error::invalid("a row asks nothing").with("key", key.join(", "));
    if !found.planned {
        return Err(none().hint("it was not planned yet: `columnist run` plans it"));
    }
    let place = read_row(plan.started.plan, found.row, files, |row| match row {
        RowPlan::Asks(place) => Ok(place),
        RowPlan::Skipped(why) => Err(none().with("skipped", why.unwrap_or("not selected"))),
        RowPlan::Failed(why) => Err(none().with("failed", why)),
        RowPlan::Deferred => Err(none().hint("it was deferred: `columnist run` sends it")),
    });
    place.await?
}

/// What has come back for the request at `place`.
async fn status_at(state: &State, place: Place, files: &Files) -> Result<Option<RowStatus>> {
    let mut parts = Parts::of(state, place.plan.into(), files, OutcomeColumns::Verdicts);
    let found = parts.find(place.ordinal).await?;
    Ok(found.map(|found| found.status()))
}
