//! Whose ledger it is, and the job that a plan was made for.

use object_store::path::Path;
use url::Url;

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
    check_job(state, job)?;
    same([
        ("source", made.source.clone(), source_name(job)),
        ("key", made.key.join(", "), job.source.key.join(", ")),
    ])
}

/// The ledger is of a job of that name; and of that output, where the name follows from the output.
pub(crate) fn check_job(state: &State, job: &Job) -> Result<()> {
    let Some(made) = &state.made else {
        return Ok(());
    };
    same([("job", made.job.clone(), job.name.clone())])?;
    let Some(ours) = &job.ledger.output else {
        return Ok(());
    };
    let theirs = made
        .output
        .clone()
        .map_or_else(|| outputs(state), |output| vec![output]);
    if theirs.is_empty() || theirs.contains(ours) || (made.output.is_none() && ours.contains("{{"))
    {
        return Ok(());
    }
    let path = &job.ledger.path;
    let hint = format!(
        "another job needs another `name` (--name); where this job writes elsewhere now, say where its \
         ledger stays: `[ledger] path = {path:?}` (--ledger)"
    );
    Err(Error::invalid("the ledger belongs to another output")
        .with("ledger", path)
        .with("its_output", theirs.join(", "))
        .with("output", ours)
        .hint(hint))
}

/// The names of the outputs that a ledger has made, which does not say which one it was made for: an
/// older version wrote it, or its place was given.
fn outputs(state: &State) -> Vec<String> {
    let planned = state.plans.values();
    let planned = planned.filter_map(|plan| plan.started.job["output"]["path"].as_str());
    let published = state.published.as_ref().map(|it| it.output.as_str());
    let mut names: Vec<_> = planned.chain(published).filter_map(last_part).collect();
    names.sort();
    names.dedup();
    names
}

/// The last part of a path, or of a URL as it was before it was encoded.
fn last_part(address: &str) -> Option<String> {
    let path = match Url::parse(address) {
        Ok(url) => Path::from_url_path(url.path()).ok()?.to_string(),
        Err(_) => address.trim_end_matches('/').to_owned(),
    };
    path.rsplit('/').next().map(str::to_owned)
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
