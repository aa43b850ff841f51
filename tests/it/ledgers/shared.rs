//! Two outputs whose default ledgers come to one place: where no name says that they are one job's, the
//! second is refused before it costs anything, and the way out that it names is one.

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
    let keyed = [&["--key", "id"], more].concat();
    one_liner_of(shell, (command, "in.parquet"), output, &keyed)
}

/// The same for a table of any place and without a key.
fn one_liner_of(shell: &Shell, (command, table): (&str, &str), output: &str, more: &[&str]) -> Ran {
    let args = [
        command,
        "--table",
        table,
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
fn a_job_that_has_a_name_may_write_elsewhere_and_pays_nothing_again() {
    let shell = with_table();
    write_job(&shell, "job.toml", "triage", "one.parquet");
    done(&shell.call(&["run", "job.toml"]));
    let bill = shell.bill("triage");
    write_job(&shell, "job.toml", "triage", "two.parquet");
    done(&shell.call(&["run", "job.toml"]));
    assert_eq!(shell.bill("triage"), bill);
    for output in ["one.parquet", "two.parquet"] {
        assert_eq!(read_table(&shell.path(output))["label"].len(), 3);
    }
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
    let run = |output: &str| one_liner_of(&shell, ("run", &table), output, &[]);
    let first = run("here/out.parquet");
    done(&first);
    std::fs::rename(shell.path("here"), shell.path("there")).expect("moved");
    let second = run("there/out.parquet");
    done(&second);
    assert!(!shell.path("here").exists());
    let told = |ran: &Ran| (ran.line()["requests"].clone(), ran.line()["rows"].clone());
    assert_eq!(told(&first), (1.into(), 1.into()), "{first:?}");
    // Published anew at its new place, and asked for nothing.
    assert_eq!(second.line()["published"], true, "{second:?}");
    assert_eq!(told(&second), (0.into(), 1.into()), "{second:?}");
    let table = read_table(&shell.path("there/out.parquet"));
    assert_eq!(table["label"].len(), 1);
}
