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
mod run;
mod sandbox;
mod screen;
mod show;
mod signal;
mod status;
mod summary;
mod test_hooks;
#[cfg(test)]
mod tests;
mod vendor;
mod voice;
mod words;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use args::{Cli, Command, RunKind};
use exit::Exit;
use look::Look;
use screen::Screen;
use voice::Voice;

use crate::base::{Components, ErrorKind, Result, ResultExt, Stores, SystemClock};
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
        if let Some(args) = cli.command.as_run() {
            run::print_failure(args, &cli.common, &error, exit);
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
        crash: test_hooks::crash()?,
        clock: test_hooks::clock()?,
        ..system
    };
    let screen = Arc::new(voice.screen(Arc::new(SystemClock)));
    let command = Box::pin(command(cli, components, Arc::clone(&screen)));
    let exit = runtime.block_on(fault::caught_while(command));
    screen.finish();
    runtime.shutdown_background();
    exit
}

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
    let run = |kind, args| {
        let (components, screen) = (components.clone(), Arc::clone(&screen));
        Box::pin(run::execute(kind, args, memory, components, screen))
    };
    match &cli.command {
        Command::Run(args) => run(RunKind::Run, args).await,
        Command::Submit(args) => run(RunKind::Submit, args).await,
        Command::Collect(args) => run(RunKind::Collect { wait: args.wait }, &args.run).await,
        Command::Rehearse(args) => {
            rehearse::rehearse(args, &cli.common, &components, &screen).await
        }
        Command::Sandbox(args) => sandbox::serve(args, &components).await,
        Command::Plan(args) => {
            let look = look(args.target.resolve_whole(around)?).await?;
            look::plan(&look, args.save.as_deref()).await
        }
        Command::Check(args) => {
            let look = look(args.target.resolve_whole(around)?).await?;
            look::check(&look, args.rows).await
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
            let look = look(args.job.resolve_planned(None, around)?).await?;
            look::retry(&look, (&*args.statuses, &*args.keys)).await
        }
        Command::Gc(args) => {
            let look = look(args.target.resolve_planned(around)?).await?;
            look::gc(&look, args.older_than).await
        }
    }
}
