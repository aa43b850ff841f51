//! `run`, `submit`, `collect`: the commands that end with one JSON object.

use std::io::Write;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::args::{OnInterrupt, RunArgs};
use super::exit::Exit;
use super::json::Line;
use super::resume;
use super::screen::Screen;
use super::vendor::{Vendor, Vendors};
use crate::base::{Components, ErrorKind, Result, ResultExt};
use crate::engine::{self, Report, Setup};
use crate::spec::Surroundings;
use crate::work::progress::{Event, Watch};

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
    memory: usize,
    components: Components,
    screen: Arc<Screen>,
) -> Result<Exit> {
    let job = args.target.resolve(&Surroundings::system()?)?;
    let vendor = Vendor::open(&job, &components)?;
    let interrupt = CancellationToken::new();
    let signal = super::signal::watch(&interrupt, &components.uptime);
    let setup = Setup {
        job,
        command: road.name(),
        components: components.clone(),
        watch: Arc::clone(&screen) as Arc<dyn Watch>,
        memory,
        no_follow: args.no_follow,
        publish_partial: args.publish_partial,
        cancel_on_interrupt: args.on_interrupt == OnInterrupt::Cancel,
        vendors: Some(Arc::new(Vendors(components))),
        interrupt,
    };
    let provider = Arc::clone(&vendor.provider);
    let report = match road {
        Road::Run => engine::run(setup, provider).await,
        Road::Submit => engine::submit(setup, provider).await,
        Road::Collect { wait } => engine::collect(setup, provider, wait).await,
    };
    let report = report?;
    if signal.caught().is_some() && !report.published {
        let line = resume::line(std::env::args(), args.on_interrupt);
        screen.event(&Event::Warning(line));
    }
    screen.finish();
    let mut exit = exit_of(road, args, &report);
    if let Some(code) = signal.caught().filter(|_| !report.published) {
        exit = Exit::of(&[Exit::from_code(code), exit]);
    }
    print(&report, exit)?;
    Ok(exit)
}

fn exit_of(road: Road, args: &RunArgs, report: &Report) -> Exit {
    match Exit::from_code(report.exit_code()) {
        // What was submitted is pending, and that is what was asked for.
        Exit::Pending if road == Road::Submit && report.is_submitted => Exit::Done,
        Exit::Done if report.unchanged && args.skip_code => Exit::NothingToDo,
        exit => exit,
    }
}

fn print(report: &Report, exit: Exit) -> Result<()> {
    let line = serde_json::to_string(&Line::of(report, exit.code()))
        .or_err(ErrorKind::Internal, "the result cannot be written as JSON")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").or_err(ErrorKind::Unavailable, "cannot write to standard output")
}
