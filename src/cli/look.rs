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
use crate::engine::{self, Asked, Checked, PlanReport, Setup, Wanted};
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
         skipped    {}\n  failed     {}\nrequests    {} in {} batches\ntokens      about {} in, at most {} out\n",
        report.rows,
        counts.new,
        counts.changed,
        counts.identical,
        counts.answered,
        counts.skipped,
        counts.failed,
        report.requests,
        report.chunks,
        report.input_tokens,
        report.output_tokens_max,
    );
    let dollars = |micros: Option<u64>| {
        micros.map_or_else(
            || "unknown".to_owned(),
            |micros| format!("${:.2}", usd(micros)),
        )
    };
    let _ = writeln!(
        text,
        "cost        about {} expected, {} at worst; online {} at worst",
        dollars(report.expected_micros),
        dollars(report.worst_micros),
        dollars(report.online_worst_micros)
    );
    for note in &report.notes {
        let _ = writeln!(text, "note        {note}");
    }
    text
}

fn plan_json(report: &PlanReport) -> Value {
    json!({
        "job": report.job,
        "rows": report.rows,
        "counts": report.counts,
        "requests": report.requests,
        "batches": report.chunks,
        "input_tokens": report.input_tokens,
        "output_tokens_max": report.output_tokens_max,
        "expected_usd": report.expected_micros.map(usd),
        "worst_usd": report.worst_micros.map(usd),
        "online_worst_usd": report.online_worst_micros.map(usd),
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
