//! `check` and `plan` refuse what `run` would refuse, in the same words, and say why rows are stale.

mod owners;

use serde_json::{Value, json};

use crate::shell::{Ran, Shell};
use crate::world::{read_table, write_table};

/// A folder with a table of four rows, one of them without a text.
fn with_table() -> Shell {
    let shell = Shell::new();
    let bodies = [Some("a"), Some("b"), None, Some("c")].map(|body| body.map(str::to_owned));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    shell
}

/// The job in flags, with `more` in the place of what it says.
fn args<'a>(command: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = vec![command];
    for (flag, value) in [
        ("--table", "in.parquet"),
        ("--key", "id"),
        ("--prompt", "Label: {{ body }}"),
        ("--column", "label"),
        ("--model", "sandbox/x"),
        ("--output", "out.parquet"),
        ("--ledger", "ledger"),
    ] {
        if !more.contains(&flag) {
            args.extend([flag, value]);
        }
    }
    args.extend(more);
    args
}

/// Checks that all three commands end with exit code 2 and the same error, which says `words`.
#[track_caller]
fn alike(shell: &Shell, more: &[&str], words: &[&str]) {
    let error = |ran: &Ran| {
        let from = ran.stderr.find("error: ").unwrap_or_default();
        ran.stderr[from..].to_owned()
    };
    let ran = shell.call(&args("run", more));
    assert_eq!(ran.code, 2, "{ran:?}");
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {ran:?}");
    }
    for command in ["check", "plan"] {
        let looked = shell.call(&args(command, more));
        assert_eq!(
            (looked.code, error(&looked)),
            (2, error(&ran)),
            "{command}: {looked:?}"
        );
    }
}

#[test]
fn a_foreign_output_is_found_before_it_is_run_into() {
    let shell = with_table();
    std::fs::copy(shell.path("in.parquet"), shell.path("out.parquet")).expect("copied");
    alike(
        &shell,
        &[],
        &["was not written by columnist", "--overwrite"],
    );
    let shell = with_table();
    assert_eq!(shell.call(&args("run", &[])).code, 0);
    let other = ["--ledger", "other", "--key", "id"];
    alike(&shell, &other, &["was written from another ledger"]);
}

#[test]
fn a_ledger_of_another_job_is_found() {
    let shell = with_table();
    assert_eq!(shell.call(&args("run", &[])).code, 0);
    let other = ["--name", "other", "--output", "other.parquet"];
    alike(&shell, &other, &["the ledger belongs to another job"]);
}

#[test]
fn keys_that_are_not_unique_are_found() {
    let shell = with_table();
    let bodies = ["a", "b", "a"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    alike(&shell, &["--key", "body"], &["body"]);
    shell.write("q.sql", "SELECT * FROM t");
    let query = [
        "--query",
        "q.sql",
        "--tables",
        "t=in.parquet",
        "--key",
        "body",
    ];
    let mut run = args("check", &query);
    run.drain(1..3);
    let ran = shell.call(&run);
    assert_eq!(ran.code, 2, "{ran:?}");
}

/// Jinja reads `a-b` as a minus b, and would print a number for each row, or fail.
#[test]
fn an_expression_that_is_a_column_too_is_found_and_both_ways_work() {
    let shell = with_table();
    shell.write("in.csv", "a,b,a-b\n5,3,minus\n7,1,sign\n");
    let table = |prompt: &'static str| ["--table", "in.csv", "--key", "a", "--prompt", prompt];
    let words = [
        "line=`1`, column=`a-b`",
        "write `row['a-b']`, for the expression `(a)-b`",
    ];
    alike(&shell, &table("Label: {{ a-b }}"), &words);
    shell.nothing_billed();
    for (prompt, sent) in [
        ("Label: {{ row['a-b'] }}", ["Label: minus", "Label: sign"]),
        ("Label: {{ (a)-b }}", ["Label: 2", "Label: 6"]),
    ] {
        let ran = shell.call(&args("check", &table(prompt)));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(sent.iter().all(|text| ran.stdout.contains(text)), "{ran:?}");
    }
}

/// A value that cannot be cast is the first of its kind after thousands of rows: `check`, which shows three,
/// finds it too.
#[test]
fn a_cast_that_fails_late_is_found() {
    let shell = with_table();
    let number = |n: usize| {
        Some(if n == 5000 {
            "x".to_owned()
        } else {
            n.to_string()
        })
    };
    let bodies: Vec<_> = (0..6000).map(number).collect();
    write_table(&shell.path("in.parquet"), &bodies, 1000);
    let lines: Vec<_> = bodies
        .iter()
        .flatten()
        .map(|body| format!("{body},a\n"))
        .collect();
    shell.write("in.csv", format!("body,other\n{}", lines.concat()));
    shell.write("q.sql", "SELECT id, CAST(body AS INT) AS body FROM t");
    let words = ["Cannot cast string 'x'"];
    for (table, ledger) in [("in.parquet", "one"), ("in.csv", "two")] {
        let filter = "CAST(body AS INT) >= 0";
        let table = ["--table", table, "--key", "body", "--ledger", ledger];
        alike(&shell, &[&table[..], &["--where", filter]].concat(), &words);
    }
    for (key, ledger) in [(&["--key", "id"][..], "three"), (&[], "four")] {
        for command in ["run", "check", "plan"] {
            let query = [
                "--query",
                "q.sql",
                "--tables",
                "t=in.parquet",
                "--output",
                "out.parquet",
            ];
            let job = [
                "--prompt",
                "{{ body }}",
                "--column",
                "label",
                "--model",
                "sandbox/x",
            ];
            let ledger = ["--ledger", ledger];
            let ran = shell.call(&[&[command], &query[..], &job, &ledger, key].concat());
            ran.refused(2, &words);
        }
    }
    assert!(!shell.path("out.parquet").exists());
}

#[test]
fn a_prompt_that_names_no_column_is_found() {
    let shell = with_table();
    let prompt = ["--prompt", "Label: {body}"];
    alike(
        &shell,
        &prompt,
        &["names no column", "`{{ body }}`", "--dedupe=false"],
    );
    let prompt = ["--prompt", "Say something"];
    alike(&shell, &prompt, &["names no column", "`{{ id }}`"]);
    // Whoever wants an answer of its own for each row says so.
    let ran = shell.call(&args(
        "run",
        &["--prompt", "Say something", "--dedupe=false"],
    ));
    assert_eq!(
        (ran.code, &ran.line()["requests"]),
        (0, &json!(4)),
        "{ran:?}"
    );
}

#[test]
fn a_value_that_nothing_asks_for_is_found() {
    let shell = with_table();
    let var = ["--var", "dya=1", "--where", "id < $day"];
    alike(
        &shell,
        &var,
        &[
            "nothing in the job asks for `dya`",
            "did you mean `--var day=...`?",
        ],
    );
    let ran = shell.call(&args("status", &["--var", "dya=1"]));
    assert!(!ran.stderr.contains("asks for"), "{ran:?}");
}

#[test]
fn places_that_cannot_be_written_are_found() {
    let shell = with_table();
    shell.write("file", "");
    alike(
        &shell,
        &["--output", "file/x/out.parquet"],
        &["cannot write where the output goes"],
    );
    let ledger = ["--ledger", "file/ledger"];
    for command in ["check", "plan"] {
        let ran = shell.call(&args(command, &ledger));
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(
            ran.stderr.contains("the ledger's folder cannot be written"),
            "{ran:?}"
        );
    }
    assert_eq!(shell.call(&args("run", &ledger)).code, 2);

    let shell = with_table();
    for command in ["check", "plan"] {
        assert_eq!(shell.call(&args(command, &[])).code, 0, "{command}");
    }
    assert!(
        !shell.path("ledger").exists(),
        "looking left a ledger behind"
    );
}

#[test]
fn a_model_that_nobody_knows_is_doubted_and_used() {
    let mut shell = with_table();
    shell.set("OPENAI_API_KEY", "sk-test");
    let model = ["--model", "openai/gpt-6-lnua"];
    for command in ["check", "plan"] {
        let ran = shell.call(&args(command, &model));
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(
            ran.stdout.contains("did you mean `openai/gpt-6-luna`?"),
            "{ran:?}"
        );
    }
    // Another server has models of its own.
    let own = [
        "--model",
        "openai/gpt-6-lnua",
        "--base-url",
        "http://127.0.0.1:9/v1",
    ];
    let ran = shell.call(&args("check", &own));
    assert!(!ran.stdout.contains("did you mean"), "{ran:?}");
}

#[test]
fn check_shows_how_a_prompt_begins() {
    let shell = Shell::new();
    let long = "é".repeat(1_000_000);
    write_table(&shell.path("in.parquet"), &[Some(long)], 2);
    let ran = shell.call(&args("check", &[]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.len() < 10_000, "{} bytes", ran.stdout.len());
    assert!(
        ran.stdout.contains("... and 998007 characters more"),
        "{}",
        &ran.stdout[..200]
    );
}

#[test]
fn a_plan_says_why_rows_are_stale_skipped_or_gone() {
    let shell = with_table();
    let first = ["--where", "id < 3", "--max-output-tokens", "64"];
    assert_eq!(shell.call(&args("run", &first)).code, 0);
    let table = read_table(&shell.path("out.parquet"));
    let why: Vec<_> = table["label_error"]
        .iter()
        .map(|why| why.as_deref())
        .collect();
    let where_ = Some("not selected by `source.where`");
    assert_eq!(why, [None, None, Some("column `body` is null"), where_]);

    let said = |more: &[&str]| {
        let ran = shell.call(&args("plan", more));
        assert_eq!(ran.code, 0, "{ran:?}");
        ran.stdout
    };
    let same = said(&first);
    assert!(
        same.contains("cost        nothing: no request is to be sent\n"),
        "{same}"
    );
    assert!(!same.contains("changed since"), "{same}");

    let now = said(&[
        "--where",
        "id > 0",
        "--max-output-tokens",
        "128",
        "--prompt",
        "Sort: {{ body }}\nplease",
    ]);
    for line in [
        "  skipped    2\n    1 column `body` is null\n    1 not selected by `source.where`\n",
        "gone        1 rows of plan 0\n",
        "changed since plan 0\n",
        "  model.max_output_tokens  64 -> 128  (asks again only what was cut, if it is higher)\n",
        "  prompt.user\n    - Label: {{ body }}\n    + Sort: {{ body }}\n    + please\n",
        "  source.where  id < 3 -> id > 0\n",
        "cost        about $0.00 expected, $0.00 at worst; online $0.00 at worst\n",
    ] {
        assert!(now.contains(line), "{line:?} is missing:\n{now}");
    }

    let ran = shell.call(&args("plan", &["--limit", "1", "-o", "plan.json"]));
    assert_eq!(ran.code, 0, "{ran:?}");
    let plan = std::fs::read(shell.path("plan.json")).expect("a plan");
    let plan: Value = serde_json::from_slice(&plan).expect("JSON");
    assert_eq!(plan["skipped"], json!({ "beyond `source.limit`": 3 }));
    assert_eq!(plan["expected_usd"], 0.0, "nothing is sent: {plan}");
    let changes = plan["changes"].as_array().expect("a list");
    let limit = json!({ "key": "source.limit", "was": null, "now": 1 });
    assert!(changes.contains(&limit), "{plan}");
}

/// Schedulers run commands in folders that go away.
#[test]
fn a_ledger_that_lies_in_a_temporary_folder_by_chance_is_warned_of() {
    let mut shell = with_table();
    let warning = "the ledger lies in a folder for temporary files";
    let ran = shell.call(&args("run", &[]));
    assert!(!ran.stderr.contains(warning), "{ran:?}");
    shell.set("TMPDIR", &shell.path("").display().to_string());
    let ran = shell.call(&args("run", &[]));
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stderr.contains(warning), "{ran:?}");
    let ledger = shell.path("ledger").display().to_string();
    let ran = shell.call(&args("run", &["--ledger", &ledger]));
    assert!(
        !ran.stderr.contains(warning),
        "it was said outright: {ran:?}"
    );
}
