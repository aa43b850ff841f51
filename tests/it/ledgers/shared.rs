//! Two outputs whose default ledgers come to one place: the second is refused before it costs anything, and
//! the way out that it names is one.

use crate::shell::{Ran, Shell};
use crate::world::{read_table, write_table};

fn with_table() -> Shell {
    let shell = Shell::new();
    let bodies = ["a", "b", "c"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    shell
}

/// A command for one row each of the table, without a job file.
fn one_liner(shell: &Shell, command: &str, output: &str, more: &[&str]) -> Ran {
    let args = [
        command,
        "--table",
        "in.parquet",
        "--key",
        "id",
        "--prompt",
        "Label this: {{ body }}",
        "--column",
        "label",
        "--model",
        "sandbox/x",
        "--output",
        output,
    ];
    shell.call(&[&args, more].concat())
}

/// A job file of that name and output.
fn write_job(shell: &Shell, file: &str, name: &str, output: &str) {
    let job = format!(
        "name = \"{name}\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n\
         [prompt]\nuser = \"Label this: {{{{ body }}}}\"\n[answer]\ncolumn = \"label\"\n\
         [model]\nuse = \"sandbox/x\"\n[output]\npath = \"{output}\"\n",
    );
    shell.write(file, job);
}

#[track_caller]
fn done(ran: &Ran) {
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn outputs_of_one_slug_do_not_share_a_ledger() {
    let shell = with_table();
    done(&one_liner(&shell, "run", "a b.parquet", &[]));
    let bill = shell.bill("a-b");
    for other in ["a-b.parquet", "A B/", "a_b.parquet"] {
        for command in ["check", "plan", "run", "submit"] {
            let ran = one_liner(&shell, command, other, &[]);
            let words = [
                "belongs to another output",
                "`a b.parquet`",
                other.trim_end_matches('/'),
            ];
            ran.refused_with_hint(2, &words);
        }
        assert!(!shell.path(other).exists());
    }
    assert_eq!(shell.bill("a-b"), bill);
    // What the hint says.
    done(&one_liner(
        &shell,
        "run",
        "a-b.parquet",
        &["--name", "other"],
    ));
    done(&one_liner(
        &shell,
        "run",
        "a_b.parquet",
        &["--ledger", "_columnist/a-b"],
    ));
    assert_eq!(shell.bill("a-b"), bill, "its answers were there");
    // Whoever was first goes on as before, however the place is written.
    for same in ["a b.parquet", "./a b.parquet"] {
        done(&one_liner(&shell, "run", same, &[]));
    }
    assert_eq!(shell.bill("a-b"), bill);
    assert_eq!(read_table(&shell.path("a_b.parquet"))["label"].len(), 3);
}

#[test]
fn jobs_of_one_name_do_not_share_a_ledger() {
    let shell = with_table();
    write_job(&shell, "one.toml", "triage", "one.parquet");
    write_job(&shell, "two.toml", "triage", "two.parquet");
    done(&shell.call(&["submit", "one.toml"]));
    let bill = shell.bill("triage");
    for command in [
        "check", "plan", "run", "submit", "collect", "status", "cancel",
    ] {
        let ran = shell.call(&[command, "two.toml"]);
        ran.refused_with_hint(
            2,
            &[
                "belongs to another output",
                "`one.parquet`",
                "`two.parquet`",
            ],
        );
    }
    let ran = shell.call(&["show", "two.toml", "--key", "0"]);
    ran.refused_with_hint(2, &["belongs to another output"]);
    assert_eq!(shell.bill("triage"), bill);
    assert!(!shell.path("two.parquet").exists());
    done(&shell.call(&["run", "one.toml"]));
    // A job that writes elsewhere from now on, as the hint has it.
    let text = std::fs::read_to_string(shell.path("two.toml")).expect("a job");
    let ledger = shell.path("_columnist/triage/");
    let text = format!("{text}[ledger]\npath = \"{}\"\n", ledger.display());
    shell.write("two.toml", text);
    let ran = shell.call(&["run", "two.toml"]);
    done(&ran);
    assert_eq!(ran.line()["requests"], 3, "{ran:?}");
    assert_eq!(shell.bill("triage").total.requests_accepted, 3);
}

#[test]
fn nightly_tables_of_one_name_do_not_share_a_ledger() {
    let shell = with_table();
    write_job(&shell, "one.toml", "triage", "lake/one/dt={{ vars.ds }}/");
    write_job(&shell, "two.toml", "triage", "lake/two/dt={{ vars.ds }}/");
    for night in ["ds=1", "ds=2"] {
        done(&shell.call(&["run", "one.toml", "--var", night]));
        let ran = shell.call(&["run", "two.toml", "--var", night]);
        let (one, two) = ("`one/dt={{ vars.ds }}`", "`two/dt={{ vars.ds }}`");
        ran.refused_with_hint(2, &["belongs to another output", one, two]);
    }
    assert!(!shell.path("lake/two").exists());
}

/// The ledgers of older versions do not say which output they were made for: that of their plans counts.
#[test]
fn an_older_ledger_is_found_by_its_output_and_by_no_other() {
    let shell = with_table();
    done(&one_liner(
        &shell,
        "run",
        "a b.parquet",
        &["--ledger", "_columnist/a-b"],
    ));
    done(&one_liner(&shell, "run", "a b.parquet", &[]));
    assert_eq!(shell.bill("a-b").total.requests_accepted, 3);
    let ran = one_liner(&shell, "run", "a-b.parquet", &[]);
    ran.refused_with_hint(2, &["belongs to another output", "`a b.parquet`"]);
}

/// A folder that is called otherwise today, as in a container, is the same for a source that is not in it.
#[test]
fn a_ledger_moves_with_its_output() {
    let shell = Shell::new();
    let lake = tempfile::tempdir().expect("a folder");
    let table = lake.path().join("in.parquet");
    write_table(&table, &[Some("a".to_owned())], 2);
    let table = table.display().to_string();
    let run = |output: &str| {
        shell.call(&[
            "run",
            "--table",
            &table,
            "--prompt",
            "Label this: {{ body }}",
            "--column",
            "label",
            "--model",
            "sandbox/x",
            "--output",
            output,
        ])
    };
    let first = run("here/out.parquet");
    done(&first);
    std::fs::rename(shell.path("here"), shell.path("there")).expect("moved");
    let second = run("there/out.parquet");
    done(&second);
    assert!(!shell.path("here").exists());
    let batches = first.line()["batches"].clone();
    assert_eq!(batches.as_array().map(Vec::len), Some(1), "{first:?}");
    assert_eq!(second.line()["batches"], batches, "{second:?}");
}
