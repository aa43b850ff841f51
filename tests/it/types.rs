//! Every type of Arrow, alone and within a list, a struct and a map, with nulls and without, through an
//! Arrow file and a Parquet file: what `check` accepts is published, and the old columns are read back
//! equal; what it refuses is refused by the column's name, before anything is paid.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, Date32Array, Date64Array,
    Decimal32Array, Decimal64Array, Decimal128Array, Decimal256Array, DictionaryArray,
    FixedSizeBinaryArray, FixedSizeListArray, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    LargeListArray, ListArray, ListViewArray, MapArray, NullArray, RecordBatch, RunArray,
    StringArray, StringViewArray, StructArray, UnionArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{
    DataType, Field, Int32Type, IntervalMonthDayNano, IntervalUnit, Schema, TimeUnit, UnionFields,
    i256,
};
use arrow::ipc::writer::FileWriter;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use columnist::base::ErrorKind;
use columnist::engine;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::world::{World, read_table};

/// Three values of a type, none of them null.
fn whole(data_type: &DataType) -> ArrayRef {
    // Whole days, for dates that are counted in milliseconds.
    let is_time = matches!(data_type, DataType::Time32(_) | DataType::Time64(_));
    let last = if is_time { 1 } else { -86_400_000 };
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![0, 86_400_000, last]));
    match cast(&numbers, data_type) {
        Ok(array) if array.null_count() == 0 => array,
        _ => cast(&Int32Array::from(vec![0, 1, 100]), data_type)
            .or_else(|_| cast(&StringArray::from(vec!["a", "", "ż\u{1f600}"]), data_type))
            .unwrap_or_else(|error| panic!("{data_type}: {error}")),
    }
}

/// One column of each kind, by a name that says which.
#[expect(clippy::too_many_lines, reason = "one table of types")]
fn columns() -> Vec<(String, ArrayRef)> {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let plain = [
        T::Boolean,
        T::Int8,
        T::Int16,
        T::Int32,
        T::Int64,
        T::UInt8,
        T::UInt16,
        T::UInt32,
        T::UInt64,
        T::Float16,
        T::Float32,
        T::Float64,
        T::Utf8,
        T::LargeUtf8,
        T::Utf8View,
        T::Binary,
        T::LargeBinary,
        T::Date32,
        T::Date64,
        T::Time32(Second),
        T::Time32(Millisecond),
        T::Time64(Microsecond),
        T::Time64(Nanosecond),
        T::Timestamp(Second, None),
        T::Timestamp(Second, Some("Europe/Paris".into())),
        T::Timestamp(Millisecond, None),
        T::Timestamp(Microsecond, Some("UTC".into())),
        T::Timestamp(Nanosecond, Some("+05:30".into())),
        T::Duration(Second),
        T::Duration(Millisecond),
        T::Duration(Microsecond),
        T::Duration(Nanosecond),
        T::Interval(IntervalUnit::YearMonth),
        T::Decimal32(9, 2),
        T::Decimal64(18, 3),
        T::Decimal128(38, 10),
        T::Decimal256(76, 20),
        T::Dictionary(Box::new(T::Int8), Box::new(T::Utf8)),
        T::Dictionary(Box::new(T::UInt32), Box::new(T::LargeUtf8)),
        T::Dictionary(Box::new(T::Int32), Box::new(T::Int64)),
    ];
    let mut columns: Vec<(String, ArrayRef)> = plain
        .iter()
        .map(|data_type| (data_type.to_string(), whole(data_type)))
        .collect();
    let texts = StringArray::from(vec!["a", "", "longer than twelve"]);
    let tens = |scale| Decimal128Array::from(vec![2, 1, -12]).with_precision_and_scale(5, scale);
    let item = |data_type| Arc::new(Field::new("item", data_type, true));
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
    let seconds = cast(&numbers, &T::Timestamp(Second, None)).expect("seconds");
    let offsets = || OffsetBuffer::from_lengths([2, 0, 1]);
    let label = || -> DictionaryArray<Int32Type> { ["red", "", "red"].into_iter().collect() };
    let runs = || -> RunArray<Int32Type> { ["run", "run", "x"].into_iter().collect() };
    let days: ArrayRef = Arc::new(Date64Array::from(vec![0, -86_400_000, 86_400_000]));
    let months = IntervalMonthDayNano::new(1, 2, 3);
    let union_fields = UnionFields::from_fields(vec![Field::new("n", T::Int32, false)]);
    let record = |name: &str, array: ArrayRef| {
        StructArray::from(vec![(
            Arc::new(Field::new(name, array.data_type().clone(), true)),
            array,
        )])
    };
    let others: Vec<(&str, ArrayRef)> = vec![
        (
            "yes and no",
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ),
        ("null", Arc::new(NullArray::new(3))),
        (
            "views of text",
            Arc::new(StringViewArray::from(vec!["a", "", "longer than twelve"])),
        ),
        (
            "views of bytes",
            Arc::new(BinaryViewArray::from(vec![
                &b"a"[..],
                b"\xff\0",
                b"longer than twelve",
            ])),
        ),
        (
            "sixteen bytes",
            Arc::new(
                FixedSizeBinaryArray::try_from_iter([[0u8; 16], [1; 16], [255; 16]].iter())
                    .expect("bytes"),
            ),
        ),
        ("decimal of tens", Arc::new(tens(-2).expect("fits"))),
        (
            "decimal32 of tens",
            Arc::new(
                Decimal32Array::from(vec![2, 1, -12])
                    .with_precision_and_scale(5, -3)
                    .expect("fits"),
            ),
        ),
        (
            "decimal64 of tens",
            Arc::new(
                Decimal64Array::from(vec![2, 1, -12])
                    .with_precision_and_scale(5, -3)
                    .expect("fits"),
            ),
        ),
        (
            "wide decimal of tens",
            Arc::new(
                Decimal256Array::from(vec![i256::from_i128(2), i256::ONE, i256::MINUS_ONE])
                    .with_precision_and_scale(60, -3)
                    .expect("fits"),
            ),
        ),
        ("runs", Arc::new(runs())),
        (
            "runs of seconds",
            Arc::new(RunArray::try_new(&Int32Array::from(vec![1, 2, 3]), &seconds).expect("runs")),
        ),
        (
            "dictionary of seconds",
            Arc::new(
                DictionaryArray::<Int32Type>::try_new(
                    Int32Array::from(vec![0, 2, 0]),
                    Arc::clone(&seconds),
                )
                .expect("a dictionary"),
            ),
        ),
        (
            "dictionary of views",
            Arc::new(
                DictionaryArray::<Int32Type>::try_new(
                    Int32Array::from(vec![0, 2, 0]),
                    Arc::new(StringViewArray::from(vec!["a", "", "longer than twelve"])),
                )
                .expect("a dictionary"),
            ),
        ),
        (
            "before 1970",
            Arc::new(Date32Array::from(vec![-1, 0, 19_723])),
        ),
        (
            "list of seconds",
            Arc::new(ListArray::new(
                item(seconds.data_type().clone()),
                offsets(),
                Arc::clone(&seconds),
                None,
            )),
        ),
        (
            "large list of labels",
            Arc::new(LargeListArray::new(
                item(label().data_type().clone()),
                OffsetBuffer::from_lengths([1, 2, 0]),
                Arc::new(label()),
                None,
            )),
        ),
        (
            "list of runs",
            Arc::new(ListArray::new(
                item(runs().data_type().clone()),
                offsets(),
                Arc::new(runs()),
                None,
            )),
        ),
        (
            "list view",
            Arc::new(ListViewArray::new(
                item(T::Int32),
                ScalarBuffer::from(vec![1, 0, 0]),
                ScalarBuffer::from(vec![2, 0, 3]),
                Arc::clone(&numbers),
                None,
            )),
        ),
        ("list of list views of views", {
            let views: ArrayRef =
                Arc::new(StringViewArray::from(vec!["a", "", "longer than twelve"]));
            let inner = ListViewArray::new(
                item(T::Utf8View),
                ScalarBuffer::from(vec![1, 0, 0]),
                ScalarBuffer::from(vec![2, 0, 3]),
                views,
                None,
            );
            Arc::new(ListArray::new(
                item(inner.data_type().clone()),
                offsets(),
                Arc::new(inner),
                None,
            ))
        }),
        (
            "three by three",
            Arc::new(FixedSizeListArray::new(
                item(T::Int32),
                1,
                Arc::clone(&numbers),
                None,
            )),
        ),
        ("struct of a map of seconds", {
            let entries = StructArray::from(vec![
                (
                    Arc::new(Field::new("keys", T::Utf8, false)),
                    Arc::new(texts) as ArrayRef,
                ),
                (
                    Arc::new(Field::new("values", seconds.data_type().clone(), true)),
                    Arc::clone(&seconds),
                ),
            ]);
            let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
            Arc::new(record(
                "m",
                Arc::new(MapArray::new(field, offsets(), entries, None, false)),
            ))
        }),
        (
            "list of days",
            Arc::new(ListArray::new(item(T::Date64), offsets(), days, None)),
        ),
        (
            "REFUSED months, days and nanoseconds",
            Arc::new(IntervalMonthDayNanoArray::from(vec![months; 3])),
        ),
        (
            "REFUSED list of months",
            Arc::new(ListArray::new(
                item(T::Interval(IntervalUnit::MonthDayNano)),
                offsets(),
                Arc::new(IntervalMonthDayNanoArray::from(vec![months; 3])),
                None,
            )),
        ),
        (
            "REFUSED union",
            Arc::new(
                UnionArray::try_new(
                    union_fields.clone(),
                    ScalarBuffer::from(vec![0i8; 3]),
                    None,
                    vec![Arc::new(Int32Array::from(vec![1, 2, 3]))],
                )
                .expect("a union"),
            ),
        ),
        (
            "REFUSED struct of a union",
            Arc::new(record(
                "u",
                Arc::new(
                    UnionArray::try_new(
                        union_fields,
                        ScalarBuffer::from(vec![0i8; 3]),
                        None,
                        vec![Arc::new(Int32Array::from(vec![1, 2, 3]))],
                    )
                    .expect("a union"),
                ),
            )),
        ),
        (
            "REFUSED struct of nothing",
            Arc::new(StructArray::new_empty_fields(3, None)),
        ),
        (
            "REFUSED lists of no length",
            Arc::new(
                FixedSizeListArray::try_new_with_length(
                    item(T::Int32),
                    0,
                    Arc::new(Int32Array::from(Vec::<i32>::new())),
                    None,
                    3,
                )
                .expect("lists"),
            ),
        ),
    ];
    columns.extend(
        others
            .into_iter()
            .map(|(name, array)| (name.to_owned(), array)),
    );
    columns
}

/// A column with a null in its middle, where its type has such.
fn with_null(array: &ArrayRef) -> ArrayRef {
    let places = Int32Array::from(vec![Some(0), None, Some(2)]);
    take(array, &places, None).unwrap_or_else(|_| Arc::clone(array))
}

/// A column, its values each in a list, a struct and a map, with nulls and without.
fn forms(name: &str, array: &ArrayRef) -> Vec<(String, ArrayRef)> {
    let nullable = with_null(array);
    let mut forms = vec![
        (name.to_owned(), Arc::clone(array)),
        (format!("{name}?"), Arc::clone(&nullable)),
    ];
    for (mark, values) in [("", array), ("?", &nullable)] {
        let field = Arc::new(Field::new("v", values.data_type().clone(), true));
        let ones = OffsetBuffer::from_lengths([1, 1, 1]);
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["k", "l", "m"]));
        let entries = StructArray::from(vec![
            (Arc::new(Field::new("keys", DataType::Utf8, false)), keys),
            (Arc::clone(&field), Arc::clone(values)),
        ]);
        let of_entries = Arc::new(Field::new("entries", entries.data_type().clone(), false));
        let valid = Some(NullBuffer::from(vec![true, true, mark.is_empty()]));
        let list = ListArray::new(
            Arc::clone(&field),
            ones.clone(),
            Arc::clone(values),
            valid.clone(),
        );
        let record = StructArray::new(vec![field].into(), vec![Arc::clone(values)], valid.clone());
        let map = MapArray::new(of_entries, ones, entries, valid, false);
        forms.push((format!("{name} in a list{mark}"), Arc::new(list)));
        forms.push((format!("{name} in a struct{mark}"), Arc::new(record)));
        forms.push((format!("{name} in a map{mark}"), Arc::new(map)));
    }
    forms
}

fn table(columns: &[(String, ArrayRef)]) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let mut fields = vec![Field::new("id", DataType::Int64, false)];
    let mut arrays = vec![id];
    for (name, array) in columns {
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(Arc::clone(array));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("a table")
}

fn write_arrow(path: &Path, batch: &RecordBatch) {
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = FileWriter::try_new(file, batch.schema_ref()).expect("a writer");
    writer.write(batch).expect("written");
    writer.finish().expect("finished");
}

/// Whether Arrow's own writer makes Parquet of it.
fn write_parquet(path: &Path, batch: &RecordBatch) -> bool {
    let write = || -> parquet::errors::Result<()> {
        let file = std::fs::File::create(path).expect("a file");
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
        writer.write(batch)?;
        writer.close().map(drop)
    };
    matches!(catch_unwind(AssertUnwindSafe(write)), Ok(Ok(())))
}

/// A world whose prompt prints every column of `name`.
fn world(name: &str) -> World {
    let mut world = World::new("openai", "");
    world.job["source"]["input"]["table"] = world.path(name).display().to_string().into();
    world.job["prompt"]["user"] = "{{ row|tojson }}".into();
    world
}

/// How each row of a column is written: the same for whatever layout holds the same value.
fn texts(array: &ArrayRef) -> Vec<String> {
    let plain = match array.data_type() {
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type()).expect("plain"),
        _ => Arc::clone(array),
    };
    let options = FormatOptions::default().with_null("null");
    let formatter = ArrayFormatter::try_new(plain.as_ref(), &options).expect("a formatter");
    let rows = (0..plain.len()).map(|row| formatter.value(row).to_string());
    let is_date = array.data_type().to_string().contains("Date");
    rows.map(|text| {
        if is_date {
            // Of a `Date64`, which is midnight.
            text.replace("T00:00:00", "")
        } else {
            text
        }
    })
    .collect()
}

fn read(path: &Path) -> RecordBatch {
    let file = std::fs::File::open(path).expect("the output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let mut batches = reader.build().expect("a reader");
    batches.next().expect("rows").expect("readable")
}

/// A prompt that prints every column but those of bytes, which need be no text.
fn print_all(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let of_bytes = |kind: &DataType| {
        kind.to_string()
            .replace("FixedSizeBinary", "")
            .contains("Binary")
    };
    let fields = schema
        .fields()
        .iter()
        .filter(|field| !of_bytes(field.data_type()));
    let print = |name: &String| {
        format!("{{% if row['{name}'] is not none %}}{{{{ row['{name}'] }}}}{{% endif %}};")
    };
    fields.map(|field| print(field.name())).collect()
}

/// Runs the job over `batch`, and holds every old column against what it was; then what was asked of the
/// sandbox against what `check` showed.
async fn published(world: &mut World, batch: &RecordBatch) -> Vec<String> {
    world.job["prompt"]["user"] = print_all(batch).into();
    let checked = engine::check(world.setup("check"), world.provider(), 3)
        .await
        .expect("in order");
    let report = world.run().await.expect("published");
    assert!(report.published, "{report:?}");
    let output = read(&world.path("out.parquet"));
    let mut wrong = Vec::new();
    for (field, was) in batch.schema().fields().iter().zip(batch.columns()) {
        let is = output.column_by_name(field.name()).expect("an old column");
        if texts(is) != texts(was) {
            wrong.push(format!(
                "{}: {:?}, not {:?}",
                field.name(),
                texts(is),
                texts(was)
            ));
        }
    }
    let labels = output
        .column_by_name("label")
        .expect("the column")
        .as_string::<i32>();
    let keys = output.column_by_name("id").map(texts);
    for (at, row) in checked.first.iter().enumerate() {
        let key = keys
            .as_ref()
            .map_or_else(|| at.to_string(), |keys| keys[at].clone());
        let story = engine::show(world.setup("show"), &[key])
            .await
            .expect("a story");
        let asked = story.prompt.clone().unwrap_or_else(|| panic!("{story:?}"));
        let shown = row.prompt.as_ref().expect("a prompt that can be rendered");
        if !asked.starts_with(shown) {
            wrong.push(format!(
                "row {at}: `check` showed {shown}, and {asked} was asked"
            ));
        }
        if !labels.value(at).contains(&world.answer(&asked)) {
            wrong.push(format!(
                "row {at}: {} answers another prompt",
                labels.value(at)
            ));
        }
    }
    wrong
}

#[tokio::test]
async fn every_type_in_an_arrow_file_is_carried_or_refused_by_name() {
    let mut carried = Vec::new();
    for (name, array) in columns() {
        for (name, array) in forms(&name, &array) {
            let world = world("in.arrow");
            write_arrow(
                &world.path("in.arrow"),
                &table(&[(name.clone(), Arc::clone(&array))]),
            );
            let checked = engine::check(world.setup("check"), world.provider(), 3).await;
            match checked {
                Ok(_) => carried.push((name, array)),
                Err(error) => {
                    assert!(name.starts_with("REFUSED"), "{name}: {error:?}");
                    assert_eq!(error.kind(), ErrorKind::Invalid, "{name}: {error:?}");
                    assert_eq!(error.value("column"), Some(&*name), "{error:?}");
                    assert!(error.hint_text().is_some(), "{error:?}");
                    let run = world.run().await.expect_err("what `check` refuses");
                    assert_eq!(run.to_string(), error.to_string());
                    assert_eq!(world.bill().total.requests_accepted, 0);
                }
            }
        }
    }
    let accepted: Vec<_> = carried
        .iter()
        .filter(|(name, _)| name.starts_with("REFUSED"))
        .collect();
    assert!(accepted.is_empty(), "{accepted:?}");
    let mut world = world("in.arrow");
    let batch = table(&carried);
    write_arrow(&world.path("in.arrow"), &batch);
    let wrong = published(&mut world, &batch).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_type_in_a_parquet_file_is_carried() {
    let mut carried = Vec::new();
    for (name, array) in columns() {
        for (name, array) in forms(&name, &array) {
            let world = world("in.parquet");
            let alone = table(&[(name.clone(), Arc::clone(&array))]);
            if !write_parquet(&world.path("in.parquet"), &alone) {
                continue;
            }
            match engine::check(world.setup("check"), world.provider(), 3).await {
                Ok(_) => carried.push((name, array)),
                Err(error) => panic!("{name}: {error:?}"),
            }
        }
    }
    let mut world = world("in.parquet");
    assert!(write_parquet(&world.path("in.parquet"), &table(&carried)));
    let batch = read(&world.path("in.parquet"));
    let wrong = published(&mut world, &batch).await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_parquet_has_no_like_of_is_written_as_what_it_has() {
    let world = world("in.arrow");
    let columns: Vec<_> = columns()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("REFUSED"))
        .collect();
    write_arrow(&world.path("in.arrow"), &table(&columns));
    world.run().await.expect("published");
    let schema = read(&world.path("out.parquet")).schema();
    let types: BTreeMap<&str, String> = schema
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), field.data_type().to_string()))
        .collect();
    for (name, written) in [
        ("Timestamp(s)", "Timestamp(ms)"),
        (
            "Timestamp(s, \"Europe/Paris\")",
            "Timestamp(ms, \"Europe/Paris\")",
        ),
        ("Time32(s)", "Time32(ms)"),
        ("Date64", "Date32"),
        ("views of text", "Utf8"),
        ("views of bytes", "Binary"),
        ("null", "Utf8"),
        ("runs", "Utf8"),
        ("runs of seconds", "Timestamp(ms)"),
        ("dictionary of seconds", "Timestamp(ms)"),
        ("dictionary of views", "Dictionary(Int32, Utf8)"),
        ("decimal of tens", "Decimal128(7, 0)"),
        ("wide decimal of tens", "Decimal256(63, 0)"),
        ("list of seconds", "List(Timestamp(ms))"),
        ("list view", "List(Int32)"),
    ] {
        assert_eq!(types.get(name).map(String::as_str), Some(written), "{name}");
    }
}

#[tokio::test]
async fn a_value_without_its_like_is_an_error_that_names_the_column_and_costs_nothing() {
    let late: ArrayRef = Arc::new(arrow::array::TimestampSecondArray::from(vec![
        0,
        1,
        i64::MAX,
    ]));
    let noon: ArrayRef = Arc::new(Date64Array::from(vec![0, 86_400_000, 43_200_000]));
    for (name, array) in [("late", late), ("noon", noon)] {
        let world = world("in.arrow");
        write_arrow(&world.path("in.arrow"), &table(&[(name.to_owned(), array)]));
        let error = world.run().await.expect_err("no such millisecond");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert_eq!(error.value("column"), Some(name), "{error:?}");
        assert_eq!(world.bill().total.requests_accepted, 0);
        assert!(!world.path("out.parquet").exists());
    }
}

/// A file as writers make it that know nothing of Arrow: an id, a UUID, and a span of Parquet's own.
fn write_foreign(path: &Path) {
    let schema = "message m { required int64 id; required fixed_len_byte_array(16) u (UUID); \
                  required fixed_len_byte_array(12) span (INTERVAL); }";
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = SerializedFileWriter::new(file, schema, Arc::default()).expect("a writer");
    let mut group = writer.next_row_group().expect("a group");
    let mut column = group.next_column().expect("a column").expect("the id");
    column
        .typed::<Int64Type>()
        .write_batch(&[7], None, None)
        .expect("written");
    column.close().expect("closed");
    for bytes in [vec![0xab; 16], vec![1; 12]] {
        let mut column = group.next_column().expect("a column").expect("bytes");
        let values = [FixedLenByteArray::from(bytes)];
        column
            .typed::<FixedLenByteArrayType>()
            .write_batch(&values, None, None)
            .expect("written");
        column.close().expect("closed");
    }
    group.close().expect("closed");
    writer.close().expect("closed");
}

#[tokio::test]
async fn what_parquet_says_alone_is_understood_or_refused() {
    let mut world = world("in.parquet");
    write_foreign(&world.path("in.parquet"));
    let error = engine::check(world.setup("check"), world.provider(), 3).await;
    let error = error.expect_err("months would be lost");
    assert_eq!(error.value("column"), Some("span"), "{error:?}");
    world.job["prompt"]["user"] = "{{ u }} {{ row.u[:8] }}".into();
    let checked = engine::check(world.setup("check"), world.provider(), 3)
        .await
        .expect("in order");
    let prompt = "abababab-abab-abab-abab-abababababab abababab";
    assert_eq!(checked.first[0].prompt.as_deref(), Ok(prompt));
    world.run().await.expect("published");
    let labels = &read_table(&world.path("out.parquet"))["label"];
    let label = labels[0].as_deref().expect("an answer");
    assert!(label.contains(&world.answer(prompt)), "{label}");
}
