//! Bad input gets a clear error, and loses nothing: no output, no bill, and a word on what to do.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::FileWriter;
use columnist::work::RowStatus;
use parquet::arrow::ArrowWriter;

use crate::shell::{Ran, Shell};
use crate::world::{VENDORS, World, read_table, write_table};

/// Calls `run` for `table`, with other flags behind the usual ones.
fn run(shell: &Shell, table: &str, more: &[&str]) -> Ran {
    let has = |flag: &str| more.contains(&flag);
    let mut args = vec!["run", "--table", table];
    for (flag, value) in [
        ("--key", "id"),
        ("--prompt", "Label this: {{ body }}"),
        ("--column", "label"),
        ("--model", "sandbox/x"),
        ("--output", "out.parquet"),
    ] {
        if !has(flag) {
            args.extend([flag, value]);
        }
    }
    args.extend(more);
    shell.call(&args)
}

/// A folder with a good table of three rows.
fn with_table() -> Shell {
    let shell = Shell::new();
    let bodies = ["a", "b", "c"].map(|body| Some(body.to_owned()));
    write_table(&shell.path("in.parquet"), &bodies, 2);
    shell
}

/// Checks that `run` was refused with `code`, `words` and a hint, billed nothing and wrote nothing.
#[track_caller]
fn refused(shell: &Shell, ran: &Ran, code: i32, words: &[&str]) {
    ran.refused_with_hint(code, words);
    shell.nothing_billed();
    assert!(!shell.path("out.parquet").exists(), "an output was left");
}

/// As [`refused`], for what is wrong with the command itself: each mistake has its own advice.
#[track_caller]
fn mistaken(shell: &Shell, ran: &Ran, words: &[&str]) {
    ran.refused(2, words);
    shell.nothing_billed();
}

fn write_columns(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

#[test]
fn a_missing_file_is_named() {
    let shell = Shell::new();
    let ran = run(&shell, "missing.parquet", &[]);
    refused(&shell, &ran, 2, &["no such file", "missing.parquet"]);
}

#[test]
fn a_file_of_another_kind_is_named() {
    let shell = Shell::new();
    shell.write("notes.parquet", "id,body\n1,this is no Parquet file\n");
    let ran = run(&shell, "notes.parquet", &[]);
    refused(&shell, &ran, 2, &["not a Parquet file", "notes.parquet"]);
}

#[test]
fn a_file_that_nobody_unpacks_is_named() {
    let shell = Shell::new();
    for name in [
        "in.parquet.gz",
        "in.csv.zip",
        "in.csv.zst.gz",
        "in.arrow.zst",
    ] {
        shell.write(name, "id,body\n1,never looked at\n");
        let ran = run(&shell, name, &[]);
        refused(&shell, &ran, 2, &["packed like this", name, ".gz"]);
    }
}

#[test]
fn a_packed_file_that_is_damaged_is_named() {
    let shell = Shell::new();
    for ending in ["gz", "bz2", "xz", "zst"] {
        let name = format!("in.csv.{ending}");
        shell.write(&name, "id,body\n1,this was never packed\n");
        let ran = run(&shell, &name, &[]);
        refused(&shell, &ran, 2, &["damaged", &name, "make it anew"]);
    }
}

#[test]
fn a_corrupt_footer_is_named() {
    let shell = with_table();
    let mut bytes = std::fs::read(shell.path("in.parquet")).expect("a table");
    let footer = bytes.len() - 60;
    bytes[footer..][..40].fill(0xff);
    shell.write("in.parquet", bytes);
    let ran = run(&shell, "in.parquet", &[]);
    refused(&shell, &ran, 2, &["in.parquet", "footer"]);
}

#[test]
fn a_corrupt_page_is_named_and_nothing_is_published() {
    let shell = with_table();
    let mut bytes = std::fs::read(shell.path("in.parquet")).expect("a table");
    // The first page header stands right behind the magic number.
    bytes[4..24].fill(0xff);
    shell.write("in.parquet", bytes);
    let ran = run(&shell, "in.parquet", &[]);
    refused(&shell, &ran, 2, &["in.parquet"]);
}

#[test]
fn an_empty_table_is_published_with_the_column() {
    let shell = Shell::new();
    write_table(&shell.path("in.parquet"), &[], 2);
    let ran = run(&shell, "in.parquet", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.line()["rows"], 0);
    shell.nothing_billed();
    let file = std::fs::File::open(shell.path("out.parquet")).expect("an output");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
        .expect("Parquet");
    let schema = reader.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
    assert_eq!(
        names,
        ["id", "body", "label", "label_status", "label_error"]
    );
}

#[test]
fn an_empty_csv_is_published_with_the_column() {
    let shell = Shell::new();
    shell.write("in.csv", "id,body\n");
    let ran = run(&shell, "in.csv", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    shell.nothing_billed();
    assert!(shell.path("out.parquet").exists());
}

#[test]
fn a_column_that_is_taken_is_named_whatever_its_case() {
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &["--column", "Body"]);
    refused(&shell, &ran, 2, &["already has a column", "Body"]);
    let status: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let columns = vec![
        ("id", id),
        ("body", Arc::clone(&status)),
        ("LABEL_status", status),
    ];
    write_columns(&shell.path("meta.parquet"), columns);
    let ran = run(&shell, "meta.parquet", &["--output", "meta_out.parquet"]);
    refused(&shell, &ran, 2, &["already has a column", "label_status"]);
}

#[test]
fn an_output_in_its_source_is_refused() {
    let shell = Shell::new();
    std::fs::create_dir(shell.path("lake")).expect("made");
    let bodies = [Some("a".to_owned())];
    write_table(&shell.path("lake/in.parquet"), &bodies, 2);
    let before = std::fs::read(shell.path("lake/in.parquet")).expect("a table");
    for (table, output) in [
        ("lake/", "lake/out.parquet"),
        ("lake/in.parquet", "lake/in.parquet"),
        ("lake/in.parquet", "lake/"),
        ("lake/*.parquet", "lake/out/"),
    ] {
        let ran = run(
            &shell,
            table,
            &["--output", output, "--overwrite", "--set", "name=x"],
        );
        mistaken(
            &shell,
            &ran,
            &["the output", "the source", "beside the source"],
        );
    }
    assert_eq!(shell.files(), ["lake/in.parquet"]);
    let after = std::fs::read(shell.path("lake/in.parquet")).expect("a table");
    assert_eq!(before, after);
}

#[test]
fn an_output_of_somebody_else_is_kept_unless_told() {
    let shell = with_table();
    write_table(&shell.path("out.parquet"), &[Some("theirs".to_owned())], 2);
    let before = std::fs::read(shell.path("out.parquet")).expect("a table");
    let ran = run(&shell, "in.parquet", &[]);
    ran.refused_with_hint(2, &["out.parquet", "not written by columnist", "overwrite"]);
    shell.nothing_billed();
    let after = std::fs::read(shell.path("out.parquet")).expect("a table");
    assert_eq!(before, after);
    let ran = run(&shell, "in.parquet", &["--overwrite"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(read_table(&shell.path("out.parquet"))["body"].len(), 3);
}

#[test]
fn a_key_that_is_not_there_is_named_with_the_nearest() {
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &["--key", "idd"]);
    refused(&shell, &ran, 2, &["`idd`", "did you mean `id`?"]);
}

#[test]
fn the_first_five_offending_keys_are_named() {
    let shell = Shell::new();
    let ids = [
        Some(1),
        Some(1),
        None,
        Some(2),
        Some(2),
        None,
        Some(3),
        Some(3),
        Some(4),
        Some(4),
    ];
    let id: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    let body: ArrayRef = Arc::new(StringArray::from(vec!["same"; ids.len()]));
    write_columns(&shell.path("in.parquet"), vec![("id", id), ("body", body)]);
    let ran = run(&shell, "in.parquet", &[]);
    let offenders = [
        "id=1 in rows 0 and 1",
        "row 2 has no key",
        "id=2 in rows 3 and 4",
        "row 5 has no key",
        "id=3 in rows 6 and 7",
    ];
    refused(&shell, &ran, 2, &offenders);
    assert!(!ran.stderr.contains("id=4"), "more than five: {ran:?}");
}

#[test]
fn a_template_column_that_is_not_there_is_named_with_the_nearest() {
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &["--prompt", "Label {{ bdoy }}"]);
    refused(&shell, &ran, 2, &["bdoy", "`body`"]);
}

#[test]
fn mistakes_of_the_job_file_are_told_all_at_once_with_their_lines() {
    let shell = with_table();
    let job = "name = \"triage\"\n[source]\ntable = \"in.parquet\"\nkye = [\"id\"]\n[prompt]\nuser = \"{{ body }}\"\n\
        [answer]\ncolumn = \"label\"\ntype = \"jsno\"\n[model]\nuse = \"sandbox/x\"\ntempratur = 0.5\n\
        [budget]\nmax_usd = 40.0\n[output]\npath = \"out.parquet\"\n";
    shell.write("job.toml", job);
    let ran = shell.call(&["run", "job.toml"]);
    let words = [
        "job.toml",
        "source.kye",
        "`source.key`",
        "model.tempratur",
        "`model.temperature`",
        "budget.max_usd",
        "not in this version",
        "json",
    ];
    mistaken(&shell, &ran, &words);
    for (line, text) in ["kye = ", "tempratur = ", "max_usd = ", "type = \"jsno\""].map(|text| {
        let line = job
            .lines()
            .position(|line| line.starts_with(text))
            .expect("a line");
        (line + 1, text)
    }) {
        assert!(
            ran.stderr.contains(&format!("{line}")),
            "line {line} of {text}: {ran:?}"
        );
    }
    assert_eq!(shell.files(), ["in.parquet", "job.toml"]);
}

#[test]
fn what_this_version_does_not_carry_out_is_refused() {
    let shell = with_table();
    for set in [
        "budget.max_usd=1.0",
        "model.mode=online",
        "model.route=x",
        "model.deadline=12h",
        "source.snapshot=true",
        "budget.per={ column = \"id\", max_usd = 1.0 }",
    ] {
        let ran = run(&shell, "in.parquet", &["--set", set]);
        let key = set.split('=').next().expect("a key");
        mistaken(&shell, &ran, &[key, "not in this version"]);
    }
    assert_eq!(shell.files(), ["in.parquet"]);
}

#[test]
fn bad_sql_is_quoted() {
    let shell = with_table();
    shell.write("bad.sql", "SELECT id, bodyy FROM tickets");
    let query = |more: &[&str]| {
        let args = [
            "run",
            "--query",
            "bad.sql",
            "--tables",
            "tickets=in.parquet",
            "--key",
            "id",
            "--prompt",
            "{{ body }}",
            "--column",
            "label",
            "--model",
            "sandbox/x",
            "--output",
            "out.parquet",
        ];
        shell.call(&[&args[..], more].concat())
    };
    refused(&shell, &query(&[]), 2, &["bodyy"]);
    shell.write("bad.sql", "SELEC id FROM tickets");
    refused(&shell, &query(&[]), 2, &["SELEC"]);
    shell.write("bad.sql", "SELECT id, body FROM others");
    refused(&shell, &query(&[]), 2, &["others"]);
    shell.write("bad.sql", "SELECT id, body FROM tickets WHERE id > $least");
    refused(&shell, &query(&[]), 2, &["least", "--var"]);
    shell.write("bad.sql", "DROP TABLE tickets");
    refused(&shell, &query(&[]), 2, &["SELECT"]);
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &["--where", "id >"]);
    refused(&shell, &ran, 2, &["id >"]);
    let ran = run(&shell, "in.parquet", &["--where", "idd > 1"]);
    refused(&shell, &ran, 2, &["idd"]);
}

#[test]
fn no_key_at_all_is_refused_before_anything_is_sent() {
    let shell = with_table();
    for (model, name) in [
        ("openai/gpt-6-luna", "OPENAI_API_KEY"),
        ("anthropic/claude-haiku-4-5", "ANTHROPIC_API_KEY"),
    ] {
        let ran = run(&shell, "in.parquet", &["--model", model]);
        ran.refused_with_hint(7, &[name]);
        assert_eq!(shell.files(), ["in.parquet"]);
    }
}

#[test]
fn a_wrong_key_is_refused_and_never_printed() {
    for (dialect, model) in [
        ("openai", "openai/gpt-6-luna"),
        ("anthropic", "anthropic/claude-haiku-4-5"),
    ] {
        let mut shell = with_table();
        shell.set("OPENAI_API_KEY", "invalid-key");
        shell.set("ANTHROPIC_API_KEY", "invalid-key");
        let served = shell.sandbox(&["--instant"]);
        let url = served.url(dialect);
        let ran = run(
            &shell,
            "in.parquet",
            &["--model", model, "--base-url", &url],
        );
        ran.refused_with_hint(7, &[]);
        assert!(!ran.stderr.contains("invalid-key"), "{ran:?}");
        assert_eq!(shell.files(), ["in.parquet"]);
    }
}

#[test]
fn an_output_that_cannot_be_written_is_refused_before_anything_is_sent() {
    let shell = with_table();
    shell.write("file", "not a folder");
    let ran = run(
        &shell,
        "in.parquet",
        &["--output", "file/out.parquet", "--ledger", "_columnist/out"],
    );
    ran.refused_with_hint(2, &["file"]);
    shell.nothing_billed();
    let ran = run(
        &shell,
        "in.parquet",
        &[
            "--output",
            "/proc/out.parquet",
            "--ledger",
            "_columnist/out",
        ],
    );
    assert!([1, 2, 7].contains(&ran.code), "{ran:?}");
    assert!(
        ran.stderr.contains("/proc") && ran.stderr.contains("\nhint: "),
        "{ran:?}"
    );
    shell.nothing_billed();
    assert_eq!(shell.files(), ["file", "in.parquet"]);
}

#[test]
fn nothing_is_written_to_a_web_server() {
    let shell = with_table();
    for (flag, key) in [("--output", "output.path"), ("--ledger", "ledger.path")] {
        let more = [
            flag,
            "https://127.0.0.1:9/made/x.parquet",
            "--set",
            "name=x",
        ];
        let ran = run(&shell, "in.parquet", &more);
        mistaken(&shell, &ran, &[key, "web server", "object storage"]);
    }
    assert_eq!(shell.files(), ["in.parquet"]);
}

#[test]
fn a_ledger_that_cannot_be_written_is_named() {
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &["--ledger", "/proc/ledger"]);
    assert!([1, 2, 7].contains(&ran.code), "{ran:?}");
    assert!(ran.stderr.contains("/proc/ledger"), "{ran:?}");
    assert!(ran.stderr.contains("\nhint: "), "{ran:?}");
    assert_eq!(shell.files(), ["in.parquet"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_over_the_limit_fails_alone() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        let long = "x".repeat(20_000);
        let bodies = ["a", "b", &long, "c"].map(|body| Some(body.to_owned()));
        write_table(&world.path("in.parquet"), &bodies, 2);
        world.job["model"]["max_bytes_per_batch"] = 10_000.into();
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        assert_eq!(report.exit_code(), 3, "{report:?}");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 3, "{report:?}");
        assert_eq!(report.counts.of(RowStatus::Failed), 1, "{report:?}");
        let table = read_table(&world.path("out.parquet"));
        assert_eq!(table["label"][2], None);
        assert_eq!(table["label_status"][2].as_deref(), Some("failed"));
        let why = table["label_error"][2].as_deref().expect("a reason");
        assert!(why.contains("10000") || why.contains("limit"), "{why}");
        assert_eq!(world.bill().total.requests_accepted, 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_fail_alone() {
    let world = World::new("openai", "");
    let id: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2]));
    let bytes: Vec<&[u8]> = vec![b"good", b"b\xff\xfed", "\u{1f600}".as_bytes()];
    let body: ArrayRef = Arc::new(BinaryArray::from(bytes));
    write_columns(&world.path("in.parquet"), vec![("id", id), ("body", body)]);
    let report = world.run().await.expect("a run");
    assert_eq!(report.exit_code(), 3, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 2, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Failed), 1, "{report:?}");
    assert_eq!(world.bill().total.requests_accepted, 2);
}

#[test]
fn an_output_that_is_called_by_another_format_is_refused() {
    let shell = with_table();
    for name in ["out.csv", "out.NDJSON", "out.csv.gz", "a/out.arrow"] {
        let ran = run(&shell, "in.parquet", &["--output", name]);
        mistaken(&shell, &ran, &["an output is Parquet", ".parquet"]);
        assert_eq!(shell.files(), ["in.parquet"]);
    }
}

#[test]
fn a_column_called_as_what_templates_know_is_not_guessed_at() {
    let shell = Shell::new();
    let words: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let columns = vec![("row", Arc::clone(&words)), ("vars", words)];
    write_columns(&shell.path("in.parquet"), columns);
    for (prompt, word) in [("{{ row }}", "row"), ("{{ vars }}", "vars")] {
        let more = ["--prompt", prompt, "--key", "row"];
        let ran = run(&shell, "in.parquet", &more);
        let advice = format!("row['{word}']");
        refused(&shell, &ran, 2, &["templates know", &advice]);
    }
    let more = [
        "--prompt",
        "{{ row['row'] }} {{ row.vars }}",
        "--key",
        "row",
    ];
    let ran = run(&shell, "in.parquet", &more);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_damaged_file_of_another_format_is_the_users_and_not_ours() {
    let shell = Shell::new();
    let arrow = shell.path("in.arrow");
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5000));
    let bodies: ArrayRef = Arc::new(StringArray::from(vec!["a long enough body"; 5000]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("body", bodies)]).expect("a batch");
    let file = std::fs::File::create(&arrow).expect("a file");
    let mut writer = FileWriter::try_new(file, &batch.schema()).expect("a writer");
    writer.write(&batch).expect("written");
    writer.finish().expect("finished");
    let whole = std::fs::read(&arrow).expect("readable");
    shell.write("in.arrow", &whole[..whole.len() / 2]);
    shell.write("in.ndjson", "{\"id\":1,\"body\":\"a\"}\n{\"id\":2,\"body\n");
    for name in ["in.arrow", "in.ndjson"] {
        let ran = run(&shell, name, &[]);
        refused(&shell, &ran, 2, &[name]);
        assert!(!ran.stderr.contains("DataFusion's code"), "{ran:?}");
    }
}

#[test]
fn rows_that_fail_are_told_of_where_they_are_too_many() {
    let shell = with_table();
    let ran = run(
        &shell,
        "in.parquet",
        &["--prompt", "{{ 'x' if id == 1 else body.x }}"],
    );
    assert_eq!(ran.code, 3, "{ran:?}");
    let words = "2 of 3 rows failed (2 failed), more than `max_failed` allows";
    assert!(ran.stderr.contains(words), "{ran:?}");
    assert!(ran.stderr.contains("`label_error`"), "{ran:?}");
}

#[test]
fn a_one_liner_shows_its_rows_and_keeps_its_files_to_itself() {
    let shell = with_table();
    let ran = run(&shell, "in.parquet", &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let show = [
        "show",
        "--table",
        "in.parquet",
        "--prompt",
        "Label this: {{ body }}",
    ];
    let more = [
        "--column",
        "label",
        "--model",
        "sandbox/x",
        "--output",
        "out.parquet",
    ];
    let ran = shell.call(&[&show[..], &more, &["--key", "1"]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("Label this: b"), "{ran:?}");
    let mine = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).expect("there").permissions().mode();
        mode & 0o777 == mode & 0o700
    };
    let mut folders = vec![shell.path("_columnist/out")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let is_folder = path.is_dir();
            (if is_folder { &mut folders } else { &mut files }).push(path);
        }
    }
    let is_sandboxs =
        |path: &std::path::PathBuf| path.components().any(|c| c.as_os_str() == "sandbox");
    assert!(files.iter().any(is_sandboxs));
    for file in files {
        assert!(mine(&file), "{}", file.display());
    }
}
