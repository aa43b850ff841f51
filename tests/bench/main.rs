//! How fast, and in how much memory: the whole road, phase by phase, against an instant local provider.
//!
//! `cargo bench` makes a table of support tickets of about 1 KB a row, starts `columnist sandbox
//! --instant` as the provider, and runs `submit` (scan, render, key, chunk, upload) and `collect`
//! (download, parse, join, publish) as processes of their own: once for each dialect over the table,
//! and once over a SQL query of it, which is kept as a snapshot first. Every row is a request of its
//! own. What is printed is what each process says of itself: processor seconds and peak memory.
//! `COLUMNIST_BENCH_ROWS` chooses other sizes than the default, such as `100000,1000000,10000000`.

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const COLUMNIST: &str = env!("CARGO_BIN_EXE_columnist");
/// Rows of a row group.
const GROUP: usize = 50_000;
const PROMPT: &str = "Classify this support ticket as one of: billing, shipping, refund, technical, \
    account, praise, spam, other. Answer with the label only.\n\nSubject: {{ subject }}\n\n{{ body }}\n\nLabel:";

fn main() {
    let rows = std::env::var("COLUMNIST_BENCH_ROWS").unwrap_or_else(|_| "100000".to_owned());
    let folder = tempfile::tempdir().expect("a folder");
    println!(
        "{:>10} {:>7} {:>10} {:>8} {:>8} {:>8} {:>8}",
        "rows", "source", "dialect", "phase", "CPU s", "ms/1000", "MB"
    );
    for rows in rows
        .split(',')
        .map(|rows| rows.trim().parse().expect("a number of rows"))
    {
        let table = folder.path().join(format!("{rows}.parquet"));
        write_tickets(&table, rows);
        for road in ROADS {
            let (source, dialect) = road;
            let sandbox = Sandbox::start(folder.path());
            for phase in ["submit", "collect"] {
                let said = carry_out(phase, road, rows, &sandbox, folder.path());
                let cpu = said["cpu_seconds"].as_f64().unwrap_or(f64::NAN);
                let memory = said["peak_memory_bytes"].as_f64().unwrap_or(f64::NAN) / 1e6;
                #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                let each = cpu * 1e6 / rows as f64;
                println!(
                    "{rows:>10} {source:>7} {dialect:>10} {phase:>8} {cpu:>8.2} {each:>8.2} {memory:>8.0}"
                );
            }
        }
    }
}

/// What is read, and what is spoken.
const ROADS: [(&str, &str); 3] = [
    ("table", "openai"),
    ("table", "anthropic"),
    ("query", "openai"),
];
const QUERY: &str = "SELECT id, subject, body FROM tickets WHERE length(body) > 0";

/// The provider, as a process of its own.
struct Sandbox {
    child: Child,
    urls: Vec<(String, String)>,
}

impl Sandbox {
    fn start(folder: &Path) -> Sandbox {
        let state = folder.join("sandbox");
        let mut child = Command::new(COLUMNIST)
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
fn carry_out(
    phase: &str,
    (source, dialect): (&str, &str),
    rows: usize,
    sandbox: &Sandbox,
    folder: &Path,
) -> Value {
    let job = folder.join(format!("{source}-{dialect}-{rows}.toml"));
    let text = job_file((source, dialect), rows, sandbox);
    std::fs::write(&job, text).expect("written");
    std::fs::write(folder.join("tickets.sql"), QUERY).expect("written");
    let mut command = Command::new(COLUMNIST);
    command.arg(phase).arg(&job).arg("--quiet");
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

fn job_file((source, dialect): (&str, &str), rows: usize, sandbox: &Sandbox) -> String {
    let url = sandbox.url(dialect);
    let model = if dialect == "openai" {
        "openai/gpt-6-luna"
    } else {
        "anthropic/claude-haiku-4-5"
    };
    let input = if source == "query" {
        format!("query = 'tickets.sql'\ntables = {{ tickets = '{rows}.parquet' }}")
    } else {
        format!("table = '{rows}.parquet'")
    };
    format!(
        "name = 'bench'\n[source]\n{input}\nkey = ['id']\n\
         [prompt]\nuser = '''{PROMPT}'''\ndedupe = false\n\
         [answer]\ncolumn = 'label'\ntype = 'text'\n\
         [model]\nuse = '{model}'\nbase_url = '{url}'\nmax_output_tokens = 16\n\
         poll_min = '1s'\npoll_max = '1s'\n\
         [output]\npath = 'out-{source}-{dialect}-{rows}.parquet'\n\
         [ledger]\npath = 'ledger-{source}-{dialect}-{rows}/'\n"
    )
}

/// Support tickets: an id, a subject of about 60 characters and a body of about 1 KB; one in five
/// repeats an earlier one.
fn write_tickets(path: &Path, rows: usize) {
    let mut rng = SmallRng::seed_from_u64(7);
    let words: Vec<String> = (0..6000).map(|_| word(&mut rng)).collect();
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = None;
    let mut before: Vec<(String, String)> = Vec::new();
    for start in (0..rows).step_by(GROUP) {
        let count = GROUP.min(rows - start);
        let tickets: Vec<(String, String)> = (0..count)
            .map(|_| {
                if !before.is_empty() && rng.random_bool(0.2) {
                    return before[rng.random_range(0..before.len())].clone();
                }
                (text(&mut rng, &words, 10), text(&mut rng, &words, 178))
            })
            .collect();
        let ids = (start..start + count).map(|id| i64::try_from(id).expect("small"));
        let columns: [(&str, ArrayRef); 3] = [
            ("id", Arc::new(Int64Array::from_iter_values(ids))),
            (
                "subject",
                Arc::new(StringArray::from_iter_values(tickets.iter().map(|t| &t.0))),
            ),
            (
                "body",
                Arc::new(StringArray::from_iter_values(tickets.iter().map(|t| &t.1))),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
        let writer = writer.get_or_insert_with(|| {
            let file = file.try_clone().expect("the file");
            ArrowWriter::try_new(file, batch.schema(), None).expect("a writer")
        });
        writer.write(&batch).expect("written");
        writer.flush().expect("a row group");
        before = tickets;
    }
    writer.expect("at least one row").close().expect("closed");
}

fn word(rng: &mut SmallRng) -> String {
    let letters = rng.random_range(3..9);
    let mut word: String = (0..letters)
        .map(|_| char::from(rng.random_range(b'a'..=b'z')))
        .collect();
    match rng.random_range(0..40) {
        0 => word.insert(0, '"'),
        1 => word.push_str("é—"),
        2..5 => word.push_str(".\n"),
        _ => {}
    }
    word
}

fn text(rng: &mut SmallRng, words: &[String], count: usize) -> String {
    let words = (0..count).map(|_| words[rng.random_range(0..words.len())].as_str());
    words.collect::<Vec<_>>().join(" ")
}
