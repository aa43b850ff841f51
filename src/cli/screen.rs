//! Progress on standard error: bars on a terminal, lines elsewhere, JSON lines by choice.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::args::LogFormat;
use crate::base::{Clock, Time};
use crate::work::progress::{Event, Watch};

/// Lines about the same thing come no more often than this.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// Writes what happens to standard error, and nothing after [`Screen::close`].
#[derive(Debug)]
pub(super) struct Screen {
    clock: std::sync::Arc<dyn Clock>,
    form: Form,
    tally: Mutex<Tally>,
}

#[derive(Debug)]
enum Form {
    Bar(ProgressBar),
    Lines,
    Json,
    Silent,
}

/// What has happened so far.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    requests: u64,
    submitted: u64,
    landed: u64,
    last_line: Option<Time>,
    closed: bool,
}

impl Screen {
    /// A screen of the form that fits where standard error goes.
    pub(super) fn new(clock: std::sync::Arc<dyn Clock>, format: LogFormat, quiet: bool) -> Self {
        let form = match format {
            _ if quiet => Form::Silent,
            LogFormat::Json => Form::Json,
            LogFormat::Plain if std::io::stderr().is_terminal() => Form::Bar(bar()),
            LogFormat::Plain => Form::Lines,
        };
        Screen {
            clock,
            form,
            tally: Mutex::default(),
        }
    }

    /// Ends it: nothing is written afterwards.
    pub(super) fn close(&self) {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .closed = true;
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }

    fn show(&self, tally: &mut Tally, event: &Event) {
        let words = words(tally, event);
        match &self.form {
            Form::Silent => {}
            Form::Json => write_line(&json(event, self.clock.now())),
            Form::Bar(bar) => match event {
                Event::Warning(text) => bar.suspend(|| write_line(&format!("warning: {text}"))),
                _ => bar.set_message(words),
            },
            Form::Lines => {
                let now = self.clock.now();
                let often = matches!(event, Event::Planned { .. } | Event::Polled { .. });
                let soon = tally.last_line.is_some_and(|last| now < last + LINE_PAUSE);
                if !(often && soon) {
                    tally.last_line = Some(now);
                    write_line(&format!("{} {words}", now.format("%H:%M:%S")));
                }
            }
        }
    }
}

impl Watch for Screen {
    fn event(&self, event: &Event) {
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        if tally.closed {
            return;
        }
        match event {
            Event::Planned { rows, requests } => (tally.rows, tally.requests) = (*rows, *requests),
            Event::Submitted { .. } => tally.submitted += 1,
            Event::Landed { requests, .. } => tally.landed += requests,
            _ => {}
        }
        self.show(&mut tally, event);
    }
}

/// What happened, in words.
fn words(tally: &Tally, event: &Event) -> String {
    match event {
        Event::Opened { run } => format!("run {run}"),
        Event::Planned { rows, requests } => format!("planned {rows} rows, {requests} requests"),
        Event::Submitted { chunk } => {
            format!(
                "submitted chunk {chunk} ({} so far, {} rows planned)",
                tally.submitted, tally.rows
            )
        }
        Event::Polled {
            batch,
            status,
            done,
            total,
        } => {
            format!(
                "batch {batch}: {status}, {done} of {total}; landed {} of {}",
                tally.landed, tally.requests
            )
        }
        Event::Landed {
            batch, requests, ..
        } => {
            format!(
                "landed batch {batch}: {requests} requests; {} of {}",
                tally.landed, tally.requests
            )
        }
        Event::Published { output } => format!("published {output}"),
        Event::Warning(text) => format!("warning: {text}"),
    }
}

fn json(event: &Event, now: Time) -> String {
    let mut line = match event {
        Event::Opened { run } => json!({"event": "opened", "run": run}),
        Event::Planned { rows, requests } => {
            json!({"event": "planned", "rows": rows, "requests": requests})
        }
        Event::Submitted { chunk } => json!({"event": "submitted", "chunk": chunk}),
        Event::Polled {
            batch,
            status,
            done,
            total,
        } => {
            json!({"event": "polled", "batch": batch, "status": status, "done": done, "total": total})
        }
        Event::Landed {
            batch,
            requests,
            counts,
        } => {
            json!({"event": "landed", "batch": batch, "requests": requests, "status": counts})
        }
        Event::Published { output } => json!({"event": "published", "output": output}),
        Event::Warning(text) => json!({"event": "warning", "text": text}),
    };
    line["time"] = now.to_rfc3339().into();
    line.to_string()
}

fn write_line(line: &str) {
    // Progress that nobody can read is no reason to stop.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    bar.set_draw_target(ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
