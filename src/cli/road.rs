//! `run`, `submit`, `collect`: the commands that end with one JSON object.

use std::io::Write;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::args::RunArgs;
use super::json::Line;
use super::screen::Screen;
use super::vendor::Vendor;
use super::{Exit, job};
use crate::base::{Components, ErrorKind, Result, ResultExt};
use crate::engine::{self, Report, Setup};
use crate::work::progress::Watch;

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Road {
    Run,
    Submit,
    Collect { wait: bool },
}

impl Road {
    fn name(self) -> &'static str {
        match self {
            Road::Run => "run",
            Road::Submit => "submit",
            Road::Collect { .. } => "collect",
        }
    }
}

/// Goes the road, and prints what came of it.
pub(super) async fn go(
    road: Road,
    args: &RunArgs,
    components: Components,
    screen: Arc<Screen>,
) -> Result<Exit> {
    let job = job::resolve(&args.job)?;
    let vendor = Vendor::open(&job, &components)?;
    let interrupt = CancellationToken::new();
    let signal = super::signal::watch(interrupt.clone());
    let setup = Setup {
        job,
        command: road.name(),
        components,
        watch: Arc::clone(&screen) as Arc<dyn Watch>,
        memory: args.memory << 20,
        no_follow: args.no_follow,
        interrupt,
    };
    let provider = Arc::clone(&vendor.provider);
    let report = match road {
        Road::Run => engine::run(setup, provider).await,
        Road::Submit => engine::submit(setup, provider).await,
        Road::Collect { wait } => engine::collect(setup, provider, wait).await,
    };
    let report = report?;
    screen.close();
    let exit = match signal.caught() {
        Some(code) if !report.published => Exit(code),
        _ => Exit(exit_code(road, args, &report)),
    };
    print(&report, exit)?;
    Ok(exit)
}

fn exit_code(road: Road, args: &RunArgs, report: &Report) -> u8 {
    match report.exit_code() {
        // What was submitted is pending, and that is what was asked for.
        75 if road == Road::Submit && report.is_submitted => 0,
        0 if report.unchanged && args.skip_code => 99,
        code => code,
    }
}

fn print(report: &Report, exit: Exit) -> Result<()> {
    let line = serde_json::to_string(&Line::of(report, exit.0))
        .or_err(ErrorKind::Internal, "the result cannot be written as JSON")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").or_err(ErrorKind::Unavailable, "cannot write to standard output")
}
