//! Words for people: the command line, progress, errors, and the last line for machines.
//!
//! The only room that prints. Standard output is for the result; everything else goes to standard
//! error through one writer, which is shut before the final JSON object is printed, since
//! schedulers take the last line of both streams for the result.

mod args;
mod commands;
mod display;
mod exit;
mod flags;
mod panics;
mod providers;
mod signal;
mod test_hooks;
#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::runtime::Runtime;

use args::{Cli, Command, RunKind};
use commands::context::CommandContext;
use commands::{check, plan, rehearse, requests, run, sandbox, show, status};
use display::console::Console;
use display::progress::ProgressView;

use crate::base::{Components, ErrorKind, Exit, IoRuntime, Result, ResultExt, Stores, SystemClock};
use crate::spec::Surroundings;

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    panics::watch();
    keep_freed_memory();
    let console = Console::new(&cli.common);
    let done = panics::caught(|| carry_out(&cli, &console));
    let exit = done.unwrap_or_else(|error| {
        let exit = console.fail(&error);
        if let Some(args) = cli.command.as_run() {
            run::print_failure(args, &cli.common, &error, exit);
        }
        exit
    });
    exit.into()
}

fn carry_out(cli: &Cli, console: &Console) -> Result<Exit> {
    console.set_up_logs();
    let runtime = start_runtime(WORKERS)?;
    let io_runtime = start_runtime(1)?;
    let environment = std::env::vars().collect();
    let stores = Stores::new(cli.common.storage_options.clone())?.with_environment(environment);
    let io = IoRuntime::of(io_runtime.handle().clone());
    let components = Components {
        crash: test_hooks::crash()?,
        clock: test_hooks::clock()?,
        ..Components::system_with(io, stores)
    };
    let progress = Arc::new(console.progress(Arc::new(SystemClock)));
    let command = Box::pin(command(cli, components, Arc::clone(&progress)));
    let exit = runtime.block_on(panics::caught_while(command));
    progress.finish();
    runtime.shutdown_background();
    io_runtime.shutdown_background();
    exit
}

fn start_runtime(threads: usize) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .or_err(ErrorKind::Internal, "cannot start the runtime")
}

/// Has the C library keep buffers of up to [`KEPT`] bytes for the next to come, where it else gives
/// each back to the system at once and then waits for new pages, zeroed one by one. It learns that from
/// the largest block that was ever freed; so one is.
fn keep_freed_memory() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT)));
}

const KEPT: usize = 8 << 20;

/// Threads that do the work, and may be blocked by it: reading and writing overlap, and more would only
/// cost memory. Connections have a thread of their own.
const WORKERS: usize = 2;

async fn command(cli: &Cli, components: Components, progress: Arc<ProgressView>) -> Result<Exit> {
    let memory = cli.common.memory;
    let around = &Surroundings::system()?;
    let context = |job| CommandContext::of(job, memory, &components);
    let run = |kind, args| {
        let (components, progress) = (components.clone(), Arc::clone(&progress));
        Box::pin(run::execute(kind, args, memory, components, progress))
    };
    match &cli.command {
        Command::Run(args) => run(RunKind::Run, args).await,
        Command::Submit(args) => run(RunKind::Submit, args).await,
        Command::Collect(args) => run(RunKind::Collect { wait: args.wait }, &args.run).await,
        Command::Rehearse(args) => {
            rehearse::rehearse(args, &cli.common, &components, &progress).await
        }
        Command::Sandbox(args) => sandbox::serve(args, &components).await,
        Command::Plan(args) => {
            let context = context(args.target.resolve_whole(around)?).await?;
            plan::plan(&context, args.save.as_deref()).await
        }
        Command::Check(args) => {
            let context = context(args.target.resolve_whole(around)?).await?;
            check::check(&context, args.rows).await
        }
        Command::Status(args) => {
            let options = status::StatusOptions {
                as_json: args.json,
                watch: args.watch,
            };
            status::status(
                &context(args.target.resolve_planned(around)?).await?,
                options,
            )
            .await
        }
        Command::Show(args) => {
            let context = context(args.job.resolve_planned(None, around)?).await?;
            show::show(&context, &args.row, args.json).await
        }
        Command::Cancel(args) => {
            requests::cancel(&context(args.target.resolve_planned(around)?).await?).await
        }
        Command::Retry(args) => {
            let context = context(args.job.resolve_planned(None, around)?).await?;
            requests::retry(&context, (&*args.statuses, &*args.keys)).await
        }
        Command::Gc(args) => {
            let context = context(args.target.resolve_planned(around)?).await?;
            requests::gc(&context, args.older_than).await
        }
    }
}
