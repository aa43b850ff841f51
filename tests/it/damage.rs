//! A ledger that is damaged, or newer than the program: every command says what is wrong and what to
//! do, touches nothing and pays for nothing. And what killed processes left behind goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use columnist::base::Points;
use columnist::base::{Components, Stores};
use columnist::ledger::{Append, Author, Commit, Log};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use crate::cli::with_job;
use crate::shell::Shell;
use crate::world::write_table;

/// A job that is done.
fn done() -> Shell {
    let shell = with_job();
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    shell
}

fn in_ledger(shell: &Shell, folder: &str) -> Vec<PathBuf> {
    let folder = shell.path("_columnist/triage").join(folder);
    let entries = std::fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

fn commits(shell: &Shell) -> Vec<PathBuf> {
    let mut paths = in_ledger(shell, "log");
    paths.retain(|path| !path.to_string_lossy().ends_with(".checkpoint.json"));
    paths
}

fn contents(shell: &Shell) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = [
        "log",
        "plans/000000",
        "plans/000000/outcomes",
        "plans/000000/requests",
    ];
    let paths = files.iter().flat_map(|folder| in_ledger(shell, folder));
    let files = paths.filter(|path| path.is_file());
    files
        .map(|path| (path.clone(), std::fs::read(path).expect("readable")))
        .collect()
}

/// Checks that every command that reads the log is refused with 8, `words` and a hint, that the
/// ledger stays as it is, and that nothing is billed.
#[track_caller]
fn refused(shell: &Shell, words: &[&str]) {
    let (before, bill) = (contents(shell), shell.bill("triage"));
    for args in [
        &["run"][..],
        &["submit"],
        &["collect"],
        &["plan"],
        &["status"],
        &["status", "--json"],
        &["show", "--key", "1"],
        &["cancel"],
        &["gc", "--older-than", "1s"],
    ] {
        let args: Vec<_> = [&args[..1], &["job.toml"], &args[1..]].concat();
        shell.call(&args).refused_with_hint(8, words);
    }
    assert_eq!(contents(shell), before, "the ledger was touched");
    assert_eq!(shell.bill("triage"), bill);
}

/// Lines as the ledger frames them.
fn framed(lines: &[String]) -> String {
    let body = lines.join("\n") + "\n";
    let hash = format!("{:032x}", xxh3_128(body.as_bytes()));
    let end = json!({ "end": { "lines": lines.len(), "xxh3": hash } });
    format!("{body}{end}\n")
}

/// The lines of a framed file, without its end.
fn lines_of(path: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("readable");
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.pop();
    lines
}

/// The name of the commit after the last one, and its number.
fn next_commit(shell: &Shell) -> (PathBuf, usize) {
    let number = commits(shell).len();
    let name = format!("_columnist/triage/log/{number:020}.json");
    (shell.path(&name), number)
}

#[test]
fn a_newer_ledger_names_the_way_out() {
    let shell = done();
    let (path, number) = next_commit(&shell);
    let newer = format!("{{\"format\":2,\"version\":{number}}}\nwhatever comes then\n");
    std::fs::write(path, newer).expect("written");
    refused(&shell, &["newer version of columnist", "run that version"]);
}

#[test]
fn a_newer_fact_names_the_way_out() {
    let shell = done();
    let (path, number) = next_commit(&shell);
    let last = lines_of(commits(&shell).last().expect("a commit"));
    let mut head: Value = serde_json::from_str(&last[0]).expect("a head");
    head["version"] = number.into();
    let facts = [head.to_string(), json!({ "action": "sung" }).to_string()];
    std::fs::write(path, framed(&facts)).expect("written");
    refused(&shell, &["does not know", "newer version of columnist"]);
}

#[test]
fn a_last_commit_that_is_cut_short_is_told() {
    let shell = done();
    let last = commits(&shell).pop().expect("a commit");
    let whole = std::fs::read(&last).expect("readable");
    for len in [0, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&last, &whole[..len]).expect("written");
        refused(&shell, &["last commit", "cut short", "backup"]);
    }
    std::fs::write(&last, whole).expect("written");
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.line()["unchanged"], true, "{ran:?}");
}

#[test]
fn a_missing_or_changed_commit_is_named() {
    let shell = done();
    let second = commits(&shell).remove(1);
    let mut bytes = std::fs::read(&second).expect("readable");
    std::fs::remove_file(&second).expect("removed");
    refused(&shell, &["a commit is missing", "version=`1`", "backup"]);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&second, bytes).expect("written");
    refused(
        &shell,
        &["a commit of the ledger is damaged", "version=`1`", "backup"],
    );
}

#[test]
fn a_bulk_file_that_is_gone_or_damaged_is_named() {
    for (name, word) in [
        ("outcomes/000000-01.parquet", "outcomes"),
        ("rows.parquet", "rows"),
    ] {
        let shell = done();
        let path = shell.path("_columnist/triage/plans/000000").join(name);
        let bytes = std::fs::read(&path).expect("a bulk file");
        let bill = shell.bill("triage");
        // The output is made again from what the ledger holds.
        std::fs::remove_file(shell.path("out.parquet")).expect("removed");
        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let ran = shell.call(&["run", "job.toml"]);
        ran.refused_with_hint(8, &["a bulk file of the ledger is damaged", "backup"]);
        std::fs::remove_file(&path).expect("removed");
        let ran = shell.call(&["run", "job.toml"]);
        ran.refused_with_hint(8, &["is gone", word, "backup"]);
        assert_eq!(shell.bill("triage"), bill);
        assert!(!shell.path("out.parquet").exists());
        std::fs::write(&path, &bytes).expect("written");
        assert_eq!(shell.call(&["run", "job.toml"]).code, 0);
    }
}

/// Fills the log up to where the next run writes a checkpoint, with facts as each run begins with.
async fn nearly_checkpoint(shell: &Shell) {
    let ledger = shell.path("_columnist/triage").display().to_string();
    let ledger = Stores::default().locate(&ledger).expect("a folder");
    let mut log = Log::open(&Components::system(), &ledger);
    let commits: Vec<Commit<Value>> = log.replay().await.expect("a log");
    let facts = commits.iter().flat_map(|commit| &commit.actions);
    let mut starts = facts.filter(|fact| fact["action"] == "run_started");
    let fact = starts.next().expect("a run").clone();
    let author = Author {
        run: "run".into(),
        lease: None,
    };
    while log.next().0 % 64 != 63 {
        let appended = log
            .append(&author, std::slice::from_ref(&fact), Points::default())
            .await;
        assert!(matches!(appended, Ok(Append::Appended(_))), "{appended:?}");
    }
}

#[tokio::test]
async fn a_checkpoint_that_is_damaged_or_disagrees_costs_nothing() {
    let shell = done();
    nearly_checkpoint(&shell).await;
    assert_eq!(shell.call(&["run", "job.toml"]).line()["unchanged"], true);
    let mut found = in_ledger(&shell, "log");
    found.retain(|path| path.to_string_lossy().ends_with(".checkpoint.json"));
    let path = found.pop().expect("a checkpoint");
    let before = shell.call(&["status", "job.toml"]);
    assert_eq!((before.code, &*before.stderr), (0, ""), "{before:?}");
    let whole = std::fs::read(&path).expect("readable");
    let mut of_another = lines_of(&path);
    let mut head: Value = serde_json::from_str(&of_another[0]).expect("a head");
    head["commit"] = "another".into();
    of_another[0] = head.to_string();
    for bad in [
        &whole[..whole.len() / 2],
        b"{}\n",
        framed(&of_another).as_bytes(),
    ] {
        std::fs::write(&path, bad).expect("written");
        let ran = shell.call(&["status", "job.toml"]);
        assert_eq!((ran.code, &ran.stdout), (0, &before.stdout), "{ran:?}");
        assert!(
            ran.stderr.contains("a checkpoint is passed over"),
            "{ran:?}"
        );
    }
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.line()["unchanged"], true, "{ran:?}");
}

/// Whatever is wrong with the index of earlier answers: it is said, made again from the outcomes, and
/// nothing is asked a second time.
#[test]
fn an_index_that_is_damaged_or_gone_is_made_again_and_costs_nothing() {
    let shell = done();
    let mut rows = 4;
    // Adds a row, which alone is new, and runs the job.
    let mut grow = || {
        rows += 1;
        let bodies: Vec<_> = (0..rows).map(|n| Some(format!("ticket {n}"))).collect();
        write_table(&shell.path("in.parquet"), &bodies, 64);
        let planned = shell.call(&["plan", "job.toml", "-o", "plan.json"]);
        assert_eq!(planned.code, 0, "{planned:?}");
        let plan = std::fs::read(shell.path("plan.json")).expect("a plan");
        let plan: Value = serde_json::from_slice(&plan).expect("JSON");
        let ran = shell.call(&["run", "job.toml"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let asked = ran.line()["requests"].as_u64().expect("a number");
        assert_eq!(plan["requests"], asked, "{plan}");
        (asked, planned.stderr + &ran.stderr)
    };
    assert_eq!(grow().0, 5, "all texts are others");
    let (asked, said) = grow();
    assert_eq!(asked, 1);
    assert!(!said.contains("index"), "{said}");
    let endings = [".json", ".keys"];
    let newest = |ending: &str| {
        let mut found = in_ledger(&shell, "index");
        found.retain(|path| path.to_string_lossy().ends_with(ending));
        found.pop().expect("a file of the index")
    };
    for ending in endings {
        for damage in 0..4 {
            let path = newest(ending);
            let mut bytes = std::fs::read(&path).expect("readable");
            let middle = bytes.len() / 2;
            match damage {
                0 => std::fs::remove_file(&path).expect("removed"),
                1 => std::fs::write(&path, b"").expect("written"),
                2 => std::fs::write(&path, &bytes[..middle]).expect("written"),
                _ => {
                    bytes[3] ^= 1;
                    std::fs::write(&path, bytes).expect("written");
                }
            }
            let (asked, said) = grow();
            assert_eq!(asked, 1, "{ending} {damage}: {said}");
            // A manifest that is gone leaves the one before it, or none.
            let is_told = said.contains("made anew") || (ending, damage) == (".json", 0);
            assert!(is_told, "{ending} {damage}: {said}");
        }
    }
    std::fs::remove_dir_all(shell.path("_columnist/triage/index")).expect("removed");
    assert_eq!(grow().0, 1);
    // The first table's three texts, and these.
    let bill = shell.bill("triage");
    assert_eq!(bill.total.requests_accepted, 3 + rows, "{bill:?}");
    assert_eq!(bill.billed_more_than_once, 0, "{bill:?}");
}

#[test]
fn what_says_who_holds_the_job_is_only_for_people() {
    let shell = done();
    shell.write("_columnist/triage/lease/job.holder.json", "{not JSON");
    assert_eq!(shell.call(&["status", "job.toml"]).code, 0);
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.line()["unchanged"], true, "{ran:?}");
}

fn scratch_folders(shell: &Shell) -> usize {
    let found = in_ledger(shell, "").into_iter();
    let name = |path: &PathBuf| {
        path.file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned()
    };
    found
        .filter(|path| name(path).starts_with(".scratch-"))
        .count()
}

#[test]
fn what_a_killed_run_left_is_swept_by_the_next_holder() {
    let mut shell = with_job();
    shell.set("OPENAI_API_KEY", "sk-test");
    let served = shell.sandbox(&["--batch-time", "1h..2h"]);
    let url = served.url("openai");
    let with = |command: &'static str| {
        let flags = [
            "job.toml",
            "--model",
            "openai/gpt-6-luna",
            "--base-url",
            &url,
        ];
        [&[command], &flags[..]].concat()
    };
    let mut first = shell.start(&with("run"));
    let is_open = |_: &usize| {
        let ran = shell.call(&[&with("status")[..], &["--json"]].concat());
        ran.code == 0 && ran.line()["open_batches"] == 1
    };
    (0..1_000).find(is_open).expect("the batch is submitted");
    assert_eq!(scratch_folders(&shell), 1);
    // Who does not hold the job touches nothing.
    assert_eq!(shell.call(&with("collect")).code, 75);
    assert_eq!(scratch_folders(&shell), 1);
    first.kill().expect("killed");
    first.wait().expect("gone");
    assert_eq!(scratch_folders(&shell), 1);
    assert_eq!(shell.call(&with("collect")).code, 75);
    assert_eq!(scratch_folders(&shell), 0);
}

#[test]
fn gc_sweeps_too_and_nothing_but_scratch() {
    let shell = done();
    shell.write(
        "_columnist/triage/.scratch-dead/rows.parquet",
        "half a file",
    );
    shell.write("_columnist/triage/mine/notes.txt", "not yours");
    let before = contents(&shell);
    let ran = shell.call(&["gc", "job.toml", "--older-than", "1d"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(scratch_folders(&shell), 0);
    assert!(shell.path("_columnist/triage/mine/notes.txt").exists());
    let after = contents(&shell);
    assert!(
        before
            .iter()
            .all(|(path, bytes)| after.get(path) == Some(bytes))
    );
}
