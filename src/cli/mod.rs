//! Words for people: the command line, progress, errors, and the last line for machines.
//!
//! The only room that prints. Standard output is for the result; everything else goes to standard
//! error through one outlet, which is shut before the final JSON object is printed, since
//! schedulers take the last line of both streams for the result.

mod args;
mod bars;
mod diagnose;
mod exit;
mod fault;
mod flags;
mod json;
mod look;
mod outlet;
mod rehearse;
mod resume;
mod road;
mod sandbox;
mod screen;
mod show;
mod signal;
mod status;
mod summary;
#[cfg(test)]
mod tests;
mod vendor;
mod voice;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use args::{Cli, Command};
use exit::Exit;
use look::Look;
use road::Road;
use screen::Screen;
use voice::Voice;

use crate::base::{
    Clock, Components, Crash, ErrorKind, FastClock, Kill, Result, ResultExt, Stores, SystemClock,
};
use crate::engine::find_ledger;
use crate::spec::{Job, Surroundings};

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    fault::watch();
    keep_freed_memory();
    let voice = Voice::new(&cli.common);
    let done = fault::caught(|| carry_out(&cli, &voice));
    let exit = done.unwrap_or_else(|error| {
        let exit = voice.fail(&error);
        if let Some(args) = cli.command.road() {
            road::print_failure(args, &cli.common, &error, exit);
        }
        exit
    });
    exit.into()
}

fn carry_out(cli: &Cli, voice: &Voice) -> Result<Exit> {
    voice.set_up_logs();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .or_err(ErrorKind::Internal, "cannot start the runtime")?;
    let environment = std::env::vars().collect();
    let stores = Stores::new(cli.common.storage_options.clone())?.with_environment(environment);
    let system = Components::system();
    let stores = stores.with_http(Arc::clone(&system.http));
    let components = Components {
        stores: Arc::new(stores),
        crash: crash()?,
        clock: clock()?,
        ..system
    };
    let screen = Arc::new(voice.screen(Arc::new(SystemClock)));
    let command = Box::pin(command(cli, components, Arc::clone(&screen)));
    let exit = runtime.block_on(fault::caught_while(command));
    screen.finish();
    runtime.shutdown_background();
    exit
}

/// Where this process kills itself, if `COLUMNIST_CRASH_AT` says so, or panics, if `COLUMNIST_PANIC_AT`
/// does: how `rehearse --kill` and the tests try what a crash costs. See [`KillAt`](crate::base::KillAt) for
/// how it is written.
fn crash() -> Result<Crash> {
    let kill = if let Ok(kill_at) = std::env::var(CRASH_AT) {
        Kill::new(kill_at.parse()?, json::last_words)
    } else if let Ok(kill_at) = std::env::var(PANIC_AT) {
        Kill::by_panic(kill_at.parse()?)
    } else {
        return Ok(Crash::never());
    };
    Ok(Crash::with(Arc::new(kill)))
}

/// The variable that names the point where a process kills itself.
const CRASH_AT: &str = "COLUMNIST_CRASH_AT";
/// The variable that names the point where a process meets a defect.
const PANIC_AT: &str = "COLUMNIST_PANIC_AT";

/// The clock that `COLUMNIST_CLOCK` describes, else the machine's: how all processes of a rehearsal
/// show one time. See [`FastClock`] for how it is written.
fn clock() -> Result<Arc<dyn Clock>> {
    match std::env::var(CLOCK) {
        Ok(clock) => Ok(Arc::new(clock.parse::<FastClock>()?)),
        Err(_) => Ok(Arc::new(SystemClock)),
    }
}

/// The variable that describes a fast clock.
const CLOCK: &str = "COLUMNIST_CLOCK";

/// Has the C library keep buffers of up to [`KEPT`] bytes for the next to come, where it else gives
/// each back to the system at once and then waits for new pages, zeroed one by one. It learns that from
/// the largest block that was ever freed; so one is.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT)));
}

const KEPT: usize = 8 << 20;

/// Threads that do the work: reading and sending overlap, and more would only cost memory.
const WORKERS: usize = 2;

/// What a command works with that looks at `job`, wherever its ledger is.
async fn look_at(mut job: Job, memory: usize, components: &Components) -> Result<Look> {
    find_ledger(&mut job.ledger, &components.stores).await?;
    let components = components.clone();
    Ok(Look {
        job,
        memory,
        components,
    })
}

async fn command(cli: &Cli, components: Components, screen: Arc<Screen>) -> Result<Exit> {
    let memory = cli.common.memory;
    let around = &Surroundings::system()?;
    let look = |job| look_at(job, memory, &components);
    match &cli.command {
        Command::Run(args) => {
            Box::pin(road::go(
                Road::Run,
                args,
                memory,
                components.clone(),
                screen,
            ))
            .await
        }
        Command::Submit(args) => {
            Box::pin(road::go(Road::Submit, args, memory, components, screen)).await
        }
        Command::Collect(args) => {
            let road = Road::Collect { wait: args.wait };
            Box::pin(road::go(road, &args.run, memory, components, screen)).await
        }
        Command::Rehearse(args) => {
            rehearse::rehearse(args, &cli.common, &components, &screen).await
        }
        Command::Sandbox(args) => sandbox::serve(args, &components).await,
        Command::Plan(args) => {
            look::plan(
                &look(args.target.resolve_whole(around)?).await?,
                args.save.as_deref(),
            )
            .await
        }
        Command::Check(args) => {
            look::check(&look(args.target.resolve_whole(around)?).await?, args.rows).await
        }
        Command::Status(args) => {
            let manner = status::Manner {
                as_json: args.json,
                watch: args.watch,
            };
            status::status(&look(args.target.resolve_planned(around)?).await?, manner).await
        }
        Command::Show(args) => {
            let look = look(args.job.resolve_planned(None, around)?).await?;
            show::show(&look, &args.row, args.json).await
        }
        Command::Cancel(args) => {
            look::cancel(&look(args.target.resolve_planned(around)?).await?).await
        }
        Command::Retry(args) => {
            let wanted = (&*args.statuses, &*args.keys);
            look::retry(
                &look(args.job.resolve_planned(None, around)?).await?,
                wanted,
            )
            .await
        }
        Command::Gc(args) => {
            look::gc(
                &look(args.target.resolve_planned(around)?).await?,
                args.older_than,
            )
            .await
        }
    }
}
