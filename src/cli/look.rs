//! The commands that look, and those that ask: `plan`, `check`, `status`, `show`, `cancel`, `gc`.

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
use crate::engine::{self, Checked, PlanReport, Setup, StatusReport, Story};
use crate::provider::Provider;
use crate::spec::Job;
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
    fn setup(&self, command: &'static str) -> Setup {
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

    fn vendor(&self) -> Result<Arc<dyn Provider>> {
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
    let _ = writeln!(text, "sent     {}", checked.sent.join(", "));
    for row in &checked.first {
        let _ = match &row.prompt {
            Ok(prompt) => writeln!(text, "\n--- row {}\n{prompt}", row.row),
            Err(why) => writeln!(text, "\n--- row {}: {why}", row.row),
        };
    }
    text
}

/// `status`: where everything stands; once, or until nothing is open.
pub(super) async fn status(look: &Look, (as_json, watch): (bool, bool)) -> Result<Exit> {
    loop {
        let report = engine::status(look.setup("status")).await?;
        print(&if as_json {
            format!("{}\n", status_json(&report))
        } else {
            status_words(&report)
        })?;
        if !watch || report.report.open == 0 {
            return Ok(Exit::Done);
        }
        look.components.clock.sleep(Duration::from_secs(2)).await;
    }
}

fn status_words(status: &StatusReport) -> String {
    let report = &status.report;
    let mut text = format!(
        "job       {}\nledger    {}\noutput    {}{}\nplan      {}{}{}\nrows      {}\nlanded    {} of {} requests\n",
        report.job,
        report.ledger,
        report.output,
        if report.published {
            ", published"
        } else {
            ", not published"
        },
        report.plan,
        if status.planned { "" } else { ", not complete" },
        match (status.canceled, report.open) {
            (false, _) => "",
            (true, 0) => ", canceled",
            (true, _) => ", cancel asked for",
        },
        report.rows,
        status.landed,
        report.requests,
    );
    let counts = report.counts.iter().filter(|(_, count)| *count > 0);
    for (word, count) in counts {
        let _ = writeln!(text, "  {:<10} {count}", word.as_str());
    }
    let _ = writeln!(
        text,
        "holder    {}",
        status.holder.as_deref().unwrap_or("nobody")
    );
    if status.differs {
        text.push_str("note      the job file differs from what was planned\n");
    }
    for line in &status.batches {
        let _ = writeln!(
            text,
            "batch     plan {} chunk {}: {}, {}, {} requests, since {}",
            line.plan,
            line.chunk,
            line.batch.as_deref().unwrap_or("no id yet"),
            line.phase,
            line.requests,
            line.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
        );
        if !line.candidates.is_empty() {
            let _ = writeln!(text, "          may be {}", line.candidates.join(" or "));
        }
        if let Some(note) = &line.note {
            let _ = writeln!(text, "          {note}");
        }
    }
    text
}

fn status_json(status: &StatusReport) -> Value {
    let report = &status.report;
    let counts = report.counts.iter().filter(|(_, count)| *count > 0);
    let counts: serde_json::Map<String, Value> = counts
        .map(|(word, count)| (word.as_str().to_owned(), count.into()))
        .collect();
    let batches = status.batches.iter().map(|line| {
        json!({
            "plan": line.plan,
            "chunk": line.chunk,
            "batch": line.batch,
            "phase": line.phase,
            "requests": line.requests,
            "since": line.at,
            "candidates": line.candidates,
            "note": line.note,
            "status": line.counts,
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
        "rows": report.rows,
        "requests": report.requests,
        "landed": status.landed,
        "open_batches": report.open,
        "status": counts,
        "tokens": report.usage,
        "cost_usd": report.cost_micros.map(usd),
        "batches": batches.collect::<Vec<_>>(),
    })
}

/// `show`: one row's story.
pub(super) async fn show(look: &Look, row: &[String]) -> Result<Exit> {
    let story = engine::show(look.setup("show"), row).await?;
    print(&story_words(&story))
}

fn story_words(story: &Story) -> String {
    let mut text = format!("row      {}\nplan     {}\n", story.row, story.plan);
    if story.changed {
        text.push_str("note     the source has changed since it was planned\n");
    }
    if let Some(key) = &story.key {
        let _ = writeln!(text, "key      {key}");
    }
    if story.prompt_gone {
        text.push_str("note     the prompt was deleted by gc\n");
    }
    if let Some(prompt) = &story.prompt {
        let _ = writeln!(text, "--- prompt\n{prompt}");
    }
    for (n, told) in story.attempts.iter().enumerate() {
        let status = told
            .status
            .map_or("not landed", crate::work::RowStatus::as_str);
        let batch = told.batch.as_deref().unwrap_or("no batch");
        let _ = writeln!(text, "--- attempt {}: {status}, {batch}", n + 1);
        if let Some(model) = &told.model {
            let _ = writeln!(text, "model    {model}");
        }
        let usage = told.usage;
        let _ = writeln!(
            text,
            "tokens   {} in, {} out",
            usage.input_total(),
            usage.output
        );
        for (name, value) in [
            ("answer", &told.answer),
            ("raw", &told.raw),
            ("error", &told.error),
        ] {
            if let Some(value) = value {
                let _ = writeln!(text, "{name:<8} {value}");
            }
        }
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

/// `gc`: deletes what is no longer needed.
pub(super) async fn gc(look: &Look, age: Duration) -> Result<Exit> {
    let cleaned = engine::clean(look.setup("gc"), look.vendor()?, age).await?;
    print(&format!(
        "deleted {} files of {} plans\n",
        cleaned.files, cleaned.plans
    ))
}

fn print(text: &str) -> Result<Exit> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever reads the first lines alone has what was wanted.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(error) => Err(Error::unavailable("cannot write to standard output").because(error)),
        Ok(()) => Ok(Exit::Done),
    }
}
