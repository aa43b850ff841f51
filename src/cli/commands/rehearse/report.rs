//! What came of a rehearsal, in words and as one JSON object.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::environment::Environment;
use super::judge::Verdict;
use super::runner::Ending;
use crate::base::{ErrorKind, Exit, Result, ResultExt};
use crate::cli::args::Rehearse;
use crate::cli::display::words::grouped;
use crate::emulator::Bill;

/// What a rehearsal came to.
#[derive(Debug)]
pub(super) struct Report {
    job: String,
    model: String,
    seed: u64,
    faults: String,
    fault_counts: BTreeMap<&'static str, u64>,
    batch_time: String,
    speed: u32,
    kills: BTreeMap<String, u64>,
    restarts: u32,
    /// Rows by status, as the run itself has counted them.
    status: BTreeMap<String, u64>,
    wasted_batches: u64,
    peak_memory: Option<u64>,
    verdict: Verdict,
    bill: Bill,
}

impl Report {
    /// All there is to tell.
    pub(super) fn of(
        environment: &Environment,
        ending: &Ending,
        verdict: Verdict,
        args: &Rehearse,
    ) -> Result<Report> {
        let mut kills = BTreeMap::new();
        for point in &ending.kills {
            *kills.entry(point.clone()).or_default() += 1;
        }
        let model = &environment.job.model;
        let line = &ending.line;
        Ok(Report {
            job: environment.job.name.clone(),
            model: format!("{}/{}", model.provider, model.model),
            seed: args.seed,
            faults: environment.faults.to_string(),
            fault_counts: environment.sandbox.fault_counts()?,
            batch_time: args.batch_time.clone(),
            speed: args.speed,
            kills,
            restarts: ending.restarts,
            status: serde_json::from_value(line["status"].clone()).unwrap_or_default(),
            wasted_batches: line["wasted_batches"].as_u64().unwrap_or_default(),
            peak_memory: ending.peak_memory,
            verdict,
            bill: environment.sandbox.bill()?,
        })
    }

    /// 0 if every promise held, 6 if one was broken.
    pub(super) fn exit(&self) -> Exit {
        if self.held() { Exit::Done } else { Exit::Gate }
    }

    fn held(&self) -> bool {
        self.verdict.held() && self.counts_agree()
    }

    /// Whether the run's own counts are those of its output.
    fn counts_agree(&self) -> bool {
        self.verdict.counts.is_none_or(|counts| {
            let counts = counts.iter().filter(|(_, count)| *count > 0);
            let counts: BTreeMap<_, _> = counts
                .map(|(status, count)| (status.as_str().to_owned(), count))
                .collect();
            counts == self.status
        })
    }

    /// Prints it: words unless `json` alone is wanted, and one JSON object.
    pub(super) fn print(&self, json: bool, scratch: Option<&Path>) -> Result<()> {
        let mut out = std::io::stdout().lock();
        let words = if json { String::new() } else { self.words() };
        let line = self.line(scratch);
        writeln!(out, "{words}{line}")
            .or_err(ErrorKind::Unavailable, "cannot write to standard output")
    }

    fn words(&self) -> String {
        let lines = self.ended().into_iter().chain(self.found());
        lines.fold(String::new(), |text, (name, words)| {
            text + format!("{name:<9} {words}").trim_end() + "\n"
        })
    }

    /// What was ended.
    fn ended(&self) -> Vec<(&'static str, String)> {
        let Report {
            job,
            model,
            seed,
            batch_time,
            speed,
            ..
        } = self;
        let faults = match &*self.faults {
            "" => "none",
            faults => faults,
        };
        let kills = format!(
            "{}, at {} kinds of points; {} more restarts",
            self.kills.values().sum::<u64>(),
            self.kills.len(),
            self.restarts
        );
        vec![
            ("rehearsed", format!("{job} as {model}, seed {seed}")),
            (
                "with",
                format!(
                    "batches of {batch_time}, time {speed} times as fast; ledger and output in a \
                     scratch folder"
                ),
            ),
            ("faults", faults.to_owned()),
            (
                "happened",
                listed(&self.fault_counts, |fault, count| {
                    format!("{fault} {count}")
                }),
            ),
            ("kills", kills),
        ]
    }

    /// What came of it.
    fn found(&self) -> Vec<(&'static str, String)> {
        let verdict = &self.verdict;
        let status = listed(&self.status, |status, count| format!("{count} {status}"));
        let (lost, wrong) = (grouped(verdict.lost), grouped(verdict.wrong));
        let mut lines = vec![
            ("rows", format!("{}: {status}", grouped(verdict.rows))),
            ("", format!("{lost} lost, {wrong} in the wrong row")),
        ];
        lines.extend(
            verdict
                .examples
                .iter()
                .map(|example| ("", format!("  {example}"))),
        );
        if !self.counts_agree() {
            let words = "the run's own counts are not those of its output";
            lines.push(("", words.to_owned()));
        }
        let bill = format!(
            "{} billed in {} batches, {} of them wasted",
            grouped(verdict.billed),
            grouped(self.bill.total.batches_created),
            grouped(self.wasted_batches)
        );
        lines.push(("requests", bill));
        lines.push((
            "",
            format!("{} billed twice", grouped(verdict.billed_twice)),
        ));
        if let Some(bytes) = self.peak_memory {
            let bytes = grouped(bytes / 1_000_000);
            lines.push(("memory", format!("{bytes} MB at its peak")));
        }
        let promises = if self.held() {
            "all held"
        } else {
            "BROKEN: a defect of columnist; please report it, with the seed"
        };
        lines.push(("promises", promises.to_owned()));
        lines
    }

    fn line(&self, scratch: Option<&Path>) -> Value {
        let verdict = &self.verdict;
        json!({
            "job": self.job,
            "exit_code": self.exit().code(),
            "held": self.held(),
            "seed": self.seed,
            "faults": self.faults,
            "fault_counts": self.fault_counts,
            "batch_time": self.batch_time,
            "speed": self.speed,
            "kills": self.kills.values().sum::<u64>(),
            "killed_at": self.kills,
            "restarts": self.restarts,
            "rows": verdict.rows,
            "status": self.status,
            "lost_rows": verdict.lost,
            "wrong_rows": verdict.wrong,
            "examples": verdict.examples,
            "requests_accepted": self.bill.total.requests_accepted,
            "requests_billed": verdict.billed,
            "billed_twice": verdict.billed_twice,
            "batches": self.bill.total.batches_created,
            "wasted_batches": self.wasted_batches,
            "peak_memory_bytes": self.peak_memory,
            "scratch": scratch.map(|path| path.display().to_string()),
        })
    }
}

/// Counts by name, as one sentence.
fn listed<N: AsRef<str>>(counts: &BTreeMap<N, u64>, words: fn(&str, &str) -> String) -> String {
    let counts = counts.iter();
    let words: Vec<_> = counts
        .map(|(name, count)| words(name.as_ref(), &grouped(*count)))
        .collect();
    words.join(", ")
}
