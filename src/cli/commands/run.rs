//! `run`, `submit`, `collect`: the commands that end with one JSON object, come what may.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use crate::base::{
    Clock, Components, Error, ErrorKind, Exit, Result, ResultExt, Stores, SystemClock, Task,
};
use crate::cli::args::{Common, OnInterrupt, RunArgs, RunKind};
use crate::cli::display::json::{Failure, Line, Problem};
use crate::cli::display::progress::ProgressView;
use crate::cli::display::resume;
use crate::cli::display::summary::summary;
use crate::cli::providers::{self, Providers};
use crate::engine::{self, Awaits, Live, Report, Setup, find_ledger};
use crate::spec::{Job, Meta, Surroundings};
use crate::work::progress::{Event, Watch};

/// Carries the job out, and prints what came of it.
pub(in crate::cli) async fn execute(
    kind: RunKind,
    args: &RunArgs,
    memory: usize,
    components: Components,
    progress: Arc<ProgressView>,
) -> Result<Exit> {
    let around = Surroundings::system()?;
    let mut job = resolve(kind, args, &around)?;
    find_ledger(&mut job.ledger, &components.stores).await?;
    if args.target.ledger_goes_away(&job, &around) {
        progress.event(&Event::Warning(format!(
            "the ledger lies in a folder for temporary files, and what was paid for is forgotten with it: {}; \
             give it a place that stays ([ledger] path, --ledger)",
            job.ledger.path
        )));
    }
    let (column, meta) = (job.answer.column.clone(), job.answer.meta);
    let provider = providers::open(&job, &components)?;
    let service = &provider.capability().service;
    if let Some(doubt) = engine::unknown_model(&job, service) {
        progress.event(&Event::Warning(doubt));
    }
    let ticking = tick(&progress, &job, &components);
    let interrupt = CancellationToken::new();
    let signal = crate::cli::signal::watch(&interrupt, &components.uptime);
    let setup = Setup {
        job,
        command: kind.name(),
        components: components.clone(),
        watch: Arc::clone(&progress) as Arc<dyn Watch>,
        memory,
        no_follow: args.no_follow,
        publish_partial: args.publish_partial,
        cancel_on_interrupt: args.on_interrupt == OnInterrupt::Cancel,
        vendors: Some(Arc::new(Providers(components))),
        interrupt,
    };
    let report = match kind {
        RunKind::Run => Box::pin(engine::run(setup, provider)).await,
        RunKind::Submit => Box::pin(engine::submit(setup, provider)).await,
        RunKind::Collect { wait } => Box::pin(engine::collect(setup, provider, wait)).await,
    };
    let report = report?;
    crate::cli::panics::none_so_far()?;
    if signal.caught().is_some() && !report.published {
        let line = resume::line(std::env::args(), args.on_interrupt);
        progress.event(&Event::Warning(line));
    }
    if report.over_budget {
        progress.event(&Event::Warning(failures(&report, &column, meta)));
    }
    let elapsed = progress.elapsed();
    drop(ticking);
    progress.finish();
    let mut exit = exit_of(kind, args, &report);
    if let Some(code) = signal.caught().filter(|_| !report.published) {
        exit = Exit::of(&[Exit::from_code(code), exit]);
    }
    if wants_line(args) {
        print(&Line::of(&report, exit.code()))?;
    } else {
        write(&summary(kind, &report, elapsed))?;
    }
    Ok(exit)
}

/// The job: what is collected was planned, and needs no variable that says where it lies.
fn resolve(kind: RunKind, args: &RunArgs, around: &Surroundings) -> Result<Job> {
    match kind {
        RunKind::Run | RunKind::Submit => args.target.resolve_whole(around),
        RunKind::Collect { .. } => args.target.resolve_planned(around),
    }
}

/// Whether the command ends with one JSON object, and not with a summary for a person.
fn wants_line(args: &RunArgs) -> bool {
    args.json || !std::io::stdout().is_terminal()
}

/// Lets time show, and leaves what is known of the job for `status` to read.
fn tick(progress: &Arc<ProgressView>, job: &Job, components: &Components) -> Task<()> {
    let (progress, job, components) = (Arc::clone(progress), job.clone(), components.clone());
    let io = components.io.clone();
    io.spawn(async move {
        let clock = SystemClock;
        let mut left: Option<Live> = None;
        for second in 0_u64.. {
            clock.sleep(TICK).await;
            progress.tick();
            let live = progress
                .live()
                .filter(|_| second.is_multiple_of(LEAVE_EVERY));
            let is_new = |live: &Live| {
                let is_old = left.as_ref().is_some_and(|left| left.waits == live.waits);
                !is_old || second.is_multiple_of(LEAVE_EVERY * 12)
            };
            let Some(live) = live.filter(is_new) else {
                continue;
            };
            if let Err(error) = live.leave(&job, &components).await {
                tracing::debug!(%error, "what is known of the job was not left for others");
            }
            left = Some(live);
        }
    })
}

/// How often time shows.
const TICK: Duration = Duration::from_secs(1);
/// After how many ticks what is known is left for others, where it has changed; where it has not, for the
/// sake of the time that is left, a twelfth as often.
const LEAVE_EVERY: u64 = 5;

/// What a person is told of rows that failed, where they are more than may.
fn failures(report: &Report, column: &str, meta: Meta) -> String {
    let failed = report
        .counts
        .iter()
        .filter(|(s, n)| s.is_failure() && *n > 0);
    let failed: Vec<_> = failed.map(|(s, n)| format!("{n} {s}")).collect();
    let why = match meta {
        Meta::Minimal | Meta::Full => format!("; `{column}_error` in the output says why"),
        Meta::Off => String::new(),
    };
    format!(
        "{} of {} rows failed ({}), more than `max_failed` allows{why}",
        report.counts.failed(),
        report.rows,
        failed.join(", ")
    )
}

fn exit_of(kind: RunKind, args: &RunArgs, report: &Report) -> Exit {
    match report.exit() {
        // What was submitted is pending, and that is what was asked for.
        Exit::Pending if kind == RunKind::Submit && is_all_that_can_be(report) => Exit::Done,
        Exit::Done if report.unchanged && args.skip_code => Exit::NothingToDo,
        exit => exit,
    }
}

/// Whether what was submitted is all that can be at this time: the rest follows by itself, when it is
/// collected.
fn is_all_that_can_be(report: &Report) -> bool {
    matches!(report.awaits, None | Some(Awaits::Trial | Awaits::Queue))
}

/// Prints what a command came to that ended with `error`, with as much as is known of its job.
pub(in crate::cli) fn print_failure(args: &RunArgs, common: &Common, error: &Error, exit: Exit) {
    if !wants_line(args) {
        // The error was told already, and that is all that a person needs.
        return;
    }
    let around = Surroundings::system();
    let job = around
        .and_then(|around| args.target.resolve_planned(&around))
        .ok();
    let stores = Stores::new(common.storage_options.clone()).ok();
    let ledger = job.as_ref().map(|job| {
        let path = &job.ledger.path;
        let place = stores.and_then(|stores| stores.locate(path).ok());
        place.map_or_else(|| path.clone(), |place| place.url.to_string())
    });
    let failure = Failure {
        ledger,
        output: job.as_ref().map(|job| job.output.path.clone()),
        job: job.map(|job| job.name),
        exit_code: exit.code(),
        published: false,
        error: Problem::of(error),
    };
    // Where nobody can be told any more, the exit code says it.
    let _ = print(&failure);
}

fn print(line: &impl Serialize) -> Result<()> {
    let line = serde_json::to_string(line)
        .or_err(ErrorKind::Internal, "the result cannot be written as JSON")?;
    write(&format!("{line}\n"))
}

fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.or_err(ErrorKind::Unavailable, "cannot write to standard output")
}
