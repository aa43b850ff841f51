//! Round trips through real files and an in-memory store: what goes in, what comes out, and what is
//! there after something went wrong.

mod carried;
mod crashes;
mod footers;
mod layouts;
mod reads;
mod refused;
mod stores;
mod table;
mod typed;

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};

use super::{
    AnswerColumns, Fence, Form, Layout, MetaColumns, Publication, RUN_KEY, SourceFile, Target,
};
use crate::base::{Crash, Error, Location, Result, Stores};
use crate::work::{AnswerRef, RowStatus};

/// Rows in one batch of answers: no divisor of any row group.
const BATCH_ROWS: u64 = 5;

fn locate(path: &Path) -> Location {
    let path = path.to_str().unwrap();
    Stores::default().locate(path).unwrap()
}

/// A source file at `folder/relative` of `bytes`, on disk.
fn source(folder: &Path, relative: &str, bytes: &[u8]) -> SourceFile {
    let path = folder.join(relative);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, bytes).unwrap();
    described(locate(&path), relative, bytes)
}

fn described(location: Location, relative: &str, bytes: &[u8]) -> SourceFile {
    let rows = metadata(bytes).file_metadata().num_rows();
    let partitions = relative.split('/').filter_map(|part| part.split_once('='));
    let value = |value: &str| (value != "__HIVE_DEFAULT_PARTITION__").then(|| value.to_owned());
    SourceFile {
        location,
        relative: relative.to_owned(),
        size: bytes.len() as u64,
        rows: u64::try_from(rows).unwrap(),
        partitions: partitions.map(|(k, v)| (k.to_owned(), value(v))).collect(),
    }
}

/// The answer of the row at `position`; every third row has none.
fn answer(position: u64) -> Option<String> {
    (position % 3 != 2).then(|| format!("answer {position}"))
}

fn answers(first: u64, end: u64) -> (AnswerColumns, Vec<RecordBatch>) {
    let metadata = [("columnist.model".to_owned(), "m-1".to_owned())];
    let mut columns = AnswerColumns::of_text("label", MetaColumns::Minimal, &metadata);
    let mut batches = Vec::new();
    for position in first..end {
        match answer(position) {
            Some(text) => columns
                .push(RowStatus::Succeeded, Some(AnswerRef::Text(&text)), None)
                .unwrap(),
            None => columns
                .push(RowStatus::Failed, None, Some("overloaded"))
                .unwrap(),
        }
        if position % BATCH_ROWS == 0 {
            batches.push(columns.finish().unwrap());
        }
    }
    batches.push(columns.finish().unwrap());
    (columns, batches)
}

/// A publication of `sources` to `target` with an answer for each of `rows` rows.
fn publication_of(sources: Vec<SourceFile>, target: Target, rows: u64) -> Publication {
    let (columns, batches) = answers(0, rows);
    Publication {
        sources,
        layout: Layout::Mirror,
        columns: columns.schema(),
        batches: stream::iter(batches.into_iter().map(Ok)).boxed(),
        identity: vec![
            (RUN_KEY.to_owned(), "run-1".to_owned()),
            ("columnist.job".to_owned(), "triage".to_owned()),
        ],
        target,
        overwrite: false,
        staging_id: "s1".to_owned(),
        fence: Fence::new(|| Ok(())),
        crash: Crash::never(),
    }
}

fn publication(sources: Vec<SourceFile>, target: Target) -> Publication {
    let rows = sources.iter().map(|source| source.rows).sum();
    publication_of(sources, target, rows)
}

fn file_target(path: &Path) -> Target {
    Target {
        location: locate(path),
        form: Form::File,
    }
}

fn folder_target(path: &Path) -> Target {
    Target {
        location: locate(path),
        form: Form::Folder,
    }
}

fn metadata(bytes: &[u8]) -> ParquetMetaData {
    let options = parquet::file::metadata::ParquetMetaDataOptions::new();
    ParquetMetaDataReader::new()
        .with_page_index_policy(PageIndexPolicy::Optional)
        .with_metadata_options(Some(options.with_encoding_stats_as_mask(false)))
        .parse_and_finish(&Bytes::copy_from_slice(bytes))
        .unwrap()
}

fn read_table(bytes: &[u8]) -> RecordBatch {
    let builder = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).unwrap();
    let schema = Arc::clone(builder.schema());
    let batches: Vec<_> = builder
        .build()
        .unwrap()
        .map(|batch| batch.unwrap())
        .collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

/// Checks that the last three columns of `table` are the answers from row `first` on.
fn check_answers(table: &RecordBatch, first: u64) {
    let rows = table.num_rows() as u64;
    let (columns, batches) = answers(first, first + rows);
    let expected = arrow::compute::concat_batches(&columns.schema(), &batches).unwrap();
    let at = table.num_columns() - 3;
    let got = table.project(&[at, at + 1, at + 2]).unwrap();
    assert_eq!(got.schema().fields(), expected.schema().fields());
    assert_eq!(got.columns(), expected.columns());
}

/// The paths beneath `folder`, sorted.
fn listing(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).unwrap();
                found.push(relative.to_str().unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

fn error_of<T>(result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("this should have been refused"),
        Err(error) => error,
    }
}
