//! What machines read: the last line of a command's output, and events as JSON lines.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::base::{Error, ErrorKind, Time};
use crate::cli::display::diagnose::causes;
use crate::engine::{Awaits, Report};
use crate::work::progress::{AgainCounts, Event, Progress};
use crate::work::{StatusCounts, Usage};

/// What a command came to.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Line<'a> {
    job: &'a str,
    run: &'a str,
    exit_code: u8,
    published: bool,
    unchanged: bool,
    output: &'a str,
    ledger: &'a str,
    rows: u64,
    status: BTreeMap<&'static str, u64>,
    requests: u64,
    identical_rows: u64,
    answered_before_rows: u64,
    unsent_chunks: u64,
    /// What keeps the provider from having all that may be sent.
    awaits: Option<&'static str>,
    /// How far the plan is, where it is not published.
    progress: Option<Value>,
    open_batches: u64,
    unsettled_batches: u64,
    wasted_batches: u64,
    /// What the provider refused for the account's sake, and the next run sends again.
    account_refused_requests: u64,
    duplicate_lines: u64,
    stranger_lines: u64,
    broken_lines: u64,
    batches: &'a [String],
    tokens: Usage,
    /// `null` where the price of the model is not known.
    cost_usd: Option<f64>,
    /// `null` where nothing was read from the provider's cache or written to it.
    cache: Option<Value>,
    /// Requests that were asked again for an answer that could not be used, and how many of them succeeded
    /// then; `null` where none was.
    asked_again: Option<AgainCounts>,
    /// What this process itself took; `null` where the system does not say.
    #[serde(flatten)]
    process: Process,
}

impl<'a> Line<'a> {
    /// The line of `report`, for a process that ends with `exit_code`.
    pub(in crate::cli) fn of(report: &'a Report, exit_code: u8) -> Self {
        Line {
            job: &report.job,
            run: &report.run,
            exit_code,
            published: report.published,
            unchanged: report.unchanged,
            output: &report.output,
            ledger: &report.ledger,
            rows: report.rows,
            status: statuses(&report.counts),
            requests: report.requests,
            identical_rows: report.identical,
            answered_before_rows: report.answered,
            unsent_chunks: report.unsent,
            awaits: report.awaits.map(Awaits::as_str),
            progress: (!report.published).then(|| progress_value(&report.progress)),
            open_batches: report.open,
            unsettled_batches: report.unsettled,
            wasted_batches: report.wasted,
            account_refused_requests: report.account_refused,
            duplicate_lines: report.oddities.duplicates,
            stranger_lines: report.oddities.strangers,
            broken_lines: report.oddities.broken,
            batches: &report.batches,
            tokens: report.usage,
            cost_usd: report.cost_micros.map(usd),
            cache: cache_value(&report.usage, report.cost_micros, report.cache_saved_micros),
            asked_again: again_value(&report.progress).filter(|_| !report.unchanged),
            process: Process::so_far(),
        }
    }
}

/// What was asked again for an answer that could not be used, if anything was.
fn again_value(progress: &Progress) -> Option<AgainCounts> {
    Some(progress.asked_again).filter(|again| !again.is_none())
}

/// What a command says that ended with an error.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Failure {
    /// `null`, like what follows from it, where the error is the job itself.
    pub job: Option<String>,
    pub exit_code: u8,
    pub published: bool,
    pub output: Option<String>,
    pub ledger: Option<String>,
    pub error: Problem,
}

/// An error, for a machine.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Problem {
    kind: &'static str,
    message: String,
    hint: Option<String>,
    /// What it comes from: sentences, and the job's mistakes with their places.
    causes: Vec<Value>,
}

impl Problem {
    /// What `error` says.
    pub(in crate::cli) fn of(error: &Error) -> Problem {
        let kind = match error.kind() {
            ErrorKind::Ambiguous => "ambiguous",
            ErrorKind::Data => "data",
            ErrorKind::Held => "held",
            ErrorKind::Internal => "internal",
            ErrorKind::Invalid => "invalid",
            ErrorKind::Pending => "pending",
            ErrorKind::Refused => "refused",
            ErrorKind::Unavailable => "unavailable",
        };
        Problem {
            kind,
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
            causes: causes(error),
        }
    }
}

/// What a process has taken so far.
#[derive(Debug, Default, Serialize)]
struct Process {
    /// Processor time, of the program and of the system for it.
    cpu_seconds: Option<f64>,
    /// The most memory that it had at once.
    peak_memory_bytes: Option<u64>,
}

impl Process {
    /// This process, as Linux's `/proc` tells it.
    fn so_far() -> Process {
        Process {
            cpu_seconds: cpu_seconds(),
            peak_memory_bytes: peak_memory_bytes(),
        }
    }
}

/// What a process says before it kills itself at `point`.
#[expect(
    clippy::print_stdout,
    reason = "it is the last line of standard output"
)]
pub(in crate::cli) fn last_words(point: &'static str) {
    let peak = peak_memory_bytes();
    println!(
        "{}",
        json!({ "killed_at": point, "peak_memory_bytes": peak })
    );
}

/// What `/proc` counts in, on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

fn cpu_seconds() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in parentheses may hold spaces; user and system time are the 12th and 13th after it.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks: Vec<f64> = fields
        .skip(11)
        .take(2)
        .filter_map(|word| word.parse().ok())
        .collect();
    (ticks.len() == 2).then(|| ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Millionths of a US dollar as dollars.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to nine billion dollars"
)]
pub(in crate::cli) fn usd(micros: u64) -> f64 {
    micros as f64 / 1e6
}

/// The same, which may be less than nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "exact up to nine billion dollars"
)]
pub(in crate::cli) fn signed_usd(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// A sentence as one JSON line, without its line break.
pub(in crate::cli) fn note_line(time: Time, sentence: &str) -> String {
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    json!({ "time": time, "level": "info", "event": "note", "message": sentence }).to_string()
}

/// `event` as one JSON line, without its line break.
pub(in crate::cli) fn event_line(time: Time, event: &Event) -> String {
    let level = match event {
        Event::Warning(_) => "warning",
        _ => "info",
    };
    let time = time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    let mut line = json!({ "time": time, "level": level });
    if let (Value::Object(line), Value::Object(more)) = (&mut line, event_value(event)) {
        line.extend(more);
    }
    line.to_string()
}

fn event_value(event: &Event) -> Value {
    match event {
        Event::Opened { run } => json!({ "event": "opened", "run": run }),
        Event::Planned(planned) => json!({
            "event": "planned", "rows": planned.rows(), "requests": planned.requests,
        }),
        Event::Submitted { chunk, requests } => {
            json!({ "event": "submitted", "chunk": chunk, "requests": requests })
        }
        Event::Polled {
            batch,
            status,
            done,
            total,
        } => json!({
            "event": "polled", "batch": batch, "status": status, "done": done, "total": total,
        }),
        Event::Landed {
            batch,
            requests,
            counts,
        } => json!({
            "event": "landed", "batch": batch, "requests": requests, "status": statuses(counts),
        }),
        Event::Progress(progress) => {
            let mut value = progress_value(progress);
            value["event"] = "progress".into();
            value
        }
        Event::Waiting(waits) => json!({ "event": "waiting", "waits": waits.waits }),
        Event::Published { output } => json!({ "event": "published", "output": output }),
        Event::Warning(text) => json!({ "event": "warning", "message": text }),
    }
}

/// How far a plan is: its rows by state, which sum to `rows`, and its requests.
pub(in crate::cli) fn progress_value(progress: &Progress) -> Value {
    json!({
        "plan": progress.plan,
        "rows": progress.rows,
        "by_state": progress.by_row(),
        "requests": {
            "planned": progress.planned.requests,
            "to_send": progress.to_send(),
            "unconfirmed": progress.unconfirmed,
            "sent": progress.sent,
            "done_at_provider": progress.done,
            "again": progress.again,
            "succeeded": progress.succeeded,
            "failed": progress.failed,
        },
        "trial": progress.trial,
        "primer": progress.primer,
        "asked_again": again_value(progress),
        "open_batches": progress.batches,
        "tokens": progress.usage,
        "cost_usd": progress.cost_micros.map(usd),
    })
}

/// What the provider's cache did for requests that used so much and cost so much: the share of all input
/// that was read from it, and what that saved at the price of a batch.
pub(in crate::cli) fn cache_value(usage: &Usage, cost: Option<u64>, saved: i64) -> Option<Value> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no last digit")]
    let rate = usage.cache_read as f64 / usage.input_total().max(1) as f64;
    (usage.cached() > 0).then(|| {
        json!({
            "hit_rate": (rate * 1e4).round() / 1e4,
            "saved_usd": cost.map(|_| signed_usd(saved)),
        })
    })
}

/// Counts by status: those that are not zero.
pub(in crate::cli) fn statuses(counts: &StatusCounts) -> BTreeMap<&'static str, u64> {
    let counted = counts.iter().filter(|(_, count)| *count > 0);
    counted
        .map(|(status, count)| (status.as_str(), count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::RowStatus;

    #[test]
    fn the_result_is_one_line_with_the_promised_fields() {
        let mut counts = StatusCounts::default();
        counts.add(RowStatus::Succeeded, 198);
        counts.add(RowStatus::Skipped, 2);
        let mut report = Report {
            job: "triage".into(),
            run: "r1".into(),
            rows: 200,
            counts,
            cost_micros: Some(1_234_567),
            batches: vec!["b1".into()],
            output: "/out".into(),
            published: true,
            ..Report::default()
        };
        let line = serde_json::to_string(&Line::of(&report, 0)).expect("JSON");
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["status"], json!({ "succeeded": 198, "skipped": 2 }));
        assert_eq!(value["tokens"]["input"], 0);
        assert_eq!(value["cost_usd"], 1.234_567);
        assert_eq!(
            (&value["run"], &value["exit_code"]),
            (&json!("r1"), &json!(0))
        );
        assert_eq!(
            (&value["output"], &value["batches"]),
            (&json!("/out"), &json!(["b1"]))
        );
        report.cost_micros = None;
        assert_eq!(json!(Line::of(&report, 0))["cost_usd"], Value::Null);
    }

    #[test]
    fn an_event_is_one_line() {
        let time = chrono::DateTime::from_timestamp(0, 0).expect("in range");
        let event = Event::Published {
            output: "/a\nb".into(),
        };
        let line = event_line(time, &event);
        assert!(!line.contains('\n'));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            value,
            json!({
                "time": "1970-01-01T00:00:00.000Z", "level": "info", "event": "published",
                "output": "/a\nb",
            })
        );
        let warning = event_line(time, &Event::Warning("mind".into()));
        assert!(warning.contains(r#""level":"warning""#));
    }
}
