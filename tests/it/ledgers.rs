//! Ledgers of format version 1, kept in `fixtures/ledgers/v1`: what this program wrote once, every later
//! one can read, and go on with, and pays for nothing in it again.
//!
//! They were written by the program as it was before request keys left the limit of output out
//! ([`KeyRule::WithLimit`]), and are not made anew.
//!
//! | ledger | of |
//! |---|---|
//! | `done` | a job that is done |
//! | `open` | a job whose batch is open |
//! | `cut` | a job that is done under a limit of 12 tokens, which cut five answers |
//! | `begun` | the same, killed while it planned again under a limit of 64, after the first chunk was stored |

mod shared;

use std::fs::File;
use std::path::{Path, PathBuf};

use columnist::ledger::requests::{RequestColumns, RequestsReader};
use columnist::work::{KeyRule, Shape};
use serde_json::{Value, json};

use crate::shell::{Ran, Shell};
use crate::world::{hash, read_table, write_table};

fn kept(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    root.join("fixtures/ledgers/v1").join(name)
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

/// The lines of a ledger's log that begin a plan.
fn plans_of(ledger: &Path) -> Vec<Value> {
    let mut commits: Vec<_> = std::fs::read_dir(ledger.join("log"))
        .expect("a log")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    commits.sort();
    let text = |path: &PathBuf| std::fs::read_to_string(path).expect("text");
    let lines = commits.iter().map(text).collect::<String>();
    let facts = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    facts
        .filter(|fact| fact["action"] == "plan_started")
        .collect()
}

#[test]
fn the_older_keys_are_still_what_they_were() {
    let mut seen = 0;
    for name in ["done", "open", "cut", "begun"] {
        for (number, plan) in plans_of(&kept(name)).into_iter().enumerate() {
            let shape: Shape = serde_json::from_value(plan["shape"].clone()).expect("a shape");
            assert_eq!(plan["fingerprint"], shape.fingerprint());
            let keyer = shape.keyer(KeyRule::WithLimit);
            let folder = kept(name).join(format!("plans/{number:06}/requests"));
            for file in std::fs::read_dir(folder).expect("requests") {
                let file = File::open(file.expect("an entry").path()).expect("a file");
                for some in RequestsReader::open(file, RequestColumns::All).expect("Parquet") {
                    let some = some.expect("readable");
                    for at in 0..some.len() {
                        let prompt = some.prompt(at).expect("kept");
                        assert_eq!(some.key(at), keyer.key(prompt, None), "{name}: {prompt}");
                        seen += 1;
                    }
                }
            }
        }
    }
    assert_eq!(seen, 3 + 3 + 10 + 14);
}

/// Where the ledgers `cut` and `begun` were written.
const MADE_IN: &str = "/tmp/fx/";

/// The text of the row `n` of their job; one is null, and two are equal.
fn body(n: usize) -> Option<String> {
    match n {
        5 => None,
        6 => body(0),
        n => Some(format!("ticket {n}")),
    }
}

/// A folder with the job of `cut` and `begun`, its table, and a copy of the ledger `name`, as if it had
/// been written there. With `planned`, its last plan is of this very table, under that limit.
fn moved(name: &str, planned: Option<&str>) -> Shell {
    let shell = Shell::new();
    let bodies: Vec<_> = (0..12).map(body).collect();
    write_table(&shell.path("in.parquet"), &bodies, 64);
    shell.write(
        "job.toml",
        "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n\
         [prompt]\nuser = \"Label: {{ body }}\"\n[answer]\ncolumn = \"label\"\n\
         [model]\nuse = \"sandbox/x\"\nmax_output_tokens = 12\nmax_requests_per_batch = 4\n\
         poll_min = \"100ms\"\n[budget]\nmax_failed = \"100%\"\n\
         [output]\npath = \"out.parquet\"\n[ledger]\npath = \"_columnist/triage\"\n",
    );
    let planned = planned.map(|limit| {
        // What the present program says of the table, and of the job as it is called here.
        let limit = format!("model.max_output_tokens={limit}");
        let other = ["--ledger", "other", "--output", "other.parquet"];
        let ran = shell.call(&[&["submit", "job.toml", "--set", &limit], &other[..]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        plans_of(&shell.path("other")).remove(0)
    });
    let ledger = shell.path("_columnist/triage");
    copy(&kept(name), &ledger);
    let here = format!("{}/", shell.path("").display()).replace("//", "/");
    for commit in std::fs::read_dir(ledger.join("log")).expect("a log") {
        let path = commit.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("text");
        let text = text.replace(MADE_IN, &here);
        std::fs::write(path, framed(&text, planned.as_ref())).expect("written");
    }
    shell
}

/// The lines of a commit, with an end that is right again. Where the last plan begins, with the files and
/// the digest of `planned`.
fn framed(text: &str, planned: Option<&Value>) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.pop();
    for line in &mut lines {
        let mut fact: Value = serde_json::from_str(line).expect("JSON");
        let is_last = fact["action"] == "plan_started" && fact["plan"] == 1;
        if let Some(planned) = planned.filter(|_| is_last) {
            for part in ["pins", "digest"] {
                fact[part] = planned[part].clone();
            }
            *line = fact.to_string();
        }
    }
    let body = lines.join("\n") + "\n";
    let xxh3 = format!("{:032x}", xxhash_rust::xxh3::xxh3_128(body.as_bytes()));
    format!(
        "{body}{}\n",
        json!({ "end": { "lines": lines.len(), "xxh3": xxh3 } })
    )
}

#[track_caller]
fn run(shell: &Shell, limit: &str) -> Ran {
    let limit = format!("model.max_output_tokens={limit}");
    let ran = shell.call(&["run", "job.toml", "--set", &limit]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}

/// The requests that `plan` says a run would send.
#[track_caller]
fn to_send(shell: &Shell, limit: &str) -> u64 {
    let limit = format!("model.max_output_tokens={limit}");
    let ran = shell.call(&["plan", "job.toml", "-o", "plan.json", "--set", &limit]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan = std::fs::read(shell.path("plan.json")).expect("a plan");
    let plan: Value = serde_json::from_slice(&plan).expect("JSON");
    plan["requests"].as_u64().expect("a number")
}

/// Checks that each row that has an answer has its own; how many have one.
#[track_caller]
fn answered(shell: &Shell) -> usize {
    let table = read_table(&shell.path("out.parquet"));
    let labels = table["label"].iter().enumerate();
    let answers = labels.filter_map(|(row, label)| Some((row, label.as_ref()?)));
    answers
        .inspect(|(row, label)| {
            let prompt = format!("Label: {}", body(*row).expect("a prompt"));
            let answer = format!("#{:016x}", hash(&prompt));
            assert!(label.ends_with(&answer), "row {row}: {label}");
        })
        .count()
}

#[test]
fn a_ledger_of_the_older_keys_is_paid_for_no_second_time() {
    let shell = moved("cut", None);
    assert_eq!(to_send(&shell, "12"), 0);
    for limit in ["12", "8"] {
        let said = run(&shell, limit).line();
        assert_eq!(said["requests"], 0, "{said}");
        let status = json!({ "skipped": 1, "succeeded": 6, "truncated": 5 });
        assert_eq!(said["status"], status, "{said}");
        assert_eq!(answered(&shell), 6);
    }
    shell.nothing_billed();
}

#[test]
fn of_a_ledger_of_the_older_keys_only_what_was_cut_is_asked_again() {
    let shell = moved("cut", None);
    assert_eq!(to_send(&shell, "64"), 5);
    let said = run(&shell, "64").line();
    assert_eq!(said["requests"], 5, "{said}");
    assert_eq!(answered(&shell), 11);
    assert_eq!(shell.bill("triage").total.requests_accepted, 5);
    // Back under the first limit the answers are still there.
    assert_eq!(run(&shell, "12").line()["requests"], 0);
    assert_eq!(answered(&shell), 11);
    assert_eq!(shell.bill("triage").total.requests_accepted, 5);
}

/// Which request is which number follows from the keys: a plan that was begun by one rule would give
/// rows the answers of others, were it gone on with by another.
#[test]
fn a_plan_is_gone_on_with_by_the_keys_that_it_was_begun_with() {
    let shell = moved("begun", Some("64"));
    let said = run(&shell, "64").line();
    assert_eq!(said["requests"], 10, "{said}");
    assert_eq!(answered(&shell), 11);
    let begun = plans_of(&shell.path("_columnist/triage")).len();
    assert_eq!(begun, 2, "a third plan was made");
    assert_eq!(shell.bill("triage").total.requests_accepted, 10);
    assert_eq!(run(&shell, "12").line()["requests"], 0);
    assert_eq!(answered(&shell), 11);
}
