//! Whose ledger it is, and the job that a plan was made for.

use crate::base::{Error, Result};
use crate::ledger::state::{PlanState, State};
use crate::spec::{Job, SourceInput};

/// What a job reads, by name: the same whatever the variables in it are.
pub(crate) fn source_name(job: &Job) -> String {
    if let Some(pattern) = &job.source.pattern {
        return pattern.clone();
    }
    match &job.source.input {
        SourceInput::Table(address) => address.clone(),
        SourceInput::Query { file, .. } => file.clone(),
    }
}

/// A ledger belongs to one job.
pub(crate) fn check_ours(state: &State, job: &Job) -> Result<()> {
    let Some(made) = &state.made else {
        return Ok(());
    };
    check_name(state, job)?;
    same([
        ("source", made.source.clone(), source_name(job)),
        ("key", made.key.join(", "), job.source.key.join(", ")),
    ])
}

/// The ledger is of a job of that name.
pub(crate) fn check_name(state: &State, job: &Job) -> Result<()> {
    let made = state.made.as_ref();
    made.map_or(Ok(()), |made| {
        same([("job", made.job.clone(), job.name.clone())])
    })
}

fn same(checks: impl IntoIterator<Item = (&'static str, String, String)>) -> Result<()> {
    match checks.into_iter().find(|(_, theirs, ours)| theirs != ours) {
        None => Ok(()),
        Some((what, theirs, ours)) => Err(Error::invalid("the ledger belongs to another job")
            .with("differs", what)
            .with("ledger", theirs)
            .with("job", ours)
            .hint("give this job a ledger of its own: another `name`, or `[ledger] path`")),
    }
}

/// The job as `plan` has it.
///
/// # Errors
/// `Data` if it cannot be read.
pub(crate) fn stored_job(plan: &PlanState) -> Result<Job> {
    serde_json::from_value(plan.started.job.clone())
        .map_err(|error| Error::data("the stored job cannot be read").because(error))
}
