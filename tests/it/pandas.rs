//! What pandas notes of a table in its schema: labels of rows and columns. An output must not have those that
//! are not true of it, for pandas believes them.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Schema};
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use serde_json::{Value, json};

use crate::shell::Shell;

fn range(start: i64, stop: i64) -> Value {
    json!([{"kind": "range", "name": null, "start": start, "stop": stop, "step": 2}])
}

/// Notes with this index, and labels of these types.
fn notes(index: &Value, labels: &[&str]) -> Value {
    let level = |kind: &&str| json!({"name": null, "field_name": null, "pandas_type": kind, "numpy_type": kind, "metadata": null});
    let column = |name: &str| json!({"name": name, "field_name": name, "pandas_type": "object", "numpy_type": "object", "metadata": null});
    json!({
        "index_columns": index,
        "column_indexes": labels.iter().map(level).collect::<Vec<_>>(),
        "columns": [column("id"), column("t"), column("__index_level_0__")],
    })
}

/// A table of `id`, `t` and `__index_level_0__` with such notes.
fn table(rows: i64, notes: &Value) -> RecordBatch {
    let numbers = || Arc::new(Int64Array::from_iter_values(0..rows)) as ArrayRef;
    let texts = (0..rows).map(|n| Some(format!("text {n}")));
    let texts = Arc::new(texts.collect::<StringArray>()) as ArrayRef;
    let columns = [
        ("id", numbers()),
        ("t", texts),
        ("__index_level_0__", numbers()),
    ];
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true));
    let metadata = [
        ("pandas".to_owned(), notes.to_string()),
        ("owner".to_owned(), "us".to_owned()),
    ];
    let schema = Schema::new_with_metadata(fields.collect::<Vec<_>>(), metadata.into());
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(schema), arrays).expect("a batch")
}

fn write(path: &Path, rows: i64, notes: &Value) {
    let batch = table(rows, notes);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let file = File::create(path).expect("a file");
    if path.extension().is_some_and(|ending| ending == "arrow") {
        let mut writer = FileWriter::try_new(file, &batch.schema()).expect("a writer");
        writer.write(&batch).expect("written");
        return writer.finish().expect("closed");
    }
    let pair = KeyValue::new("pandas".to_owned(), notes.to_string());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![pair]));
    let mut writer =
        ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// The notes of pandas in a file: the same beside the schema and in it.
fn noted(path: &Path) -> Option<Value> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).expect("the output"))
        .expect("Parquet");
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let mut beside = pairs
        .into_iter()
        .flatten()
        .filter(|pair| pair.key == "pandas");
    let beside = beside.next().and_then(|pair| pair.value.clone());
    let within = reader.schema().metadata().get("pandas").cloned();
    if let (Some(beside), Some(within)) = (&beside, &within) {
        assert_eq!(beside, within);
    }
    let found = within.or(beside)?;
    Some(serde_json::from_str(&found).expect("JSON"))
}

/// Runs a job whose source is `source`, and whose output is `output`.
fn run(shell: &Shell, source: &str, output: &str) {
    shell.write(
        "job.toml",
        format!(
            "name = \"j\"\n[source]\n{source}\n[prompt]\nuser = \"{{{{ t }}}}\"\n[answer]\ncolumn = \"a\"\n\
             [model]\nuse = \"sandbox/x\"\n[output]\n{output}\n"
        ),
    );
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[test]
fn a_query_has_no_index_of_its_tables() {
    for (name, index) in [
        ("range.parquet", range(100, 108)),
        ("range.arrow", range(100, 108)),
        ("column.parquet", json!(["__index_level_0__"])),
    ] {
        for query in [
            "select t from x order by t desc",
            "select * from x order by t desc",
        ] {
            let shell = Shell::new();
            shell.write("q.sql", query);
            write(&shell.path(name), 4, &notes(&index, &["int64"]));
            let source = format!("query = \"q.sql\"\ntables = {{ x = \"{name}\" }}");
            run(&shell, &source, "path = \"o.parquet\"");
            assert_eq!(noted(&shell.path("o.parquet")), None, "{name} {query}");
        }
    }
}

#[test]
fn the_same_rows_keep_their_labels() {
    for ending in ["parquet", "arrow"] {
        for (more, layout) in [
            ("", ""),
            ("", "layout = \"single\""),
            ("", "layout = \"keyed\""),
            ("where = \"id > 1\"", ""),
            ("limit = 2", "layout = \"single\""),
        ] {
            let shell = Shell::new();
            let was = notes(&range(100, 108), &["unicode"]);
            write(&shell.path(&format!("in.{ending}")), 4, &was);
            let source = format!("table = \"in.{ending}\"\nkey = [\"id\"]\n{more}");
            run(&shell, &source, &format!("path = \"o.parquet\"\n{layout}"));
            let found = noted(&shell.path("o.parquet"));
            assert_eq!(found, Some(was), "{ending} {more} {layout}");
        }
    }
}

#[test]
fn the_rows_of_several_files_have_no_labels_of_the_first() {
    for ending in ["parquet", "arrow"] {
        for layout in ["single", "keyed"] {
            let shell = Shell::new();
            let file = |name: &str| shell.path(&format!("in/{name}.{ending}"));
            write(&file("a"), 3, &notes(&range(100, 106), &["unicode"]));
            write(&file("b"), 2, &notes(&range(0, 4), &["unicode"]));
            let output = format!("path = \"o.parquet\"\nlayout = \"{layout}\"");
            run(&shell, "table = \"in/\"", &output);
            let found = noted(&shell.path("o.parquet")).expect("notes");
            assert_eq!(found["index_columns"], json!([]), "{ending} {layout}");
        }
    }
}

#[test]
fn each_file_of_a_mirrored_folder_has_its_own() {
    let shell = Shell::new();
    write(
        &shell.path("in/a.parquet"),
        3,
        &notes(&range(100, 106), &["unicode"]),
    );
    write(
        &shell.path("in/b.parquet"),
        2,
        &notes(&range(0, 4), &["unicode"]),
    );
    run(&shell, "table = \"in/\"", "path = \"out/\"");
    for (name, index) in [("a", range(100, 106)), ("b", range(0, 4))] {
        let found = noted(&shell.path(&format!("out/{name}.parquet"))).expect("notes");
        assert_eq!(found["index_columns"], index);
    }
}

#[test]
fn a_keyed_output_has_an_index_only_of_columns_that_it_has() {
    let shell = Shell::new();
    let index = json!(["__index_level_0__", "id"]);
    write(&shell.path("in.parquet"), 3, &notes(&index, &["unicode"]));
    let source = "table = \"in.parquet\"\nkey = [\"id\"]";
    run(&shell, source, "path = \"o.parquet\"\nlayout = \"keyed\"");
    let found = noted(&shell.path("o.parquet")).expect("notes");
    assert_eq!(found["index_columns"], json!(["id"]));
}

#[test]
fn names_of_new_columns_are_labels() {
    for (labels, layout) in [
        (&["int64"][..], ""),
        (&["datetime64[us]"], "layout = \"keyed\""),
        (&["unicode", "int64"], "layout = \"single\""),
        (&["unicode", "int64"], "layout = \"keyed\""),
    ] {
        let shell = Shell::new();
        write(&shell.path("in.parquet"), 3, &notes(&range(0, 6), labels));
        let source = "table = \"in.parquet\"\nkey = [\"id\"]";
        run(&shell, source, &format!("path = \"o.parquet\"\n{layout}"));
        let found = noted(&shell.path("o.parquet")).expect("notes");
        for level in found["column_indexes"].as_array().expect("levels") {
            assert_eq!(level["pandas_type"], "unicode", "{labels:?}");
        }
        let columns = found["columns"].as_array().expect("columns");
        let new = columns[3..]
            .iter()
            .map(|column| (&column["field_name"], &column["name"]));
        let new: Vec<_> = new
            .map(|(field, name)| (field.as_str(), name.as_str()))
            .collect();
        let expected = [
            (Some("a"), Some("(\"a\", \"\")")),
            (Some("a_status"), Some("(\"a_status\", \"\")")),
            (Some("a_error"), Some("(\"a_error\", \"\")")),
        ];
        assert_eq!(
            new,
            if labels.len() > 1 { &expected[..] } else { &[] },
            "{labels:?}"
        );
    }
}
