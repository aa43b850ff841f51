//! Sources of every kind and outputs of every layout, compared as tables with what the rule of the
//! sandbox's answers says.

mod names;

use std::fs::{File, create_dir_all};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use columnist::engine::Report;
use columnist::work::RowStatus;
use serde_json::json;

use crate::world::{VENDORS, World, check_file, check_labels, hash, read_table, write_table};

type Column = Vec<Option<String>>;

fn bodies(range: std::ops::Range<usize>) -> Column {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> Column {
    texts.map(|text| Some(text.to_owned())).to_vec()
}

/// Runs the job, which has to publish and succeed.
async fn published(world: &World) -> Report {
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(world.bill().billed_more_than_once, 0);
    report
}

/// A world whose source and output are folders.
fn folders() -> World {
    let mut world = World::new("openai", "");
    let folder = |world: &World, name: &str| format!("{}/", world.path(name).display());
    world.job["source"]["input"]["table"] = folder(&world, "in").into();
    world.job["output"]["path"] = folder(&world, "out").into();
    world.job["source"]["key"] = json!(["body"]);
    world
}

fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).expect("a folder");
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(
                names(&entry.path())
                    .iter()
                    .map(|inner| format!("{name}/{inner}")),
            );
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_comes_back_file_by_file() {
    let world = folders();
    create_dir_all(world.path("in/deep")).expect("made");
    write_table(&world.path("in/a.parquet"), &bodies(0..5), 2);
    write_table(&world.path("in/b.parquet"), &[], 2);
    write_table(&world.path("in/deep/c.parquet"), &bodies(5..12), 100);
    published(&world).await;
    let files = names(&world.path("out"));
    assert_eq!(files, ["a.parquet", "b.parquet", "deep/c.parquet"]);
    check_file(&world, &world.path("out/a.parquet"), &bodies(0..5));
    check_file(&world, &world.path("out/deep/c.parquet"), &bodies(5..12));
}

#[tokio::test(flavor = "multi_thread")]
async fn hive_partitions_come_back_as_they_were() {
    let mut world = folders();
    for (day, range) in [("2026-01-01", 0..4), ("2026-01-02", 4..9)] {
        let folder = world.path("in").join(format!("dt={day}"));
        create_dir_all(&folder).expect("made");
        write_table(&folder.join("part.parquet"), &bodies(range), 3);
    }
    // The partition's value is a column like any other.
    world.job["source"]["filter"] = "dt = '2026-01-02'".into();
    let report = published(&world).await;
    assert_eq!(report.counts.of(RowStatus::Skipped), 4);
    assert_eq!(report.counts.of(RowStatus::Succeeded), 5);
    let first = read_table(&world.path("out/dt=2026-01-01/part.parquet"));
    assert_eq!(first["body"], bodies(0..4));
    assert_eq!(first["label"], vec![None; 4]);
    assert!(
        !first.contains_key("dt"),
        "the partition became a column of the file"
    );
    check_file(
        &world,
        &world.path("out/dt=2026-01-02/part.parquet"),
        &bodies(4..9),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_becomes_one_file_where_asked_for() {
    let mut world = folders();
    create_dir_all(world.path("in")).expect("made");
    write_table(&world.path("in/a.parquet"), &bodies(0..5), 2);
    write_table(&world.path("in/b.parquet"), &bodies(5..12), 2);
    world.job["output"]["path"] = world.path("out.parquet").display().to_string().into();
    world.job["output"]["layout"] = "single".into();
    published(&world).await;
    check_file(&world, &world.path("out.parquet"), &bodies(0..12));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_glob_takes_the_files_that_it_names() {
    let mut world = folders();
    create_dir_all(world.path("in")).expect("made");
    write_table(&world.path("in/a1.parquet"), &bodies(0..3), 2);
    write_table(&world.path("in/a2.parquet"), &bodies(3..6), 2);
    write_table(&world.path("in/b.parquet"), &bodies(6..9), 2);
    let glob = world.path("in/a*.parquet").display().to_string();
    world.job["source"]["input"]["table"] = glob.into();
    published(&world).await;
    check_file(&world, &world.path("out/a1.parquet"), &bodies(0..3));
    check_file(&world, &world.path("out/a2.parquet"), &bodies(3..6));
    assert!(!world.path("out/b.parquet").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyed_output_is_the_key_and_the_answers_alone() {
    let mut world = World::new("anthropic", "");
    write_table(&world.path("in.parquet"), &bodies(0..7), 3);
    world.job["output"]["layout"] = "keyed".into();
    published(&world).await;
    let table = read_table(&world.path("out.parquet"));
    let columns: Vec<_> = table.keys().map(String::as_str).collect();
    assert_eq!(columns, ["id", "label", "label_error", "label_status"]);
    let ids: Column = (0..7).map(|id| Some(id.to_string())).collect();
    assert_eq!(table["id"], ids);
    check_labels(&world, &table["label"], &bodies(0..7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_is_answered_in_its_own_order() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(0..10), 3);
        let table = world.path("in.parquet").display().to_string();
        world.job["source"]["input"] = json!({ "query": {
            "sql": "SELECT id, upper(body) AS body FROM tickets WHERE id >= $least ORDER BY id DESC",
            "file": "tickets.sql",
            "tables": { "tickets": table },
        }});
        world.job["vars"] = json!({ "least": "6" });
        published(&world).await;
        let expected = texts(["TICKET 9", "TICKET 8", "TICKET 7", "TICKET 6"]);
        check_file(&world, &world.path("out.parquet"), &expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_is_a_value_and_never_sql() {
    let mut world = World::new("openai", "");
    write_table(
        &world.path("in.parquet"),
        &texts(["x", "' OR 1 = 1 --", "y"]),
        3,
    );
    let table = world.path("in.parquet").display().to_string();
    world.job["source"]["input"] = json!({ "query": {
        "sql": "SELECT * FROM tickets WHERE body = $wanted",
        "file": "tickets.sql",
        "tables": { "tickets": table },
    }});
    world.job["vars"] = json!({ "wanted": "' OR 1 = 1 --" });
    published(&world).await;
    check_file(
        &world,
        &world.path("out.parquet"),
        &texts(["' OR 1 = 1 --"]),
    );
}

fn rows() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..4));
    let bodies: ArrayRef = Arc::new(StringArray::from(vec!["a, b", "\"q\"", "\u{e9}", "plain"]));
    RecordBatch::try_from_iter([("id", ids), ("body", bodies)]).expect("a batch")
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_ndjson_and_arrow_become_parquet() {
    for name in ["in.csv", "in.ndjson", "in.arrow"] {
        let mut world = World::new("openai", "");
        let path = world.path(name);
        let file = File::create(&path).expect("a file");
        match name {
            "in.csv" => arrow::csv::Writer::new(file)
                .write(&rows())
                .expect("written"),
            "in.ndjson" => {
                let mut writer = arrow::json::LineDelimitedWriter::new(file);
                writer.write(&rows()).expect("written");
                writer.finish().expect("finished");
            }
            _ => {
                let schema = rows().schema();
                let writer = arrow::ipc::writer::FileWriter::try_new(file, &schema);
                let mut writer = writer.expect("a writer");
                writer.write(&rows()).expect("written");
                writer.finish().expect("finished");
            }
        }
        world.job["source"]["input"]["table"] = path.display().to_string().into();
        published(&world).await;
        let table = read_table(&world.path("out.parquet"));
        assert_eq!(table["id"], texts(["0", "1", "2", "3"]), "{name}");
        check_file(
            &world,
            &world.path("out.parquet"),
            &texts(["a, b", "\"q\"", "\u{e9}", "plain"]),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_and_limit_choose_the_prompts_and_keep_the_rows() {
    let mut world = World::new("anthropic", "");
    write_table(&world.path("in.parquet"), &bodies(0..20), 6);
    world.job["source"]["filter"] = "id % 2 = 1".into();
    world.job["source"]["limit"] = 4.into();
    let report = published(&world).await;
    assert_eq!(report.requests, 4);
    assert_eq!(report.counts.of(RowStatus::Skipped), 16);
    let table = read_table(&world.path("out.parquet"));
    assert_eq!(table["body"], bodies(0..20));
    for row in 0..20 {
        let is_asked = row % 2 == 1 && row < 8;
        let status = table["label_status"][row].as_deref();
        assert_eq!(
            status,
            Some(if is_asked { "succeeded" } else { "skipped" }),
            "row {row}"
        );
        assert_eq!(table["label"][row].is_some(), is_asked, "row {row}");
        if is_asked {
            check_labels(
                &world,
                &table["label"][row..=row],
                &table["body"][row..=row],
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dedupe_every_row_has_a_request_of_its_own() {
    for (dedupe, requests) in [(true, 2), (false, 6)] {
        let mut world = World::new("openai", "");
        let bodies = texts(["a", "b", "a", "a", "b", "a"]);
        write_table(&world.path("in.parquet"), &bodies, 4);
        world.job["prompt"]["dedupe"] = dedupe.into();
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        assert_eq!(report.requests, requests);
        assert_eq!(world.bill().total.requests_accepted, requests);
        check_file(&world, &world.path("out.parquet"), &bodies);
        // The same row again is the same request.
        assert!(world.run().await.expect("a second run").unchanged);
        assert_eq!(world.bill().total.requests_accepted, requests);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_choice_is_one_of_the_words() {
    let choices = ["billing", "bug", "how-to"];
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(0..30), 16);
        world.job["answer"]["answer"] = json!({ "type": "choice", "choices": choices });
        published(&world).await;
        let table = read_table(&world.path("out.parquet"));
        for (row, body) in bodies(0..30).iter().enumerate() {
            let prompt = format!("Label this: {}", body.as_deref().expect("a body"));
            let expected = choices[usize::try_from(hash(&prompt) % 3).expect("small")];
            assert_eq!(
                table["label"][row].as_deref(),
                Some(expected),
                "{vendor}, row {row}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_the_position_is_the_row() {
    for dedupe in [true, false] {
        let mut world = World::new("openai", "");
        let bodies = texts(["same", "same", "other", "same"]);
        write_table(&world.path("in.parquet"), &bodies, 2);
        world.job["source"]["key"] = json!([]);
        world.job["prompt"]["dedupe"] = dedupe.into();
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        check_file(&world, &world.path("out.parquet"), &bodies);
        let accepted = world.bill().total.requests_accepted;
        assert_eq!(accepted, if dedupe { 2 } else { 4 });
    }
}
