//! Tables as they lie about: files that differ, one day's partition, some rows of many, and folders that are
//! no tables of plain files.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use columnist::engine::{self, Report};
use columnist::work::RowStatus;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::shell::Shell;
use crate::world::{World, read_table, write_rows, write_table};

fn write(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    let file = File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

fn bodies(texts: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(texts.to_vec()))
}

/// A folder of two files: the second has wider ids, a column more, and another order.
fn differing(world: &mut World) {
    let small: ArrayRef = Arc::new(Int32Array::from(vec![0, 1]));
    write(
        &world.path("in/a.parquet"),
        vec![("id", small), ("body", bodies(&["ticket 0", "ticket 1"]))],
    );
    write(
        &world.path("in/b.parquet"),
        vec![
            ("lang", bodies(&["en", "de"])),
            ("body", bodies(&["ticket 2", "ticket 3"])),
            ("id", Arc::new(Int64Array::from(vec![2, 3_000_000_000]))),
        ],
    );
    world.job["source"]["input"]["table"] = format!("{}/", world.path("in").display()).into();
}

/// What a file's columns are called, and their types.
fn columns(path: &Path) -> Vec<String> {
    let file = File::open(path).expect("the output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let fields = reader.schema().fields().iter();
    fields
        .map(|field| format!("{} {}", field.name(), field.data_type()))
        .collect()
}

#[track_caller]
fn check_labels(world: &World, file: &str, tickets: std::ops::Range<usize>) {
    let table = read_table(&world.path(file));
    assert_eq!(table["label"].len(), tickets.len());
    for (label, ticket) in table["label"].iter().zip(tickets) {
        let answer = world.answer(&format!("Label this: ticket {ticket}"));
        assert!(
            label
                .as_deref()
                .is_some_and(|label| label.ends_with(&answer)),
            "{label:?}"
        );
    }
}

async fn published(world: &World) -> Report {
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrored_files_keep_their_own_columns() {
    let mut world = World::new("openai", "");
    differing(&mut world);
    world.job["output"]["path"] = format!("{}/", world.path("out").display()).into();
    published(&world).await;
    let new = ["label Utf8", "label_status Utf8", "label_error Utf8"];
    let with = |own: &[&'static str]| [own, &new[..]].concat();
    assert_eq!(
        columns(&world.path("out/a.parquet")),
        with(&["id Int32", "body Utf8"])
    );
    assert_eq!(
        columns(&world.path("out/b.parquet")),
        with(&["lang Utf8", "body Utf8", "id Int64"])
    );
    check_labels(&world, "out/a.parquet", 0..2);
    check_labels(&world, "out/b.parquet", 2..4);
    assert!(world.run().await.expect("a second run").unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_differ_become_one_file_of_what_they_have_in_common() {
    for (layout, own) in [
        ("single", &["id Int64", "body Utf8", "lang Utf8"][..]),
        ("keyed", &["id Int64"]),
    ] {
        let mut world = World::new("openai", "");
        differing(&mut world);
        world.job["output"]["layout"] = layout.into();
        published(&world).await;
        let columns = columns(&world.path("out.parquet"));
        assert_eq!(columns[..own.len()], *own, "{layout}");
        assert_eq!(columns.len(), own.len() + 3, "{layout}");
        check_labels(&world, "out.parquet", 0..4);
        let ids = &read_table(&world.path("out.parquet"))["id"];
        assert_eq!(ids.last().cloned().flatten().as_deref(), Some("3000000000"));
        assert!(world.run().await.expect("a second run").unchanged);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_layout_of_files_that_differ_is_published_without_paying_again() {
    let mut world = World::new("openai", "");
    differing(&mut world);
    world.job["output"]["path"] = format!("{}/", world.path("out").display()).into();
    published(&world).await;
    world.job["output"]["path"] = world.path("one.parquet").display().to_string().into();
    world.job["output"]["layout"] = "single".into();
    published(&world).await;
    check_labels(&world, "one.parquet", 0..4);
    assert_eq!(world.bill().total.requests_accepted, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_and_what_is_passed_by_is_said_before_anything_is_sent() {
    let mut world = World::new("openai", "");
    differing(&mut world);
    std::fs::write(world.path("in/readme.md"), "hello").expect("written");
    world.job["output"]["path"] = format!("{}/", world.path("out").display()).into();
    let checked = engine::check(world.setup("check"), world.provider(), 2)
        .await
        .expect("in order");
    let planned = engine::plan(world.setup("plan"), world.provider())
        .await
        .expect("a plan");
    for notes in [&checked.notes, &planned.notes] {
        let has = |words: &str| notes.iter().any(|note| note.contains(words));
        assert!(has("files passed by: 1") && has("readme.md"), "{notes:?}");
        assert!(has("`lang` (missing in a.parquet)"), "{notes:?}");
        assert!(has("`id` as Int64"), "{notes:?}");
    }
    assert_eq!(world.bill().total.requests_accepted, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_format_costs_nothing() {
    let mut world = World::new("openai", "");
    differing(&mut world);
    std::fs::create_dir_all(world.path("in/_delta_log")).expect("made");
    std::fs::write(world.path("in/_delta_log/00000000000000000000.json"), "{}").expect("written");
    let ran = world.run().await.expect_err("a table of another format");
    let checked = engine::check(world.setup("check"), world.provider(), 2).await;
    for error in [ran, checked.expect_err("as well")] {
        assert_eq!(error.kind().exit_code(), 2, "{error:?}");
        assert!(error.to_string().contains("Delta Lake"), "{error}");
    }
    assert_eq!(world.bill().total.requests_accepted, 0);
}

fn tickets(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

/// The ids of the rows that have an answer.
fn answered(world: &World) -> Vec<usize> {
    let table = read_table(&world.path("out.parquet"));
    let rows = table["label_status"].iter().zip(&table["id"]);
    let rows = rows.filter(|(status, _)| status.as_deref() == Some("succeeded"));
    rows.filter_map(|(_, id)| id.as_deref()?.parse().ok())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_drawn_over_the_whole_table_and_grows_without_paying_twice() {
    for filter in [None, Some("id % 2 = 1")] {
        let mut world = World::new("anthropic", "");
        write_table(&world.path("in.parquet"), &tickets(0..1000), 64);
        world.job["source"]["filter"] = json!(filter);
        world.job["source"]["sample"] = json!({ "rows": 40, "seed": 7 });
        let planned = engine::plan(world.setup("plan"), world.provider())
            .await
            .expect("a plan");
        assert_eq!((planned.counts.new, planned.counts.skipped), (40, 960));
        let report = published(&world).await;
        assert_eq!(report.counts.of(RowStatus::Skipped), 960);
        let first = answered(&world);
        assert_eq!(first.len(), 40);
        assert!(
            filter.is_none() || first.iter().all(|id| id % 2 == 1),
            "{first:?}"
        );
        // Chance is even: some of every quarter of the table.
        for quarter in 0..4 {
            let within = quarter * 250..(quarter + 1) * 250;
            assert!(first.iter().any(|id| within.contains(id)), "{first:?}");
        }
        assert!(world.run().await.expect("a second run").unchanged);
        world.job["source"]["sample"]["rows"] = 60.into();
        published(&world).await;
        let second = answered(&world);
        assert_eq!(second.len(), 60);
        assert!(first.iter().all(|id| second.contains(id)));
        assert_eq!(world.bill().total.requests_accepted, 60);
        world.job["source"]["sample"]["seed"] = 8.into();
        let other = engine::plan(world.setup("plan"), world.provider())
            .await
            .expect("a plan");
        assert!(
            other.counts.new > 30,
            "another seed draws other rows: {:?}",
            other.counts
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_more_rows_than_there_are_is_all_of_them() {
    let mut world = World::new("openai", "");
    write_table(&world.path("in.parquet"), &tickets(0..20), 8);
    world.job["source"]["sample"] = json!({ "rows": 1000, "seed": 0 });
    published(&world).await;
    assert_eq!(answered(&world), (0..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_a_querys_rows_is_drawn_as_well() {
    let mut world = World::new("openai", "");
    write_table(&world.path("in.parquet"), &tickets(0..300), 64);
    world.job["source"]["input"] = json!({ "query": {
        "sql": "select * from t where id >= 100 order by id",
        "file": "q.sql",
        "tables": { "t": world.path("in.parquet").display().to_string() },
    } });
    world.job["source"]["sample"] = json!({ "rows": 10, "seed": 1 });
    published(&world).await;
    let drawn = answered(&world);
    assert_eq!(drawn.len(), 10);
    assert!(drawn.iter().all(|id| *id >= 100), "{drawn:?}");
}

/// A shell with a job whose source and output are one day's partition, and two days of a table.
fn nightly() -> Shell {
    let shell = Shell::new();
    for (day, first) in [("2026-11-22", 0), ("2026-11-23", 10)] {
        let folder = shell.path(&format!("lake/tickets/dt={day}"));
        std::fs::create_dir_all(&folder).expect("made");
        let from = usize::try_from(first).expect("small");
        write_rows(
            &folder.join("part-0.parquet"),
            first,
            &tickets(from..from + 4),
            2,
        );
    }
    shell.write(
        "job.toml",
        "name = \"nightly\"\n[source]\ntable = \"lake/tickets/dt={{ vars.ds }}/\"\nkey = [\"id\"]\n\
         [prompt]\nuser = \"Label: {{ body }}\"\n[answer]\ncolumn = \"label\"\n\
         [model]\nuse = \"sandbox/x\"\npoll_min = \"100ms\"\n\
         [output]\npath = \"lake/triaged/dt={{ vars.ds }}/\"\n",
    );
    shell
}

#[test]
fn one_days_partition_is_read_each_night_with_one_ledger() {
    let shell = nightly();
    let refused = shell.call(&["run", "job.toml"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(
        refused.stderr.contains("vars.ds") && refused.stderr.contains("--var ds="),
        "{refused:?}"
    );
    for day in ["2026-11-22", "2026-11-23"] {
        let var = format!("ds={day}");
        let ran = shell.call(&["run", "job.toml", "--var", &var]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let out = shell.path(&format!("lake/triaged/dt={day}/part-0.parquet"));
        assert_eq!(read_table(&out)["label"].len(), 4);
    }
    // What was planned says where it lies.
    let status = shell.call(&["status", "job.toml", "--json"]);
    assert_eq!(status.code, 0, "{status:?}");
    let status: serde_json::Value = serde_json::from_str(status.stdout.trim()).expect("JSON");
    let output = status["output"].as_str().expect("a path");
    assert!(output.ends_with("lake/triaged/dt=2026-11-23/"), "{output}");
    assert_eq!(status["differs"], false);
    for command in [
        &["show", "job.toml", "--key", "11"][..],
        &["collect", "job.toml"],
        &["gc", "job.toml", "--older-than", "1d"],
    ] {
        let ran = shell.call(command);
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    }
    let cancel = shell.call(&["cancel", "job.toml"]);
    assert!(cancel.stderr.contains("nothing to cancel"), "{cancel:?}");
}

#[test]
fn a_table_of_a_query_may_be_one_days_partition() {
    let shell = nightly();
    shell.write(
        "q.sql",
        "SELECT id, body FROM t WHERE id >= CAST($low AS BIGINT)",
    );
    let ran = shell.call(&[
        "run",
        "--query",
        "q.sql",
        "--tables",
        "t=lake/tickets/dt={{ vars.ds }}/",
        "--prompt",
        "Label: {{ body }}",
        "--column",
        "label",
        "--model",
        "sandbox/x",
        "--set",
        "model.poll_min=100ms",
        "--output",
        "out.parquet",
        "--var",
        "ds=2026-11-23",
        "--var",
        "low=12",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ids = &read_table(&shell.path("out.parquet"))["id"];
    assert_eq!(ids.iter().flatten().collect::<Vec<_>>(), ["12", "13"]);
}

#[test]
fn a_sample_and_a_limit_are_not_both() {
    let shell = crate::cli::with_job();
    let both = shell.call(&[
        "check",
        "job.toml",
        "--set",
        "source.sample=2",
        "--set",
        "source.limit=2",
    ]);
    assert_eq!(both.code, 2, "{both:?}");
    assert!(both.stderr.contains("both given"), "{both:?}");
    let seed = shell.call(&["check", "job.toml", "--sample-seed", "2"]);
    assert_eq!(seed.code, 2, "{seed:?}");
    assert!(seed.stderr.contains("without `source.sample`"), "{seed:?}");
    let ran = shell.call(&["run", "job.toml", "--sample", "2", "--sample-seed", "5"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let labels = &read_table(&shell.path("out.parquet"))["label"];
    assert_eq!(labels.iter().flatten().count(), 2);
}
