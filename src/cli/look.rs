//! The commands that look, and those that ask: `plan`, `check`, `cancel`, `gc`. See `status.rs` and
//! `show.rs` for the others.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::exit::Exit;
use super::json::usd;
use super::vendor::Vendor;
use crate::base::{Components, Error, ErrorKind, Result, ResultExt};
use crate::engine::{self, Asked, Change, Checked, PlanReport, Setup, Wanted};
use crate::provider::Provider;
use crate::spec::Job;
use crate::work::RowStatus;
use crate::work::progress::Unwatched;

/// What these commands work with.
pub(super) struct Look {
    /// The job.
    pub job: Job,
    /// Bytes that sorting and joining may use.
    pub memory: usize,
    /// The seams.
    pub components: Components,
}

impl Look {
    pub(super) fn setup(&self, command: &'static str) -> Setup {
        Setup {
            job: self.job.clone(),
            command,
            components: self.components.clone(),
            watch: Arc::new(Unwatched),
            memory: self.memory,
            no_follow: false,
            publish_partial: false,
            cancel_on_interrupt: false,
            vendors: None,
            interrupt: CancellationToken::new(),
        }
    }

    pub(super) fn vendor(&self) -> Result<Arc<dyn Provider>> {
        Vendor::offline(&self.job, &self.components)
    }
}

/// `plan`: what a run would do.
pub(super) async fn plan(look: &Look, to: Option<&Path>) -> Result<Exit> {
    let report = engine::plan(look.setup("plan"), look.vendor()?).await?;
    if let Some(path) = to {
        let text = format!("{:#}\n", plan_json(&report));
        std::fs::write(path, text)
            .or_err(ErrorKind::Unavailable, "cannot write the plan")
            .map_err(|error| error.with("path", path.display()))?;
    }
    print(&plan_words(&report))
}

fn plan_words(report: &PlanReport) -> String {
    let counts = &report.counts;
    let mut text = format!(
        "rows        {}\n  new        {}\n  changed    {}\n  identical  {}\n  answered   {}\n  \
         skipped    {}\n",
        report.rows, counts.new, counts.changed, counts.identical, counts.answered, counts.skipped,
    );
    for (why, count) in report.skipped.iter().filter(|(why, _)| !why.is_empty()) {
        let _ = writeln!(text, "    {count} {why}");
    }
    let _ = writeln!(text, "  failed     {}", counts.failed);
    if let Some((gone, since)) = report.gone.filter(|gone| *gone > 0).zip(report.since) {
        let _ = writeln!(text, "gone        {gone} rows of plan {since}");
    }
    let _ = write!(
        text,
        "requests    {} in {} batches\ntokens      about {} in, at most {} out\ncost        {}\n",
        report.requests,
        report.chunks,
        report.input_tokens,
        report.output_tokens_max,
        cost_words(report)
    );
    if let Some(since) = report.since.filter(|_| !report.changes.is_empty()) {
        let _ = writeln!(text, "\nchanged since plan {since}");
        for change in &report.changes {
            change_words(change, &mut text);
        }
        text.push('\n');
    }
    for note in &report.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text
}

/// What a run costs, in one sentence.
fn cost_words(report: &PlanReport) -> String {
    if report.requests == 0 {
        return "nothing: no request is to be sent".to_owned();
    }
    let costs = (
        report.expected_micros,
        report.worst_micros,
        report.online_worst_micros,
    );
    let (Some(expected), Some(worst), Some(online)) = costs else {
        return "not known: this version has no price for the model".to_owned();
    };
    format!(
        "about ${:.2} expected, ${:.2} at worst; online ${:.2} at worst",
        usd(expected),
        usd(worst),
        usd(online)
    )
}

/// The longest value that stands in a line of its own, in characters.
const VALUE_MAX: usize = 100;

/// A setting, with what it was and is; of a text of several lines those that differ.
fn change_words(change: &Change, text: &mut String) {
    let word = |value: &Option<Value>| match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => short(text),
        Some(value) => short(&value.to_string()),
    };
    let is_text = change.key.starts_with("prompt.") || change.key == "source.query";
    let sides = [&change.was, &change.now].map(|side| side.as_ref().and_then(Value::as_str));
    let note = match &*change.key {
        "model.max_output_tokens" => "  (asks again only what was cut, if it is higher)",
        key if key.starts_with("output.") => "  (the same answers, published again)",
        _ => "",
    };
    if let ([Some(was), Some(now)], true) = (sides, is_text) {
        let _ = writeln!(text, "  {}", change.key);
        for (sign, line) in changed_lines(was, now) {
            let _ = writeln!(text, "    {sign} {}", short(line));
        }
        return;
    }
    let (was, now) = (word(&change.was), word(&change.now));
    let _ = writeln!(text, "  {}  {was} -> {now}{note}", change.key);
}

/// The lines that differ: those of `was`, then those of `now`, without what both begin and end with.
fn changed_lines<'t>(was: &'t str, now: &'t str) -> impl Iterator<Item = (char, &'t str)> {
    let (was, now): (Vec<_>, Vec<_>) = (was.lines().collect(), now.lines().collect());
    let head = was.iter().zip(&now).take_while(|(a, b)| a == b).count();
    let (was, now) = (was[head..].to_vec(), now[head..].to_vec());
    let ends = was.iter().rev().zip(now.iter().rev());
    let tail = ends.take_while(|(a, b)| a == b).count();
    let (was_end, now_end) = (was.len() - tail, now.len() - tail);
    let was = was.into_iter().take(was_end).map(|line| ('-', line));
    was.chain(now.into_iter().take(now_end).map(|line| ('+', line)))
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    match line.char_indices().nth(VALUE_MAX) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None if line.len() < text.len() => format!("{line}..."),
        None => line.to_owned(),
    }
}

fn plan_json(report: &PlanReport) -> Value {
    let changes = report
        .changes
        .iter()
        .map(|change| json!({ "key": change.key, "was": change.was, "now": change.now }));
    let skipped: serde_json::Map<_, _> = report
        .skipped
        .iter()
        .map(|(why, count)| (why.clone(), (*count).into()))
        .collect();
    json!({
        "job": report.job,
        "rows": report.rows,
        "counts": report.counts,
        "skipped": skipped,
        "gone": report.gone,
        "requests": report.requests,
        "batches": report.chunks,
        "input_tokens": report.input_tokens,
        "output_tokens_max": report.output_tokens_max,
        "expected_usd": report.expected_micros.map(usd),
        "worst_usd": report.worst_micros.map(usd),
        "online_worst_usd": report.online_worst_micros.map(usd),
        "since_plan": report.since,
        "changes": changes.collect::<Vec<_>>(),
        "notes": report.notes,
    })
}

/// `check`: validates, and renders the first rows.
pub(super) async fn check(look: &Look, rows: u64) -> Result<Exit> {
    let checked = engine::check(look.setup("check"), look.vendor()?, rows).await?;
    print(&check_words(&checked))
}

fn check_words(checked: &Checked) -> String {
    let mut text = String::new();
    if let Some(rows) = checked.rows {
        let _ = writeln!(text, "rows     {rows}");
    }
    let columns = checked
        .columns
        .iter()
        .map(|(name, kind)| format!("{name} {kind}"));
    let _ = writeln!(text, "columns  {}", columns.collect::<Vec<_>>().join(", "));
    for table in &checked.text {
        let name = match &*table.table {
            "" => String::new(),
            name => format!("{name}: "),
        };
        let _ = writeln!(text, "types    {name}{}", table.columns.join("; "));
    }
    let _ = writeln!(text, "sent     {}", checked.sent.join(", "));
    for note in &checked.notes {
        let _ = writeln!(text, "note     {note}");
    }
    for row in &checked.first {
        let _ = match &row.prompt {
            Ok(prompt) if row.more > 0 => writeln!(
                text,
                "\n--- row {}\n{prompt}\n... and {} characters more",
                row.row, row.more
            ),
            Ok(prompt) => writeln!(text, "\n--- row {}\n{prompt}", row.row),
            Err(why) => writeln!(text, "\n--- row {}: {why}", row.row),
        };
    }
    text
}

/// `cancel`: asks for open batches to be canceled.
pub(super) async fn cancel(look: &Look) -> Result<Exit> {
    let open = engine::cancel(look.setup("cancel")).await?;
    if open == 0 {
        return print("no batch is open; nothing more is sent of this plan\n");
    }
    print(&format!(
        "asked for {open} open batches to be canceled; a run that is at work, else the next `columnist \
         collect`, tells the provider, and harvests what they finished\n"
    ))
}

/// `retry`: asks for what has no answer to be sent again.
pub(super) async fn retry(
    look: &Look,
    (statuses, keys): (&[RowStatus], &[String]),
) -> Result<Exit> {
    let columns = look.job.source.key.len().max(1);
    if !keys.len().is_multiple_of(columns) {
        return Err(
            Error::invalid("a row's key has one value for each key column")
                .with("key_columns", look.job.source.key.join(", "))
                .with("values", keys.len())
                .hint("write --key once for each key column, in their order"),
        );
    }
    let wanted = Wanted {
        statuses: statuses.to_vec(),
        keys: keys.chunks(columns).map(<[String]>::to_vec).collect(),
    };
    let Asked { rows, is_held } = engine::retry(look.setup("retry"), wanted).await?;
    let who = if is_held {
        "the run that is at work sends them when it has published"
    } else {
        "`columnist run` sends them"
    };
    print(&format!("asked for {rows} rows to be sent again; {who}\n"))
}

/// `gc`: deletes what is no longer needed.
pub(super) async fn gc(look: &Look, age: Duration) -> Result<Exit> {
    let cleaned = engine::clean(look.setup("gc"), look.vendor()?, age).await?;
    print(&format!(
        "deleted {} files of {} plans\n",
        cleaned.files, cleaned.plans
    ))
}

/// Prints what a command has found.
pub(super) fn print(text: &str) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads the first lines alone has what was wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Error::unavailable("cannot write to standard output").because(error)),
        Ok(()) => Ok(Exit::Done),
    }
}
