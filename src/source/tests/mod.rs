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

mod arrow_files;
mod differing;
mod files;
mod folders;
mod keys;
mod logical;
mod predicates;
mod queries;
mod rows;
mod snapshots;
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
