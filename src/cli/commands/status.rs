//! `status`: where everything stands, as a table or as one JSON object; once, or until it is over.

use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Duration;

use serde_json::{Value, json};

use super::context::{CommandContext, print};
use crate::base::{Exit, Result, Time};
use crate::cli::display::json::{cache_value, progress_value, statuses, usd};
use crate::cli::display::words::{self, grouped, some};
use crate::engine::{self, BatchLine, StatusReport};
use crate::work::{CacheUse, Variant};

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct StatusOptions {
    /// As one JSON object.
    pub as_json: bool,
    /// Again and again, until it is over.
    pub watch: bool,
}

/// How long it takes from one look to the next.
const PAUSE: Duration = Duration::from_secs(2);
/// Takes the cursor to the top of the terminal, and clears what is beneath.
const TO_THE_TOP: &str = "\x1b[H\x1b[J";

/// Where everything stands.
pub(in crate::cli) async fn status(
    context: &CommandContext,
    options: StatusOptions,
) -> Result<Exit> {
    let is_terminal = std::io::stdout().is_terminal();
    let mut last = String::new();
    loop {
        let report = engine::status(context.setup("status")).await?;
        let now = context.components.clock.now();
        let text = if options.as_json {
            format!("{}\n", status_json(&report))
        } else {
            status_words(&report, now)
        };
        // In a pipe the same is not said twice, but for what differs by the time alone.
        if text != last {
            let redraws = options.watch && !options.as_json && is_terminal;
            print(&format!("{}{text}", if redraws { TO_THE_TOP } else { "" }))?;
            last = text;
        }
        if !options.watch || is_over(&report) {
            return Ok(Exit::Done);
        }
        context.components.clock.sleep(PAUSE).await;
    }
}

/// Whether there is nothing more to see: all is published, or nobody is at work and nothing is pending.
fn is_over(status: &StatusReport) -> bool {
    if status.holder.is_some() {
        return status.report.published && !status.pending;
    }
    !status.pending
}

fn status_words(status: &StatusReport, now: Time) -> String {
    let (report, progress) = (&status.report, &status.progress);
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    line("job", &report.job);
    line("ledger", &report.ledger);
    let published = if report.published {
        "published"
    } else {
        "not published"
    };
    line("output", &format!("{}, {published}", report.output));
    line("plan", &plan_words(status));
    let states = if report.published {
        words::counted(&report.counts)
    } else {
        words::states(progress)
    };
    line("rows", &format!("{}: {states}", grouped(report.rows)));
    line(
        "requests",
        &format!(
            "{} of {} settled",
            grouped(progress.succeeded + progress.failed),
            grouped(progress.planned.requests)
        ),
    );
    if let Some(again) = words::asked_again(&progress.asked_again) {
        line("again", &again);
    }
    let spent = words::spent(&report.usage, report.cost_micros);
    line("spent", &spent);
    let saved = report.cache_saved_micros;
    if let Some(cache) = words::cache(&report.usage, report.cost_micros, saved) {
        line("cache", &cache);
    }
    let holder = status.holder.as_deref();
    line("holder", holder.unwrap_or("nobody"));
    if let Some(live) = &status.live {
        let elapsed = (now - live.since).to_std().unwrap_or_default();
        let left = live.seconds_left.map(Duration::from_secs);
        line("time", &words::times(elapsed, left));
        for wait in &live.waits.waits {
            line("waiting", &format!("for {}", words::wait(wait, now)));
        }
    }
    for note in notes(status) {
        line("note", &note);
    }
    text += &table(&status.batches, now);
    text
}

fn plan_words(status: &StatusReport) -> String {
    let report = &status.report;
    let canceled = match (status.canceled, report.open) {
        (false, _) => "",
        (true, 0) => ", canceled",
        (true, _) => ", cancel asked for",
    };
    let planned = if status.planned { "" } else { ", not complete" };
    format!("{}{planned}{canceled}", report.plan)
}

fn notes(status: &StatusReport) -> Vec<String> {
    let mut notes = Vec::new();
    if status.differs {
        notes.push("the job file differs from what was planned".to_owned());
    }
    if status.holder.is_none() && status.pending {
        let next = match status.report.open {
            0 => "`columnist run` goes on".to_owned(),
            open => format!(
                "`columnist run` or `columnist collect` looks at {}",
                some(open, "open batch", "open batches")
            ),
        };
        notes.push(format!("nobody is at work on it; {next}"));
    }
    notes
}

/// The heads of the table of batches.
const HEADS: [&str; 7] = [
    "PLAN",
    "CHUNK",
    "BATCH",
    "STATE",
    "REQUESTS",
    "SINCE",
    "NEXT LOOK",
];

/// The batches, one a line, and beneath each what a person should know of it.
fn table(batches: &[BatchLine], now: Time) -> String {
    if batches.is_empty() {
        return String::new();
    }
    let rows: Vec<[String; 7]> = batches.iter().map(|batch| cells(batch, now)).collect();
    let width = |at: usize| {
        let cells = rows.iter().map(|row| row[at].chars().count());
        cells.max().unwrap_or_default().max(HEADS[at].len())
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let print = |cells: &[String; 7]| {
        let cells = cells.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = format!("\n{}", print(&HEADS.map(str::to_owned)));
    for (batch, row) in batches.iter().zip(&rows) {
        text += &print(row);
        if !batch.candidates.is_empty() {
            let _ = writeln!(text, "      may be {}", batch.candidates.join(" or "));
        }
        if let Some(note) = &batch.note {
            let _ = writeln!(text, "      {note}");
        }
        if let Some(again) = variant_words(&batch.variant) {
            let _ = writeln!(text, "      {again}");
        }
        if let Some(cache) = cache_words(batch) {
            let _ = writeln!(text, "      cache: {cache}");
        }
    }
    text
}

/// How the requests of a batch differ from what was planned, if they do.
fn variant_words(variant: &Variant) -> Option<String> {
    let mut words = Vec::new();
    if variant.reasks > 0 {
        words.push(match variant.reasks {
            1 => "asked again with the reason".to_owned(),
            times => format!("asked again with the reason, for the {times}. time"),
        });
    }
    words.extend(variant.model.as_ref().map(|model| format!("by {model}")));
    let limit = variant.max_output_tokens;
    words.extend(limit.map(|limit| format!("with a limit of {limit} tokens")));
    (!words.is_empty()).then(|| words.join(", "))
}

/// What the provider's cache has to do with a batch, where it has.
fn cache_words(batch: &BatchLine) -> Option<String> {
    let saved = batch.cache_saved_micros;
    let did = words::cache(&batch.usage, batch.cost_micros, saved);
    let primes = batch
        .primer
        .then(|| "goes first, for others to read what it writes".to_owned());
    match (primes, did) {
        (Some(primes), Some(did)) => Some(format!("{primes}; {did}")),
        (primes, did) => primes.or(did),
    }
}

fn cells(batch: &BatchLine, now: Time) -> [String; 7] {
    let requests = match batch.done {
        Some(done) if done < batch.requests => {
            format!("{} of {} done", grouped(done), grouped(batch.requests))
        }
        _ => grouped(batch.requests),
    };
    let settles = batch.settles_at.map(|at| words::moment(at, now));
    let look = batch.next_look.map(|next| {
        if next > now {
            words::moment(next, now)
        } else {
            "now".to_owned()
        }
    });
    let next = match (look, settles) {
        (Some(next), Some(settles)) => format!("{next}, given up at {settles}"),
        (Some(next), None) => next,
        (None, Some(settles)) => format!("given up at {settles}"),
        (None, None) => "-".to_owned(),
    };
    [
        batch.plan.to_string(),
        batch.chunk.to_string(),
        batch
            .batch
            .clone()
            .unwrap_or_else(|| "no id yet".to_owned()),
        batch.phase.to_owned(),
        requests,
        words::stamp(batch.at),
        next,
    ]
}

fn status_json(status: &StatusReport) -> Value {
    let report = &status.report;
    let batches = status.batches.iter().map(|line| {
        json!({
            "plan": line.plan,
            "chunk": line.chunk,
            "batch": line.batch,
            "phase": line.phase,
            "requests": line.requests,
            "done": line.done,
            "since": line.at,
            "next_look": line.next_look,
            "settles_at": line.settles_at,
            "candidates": line.candidates,
            "note": line.note,
            "status": line.counts,
            "tokens": line.usage,
            "cost_usd": line.cost_micros.map(usd),
            "cache_use": line.cache.map(CacheUse::as_str),
            "primer": line.primer,
            "variant": (!line.variant.is_plain()).then_some(&line.variant),
            "cache": cache_value(&line.usage, line.cost_micros, line.cache_saved_micros),
        })
    });
    json!({
        "job": report.job,
        "run": report.run,
        "ledger": report.ledger,
        "output": report.output,
        "plan": report.plan,
        "planned": status.planned,
        "canceled": status.canceled,
        "differs": status.differs,
        "holder": status.holder,
        "published": report.published,
        "pending": status.pending,
        "rows": report.rows,
        "requests": report.requests,
        "landed": status.landed,
        "open_batches": report.open,
        "status": statuses(&report.counts),
        "progress": progress_value(&status.progress),
        "seconds_left": status.live.as_ref().and_then(|live| live.seconds_left),
        "waits": status.live.as_ref().map(|live| &live.waits.waits),
        "tokens": report.usage,
        "cost_usd": report.cost_micros.map(usd),
        "cache": cache_value(&report.usage, report.cost_micros, report.cache_saved_micros),
        "batches": batches.collect::<Vec<_>>(),
    })
}
