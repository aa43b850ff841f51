//! The commands from outside: what they say, what they print last, and how they end.

use serde_json::Value;

use crate::shell::{PROGRAM, Ran, Shell};
use crate::world::{read_table, write_table};

/// Every command, with a word of what it does.
const COMMANDS: [(&str, &str); 10] = [
    ("run", "Plan, submit, wait, collect, publish"),
    ("submit", "Plan and submit"),
    ("collect", "One pass"),
    ("plan", "sends nothing"),
    ("check", "Validate"),
    ("status", "Where everything stands"),
    ("show", "One row's story"),
    ("cancel", "Cancel open batches"),
    ("rehearse", "spends nothing"),
    ("sandbox", "loopback"),
];

/// What the last line says, whatever the command came to.
const FIELDS: [&str; 17] = [
    "job",
    "run",
    "exit_code",
    "published",
    "unchanged",
    "output",
    "ledger",
    "rows",
    "status",
    "requests",
    "identical_rows",
    "answered_before_rows",
    "open_batches",
    "wasted_batches",
    "batches",
    "tokens",
    "cost_usd",
];

/// A folder with a table of four rows, of which two are equal, and a job for it.
fn with_job() -> Shell {
    let shell = Shell::new();
    let bodies = ["a", "b", "b", "c"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    shell.write(
        "job.toml",
        "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n[prompt]\nuser = \"Label: {{ body }}\"\n\
         [answer]\ncolumn = \"label\"\n[model]\nuse = \"sandbox/x\"\npoll_min = \"100ms\"\n\
         [output]\npath = \"out.parquet\"\n",
    );
    shell
}

#[track_caller]
fn check_line(ran: &Ran, code: i32) -> Value {
    assert_eq!(ran.code, code, "{ran:?}");
    assert_eq!(ran.stdout.matches('\n').count(), 1, "{ran:?}");
    assert!(ran.stdout.ends_with("}\n"), "{ran:?}");
    let line = ran.line();
    for field in FIELDS {
        assert!(line.get(field).is_some(), "`{field}` is missing: {line}");
    }
    assert_eq!(line["exit_code"], code);
    assert_eq!(line["job"], "triage");
    line
}

#[test]
fn every_command_says_what_it_does() {
    let shell = Shell::new();
    let all = shell.call(&["--help"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.stdout.contains("Exit codes:"), "{all:?}");
    for (command, words) in COMMANDS {
        assert!(all.stdout.contains(&format!("\n  {command} ")), "{command}");
        let help = shell.call(&[command, "--help"]);
        assert_eq!(help.code, 0, "{help:?}");
        let text = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(words), "{command}: {text}");
        assert!(text.contains("Usage: columnist"), "{command}: {text}");
    }
}

#[test]
fn a_command_that_does_not_exist_is_told_what_there_is() {
    let shell = Shell::new();
    let ran = shell.call(&["submitt"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("'submit'"), "{ran:?}");
    assert!(ran.stdout.is_empty(), "{ran:?}");
}

#[test]
fn a_run_ends_with_one_object_and_a_second_one_finds_nothing_to_do() {
    let shell = with_job();
    let line = check_line(&shell.call(&["run", "job.toml"]), 0);
    assert_eq!(line["published"], true);
    assert_eq!(line["unchanged"], false);
    assert_eq!(line["rows"], 4);
    assert_eq!(line["status"]["succeeded"], 4);
    assert_eq!(line["requests"], 3);
    assert_eq!(line["identical_rows"], 1);
    let written = std::fs::metadata(shell.path("out.parquet")).expect("an output");
    let line = check_line(&shell.call(&["run", "job.toml"]), 0);
    assert_eq!(line["unchanged"], true);
    check_line(&shell.call(&["run", "job.toml", "--skip-code"]), 99);
    let after = std::fs::metadata(shell.path("out.parquet")).expect("an output");
    let time = |meta: &std::fs::Metadata| meta.modified().expect("a time");
    assert_eq!(time(&written), time(&after));
    let bill = shell.bill("triage");
    assert_eq!(bill.total.requests_accepted, 3);
    assert_eq!(bill.billed_more_than_once, 0);
    assert_eq!(shell.files(), ["in.parquet", "job.toml", "out.parquet"]);
}

#[test]
fn progress_comes_as_json_lines_where_asked_for() {
    let shell = with_job();
    let ran = shell.call(&["run", "job.toml", "--log-format", "json"]);
    check_line(&ran, 0);
    let events: Vec<Value> = ran
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let has = |name: &str| events.iter().any(|event| event["event"] == name);
    for name in ["planned", "submitted", "landed", "published"] {
        assert!(has(name), "{name}: {events:?}");
    }
    assert!(events.iter().all(|event| event["time"].is_string()));
    let quiet = shell.call(&["run", "job.toml", "--quiet"]);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn submit_returns_and_collect_brings_it_home() {
    let shell = with_job();
    let early = shell.call(&["collect", "job.toml"]);
    early.refused_with_hint(2, &["nothing was submitted"]);
    let line = check_line(&shell.call(&["submit", "job.toml"]), 0);
    assert_eq!(line["published"], false);
    assert_eq!(line["open_batches"], 1);
    let batches = line["batches"].as_array().expect("a list").len();
    assert_eq!(batches, 1);
    assert!(!shell.path("out.parquet").exists());
    // A batch takes one second at least, counted from before `submit` returned; a collect that comes
    // later than that may find it done, and then the next one finds nothing to do.
    let first = shell.call(&["collect", "job.toml"]);
    assert!([0, 75].contains(&first.code), "{first:?}");
    let pending = check_line(&first, first.code);
    assert_eq!(pending["published"], first.code == 0);
    let line = check_line(&shell.call(&["collect", "job.toml", "--wait"]), 0);
    assert_eq!(line["published"], true);
    assert_eq!(line["status"]["succeeded"], 4);
    assert_eq!(shell.bill("triage").total.requests_accepted, 3);
    assert_eq!(read_table(&shell.path("out.parquet"))["label"].len(), 4);
}

#[test]
fn what_is_pending_is_said_with_its_own_code() {
    let mut shell = with_job();
    shell.set("OPENAI_API_KEY", "sk-test");
    let served = shell.sandbox(&["--batch-time", "1h..2h"]);
    let url = served.url("openai");
    let args = |command: &'static str| -> Vec<String> {
        let flags = [
            "job.toml",
            "--model",
            "openai/gpt-6-luna",
            "--base-url",
            &url,
        ];
        std::iter::once(command)
            .chain(flags)
            .map(str::to_owned)
            .collect()
    };
    let call = |command| {
        let args = args(command);
        shell.call(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let line = check_line(&call("submit"), 0);
    assert_eq!(line["open_batches"], 1);
    let line = check_line(&call("collect"), 75);
    assert_eq!(line["open_batches"], 1);
    assert_eq!(line["published"], false);
    let again = check_line(&call("submit"), 0);
    assert_eq!(again["batches"], line["batches"], "submitted twice");
}

#[test]
fn the_program_is_the_one_that_was_built() {
    let ran = Shell::new().call(&["--version"]);
    assert_eq!(
        ran.stdout,
        format!("columnist {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(PROGRAM.ends_with("columnist"));
}
