//! How fast, and in how much memory: the whole road, phase by phase, against an instant local provider.
//!
//! `cargo bench` makes a table of support tickets of about 1 KB a row, starts `columnist sandbox
//! --instant` as the provider, and runs `submit` (scan, render, key, chunk, upload) and `collect`
//! (download, parse, join, publish) as processes of their own, once for each of the [`jobs`]. Every row
//! is a request of its own. What is printed is what each process says of itself: processor seconds and
//! peak memory.
//!
//! `COLUMNIST_BENCH_ROWS` chooses other sizes than the default, such as `100000,1000000,10000000`;
//! `COLUMNIST_BENCH_JOBS` some of the jobs by their names, such as `text,fields`. Pictures are of 200 KB,
//! and so there is one for fifty rows.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

mod jobs;
mod tables;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use jobs::{Job, Table};

/// The program that is measured: this build's, or another one for comparison.
fn columnist() -> String {
    std::env::var("COLUMNIST_BENCH_BIN")
        .unwrap_or_else(|_| env!("CARGO_BIN_EXE_columnist").to_owned())
}

const ROWS_A_PICTURE: usize = 50;

fn main() {
    let rows = std::env::var("COLUMNIST_BENCH_ROWS").unwrap_or_else(|_| "100000".to_owned());
    let chosen = std::env::var("COLUMNIST_BENCH_JOBS").unwrap_or_default();
    let chosen: Vec<&str> = chosen.split(',').filter(|name| !name.is_empty()).collect();
    let is_chosen = |job: &&Job| chosen.is_empty() || chosen.contains(&job.name);
    println!(
        "{:>10} {:>10} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "rows", "job", "dialect", "phase", "CPU s", "ms/1000", "MB"
    );
    for rows in rows
        .split(',')
        .map(|rows| rows.trim().parse().expect("a number of rows"))
    {
        for job in jobs::ALL.iter().filter(is_chosen) {
            measure(job, rows);
        }
    }
}

/// Carries out both phases of `job`, and prints what they took.
fn measure(job: &Job, rows: usize) {
    let folder = tempfile::tempdir().expect("a folder");
    let table = folder.path().join("table.parquet");
    let rows = match job.table {
        Table::Tickets => {
            tables::write_tickets(&table, rows);
            rows
        }
        Table::Pictures => {
            let rows = (rows / ROWS_A_PICTURE).max(1);
            tables::write_pictures(&table, rows);
            rows
        }
    };
    let sandbox = Sandbox::start(folder.path());
    for phase in ["submit", "collect"] {
        let said = carry_out(phase, job, &sandbox, folder.path());
        let cpu = said["cpu_seconds"].as_f64().unwrap_or(f64::NAN);
        let memory = said["peak_memory_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6;
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = cpu * 1e6 / rows as f64;
        let Job { name, dialect, .. } = job;
        println!(
            "{rows:>10} {name:>10} {dialect:>10} {phase:>8} {cpu:>8.2} {each:>8.2} {memory:>8.0}"
        );
    }
}

/// The provider, as a process of its own.
struct Sandbox {
    child: Child,
    urls: Vec<(String, String)>,
}

impl Sandbox {
    fn start(folder: &Path) -> Sandbox {
        let state = folder.join("sandbox");
        let mut child = Command::new(env!("CARGO_BIN_EXE_columnist"))
            .args(["sandbox", "--port", "0", "--instant", "--state"])
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the sandbox starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut urls = Vec::new();
        while urls.len() < 2 {
            let line = lines.next().expect("a line").expect("text");
            let (dialect, url) = line.split_once(' ').expect("a dialect and a URL");
            urls.push((dialect.to_owned(), url.to_owned()));
        }
        Sandbox { child, urls }
    }

    fn url(&self, dialect: &str) -> &str {
        let found = self.urls.iter().find(|(name, _)| name == dialect);
        &found.expect("the dialect").1
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

/// Runs one phase; what the process said of itself.
fn carry_out(phase: &str, job: &Job, sandbox: &Sandbox, folder: &Path) -> Value {
    let path = folder.join("job.toml");
    std::fs::write(&path, job.file(sandbox.url(job.dialect))).expect("written");
    std::fs::write(folder.join("tickets.sql"), jobs::QUERY).expect("written");
    let mut command = Command::new(columnist());
    command.arg(phase).arg(&path).arg("--quiet");
    if phase == "collect" {
        command.arg("--wait");
    }
    let output = command
        .env("OPENAI_API_KEY", "any")
        .env("ANTHROPIC_API_KEY", "any")
        .stderr(Stdio::inherit())
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    serde_json::from_str(text.lines().last().unwrap_or_default()).expect("a JSON line")
}
