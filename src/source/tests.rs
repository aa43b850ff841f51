//! Sources as a user has them: files in a folder, written by the test.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, ListArray, RecordBatch, StringArray, StringViewArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Float32Type, Int32Type, Int64Type, Schema};
use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;
use tempfile::TempDir;

use crate::base::{Error, ErrorKind, Stores};

use super::{
    Drift, Input, Predicate, RowIds, Scan, Slice, Source, TextOptions, check_unique, drift,
};

mod differing;
mod folders;
mod wide;

fn scratch() -> TempDir {
    TempDir::new().expect("a temporary folder can be made")
}

fn write_parquet(path: &Path, batch: &RecordBatch, group_rows: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(group_rows))
        .set_data_page_row_count_limit(7)
        .set_write_batch_size(3)
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let text: StringArray = ids.clone().map(|id| Some(format!("text {id}"))).collect();
    let lang: StringArray = ids
        .clone()
        .map(|id| match id % 3 {
            0 => Some("en"),
            1 => Some("de"),
            _ => None,
        })
        .collect();
    RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from_iter_values(ids)) as ArrayRef,
            false,
        ),
        ("text", Arc::new(text), true),
        ("lang", Arc::new(lang), true),
    ])
    .unwrap()
}

async fn open(address: &Path) -> crate::base::Result<Source> {
    open_text(address.to_str().unwrap()).await
}

async fn open_text(address: &str) -> crate::base::Result<Source> {
    let input = Input::table(address);
    Source::open(&input, &Arc::default(), &std::env::temp_dir()).await
}

async fn query(
    sql: &str,
    tables: &[(&str, &Path)],
    vars: &[(&str, &str)],
) -> crate::base::Result<Source> {
    let pairs = |pairs: Vec<(String, String)>| pairs.into_iter().collect::<BTreeMap<_, _>>();
    let input = Input::Query {
        sql: sql.to_owned(),
        tables: pairs(
            tables
                .iter()
                .map(|(n, p)| ((*n).to_owned(), p.to_str().unwrap().to_owned()))
                .collect(),
        ),
        vars: pairs(
            vars.iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        ),
        text: TextOptions::default(),
    };
    Source::open(&input, &Arc::default(), &std::env::temp_dir()).await
}

async fn slices(source: &Source, scan: Scan) -> Vec<Slice> {
    source
        .scan(scan)
        .await
        .unwrap()
        .try_collect()
        .await
        .unwrap()
}

/// The positions and the values of one integer column.
async fn ids(source: &Source, scan: Scan) -> Vec<(u64, i64)> {
    slices(source, scan)
        .await
        .iter()
        .flat_map(|slice| {
            assert_eq!(slice.rows.len(), slice.batch.num_rows());
            let column = slice.batch.column(0).as_primitive::<Int64Type>();
            slice
                .rows
                .iter()
                .zip(column.values().to_vec())
                .collect::<Vec<_>>()
        })
        .collect()
}

async fn strings(source: &Source, column: &str) -> Vec<Option<String>> {
    slices(source, Scan::of([column]))
        .await
        .iter()
        .flat_map(|slice| {
            let column = slice.batch.column(0).as_string::<i32>();
            column
                .iter()
                .map(|text| text.map(str::to_owned))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn message(error: &Error) -> String {
    let cause = std::error::Error::source(error)
        .map(ToString::to_string)
        .unwrap_or_default();
    format!(
        "{error} | {cause} | {}",
        error.hint_text().unwrap_or_default()
    )
}

fn predicate(sql: &str, source: &Source) -> Predicate {
    Predicate::compile(sql, source.schema(), &BTreeMap::new()).unwrap()
}

#[tokio::test]
async fn rows_come_in_the_order_of_paths_and_row_groups_with_their_positions() {
    let folder = scratch();
    // Written in another order than their names'.
    for (name, from) in [("c", 40), ("a", 0), ("b", 20)] {
        write_parquet(
            &folder.path().join(format!("{name}.parquet")),
            &rows(from..from + 20),
            6,
        );
    }
    let source = open(folder.path()).await.unwrap();
    assert_eq!(source.rows(), Some(60));
    let expected: Vec<(u64, i64)> = (0..60u64).map(|at| (at, at.cast_signed())).collect();
    for batch_rows in [1, 5, 6, 7, 100] {
        assert_eq!(
            ids(&source, Scan::of(["id"]).batch_rows(batch_rows)).await,
            expected
        );
    }
    assert_eq!(
        ids(&source, Scan::of(["id"]).from(33).limit(10)).await,
        expected[33..43]
    );
    assert_eq!(ids(&source, Scan::of(["id"]).limit(0)).await, []);
    let only = slices(&source, Scan::of(["lang", "id"])).await;
    assert_eq!(only[0].batch.schema().field(0).name(), "lang");
    assert_eq!(only[0].batch.num_columns(), 2);
    let none: usize = slices(&source, Scan::of::<String>([]))
        .await
        .iter()
        .map(|s| s.rows.len())
        .sum();
    assert_eq!(none, 60);
}

#[tokio::test]
async fn a_predicate_selects_rows_by_value_and_nulls_never() {
    let folder = scratch();
    for (name, from) in [("a", 0), ("b", 100)] {
        write_parquet(
            &folder.path().join(format!("{name}.parquet")),
            &rows(from..from + 100),
            17,
        );
    }
    let source = open(folder.path()).await.unwrap();
    let check = async |sql: &str, wanted: &dyn Fn(i64) -> bool| {
        let expected: Vec<_> = (0..200)
            .filter(|id| wanted(*id))
            .map(|id| (id.cast_unsigned(), id))
            .collect();
        for batch_rows in [3, 64] {
            let scan = Scan::of(["id"])
                .filter(predicate(sql, &source))
                .batch_rows(batch_rows);
            assert_eq!(ids(&source, scan).await, expected, "{sql}");
        }
        let scan = Scan::of(["id"])
            .filter(predicate(sql, &source))
            .from(50)
            .limit(7);
        let some: Vec<_> = expected
            .into_iter()
            .filter(|(at, _)| *at >= 50)
            .take(7)
            .collect();
        assert_eq!(ids(&source, scan).await, some, "{sql} from 50");
    };
    check("lang = 'en'", &|id| id % 3 == 0).await;
    check("lang <> 'en'", &|id| id % 3 == 1).await;
    check("not (lang = 'en')", &|id| id % 3 == 1).await;
    check("lang is null and id > 150", &|id| id % 3 == 2 && id > 150).await;
    check("text like '%7' or id between 20 and 30", &|id| {
        id % 10 == 7 || (20..=30).contains(&id)
    })
    .await;
    check("id < 0", &|_| false).await;
    check("true", &|_| true).await;
    check("null", &|_| false).await;
}

#[tokio::test]
async fn a_predicate_takes_variables_as_values_and_says_what_is_wrong() {
    let folder = scratch();
    write_parquet(&folder.path().join("a.parquet"), &rows(0..30), 10);
    let source = open(folder.path()).await.unwrap();
    let vars = BTreeMap::from([("low".to_owned(), "27".to_owned())]);
    let bound = Predicate::compile("id > $low", source.schema(), &vars).unwrap();
    assert_eq!(
        ids(&source, Scan::of(["id"]).filter(bound)).await,
        [(28, 28), (29, 29)]
    );
    for (sql, words) in [
        ("langg = 'en'", "lang"),
        ("id > $high", "--var high"),
        ("id + 1", "not true or false"),
        ("id >", "cannot understand"),
    ] {
        let error = Predicate::compile(sql, source.schema(), &vars).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
        assert!(
            message(&error).contains(words),
            "{sql}: {}",
            message(&error)
        );
    }
}

#[tokio::test]
async fn hive_folders_become_columns_and_hidden_names_are_never_read() {
    let folder = scratch();
    let data = rows(0..2);
    for path in [
        "dt=2024-01-01/team=a%2Fb c/x.parquet",
        "dt=2024-01-02/team=__HIVE_DEFAULT_PARTITION__/y.parquet",
        "dt=2024-01-02/team=100%/z.parquet",
    ] {
        write_parquet(&folder.path().join(path), &data, 10);
    }
    for hidden in [
        "_columnist/job/requests.parquet",
        "dt=2024-01-01/_temporary/t.parquet",
        "dt=2024-01-01/team=a%2Fb c/.x.parquet",
        "_metadata.parquet",
    ] {
        let path = folder.path().join(hidden);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "not Parquet").unwrap();
    }
    fs::write(folder.path().join("_SUCCESS"), "").unwrap();
    let source = open(folder.path()).await.unwrap();
    let names: Vec<_> = source
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().as_str())
        .collect();
    assert_eq!(names, ["id", "text", "lang", "dt", "team"]);
    let team = |team: Option<&str>| team.map(str::to_owned);
    let hundred = team(Some("100%"));
    let slash = team(Some("a/b c"));
    assert_eq!(
        strings(&source, "team").await,
        [slash.clone(), slash, hundred.clone(), hundred, None, None]
    );
    let filter = predicate("dt = '2024-01-02' and team is null", &source);
    assert_eq!(
        ids(&source, Scan::of(["id"]).filter(filter)).await,
        [(4, 0), (5, 1)]
    );
    assert_eq!(
        source.files()[0].relative,
        "dt=2024-01-01/team=a%2Fb c/x.parquet"
    );

    let through_sql = query(
        "select id, dt, team from t where team is null or team = '100%' order by dt, team, id",
        &[("t", folder.path())],
        &[],
    )
    .await
    .unwrap();
    assert_eq!(
        strings(&through_sql, "team").await,
        [team(Some("100%")), team(Some("100%")), None, None]
    );
}

#[tokio::test]
async fn a_glob_stays_within_a_folder_unless_it_says_otherwise() {
    let folder = scratch();
    for (at, path) in [
        "2024/a 1.parquet",
        "2024/b%20.parquet",
        "2025/a=1.parquet",
        "2025/deep/a.parquet",
    ]
    .iter()
    .enumerate()
    {
        let at = i64::try_from(at).unwrap();
        write_parquet(&folder.path().join(path), &rows(at * 10..at * 10 + 1), 10);
    }
    let read = async |pattern: &str| {
        let source = open(&folder.path().join(pattern)).await.unwrap();
        ids(&source, Scan::of(["id"]))
            .await
            .into_iter()
            .map(|(_, id)| id)
            .collect::<Vec<_>>()
    };
    assert_eq!(read("*/a*.parquet").await, [0, 20]);
    assert_eq!(read("**/a*.parquet").await, [0, 20, 30]);
    assert_eq!(read("2024/?%20.parquet").await, [10]);
    assert_eq!(read("202[45]").await, [0, 10, 20, 30]);
    assert_eq!(read("2024/b%20.parquet").await, [10]);
    assert_eq!(read("2025/a=1.parquet").await, [20]);
    let error = open(&folder.path().join("*/nothing*")).await.unwrap_err();
    assert!(
        message(&error).contains("no file matches"),
        "{}",
        message(&error)
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_said_with_what_to_do() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("empty")).unwrap();
    fs::create_dir_all(path("others")).unwrap();
    fs::write(path("others/readme.md"), "hello").unwrap();
    fs::write(path("broken.parquet"), "PAR1 not really PAR1").unwrap();
    write_parquet(&path("mixed/a.parquet"), &rows(0..2), 10);
    let other = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("text", Arc::new(Int32Array::from(vec![1]))),
        ("lang", Arc::new(StringArray::from(vec!["en"]))),
    ]);
    write_parquet(&path("mixed/b.parquet"), &other.unwrap(), 10);
    write_parquet(&path("kinds/a.parquet"), &rows(0..2), 10);
    fs::write(path("kinds/b.csv"), "id\n1\n").unwrap();
    for (name, words) in [
        (
            "nothing.parquet",
            vec!["no such file", "relative to the job file"],
        ),
        ("empty", vec!["no data files"]),
        ("others", vec!["no data files", ".parquet"]),
        ("broken.parquet", vec!["damaged", "broken.parquet"]),
        (
            "mixed",
            vec!["different columns", "column=`text`", "b.parquet", "Int32"],
        ),
        ("kinds", vec!["more than one format", "b.csv"]),
    ] {
        let error = open(&path(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{name}");
        for word in words {
            assert!(
                message(&error).contains(word),
                "{name}: {}",
                message(&error)
            );
        }
    }
    let source = open(&path("mixed/a.parquet")).await.unwrap();
    let error = source.scan(Scan::of(["langg"])).await.err().unwrap();
    assert!(
        message(&error).contains("did you mean `lang`"),
        "{}",
        message(&error)
    );
}

#[tokio::test]
async fn a_damaged_page_fails_the_scan_and_names_the_file() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..500), 100);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..1500].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let source = open(&path).await.unwrap();
    let scan = source.scan(Scan::of(["id", "text"])).await.unwrap();
    let error = scan.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(message(&error).contains("a.parquet"), "{}", message(&error));
}

#[tokio::test]
async fn row_groups_that_cannot_match_are_not_read() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..500), 100);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40..1500].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let source = open(&path).await.unwrap();
    let late = Scan::of(["id"]).filter(predicate("id >= 480 and text is not null", &source));
    assert_eq!(ids(&source, late).await.len(), 20);
    let through_sql = query("select id from t where id > 497", &[("t", &path)], &[])
        .await
        .unwrap();
    let last = ids(&through_sql, Scan::of(["id"])).await;
    assert_eq!(last, [(0, 498), (1, 499)]);
    let early = source
        .scan(Scan::of(["id"]).filter(predicate("id < 10", &source)))
        .await
        .unwrap();
    assert!(early.try_collect::<Vec<_>>().await.is_err());
    let failed = query("select id from t", &[("t", &path)], &[])
        .await
        .unwrap();
    let failed = failed
        .scan(Scan::of(["id"]))
        .await
        .unwrap()
        .try_collect::<Vec<_>>()
        .await;
    let text = message(&failed.unwrap_err());
    assert!(text.contains("a.parquet"), "{text}");
}

#[tokio::test]
async fn statistics_never_hide_a_row_that_matches() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let ratio = Float64Array::from(vec![
        Some(1.0),
        Some(f64::NAN),
        None,
        Some(2.0),
        Some(3.0),
        None,
    ]);
    let ids_of = Int64Array::from_iter_values(0..6);
    let table = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids_of) as ArrayRef, false),
        ("ratio", Arc::new(ratio), true),
    ]);
    write_parquet(&path, &table.unwrap(), 3);
    let source = open(&path).await.unwrap();
    for (sql, expected) in [
        ("ratio > 100", vec![1]),
        ("ratio is null", vec![2, 5]),
        ("ratio is not null and id < 3", vec![0, 1]),
        ("not (ratio <= 2)", vec![1, 4]),
    ] {
        let scan = Scan::of(["id"]).filter(predicate(sql, &source));
        let found: Vec<i64> = ids(&source, scan)
            .await
            .into_iter()
            .map(|(_, id)| id)
            .collect();
        assert_eq!(found, expected, "{sql}");
    }
}

#[tokio::test]
async fn a_pin_tells_a_file_that_changed_from_one_that_is_gone() {
    let folder = scratch();
    let path = folder.path().join("a b.parquet");
    write_parquet(&path, &rows(0..5), 10);
    let source = open(&path).await.unwrap();
    let pin = source.files()[0].pin.clone();
    let stores = Stores::default();
    assert_eq!(drift(&pin, &stores).await.unwrap(), None);
    write_parquet(&path, &rows(0..6), 10);
    assert_eq!(drift(&pin, &stores).await.unwrap(), Some(Drift::Changed));
    fs::remove_file(&path).unwrap();
    assert_eq!(drift(&pin, &stores).await.unwrap(), Some(Drift::Gone));
}

#[tokio::test]
async fn text_formats_are_read_in_order_with_their_types() {
    let folder = scratch();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir_all(path("csv")).unwrap();
    fs::write(path("csv/b.csv"), "id,text\n3,three\n").unwrap();
    fs::write(path("csv/a.csv"), "id,text\n1,\"one,\nand a half\"\n2,\n").unwrap();
    fs::write(
        path("a.ndjson"),
        "{\"id\":1,\"tags\":[\"x\"]}\n{\"id\":2}\n",
    )
    .unwrap();
    let batch = rows(0..9);
    let mut writer = arrow::ipc::writer::FileWriter::try_new(
        File::create(path("a.arrow")).unwrap(),
        &batch.schema(),
    )
    .unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();

    let csv = open(&path("csv")).await.unwrap();
    assert!(!csv.is_table());
    assert_eq!(ids(&csv, Scan::of(["id"])).await, [(0, 1), (1, 2), (2, 3)]);
    let texts = strings(&csv, "text").await;
    assert_eq!(
        texts,
        [
            Some("one,\nand a half".to_owned()),
            None,
            Some("three".to_owned())
        ]
    );
    let filter = predicate("id >= 2", &csv);
    assert_eq!(
        ids(&csv, Scan::of(["id"]).filter(filter.clone())).await,
        [(1, 2), (2, 3)]
    );
    assert_eq!(
        ids(&csv, Scan::of(["id"]).filter(filter).from(2).limit(5)).await,
        [(2, 3)]
    );

    let json = open(&path("a.ndjson")).await.unwrap();
    assert_eq!(ids(&json, Scan::of(["id"])).await, [(0, 1), (1, 2)]);
    assert!(matches!(
        json.schema().field_with_name("tags").unwrap().data_type(),
        DataType::List(_)
    ));

    let ipc = open(&path("a.arrow")).await.unwrap();
    assert_eq!(ids(&ipc, Scan::of(["id"])).await.len(), 9);
}

#[tokio::test]
async fn a_query_keeps_its_order_binds_its_variables_and_only_reads() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..50), 8);
    let tables = [("t", path.as_path())];
    let sorted = query(
        "select id from t where id >= $low and id < $high order by id desc",
        &tables,
        &[("low", "9"), ("high", "12")],
    );
    assert_eq!(
        ids(&sorted.await.unwrap(), Scan::of(["id"])).await,
        [(0, 11), (1, 10), (2, 9)]
    );
    // As text, '9' would stand above '12'; and a quote is a quote.
    let quote = query(
        "select id from t where text = $x",
        &tables,
        &[("x", "' or true --")],
    );
    assert_eq!(ids(&quote.await.unwrap(), Scan::of(["id"])).await, []);
    let joined = query(
        "select a.id, b.text as other from t a join t b on a.id = b.id where a.id < 3",
        &tables,
        &[],
    );
    assert_eq!(ids(&joined.await.unwrap(), Scan::of(["id"])).await.len(), 3);
    for (sql, words) in [
        ("select id from tt", "did you mean `t`"),
        ("select idd from t", "idd"),
        ("select id from t where id > $low", "--var low"),
        ("select", "cannot understand"),
        ("drop table t", "more than read"),
        ("copy t to '/tmp/x.parquet'", "more than read"),
        ("select id, text as id from t", "ambiguous"),
        ("select a.id, b.id from t a cross join t b", "same name"),
    ] {
        let error = query(sql, &tables, &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{sql}");
        assert!(
            message(&error).contains(words),
            "{sql}: {}",
            message(&error)
        );
    }
}

fn every_type() -> RecordBatch {
    let item = Arc::new(Field::new("item", DataType::Utf8, true));
    let tags = ListArray::new(
        item,
        arrow::buffer::OffsetBuffer::from_lengths([2, 0, 1]),
        Arc::new(StringArray::from(vec![Some("a"), None, Some("c")])),
        Some(vec![true, true, false].into()),
    );
    let address = StructArray::from(vec![(
        Arc::new(Field::new("city", DataType::Utf8, true)),
        Arc::new(StringArray::from(vec![Some("Łódź"), None, Some("")])) as ArrayRef,
    )]);
    let vector = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(1.0), Some(2.0)]), None, Some([None, Some(0.5)])],
        2,
    );
    let label: DictionaryArray<Int32Type> = [Some("x"), None, Some("x")].into_iter().collect();
    let money =
        Decimal128Array::from(vec![Some(1250), None, Some(-1)]).with_precision_and_scale(38, 2);
    let when =
        TimestampMicrosecondArray::from(vec![Some(0), None, Some(1)]).with_timezone("Europe/Paris");
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("tags", Arc::new(tags) as ArrayRef, true),
        ("address", Arc::new(address), true),
        ("vector", Arc::new(vector), true),
        ("label", Arc::new(label), true),
        ("money", Arc::new(money.unwrap()), true),
        ("when", Arc::new(when), true),
        (
            "day",
            Arc::new(Date32Array::from(vec![Some(1), None, Some(19000)])),
            true,
        ),
        (
            "bytes",
            Arc::new(BinaryArray::from(vec![Some(&b"\xff"[..]), None, Some(b"")])),
            true,
        ),
        (
            "ratio",
            Arc::new(Float64Array::from(vec![
                Some(f64::INFINITY),
                None,
                Some(-0.0),
            ])),
            true,
        ),
    ])
    .unwrap();
    let schema = batch.schema();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| {
            let note = [("note".to_owned(), field.name().to_owned())];
            field.as_ref().clone().with_metadata(note.into())
        })
        .collect();
    let metadata = [("made_by".to_owned(), "a test".to_owned())];
    let schema = Schema::new_with_metadata(fields, metadata.into());
    batch.with_schema(Arc::new(schema)).unwrap()
}

async fn everything(source: &Source) -> RecordBatch {
    let names = source
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone());
    let slices = slices(source, Scan::of(names)).await;
    let batches: Vec<_> = slices.iter().map(|slice| &slice.batch).collect();
    arrow::compute::concat_batches(source.schema(), batches).unwrap()
}

#[tokio::test]
async fn a_snapshot_keeps_values_types_order_and_metadata() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let table = every_type();
    write_parquet(&path, &table, 2);
    assert_eq!(everything(&open(&path).await.unwrap()).await, table);

    let stores: Arc<Stores> = Arc::default();
    for address in [
        "memory:///snapshot",
        folder.path().join("snap shot").to_str().unwrap(),
    ] {
        let query = query("select * from t", &[("t", &path)], &[])
            .await
            .unwrap();
        assert!(!query.is_table());
        let target = stores.locate(address).unwrap();
        let snapshot = query
            .snapshot(&target, &stores, folder.path())
            .await
            .unwrap();
        assert!(snapshot.is_table());
        assert_eq!(snapshot.rows(), Some(3));
        let read = everything(&snapshot).await;
        assert_eq!(read, table, "{address}");
        assert_eq!(
            read.schema().metadata(),
            table.schema().metadata(),
            "{address}"
        );
    }
}

#[tokio::test]
async fn a_snapshot_in_a_private_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..3), 2);
    let source = query("select * from t", &[("t", &path)], &[])
        .await
        .unwrap();
    let stores: Arc<Stores> = Arc::default();
    let target = folder.path().join("snapshot");
    let target = stores.locate(target.to_str().unwrap()).unwrap().private();
    source
        .snapshot(&target, &stores, folder.path())
        .await
        .unwrap();
    let mode = |name: &str| {
        let metadata = fs::metadata(folder.path().join(name)).unwrap();
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(mode("snapshot/part-00000.parquet"), 0o600);
    assert_eq!(mode("snapshot"), 0o700);
}

#[tokio::test]
async fn a_snapshot_of_no_rows_is_a_table_of_no_rows() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &rows(0..5), 2);
    let query = query("select * from t where id > 10", &[("t", &path)], &[])
        .await
        .unwrap();
    let stores: Arc<Stores> = Arc::default();
    let target = stores
        .locate(folder.path().join("s").to_str().unwrap())
        .unwrap();
    let snapshot = query
        .snapshot(&target, &stores, folder.path())
        .await
        .unwrap();
    assert_eq!(snapshot.rows(), Some(0));
    assert_eq!(snapshot.schema().fields().len(), 3);
}

#[tokio::test]
async fn a_file_in_a_store_reads_as_the_same_file_on_disk() {
    let folder = scratch();
    let stores: Arc<Stores> = Arc::default();
    let path = folder.path().join("a.parquet");
    // Larger than a window, so that several are fetched.
    let long: StringArray = (0..3000)
        .map(|row| Some(format!("{row}-").repeat(600 + row % 7)))
        .collect();
    let number = Int64Array::from_iter_values(0..3000);
    let table = RecordBatch::try_from_iter([
        ("id", Arc::new(number) as ArrayRef),
        ("long", Arc::new(long)),
    ])
    .unwrap();
    write_parquet(&path, &table, 900);
    let place = stores.locate("memory:///lake/x/a.parquet").unwrap();
    let bytes = fs::read(&path).unwrap();
    place.store.put(&place.path, bytes.into()).await.unwrap();
    for address in [
        "memory:///lake/x/a.parquet",
        "memory:///lake/",
        "memory:///lake/*/a*",
    ] {
        let input = Input::table(address.to_owned());
        let source = Source::open(&input, &stores, folder.path()).await.unwrap();
        let read = everything(&source).await;
        assert_eq!(read.columns(), table.columns(), "{address}");
        let filter = predicate("id % 1000 = 999", &source);
        assert_eq!(ids(&source, Scan::of(["id"]).filter(filter)).await.len(), 3);
    }
}

#[tokio::test]
async fn views_are_read_as_plain_strings() {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let views: StringViewArray = [Some("a text that is longer than a view's prefix"), None]
        .into_iter()
        .collect();
    let table =
        RecordBatch::try_from_iter_with_nullable([("text", Arc::new(views) as ArrayRef, true)])
            .unwrap();
    write_parquet(&path, &table, 10);
    let source = open(&path).await.unwrap();
    assert_eq!(source.schema().field(0).data_type(), &DataType::Utf8);
    assert_eq!(strings(&source, "text").await[1], None);
}

#[tokio::test]
async fn strings_come_as_views_where_that_is_asked_for() {
    let folder = scratch();
    let long = "a text that is longer than a view's prefix";
    let texts = || [Some(long), None, Some("short"), Some("")];
    let large: LargeStringArray = texts().into_iter().collect();
    let plain: StringArray = texts().into_iter().collect();
    let table = RecordBatch::try_from_iter_with_nullable([
        (
            "id",
            Arc::new(Int64Array::from(vec![0, 1, 2, 3])) as ArrayRef,
            true,
        ),
        ("large", Arc::new(large), true),
        ("plain", Arc::new(plain), true),
    ])
    .unwrap();
    write_parquet(&folder.path().join("dt=1/a.parquet"), &table, 3);
    let source = open(folder.path()).await.unwrap();
    let filter = predicate("id <> 2 and large is distinct from 'x'", &source);
    let scan = Scan::of(["dt", "plain", "id", "large"])
        .filter(filter)
        .views();
    let mut seen = Vec::new();
    for slice in slices(&source, scan).await {
        let [dt, plain, id, large] = slice.batch.columns() else {
            panic!("four columns were asked for");
        };
        assert!(dt.as_string::<i32>().iter().all(|dt| dt == Some("1")));
        assert_eq!(plain.as_string_view(), large.as_string_view());
        let texts = plain.as_string_view().iter();
        let texts = texts.map(|text| text.map(str::to_owned));
        seen.extend(
            id.as_primitive::<Int64Type>()
                .values()
                .iter()
                .copied()
                .zip(texts),
        );
    }
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(seen, [(0, text(long)), (1, None), (3, text(""))]);
}

async fn keyed(
    columns: Vec<(&str, ArrayRef)>,
    key: &[&str],
) -> crate::base::Result<(Source, RowIds)> {
    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let table = columns.into_iter().map(|(name, array)| (name, array, true));
    write_parquet(
        &path,
        &RecordBatch::try_from_iter_with_nullable(table).unwrap(),
        3,
    );
    let source = open(&path).await?;
    let key: Vec<String> = key.iter().map(|name| (*name).to_owned()).collect();
    let ids = RowIds::new(source.schema(), &key)?;
    // The file goes away, but its rows are read now.
    let outcome = unique(&source, &ids).await;
    outcome.map(|()| (source, ids))
}

async fn unique(source: &Source, ids: &RowIds) -> crate::base::Result<()> {
    let mut seen = std::collections::HashMap::new();
    check_unique(source, ids, |hash, row| {
        let there = seen.get(&hash).copied();
        seen.entry(hash).or_insert(row);
        Ok(there)
    })
    .await
}

#[tokio::test]
async fn a_key_is_unique_and_never_null_or_says_where_not() {
    let numbers = |ids: Vec<Option<i64>>| Arc::new(Int64Array::from(ids)) as ArrayRef;
    let words = |words: Vec<&str>| Arc::new(StringArray::from(words)) as ArrayRef;
    assert!(
        keyed(vec![("id", numbers((0..20).map(Some).collect()))], &["id"])
            .await
            .is_ok()
    );
    assert!(
        keyed(
            vec![("id", numbers((0..20).rev().map(Some).collect()))],
            &["id"]
        )
        .await
        .is_ok()
    );
    let pair = vec![
        ("a", words(vec!["a", "ab", "a"])),
        ("b", words(vec!["bc", "c", "c"])),
    ];
    assert!(keyed(pair, &["a", "b"]).await.is_ok());

    let twice = keyed(
        vec![(
            "id",
            numbers(vec![Some(1), Some(7), Some(2), Some(7), None]),
        )],
        &["id"],
    )
    .await;
    let text = message(&twice.err().unwrap());
    assert!(text.contains("id=7 in rows 1 and 3"), "{text}");
    assert!(text.contains("row 4 has no key: id=null"), "{text}");
    let many = keyed(vec![("id", numbers(vec![Some(1); 20]))], &["id"]).await;
    let text = message(&many.err().unwrap());
    assert!(
        text.contains("rows 0 and 5") && !text.contains("rows 0 and 6"),
        "{text}"
    );
}

#[tokio::test]
async fn a_key_of_an_unfit_type_or_name_is_refused() {
    let column = |array: ArrayRef| vec![("ident", array)];
    for (array, key, words) in [
        (
            Arc::new(Float64Array::from(vec![1.0])) as ArrayRef,
            "ident",
            "floats are not exact",
        ),
        (
            every_type().column(0).slice(0, 1),
            "ident",
            "made of scalars",
        ),
        (
            Arc::new(Int64Array::from(vec![1])),
            "identt",
            "did you mean `ident`",
        ),
    ] {
        let error = keyed(column(array), &[key]).await.err().unwrap();
        assert!(message(&error).contains(words), "{}", message(&error));
    }
}

#[tokio::test]
async fn keys_are_equal_by_value_whatever_their_width_or_layout() {
    let folder = scratch();
    let hash = async |name: &str, array: ArrayRef| {
        let path = folder.path().join(format!("{name}.parquet"));
        let table = RecordBatch::try_from_iter([("k", array)]).unwrap();
        write_parquet(&path, &table, 10);
        let source = open(&path).await.unwrap();
        let ids = RowIds::new(source.schema(), &["k".to_owned()]).unwrap();
        let mut hashes = Vec::new();
        for slice in slices(&source, Scan::of(["k"])).await {
            ids.hash(&slice.batch, &mut hashes).unwrap();
        }
        hashes
    };
    let narrow = hash("i32", Arc::new(Int32Array::from(vec![5, -1]))).await;
    assert_eq!(
        narrow,
        hash("i64", Arc::new(Int64Array::from(vec![5, -1]))).await
    );
    assert_ne!(narrow[0], narrow[1]);
    let words: DictionaryArray<Int32Type> = ["x", "y"].into_iter().collect();
    let plain = hash("utf8", Arc::new(StringArray::from(vec!["x", "y"]))).await;
    assert_eq!(plain, hash("dictionary", Arc::new(words)).await);
}

#[test]
fn a_key_of_bytes_is_named_as_it_is_printed() {
    let uuids = FixedSizeBinaryArray::try_from_iter([[0xab_u8; 16], [1; 16]].iter()).unwrap();
    let table = RecordBatch::try_from_iter([("k", Arc::new(uuids) as ArrayRef)]).unwrap();
    let ids = RowIds::new(table.schema_ref(), &["k".to_owned()]).unwrap();
    let rows = ids.encode(&table).unwrap();
    for text in [
        "abababab-abab-abab-abab-abababababab",
        "ABABABABABABABABABABABABABABABAB",
    ] {
        let found = ids.read(&[text.to_owned()]).unwrap();
        assert_eq!(found.as_deref(), Some(rows.row(0).as_ref()), "{text}");
    }
}
