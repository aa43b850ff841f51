//! What a writer said of values beyond their types: zones of moments, UUIDs, JSON.

use arrow::array::{TimestampMillisecondArray, builder::FixedSizeBinaryBuilder};
use arrow::datatypes::{Fields, TimeUnit};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema};
use parquet::basic::LogicalType;
use parquet::file::metadata::KeyValue;
use parquet::file::reader::{FileReader, SerializedFileReader};

use super::*;

fn moments(unit: TimeUnit, zone: &str) -> DataType {
    DataType::Timestamp(unit, Some(zone.into()))
}

/// The same columns, with moments in place of those of `here`.
fn columns(seconds: DataType, in_list: DataType, in_struct: DataType) -> Vec<Field> {
    let item = Field::new("element", in_list, true);
    let inner = Fields::from(vec![Field::new("at", in_struct, true)]);
    vec![
        Field::new("seconds", seconds, true),
        Field::new("list", DataType::List(Arc::new(item)), true),
        Field::new("inner", DataType::Struct(inner), true),
    ]
}

/// As PyArrow writes moments of seconds, which Parquet has not, and those that it was told to make coarser.
#[tokio::test]
async fn moments_keep_the_zone_that_their_writer_named_whatever_their_unit_became() {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let written = columns(
        moments(Second, "Europe/Berlin"),
        moments(Nanosecond, "Asia/Kolkata"),
        moments(Second, "+05:30"),
    );
    let stored = columns(
        moments(Millisecond, "UTC"),
        moments(Microsecond, "UTC"),
        moments(Millisecond, "UTC"),
    );
    let expected = columns(
        moments(Millisecond, "Europe/Berlin"),
        moments(Microsecond, "Asia/Kolkata"),
        moments(Millisecond, "+05:30"),
    );
    let first = TimestampMillisecondArray::from(vec![Some(1_700_000_000_000), None]);
    let first: ArrayRef = Arc::new(first.with_timezone("UTC"));
    let second = TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC");
    let DataType::List(item) = stored[1].data_type() else {
        unreachable!("made above")
    };
    let lengths = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
    let list = ListArray::new(Arc::clone(item), lengths, Arc::new(second), None);
    let DataType::Struct(inner) = stored[2].data_type() else {
        unreachable!("made above")
    };
    let inner = StructArray::new(inner.clone(), vec![Arc::clone(&first)], None);
    let batch = RecordBatch::try_new(
        Arc::new(Schema::new(stored)),
        vec![first, Arc::new(list), Arc::new(inner)],
    )
    .unwrap();

    let folder = scratch();
    let path = folder.path().join("a.parquet");
    let hint = encode_arrow_schema(&Schema::new(written));
    let pair = KeyValue::new(ARROW_SCHEMA_META_KEY.to_owned(), hint);
    let properties = WriterProperties::builder()
        .set_key_value_metadata(Some(vec![pair]))
        .build();
    let options = ArrowWriterOptions::new()
        .with_skip_arrow_metadata(true)
        .with_properties(properties);
    let file = File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let tables = [("t", path.as_path())];
    let asked = query("select * from t", &tables, &[]).await.unwrap();
    for source in [open(&path).await.unwrap(), asked] {
        let read = everything(&source).await;
        for (at, field) in expected.iter().enumerate() {
            assert_eq!(read.schema().field(at).data_type(), field.data_type());
        }
        let values = read.column(0).to_data();
        assert_eq!(values.buffers()[0], batch.column(0).to_data().buffers()[0]);
    }
    let source = open(&path).await.unwrap();
    let filter = "seconds = '2023-11-14T23:13:20+01:00' and inner['at'] is not null";
    let chosen = Scan::of(["seconds"]).filter(predicate(filter, &source));
    let chosen = slices(&source, chosen).await;
    assert_eq!(
        chosen.iter().map(|slice| slice.rows.len()).sum::<usize>(),
        1
    );
}

fn extended(name: &str, data_type: DataType, extension: &str) -> Field {
    let said = [("ARROW:extension:name".to_owned(), extension.to_owned())];
    Field::new(name, data_type, true).with_metadata(said.into())
}

#[tokio::test]
async fn a_snapshot_says_of_uuids_and_json_what_an_arrow_file_says_by_extensions() {
    let mut ids = FixedSizeBinaryBuilder::new(16);
    ids.append_value(*b"0123456789abcdef").unwrap();
    ids.append_null();
    let ids: ArrayRef = Arc::new(ids.finish());
    let json: ArrayRef = Arc::new(StringArray::from(vec![Some("{\"a\":1}"), None]));
    let uuid = Arc::new(extended("id", DataType::FixedSizeBinary(16), "arrow.uuid"));
    let item = Arc::new(extended(
        "item",
        DataType::FixedSizeBinary(16),
        "arrow.uuid",
    ));
    let lengths = arrow::buffer::OffsetBuffer::from_lengths([2, 0]);
    let list = ListArray::new(Arc::clone(&item), lengths, Arc::clone(&ids), None);
    let inner = Fields::from(vec![Arc::clone(&uuid)]);
    let inner = StructArray::new(inner, vec![Arc::clone(&ids)], None);
    let schema = Schema::new(vec![
        Field::new("hash", DataType::FixedSizeBinary(16), true),
        uuid.as_ref().clone(),
        Field::new("list", DataType::List(item), true),
        extended("json", DataType::Utf8, "arrow.json"),
        Field::new("inner", inner.data_type().clone(), true),
    ]);
    let columns = vec![Arc::clone(&ids), ids, Arc::new(list), json, Arc::new(inner)];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();

    let folder = scratch();
    let path = folder.path().join("a.arrow");
    let file = File::create(&path).unwrap();
    let mut writer = arrow::ipc::writer::FileWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    let source = open(&path).await.unwrap();
    let stores: Arc<Stores> = Arc::default();
    let place = folder.path().join("kept");
    let place = stores.locate(place.to_str().unwrap()).unwrap();
    let kept = source.snapshot(&place, &stores, folder.path()).await;
    let kept = kept.unwrap();
    assert_eq!(everything(&kept).await, batch);

    let part = File::open(folder.path().join("kept/part-00000.parquet")).unwrap();
    let part = SerializedFileReader::new(part).unwrap();
    let stored = part.metadata().file_metadata().schema_descr();
    let kinds = stored.columns().iter();
    let kinds: Vec<_> = kinds.map(|leaf| leaf.logical_type_ref().cloned()).collect();
    let uuid = Some(LogicalType::Uuid);
    assert_eq!(
        kinds,
        [
            None,
            uuid.clone(),
            uuid.clone(),
            Some(LogicalType::Json),
            uuid
        ]
    );
}

/// Written by Polars, which has whole numbers of 128 bits; Arrow has none.
#[tokio::test]
async fn a_type_that_arrow_does_not_know_is_refused_by_the_columns_name() {
    let tables = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tables");
    for name in ["polars-int128.parquet", "polars-int128.arrow"] {
        let error = open(&tables.join(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let message = message(&error);
        assert!(message.contains("column=`wide`"), "{message}");
        assert!(message.contains(name), "{message}");
    }
}
