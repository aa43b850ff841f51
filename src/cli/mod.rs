//! Words for people: the command line, the screen, the exit codes. The only room that prints.

mod args;
mod diagnose;
mod job;
mod json;
mod look;
mod road;
mod sandbox;
mod screen;
mod signal;
mod vendor;

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use args::{Cli, Command};
use road::Road;
use screen::Screen;

use crate::base::{Components, Error, ErrorKind, Result, ResultExt, Stores};

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exit(u8);

/// Runs the command that the process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = carry_out(&cli);
    let exit = done.unwrap_or_else(|error| {
        let _ = write!(std::io::stderr(), "{}", diagnose::explain(&error));
        Exit(error.kind().exit_code())
    });
    ExitCode::from(exit.0)
}

fn carry_out(cli: &Cli) -> Result<Exit> {
    let logs = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(logs)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .or_err(ErrorKind::Internal, "cannot start the runtime")?;
    let components = Components {
        stores: Arc::new(stores(cli)?),
        ..Components::system()
    };
    let screen = Arc::new(Screen::new(
        Arc::clone(&components.clock),
        cli.log_format,
        cli.quiet,
    ));
    let exit = runtime.block_on(Box::pin(command(cli, components, Arc::clone(&screen))));
    screen.close();
    runtime.shutdown_background();
    exit
}

/// Threads that do the work: reading and sending overlap, and more would only cost memory.
const WORKERS: usize = 2;

async fn command(cli: &Cli, components: Components, screen: Arc<Screen>) -> Result<Exit> {
    match &cli.command {
        Command::Run(args) => road::go(Road::Run, args, components, screen).await,
        Command::Submit(args) => road::go(Road::Submit, args, components, screen).await,
        Command::Collect { run, wait } => {
            road::go(Road::Collect { wait: *wait }, run, components, screen).await
        }
        Command::Sandbox(args) => sandbox::serve(args, &components).await,
        Command::Plan { job, output_file } => {
            look::plan(job, output_file.as_deref(), &components).await
        }
        Command::Check { job, rows } => look::check(job, *rows, &components).await,
        Command::Status { job, json, watch } => {
            look::status(job, (*json, *watch), &components).await
        }
        Command::Show { job, row } => look::show(job, row, &components).await,
        Command::Cancel { job } => look::cancel(job, &components).await,
        Command::Gc { job, older_than } => look::gc(job, *older_than, &components).await,
    }
}

fn stores(cli: &Cli) -> Result<Stores> {
    let pairs = cli.storage_options.iter().map(|pair| {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            Error::invalid("not a storage option")
                .with("option", pair)
                .hint("write it as key=value")
        })?;
        Ok((key.to_owned(), value.to_owned()))
    });
    let environment = std::env::vars().collect();
    Ok(Stores::new(pairs.collect::<Result<_>>()?)?.with_environment(environment))
}
