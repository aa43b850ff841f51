//! `rehearse`: the user's own job on the real rows, against the built-in sandbox, with faults.
//!
//! ```text
//! job ── stage: scratch folder, sandbox, a copy of the job ── troupe: runs, killed and started again
//!                        │                                       │
//!                        └── bill ──► judge ◄── output, row by row ┘ ──► told
//! ```
//!
//! The sandbox lives in this process and outlives the runs, each of which is a process of its own:
//! `columnist run`, as a user would start it, on a job of which nothing differs but where it goes.

mod asked;
mod judge;
mod stage;
mod tell;
#[cfg(test)]
mod tests;
mod troupe;

use tokio_util::sync::CancellationToken;

use super::args::{Common, Rehearse};
use super::exit::Exit;
use super::screen::Screen;
use super::signal;
use crate::base::{Components, Result};
use crate::spec::Surroundings;

use stage::Stage;
use tell::Told;
use troupe::{Ending, Troupe};

/// Rehearses the job, and says what came of it.
pub(super) async fn rehearse(
    args: &Rehearse,
    common: &Common,
    components: &Components,
    screen: &Screen,
) -> Result<Exit> {
    let job = args.target.resolve(&Surroundings::system()?)?;
    let stage = Stage::set(&job, args).await?;
    let interrupt = CancellationToken::new();
    let signal = signal::watch(&interrupt, &components.uptime);
    let troupe = Troupe {
        stage: &stage,
        common,
        screen,
        interrupt: &interrupt,
    };
    let played = troupe.play(args.kill.then_some(args.seed)).await;
    let told = match &played {
        Ok(Some(ending)) => judge_it(&stage, ending, args, (components, common.memory)).await,
        _ => Ok(None),
    };
    let scratch = stage.strike(args.keep).await;
    let Some(ending) = played? else {
        return Ok(Exit::from_code(signal.caught().unwrap_or_default()));
    };
    let Some(told) = told? else {
        // The run has said why on standard error.
        return Ok(exit_of(&ending));
    };
    screen.finish();
    told.print(args.json, scratch.as_deref())?;
    Ok(told.exit())
}

/// What is to be told of a run that came to its end.
async fn judge_it(
    stage: &Stage,
    ending: &Ending,
    args: &Rehearse,
    (components, memory): (&Components, usize),
) -> Result<Option<Told>> {
    if !matches!(exit_of(ending), Exit::Done | Exit::TooManyFailed) {
        return Ok(None);
    }
    let sandbox = (&stage.sandbox, args.seed);
    let (job, scratch) = (&stage.job, stage.folder());
    let verdict = judge::judge(job, sandbox, (components, memory), scratch).await?;
    Ok(Some(Told::of(stage, ending, verdict, args)?))
}

fn exit_of(ending: &Ending) -> Exit {
    u8::try_from(ending.code).map_or(Exit::Unexpected, Exit::from_code)
}
