//! `rehearse`: the user's own job on the real rows, against the built-in sandbox, with faults.
//!
//! ```text
//! job ── environment: scratch folder, sandbox, a copy of the job ── runner: runs, killed and started again
//!                        │                                       │
//!                        └── bill ──► judge ◄── output, row by row ┘ ──► report
//! ```
//!
//! The sandbox lives in this process and outlives the runs, each of which is a process of its own:
//! `columnist run`, as a user would start it, on a job of which nothing differs but where it goes.

mod asked;
mod environment;
mod judge;
mod report;
mod runner;
#[cfg(test)]
mod tests;

use tokio_util::sync::CancellationToken;

use crate::base::{Components, Exit, Result};
use crate::cli::args::{Common, Rehearse};
use crate::cli::display::progress::ProgressView;
use crate::cli::signal;
use crate::spec::Surroundings;

use environment::Environment;
use report::Report;
use runner::{Ending, Runner};

/// Rehearses the job, and says what came of it.
pub(in crate::cli) async fn rehearse(
    args: &Rehearse,
    common: &Common,
    components: &Components,
    progress: &ProgressView,
) -> Result<Exit> {
    let job = args.target.resolve(&Surroundings::system()?)?;
    let environment = Environment::prepare(&job, args).await?;
    let interrupt = CancellationToken::new();
    let signal = signal::watch(&interrupt, &components.uptime);
    let runner = Runner {
        environment: &environment,
        common,
        progress,
        interrupt: &interrupt,
    };
    let ended = runner.run_to_end(args.kill.then_some(args.seed)).await;
    let report = match &ended {
        Ok(Some(ending)) => judge_it(&environment, ending, args, (components, common.memory)).await,
        _ => Ok(None),
    };
    let scratch = environment.tear_down(args.keep).await;
    let Some(ending) = ended? else {
        return Ok(Exit::from_code(signal.caught().unwrap_or_default()));
    };
    let Some(report) = report? else {
        // The run has said why on standard error.
        return Ok(exit_of(&ending));
    };
    progress.finish();
    report.print(args.json, scratch.as_deref())?;
    Ok(report.exit())
}

/// What there is to say of a run that came to its end.
async fn judge_it(
    environment: &Environment,
    ending: &Ending,
    args: &Rehearse,
    (components, memory): (&Components, usize),
) -> Result<Option<Report>> {
    if !matches!(exit_of(ending), Exit::Done | Exit::TooManyFailed) {
        return Ok(None);
    }
    let sandbox = (&environment.sandbox, args.seed);
    let (job, scratch) = (&environment.job, environment.folder());
    let verdict = judge::judge(job, sandbox, (components, memory), scratch).await?;
    Ok(Some(Report::of(environment, ending, verdict, args)?))
}

fn exit_of(ending: &Ending) -> Exit {
    u8::try_from(ending.code).map_or(Exit::Unexpected, Exit::from_code)
}
