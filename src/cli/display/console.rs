//! How this process speaks to whoever started it: how progress is shown, whether there are
//! colours and logs, and how an error is told.

use std::io::{self, IsTerminal};
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::base::{Clock, Error, Exit};
use crate::cli::args::{Common, LogFormat};
use crate::cli::display::diagnose::{self, Colour};
use crate::cli::display::progress::{ProgressStyle, ProgressView};
use crate::cli::display::stderr::Stderr;

/// Standard error, as this process uses it.
#[derive(Debug)]
pub(in crate::cli) struct Console {
    stderr: Stderr,
    colour: Colour,
    format: LogFormat,
    verbose: u8,
    quiet: bool,
    logs: bool,
    terminal: bool,
}

impl Console {
    /// The console that the common flags and the environment ask for.
    pub(in crate::cli) fn new(common: &Common) -> Self {
        let terminal = io::stderr().is_terminal();
        let env = |name: &str| std::env::var(name).ok();
        Console {
            stderr: Stderr::open(),
            colour: Colour::decide(terminal, &env),
            format: common.log_format,
            verbose: common.verbose,
            quiet: common.quiet,
            logs: common.verbose > 0 || env("RUST_LOG").is_some_and(|filter| !filter.is_empty()),
            terminal: terminal && env("TERM").as_deref() != Some("dumb"),
        }
    }

    /// Sends log messages to standard error: those asked for by `-v` or `RUST_LOG`, else our warnings.
    pub(in crate::cli) fn set_up_logs(&self) {
        let filter = match self.verbose {
            0 if !self.logs => EnvFilter::new("columnist=warn"),
            0 => EnvFilter::from_default_env(),
            1 => EnvFilter::new("columnist=info"),
            2 => EnvFilter::new("columnist=debug"),
            _ => EnvFilter::new("info,columnist=trace"),
        };
        let logs = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(self.stderr.clone())
            .with_ansi(self.colour == Colour::Always);
        // A second set-up in one process changes nothing, and is no reason to stop.
        let _ = match self.format {
            LogFormat::Plain if self.logs => logs.try_init(),
            LogFormat::Plain => logs.without_time().with_target(false).try_init(),
            LogFormat::Json => logs.json().try_init(),
        };
    }

    /// A view of progress. Log messages and moving bars would tear each other apart, so that
    /// with the one there are plain lines instead of the other.
    pub(in crate::cli) fn progress(&self, clock: Arc<dyn Clock>) -> ProgressView {
        let style = match self.format {
            LogFormat::Json => ProgressStyle::Json,
            LogFormat::Plain if self.quiet => ProgressStyle::Quiet,
            LogFormat::Plain if self.terminal && !self.logs => ProgressStyle::Bars,
            LogFormat::Plain => ProgressStyle::Lines,
        };
        ProgressView::new(clock, self.stderr.clone(), style, self.colour)
    }

    /// Tells an error, and returns its exit code. Said even where progress is over: an error that
    /// comes last has no result after it.
    pub(in crate::cli) fn fail(&self, error: &Error) -> Exit {
        let text = match self.format {
            LogFormat::Plain => diagnose::render(error, self.colour),
            LogFormat::Json => diagnose::render_json(error) + "\n",
        };
        Stderr::open().text(&text);
        error.kind().exit()
    }
}
