//! Ledgers of format version 1, kept in `fixtures/ledgers/v1`: what this program wrote once, every later
//! one can read.
//!
//! They are made by the program itself. As long as version 1 is not released, a change of the format
//! makes them anew:
//!
//! ```sh
//! COLUMNIST_WRITE_LEDGERS=1 cargo test --test it ledgers
//! ```

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::shell::Shell;
use crate::world::{hash, write_table};

/// Rows of the job that wrote them: two are equal, one has no prompt.
const BODIES: [Option<&str>; 5] = [Some("a"), Some("b"), Some("b"), None, Some("c")];

fn kept(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures/ledgers/v1").join(name)
}

/// A folder with the table and the job. It has no key: a row is named by its position.
fn with_job() -> Shell {
    let shell = Shell::new();
    let bodies = BODIES.map(|body| body.map(str::to_owned));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    write_job(&shell, "in.parquet");
    shell
}

fn write_job(shell: &Shell, table: &str) {
    let job = format!(
        "name = \"triage\"\n[source]\ntable = \"{table}\"\n[prompt]\nuser = \"Label: {{{{ body }}}}\"\n\
         [answer]\ncolumn = \"label\"\n[model]\nuse = \"sandbox/x\"\npoll_min = \"100ms\"\n\
         [output]\npath = \"out.parquet\"\n[ledger]\npath = \"ledger\"\n",
    );
    shell.write("job.toml", &job);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let place = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &place);
        } else {
            std::fs::copy(&path, &place).expect("copied");
        }
    }
}

/// Keeps the log and the bulk files that a command has written.
fn keep(shell: &Shell, name: &str) {
    let _ = std::fs::remove_dir_all(kept(name));
    for part in ["log", "plans"] {
        copy(&shell.path("ledger").join(part), &kept(name).join(part));
    }
}

/// Makes the ledgers anew: one of a job that is done, and one of a job whose batch is open.
fn write_ledgers() {
    let done = with_job();
    assert_eq!(done.call(&["run", "job.toml"]).code, 0);
    keep(&done, "done");
    let mut open = with_job();
    open.set("ANTHROPIC_API_KEY", "sk-test");
    let served = open.sandbox(&["--batch-time", "1h..2h"]);
    let url = served.url("anthropic");
    let model = ["--model", "anthropic/claude-haiku-4-5", "--base-url", &url];
    let ran = open.call(&[&["submit", "job.toml"], &model[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    keep(&open, "open");
}

/// The job beside a copy of the ledger `name`. Its table is where it was when the ledger was made, and
/// gone from there by now.
fn with_ledger(name: &str) -> Shell {
    let shell = Shell::new();
    copy(&kept(name), &shell.path("ledger"));
    let first = shell.path("ledger/log/00000000000000000000.json");
    let first = std::fs::read_to_string(first).expect("the first commit");
    let mut facts = first
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let made = facts.find(|fact| fact["action"] == "ledger_made");
    let table = made.expect("whose ledger it is")["source"].clone();
    write_job(&shell, table.as_str().expect("an address"));
    shell
}

fn status(shell: &Shell) -> Value {
    let ran = shell.call(&["status", "job.toml", "--json"]);
    assert_eq!((ran.code, &*ran.stderr), (0, ""), "{ran:?}");
    ran.line()
}

fn shown(shell: &Shell, row: &str) -> String {
    let ran = shell.call(&["show", "job.toml", "--key", row]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.stdout
}

#[test]
fn ledgers_of_version_1_tell_their_stories() {
    if std::env::var_os("COLUMNIST_WRITE_LEDGERS").is_some() {
        write_ledgers();
    }
    let done = with_ledger("done");
    let said = status(&done);
    assert_eq!(said["job"], "triage");
    assert_eq!((&said["rows"], &said["requests"]), (&json!(5), &json!(3)));
    assert_eq!(said["status"], json!({ "skipped": 1, "succeeded": 4 }));
    assert_eq!(
        (&said["landed"], &said["open_batches"]),
        (&json!(3), &json!(0))
    );
    assert_eq!(
        (&said["published"], &said["planned"]),
        (&json!(true), &json!(true))
    );
    let batches = said["batches"].as_array().expect("a list");
    assert!(
        !batches.is_empty() && batches.iter().all(|batch| batch["phase"] == "landed"),
        "{said}"
    );
    // The row that asks what the one before it asks has its answer.
    for (row, body) in [("1", "b"), ("2", "b"), ("4", "c")] {
        let story = shown(&done, row);
        assert!(story.contains(&format!("Label: {body}\n")), "{story}");
        assert!(
            story.contains(&format!("#{:016x}", hash(&format!("Label: {body}")))),
            "{story}"
        );
    }
    assert!(!shown(&done, "3").contains("--- attempt"));

    let open = with_ledger("open");
    let said = status(&open);
    assert_eq!(
        (&said["published"], &said["planned"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(
        (&said["landed"], &said["open_batches"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(said["batches"][0]["phase"], "open");
    let batch = said["batches"][0]["batch"].as_str().expect("an id");
    assert!(batch.starts_with("msgbatch_"), "{batch}");
    let story = shown(&open, "0");
    assert!(
        story.contains("Label: a\n") && story.contains(batch),
        "{story}"
    );
}
