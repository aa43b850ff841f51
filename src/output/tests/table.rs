//! A table of every make of column, in a file that uses what Parquet has.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryViewArray, BooleanArray, Decimal128Array, DictionaryArray, Float64Array,
    Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StringViewArray,
    StructArray, TimestampNanosecondArray,
};
use arrow::array::{FixedSizeListArray, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

/// Rows in a row group of [`rich`].
const GROUP_ROWS: usize = 7;

fn texts(rows: i16, skip: i16) -> Vec<Option<String>> {
    let text = |row: i16| (row % skip != 1).then(|| format!("text {row} – ünïcode {}", row % 5));
    (0..rows).map(text).collect()
}

fn nested(rows: i16) -> ListArray {
    let count = usize::try_from(rows * 2).unwrap();
    let fields = Fields::from(vec![
        Field::new("a", DataType::Int32, true),
        Field::new("b", DataType::Utf8View, true)
            .with_metadata(HashMap::from([("deep".into(), "kept".into())])),
    ]);
    let a: Int32Array = (0..rows * 2).map(|n| (n % 3 != 0).then_some(7)).collect();
    let b: StringViewArray = texts(rows * 2, 4).into_iter().collect();
    let structs = StructArray::new(fields.clone(), vec![Arc::new(a), Arc::new(b)], None);
    let lengths = (0..count / 2).map(|row| if row % 2 == 0 { 3 } else { 1 });
    let lengths: Vec<_> = lengths
        .scan(count, |left, n| {
            let n = n.min(*left);
            *left -= n;
            Some(n)
        })
        .collect();
    let nulls = (0..lengths.len())
        .map(|row| row % 5 != 4)
        .collect::<Vec<_>>();
    let item = Arc::new(Field::new("element", DataType::Struct(fields), true));
    ListArray::new(
        item,
        OffsetBuffer::from_lengths(lengths),
        Arc::new(structs),
        Some(nulls.into()),
    )
}

fn vectors(rows: i16) -> FixedSizeListArray {
    let values: arrow::array::Float32Array = (0..rows * 3).map(|n| Some(f32::from(n))).collect();
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    FixedSizeListArray::new(item, 3, Arc::new(values), None)
}

/// The columns of every make.
pub(super) fn rich_table(rows: i16) -> RecordBatch {
    let decimals = (0..rows)
        .map(|n| (n % 4 != 0).then_some(i128::from(n) << 40))
        .collect::<Decimal128Array>();
    let words: DictionaryArray<Int32Type> = texts(rows, 6)
        .iter()
        .map(|t| t.as_deref().map(|_| "word"))
        .collect();
    let times: TimestampNanosecondArray = (0..rows)
        .map(|n| Some(i64::from(n) * 1_000_000_007))
        .collect();
    let binary: Vec<Option<Vec<u8>>> = (0..rows)
        .map(|n| (n % 2 == 0).then(|| vec![0xff, 0xfe, n.to_le_bytes()[0]]))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(Int64Array::from_iter_values((0..rows).map(i64::from))),
        ),
        ("Subject", Arc::new(StringArray::from(texts(rows, 3)))),
        ("large", Arc::new(LargeStringArray::from(texts(rows, 3)))),
        ("view", Arc::new(StringViewArray::from_iter(texts(rows, 5)))),
        (
            "bytes",
            Arc::new(
                binary
                    .iter()
                    .map(Option::as_deref)
                    .collect::<BinaryViewArray>(),
            ),
        ),
        ("words", Arc::new(words)),
        (
            "price",
            Arc::new(decimals.with_precision_and_scale(30, 3).unwrap()),
        ),
        ("nested", Arc::new(nested(rows))),
        ("vector", Arc::new(vectors(rows))),
        ("at", Arc::new(times.with_timezone("Europe/Zurich"))),
        (
            "flag",
            Arc::new(
                (0..rows)
                    .map(|n| (n % 3 != 0).then_some(n % 2 == 0))
                    .collect::<BooleanArray>(),
            ),
        ),
        (
            "ratio",
            Arc::new(
                (0..rows)
                    .map(|n| Some(f64::from(n) / 3.0))
                    .collect::<Float64Array>(),
            ),
        ),
        (
            "nothing",
            Arc::new(Int32Array::new_null(usize::try_from(rows).unwrap())),
        ),
    ];
    described(columns)
}

/// Columns, each with a note of its own, in a schema with an owner.
fn described(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, column)| {
            let field = Field::new(*name, column.data_type().clone(), *name != "id");
            field.with_metadata(HashMap::from([("note".into(), format!("about {name}"))]))
        })
        .collect();
    let pairs = [("owner", "data team"), ("huggingface", "{}")];
    let metadata = HashMap::from(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let schema = Schema::new_with_metadata(fields, metadata);
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

fn properties() -> WriterPropertiesBuilder {
    let pairs = [
        ("owner.note", "kept"),
        ("pandas", "{\"columns\": []}"),
        ("huggingface", "{\"info\": {}}"),
        ("org.apache.spark.sql.parquet.row.metadata", "{}"),
        ("columnist.run", "an older run's"),
    ];
    let pairs = pairs.map(|(k, v)| KeyValue::new(k.to_owned(), v.to_owned()));
    WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_data_page_row_count_limit(3)
        .set_write_batch_size(1)
        .set_compression(Compression::SNAPPY)
        .set_column_compression(
            ColumnPath::from("large"),
            Compression::ZSTD(ZstdLevel::default()),
        )
        .set_column_dictionary_enabled(ColumnPath::from("view"), false)
        .set_column_bloom_filter_enabled(ColumnPath::from("id"), true)
        .set_column_bloom_filter_enabled(ColumnPath::from("Subject"), true)
        .set_created_by("somebody else version 3".to_owned())
        .set_key_value_metadata(Some(pairs.to_vec()))
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: true,
        }]))
}

/// A file that uses what Parquet has.
pub(super) fn rich(rows: i16) -> Vec<u8> {
    write(&rich_table(rows), properties().build())
}

/// The same without page indexes, as PyArrow writes files.
pub(super) fn plain(rows: i16) -> Vec<u8> {
    use parquet::file::properties::EnabledStatistics::Chunk;
    let built = properties()
        .set_statistics_enabled(Chunk)
        .set_offset_index_disabled(true);
    write(&rich_table(rows), built.build())
}

pub(super) fn write(table: &RecordBatch, properties: WriterProperties) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, table.schema(), Some(properties)).unwrap();
    writer.write(table).unwrap();
    writer.close().unwrap();
    bytes
}

/// Ids from `first` on and a text beside them.
pub(super) fn simple(first: i64, rows: i64) -> Vec<u8> {
    let ids = Int64Array::from_iter_values(first..first + rows);
    let names = StringArray::from_iter_values((first..first + rows).map(|n| format!("n{n}")));
    let fields = vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("id", DataType::Int64, false),
    ];
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let table = RecordBatch::try_new(schema, vec![Arc::new(names), Arc::new(ids)]).unwrap();
    write(
        &table,
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(4))
            .build(),
    )
}
