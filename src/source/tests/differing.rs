//! Folders whose files differ: what can be widened without loss is, by table and by query alike.

use arrow::array::{Int8Array, NullArray, TimestampMillisecondArray, new_null_array};
use arrow::compute::concat_batches;
use arrow::datatypes::TimeUnit;

use super::*;

type Columns = Vec<(&'static str, ArrayRef)>;

fn batch(columns: Columns) -> RecordBatch {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

fn texts(texts: &[Option<&str>]) -> ArrayRef {
    Arc::new(texts.iter().copied().collect::<StringArray>())
}

fn numbers(numbers: &[Option<i64>]) -> ArrayRef {
    Arc::new(numbers.iter().copied().collect::<Int64Array>())
}

/// Writes `a.parquet` and `b.parquet`, and reads them as one table, three ways.
async fn both_ways(a: &RecordBatch, b: &RecordBatch) -> Vec<(&'static str, RecordBatch)> {
    let folder = scratch();
    write_parquet(&folder.path().join("a.parquet"), a, 2);
    write_parquet(&folder.path().join("b.parquet"), b, 2);
    let table = open(folder.path()).await.unwrap();
    let tables = [("t", folder.path())];
    let asked = query("select * from t", &tables, &[]).await.unwrap();
    let stores: Arc<Stores> = Arc::default();
    let place = folder.path().join("s");
    let place = stores.locate(place.to_str().unwrap()).unwrap();
    let kept = asked
        .snapshot(&place, &stores, folder.path())
        .await
        .unwrap();
    let mut read = Vec::new();
    for (how, source) in [("table", table), ("query", asked), ("snapshot", kept)] {
        read.push((how, everything(&source).await));
    }
    read
}

async fn check(a: Columns, b: Columns, expected: Columns) {
    let (a, b, expected) = (batch(a), batch(b), batch(expected));
    for (how, read) in both_ways(&a, &b).await {
        assert_eq!(read.schema().fields(), expected.schema().fields(), "{how}");
        assert_eq!(read.columns(), expected.columns(), "{how}");
    }
}

#[tokio::test]
async fn a_column_that_was_added_is_null_before_and_order_is_no_matter() {
    check(
        vec![("id", numbers(&[Some(1)])), ("text", texts(&[Some("one")]))],
        vec![
            ("lang", texts(&[Some("en"), None])),
            ("text", texts(&[Some("two"), Some("three")])),
            ("id", numbers(&[Some(2), Some(3)])),
        ],
        vec![
            ("id", numbers(&[Some(1), Some(2), Some(3)])),
            ("text", texts(&[Some("one"), Some("two"), Some("three")])),
            ("lang", texts(&[None, Some("en"), None])),
        ],
    )
    .await;
}

#[tokio::test]
async fn types_are_widened_where_nothing_is_lost() {
    let small: ArrayRef = Arc::new(Int32Array::from(vec![Some(-7), None]));
    let cents = |values: Vec<i128>, precision, scale| -> ArrayRef {
        let values = Decimal128Array::from(values);
        Arc::new(values.with_precision_and_scale(precision, scale).unwrap())
    };
    let label: DictionaryArray<Int32Type> = [Some("x"), None].into_iter().collect();
    check(
        vec![
            ("n", small),
            ("at", Arc::new(TimestampMillisecondArray::from(vec![1, 2]))),
            ("none", Arc::new(NullArray::new(2))),
            ("label", Arc::new(label)),
            ("long", texts(&[Some("a"), Some("b")])),
            ("money", cents(vec![150, -25], 9, 2)),
        ],
        vec![
            ("n", numbers(&[Some(1 << 40)])),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![3]))),
            ("none", texts(&[Some("something")])),
            ("label", texts(&[Some("y")])),
            ("long", Arc::new(LargeStringArray::from(vec!["c"]))),
            ("money", cents(vec![1], 18, 4)),
        ],
        vec![
            ("n", numbers(&[Some(-7), None, Some(1 << 40)])),
            (
                "at",
                Arc::new(TimestampMicrosecondArray::from(vec![1000, 2000, 3])),
            ),
            ("none", texts(&[None, None, Some("something")])),
            ("label", texts(&[Some("x"), None, Some("y")])),
            (
                "long",
                Arc::new(LargeStringArray::from(vec!["a", "b", "c"])),
            ),
            ("money", cents(vec![15000, -2500, 1], 18, 4)),
        ],
    )
    .await;
}

fn structs(fields: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let fields = fields.into_iter().map(|(name, array)| {
        let field = Field::new(name, array.data_type().clone(), true);
        (Arc::new(field), array)
    });
    Arc::new(StructArray::from(fields.collect::<Vec<_>>()))
}

#[tokio::test]
async fn structs_of_the_same_types_in_another_order_are_matched_by_name() {
    let list = |item: &str, values: ArrayRef| -> ArrayRef {
        let field = Arc::new(Field::new(item, values.data_type().clone(), true));
        let offsets = arrow::buffer::OffsetBuffer::from_lengths([1]);
        Arc::new(ListArray::new(field, offsets, values, None))
    };
    let name = || ("name", texts(&[Some("Ada")]));
    let city = || ("city", texts(&[Some("Paris")]));
    let none = || texts(&[None]);
    check(
        vec![
            ("who", structs(vec![name(), city()])),
            ("all", list("item", structs(vec![name(), city()]))),
        ],
        vec![
            ("who", structs(vec![city(), name()])),
            (
                "all",
                list(
                    "element",
                    structs(vec![city(), ("zip", texts(&[Some("07307")]))]),
                ),
            ),
        ],
        {
            let both = |array: &ArrayRef, other: &ArrayRef| {
                arrow::compute::concat(&[array, other]).unwrap()
            };
            let who = structs(vec![name(), city()]);
            let zip = |zip: ArrayRef| ("zip", zip);
            let first = list("item", structs(vec![name(), city(), zip(none())]));
            let second = structs(vec![("name", none()), city(), zip(texts(&[Some("07307")]))]);
            vec![
                ("who", both(&who, &who)),
                ("all", both(&first, &list("item", second))),
            ]
        },
    )
    .await;
}

#[tokio::test]
async fn a_predicate_sees_the_widened_values_and_the_nulls() {
    let folder = scratch();
    let small: ArrayRef = Arc::new(Int8Array::from(vec![1, 2]));
    let first = batch(vec![("id", small)]);
    let second = batch(vec![
        ("id", numbers(&[Some(300), Some(2)])),
        ("lang", texts(&[Some("en"), Some("de")])),
    ]);
    write_parquet(&folder.path().join("dt=1/a.parquet"), &first, 1);
    write_parquet(&folder.path().join("dt=2/b.parquet"), &second, 1);
    let source = open(folder.path()).await.unwrap();
    for (sql, expected) in [
        ("id > 1", vec![(1, 2), (2, 300), (3, 2)]),
        ("id = 300", vec![(2, 300)]),
        ("lang is null", vec![(0, 1), (1, 2)]),
        ("lang = 'de' or id = 1", vec![(0, 1), (3, 2)]),
        ("dt = '1' and id < 200", vec![(0, 1), (1, 2)]),
    ] {
        let scan = Scan::of(["id"]).filter(predicate(sql, &source));
        assert_eq!(ids(&source, scan.clone()).await, expected, "{sql}");
        let asked = format!("select id from t where {sql}");
        let asked = query(&asked, &[("t", folder.path())], &[]).await.unwrap();
        let found: Vec<i64> = ids(&asked, Scan::of(["id"]))
            .await
            .iter()
            .map(|(_, id)| *id)
            .collect();
        let wanted: Vec<i64> = expected.iter().map(|(_, id)| *id).collect();
        assert_eq!(found, wanted, "{sql}");
    }
    let views: Vec<_> = slices(&source, Scan::of(["lang", "dt"]).views()).await;
    let views: Vec<_> = views.iter().map(|slice| slice.batch.clone()).collect();
    let views = concat_batches(&views[0].schema(), &views).unwrap();
    let langs: Vec<_> = views.column(0).as_string_view().iter().collect();
    assert_eq!(langs, [None, None, Some("en"), Some("de")]);
    assert_eq!(
        source.notes(),
        [
            "not every file has these columns, which are null where they are missing: `lang` (missing in dt=1/a.parquet)",
            "the files have these columns in different types, and they are read as one that holds all: `id` as Int64 (Int8 in dt=1/a.parquet, other in dt=2/b.parquet)",
        ]
    );
}

#[tokio::test]
async fn what_would_lose_or_mistake_values_is_refused_by_file_and_column() {
    let id = || ("id", numbers(&[Some(1)]));
    let far = i64::MAX / 1000;
    let far: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![far]));
    for (first, second, words) in [
        (
            vec![id(), ("n", numbers(&[Some(1)]))],
            vec![id(), ("n", texts(&[Some("1")]))],
            vec![
                "column=`n`",
                "file=`b.parquet`",
                "Utf8",
                "Int64",
                "UNION ALL",
            ],
        ),
        (
            vec![id(), ("Name", texts(&[None]))],
            vec![id(), ("name", texts(&[None]))],
            vec!["spell", "column=`name`", "Name", "b.parquet"],
        ),
        (
            vec![id()],
            vec![("other", numbers(&[None]))],
            vec!["no column of the others", "file=`b.parquet`", "glob"],
        ),
        (
            vec![id(), ("at", far)],
            vec![
                id(),
                (
                    "at",
                    Arc::new(TimestampMillisecondArray::from(vec![1]).with_timezone("UTC")),
                ),
            ],
            vec!["column=`at`", "UTC"],
        ),
    ] {
        let folder = scratch();
        write_parquet(&folder.path().join("a.parquet"), &batch(first), 2);
        write_parquet(&folder.path().join("b.parquet"), &batch(second), 2);
        let by_table = open(folder.path()).await.unwrap_err();
        let by_query = query("select * from t", &[("t", folder.path())], &[]).await;
        for error in [by_table, by_query.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::Invalid);
            for word in &words {
                assert!(
                    message(&error).contains(word),
                    "{word}: {}",
                    message(&error)
                );
            }
        }
    }
}

#[tokio::test]
async fn the_way_that_the_refusal_names_works() {
    let folder = scratch();
    let id = || ("id", numbers(&[Some(1)]));
    let path = |name: &str| folder.path().join(name);
    write_parquet(
        &path("old-1.parquet"),
        &batch(vec![id(), ("n", numbers(&[Some(7)]))]),
        2,
    );
    write_parquet(
        &path("new-1.parquet"),
        &batch(vec![id(), ("n", texts(&[Some("8")]))]),
        2,
    );
    let sql = "SELECT id, CAST(n AS VARCHAR) AS n FROM old UNION ALL SELECT id, n FROM new";
    let (old, new) = (path("old-*.parquet"), path("new-*.parquet"));
    let source = query(sql, &[("old", &old), ("new", &new)], &[])
        .await
        .unwrap();
    let mut found = strings(&source, "n").await;
    found.sort();
    assert_eq!(found, [Some("7".to_owned()), Some("8".to_owned())]);
}

#[tokio::test]
async fn a_moment_that_is_too_far_for_the_finer_unit_is_an_error_and_never_null() {
    let folder = scratch();
    let far = arrow::array::TimestampSecondArray::from(vec![i64::MAX / 100_000]);
    let far = arrow::compute::cast(&far, &DataType::Timestamp(TimeUnit::Millisecond, None));
    let fine = arrow::array::TimestampNanosecondArray::from(vec![1]);
    write_parquet(
        &folder.path().join("a.parquet"),
        &batch(vec![("at", far.unwrap())]),
        2,
    );
    write_parquet(
        &folder.path().join("b.parquet"),
        &batch(vec![("at", Arc::new(fine))]),
        2,
    );
    let source = open(folder.path()).await.unwrap();
    let scan = source.scan(Scan::of(["at"])).await.unwrap();
    let error = scan.try_collect::<Vec<_>>().await.unwrap_err();
    let text = message(&error);
    assert!(
        text.contains("column=`at`") && text.contains("a.parquet"),
        "{text}"
    );
}

#[tokio::test]
async fn a_partition_column_is_in_all_files_or_in_none() {
    let folder = scratch();
    let id = || ("id", numbers(&[Some(1)]));
    let with = batch(vec![id(), ("dt", texts(&[Some("1")]))]);
    write_parquet(&folder.path().join("dt=1/a.parquet"), &with, 2);
    write_parquet(&folder.path().join("dt=2/b.parquet"), &batch(vec![id()]), 2);
    let error = open(folder.path()).await.unwrap_err();
    let text = message(&error);
    assert!(
        text.contains("partition column") && text.contains("dt=2/b.parquet"),
        "{text}"
    );
}

#[tokio::test]
async fn a_name_that_stands_twice_in_a_file_is_refused() {
    let folder = scratch();
    let fields = ["a", "a"].map(|name| Field::new(name, DataType::Int64, true));
    let schema = Arc::new(Schema::new(fields.to_vec()));
    let columns = vec![new_null_array(&DataType::Int64, 1), numbers(&[Some(1)])];
    let twice = RecordBatch::try_new(schema, columns).unwrap();
    let path = folder.path().join("a.parquet");
    write_parquet(&path, &twice, 2);
    let by_query = query("select * from t", &[("t", &path)], &[]).await;
    for error in [open(&path).await.unwrap_err(), by_query.unwrap_err()] {
        assert!(message(&error).contains("same name"), "{}", message(&error));
    }
}
