//! What the bulk files have in common: Parquet, written to a local file and read from one.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch,
    StringArray, UInt8Array,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, UInt8Type};
use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::types::ColumnPath;

use crate::base::{Error, ErrorKind, Result, ResultExt, scratch_error};
use crate::work::{RequestKey, RowStatus};

/// Rows that are handed to Parquet at once.
const BULK_ROWS: usize = 1024;
/// Encoded bytes of a row group: what a writer holds in memory.
const GROUP_BYTES: usize = 8 << 20;

/// Writes `RecordBatch`es to a local Parquet file in bounded memory.
pub(super) struct BulkWriter {
    writer: ArrowWriter<File>,
    /// Where the file lies, for errors.
    folder: PathBuf,
    schema: SchemaRef,
    group_bytes: usize,
    rows: u64,
}

/// How a bulk file is written; `plain` names the columns that repeat too little for a dictionary.
pub(super) fn properties(plain: &[&str], notes: &[(&str, String)]) -> WriterPropertiesBuilder {
    let notes = notes
        .iter()
        .map(|(key, value)| KeyValue::new((*key).to_owned(), value.clone()));
    let properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(notes.collect()));
    plain.iter().fold(properties, |properties, column| {
        properties.set_column_dictionary_enabled(ColumnPath::from(*column), false)
    })
}

impl BulkWriter {
    /// A new file at `path`.
    pub(super) fn create(
        path: &Path,
        schema: SchemaRef,
        properties: WriterPropertiesBuilder,
    ) -> Result<Self> {
        let folder = folder_of(path);
        let file = File::create(path).map_err(|error| scratch_error(&folder, error))?;
        let writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties.build()))
            .or_err(ErrorKind::Internal, "cannot begin a Parquet file")?;
        Ok(BulkWriter {
            writer,
            folder,
            schema,
            group_bytes: GROUP_BYTES,
            rows: 0,
        })
    }

    /// With row groups of so many encoded bytes.
    pub(super) fn group_bytes(self, group_bytes: usize) -> Self {
        BulkWriter {
            group_bytes,
            ..self
        }
    }

    /// Writes some rows.
    pub(super) fn write(&mut self, columns: Vec<ArrayRef>) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)
            .or_err(ErrorKind::Internal, "the columns do not fit the schema")?;
        self.rows += batch.num_rows() as u64;
        let failed = |error| scratch_error(&self.folder, error);
        self.writer.write(&batch).map_err(failed)?;
        if self.writer.in_progress_size() > self.group_bytes {
            self.writer.flush().map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the file; the number of its rows.
    pub(super) fn finish(self) -> Result<u64> {
        let failed = |error| scratch_error(&self.folder, error);
        self.writer.close().map_err(failed)?;
        Ok(self.rows)
    }
}

/// The folder of a local file.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(path).to_owned()
}

/// Reads `columns` of the local Parquet file `file`, in order; all columns if there are none named.
pub(super) fn read(file: File, columns: &[&str]) -> Result<ParquetRecordBatchReader> {
    read_as(file, columns, Clone::clone, usize::MAX)
}

/// The same, with texts held as views of the pages that they were read from.
pub(super) fn read_views(file: File, columns: &[&str]) -> Result<ParquetRecordBatchReader> {
    let views = |schema: &SchemaRef| {
        let fields = schema.fields().iter().map(|field| match field.data_type() {
            DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
            _ => Arc::clone(field),
        });
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    };
    read_as(file, columns, views, usize::MAX)
}

/// The same as [`read`], of so many rows at once that their columns of a fixed width have no more than
/// `bytes`.
pub(super) fn read_within(
    file: File,
    columns: &[&str],
    bytes: usize,
) -> Result<ParquetRecordBatchReader> {
    read_as(file, columns, Clone::clone, bytes)
}

fn read_as(
    file: File,
    columns: &[&str],
    held: impl FnOnce(&SchemaRef) -> SchemaRef,
    bytes: usize,
) -> Result<ParquetRecordBatchReader> {
    let len = file.metadata().map_err(damaged)?.len();
    let pieces = PagedFile { file, len };
    let metadata = guarded(|| {
        let plain = ArrowReaderMetadata::load(&pieces, ArrowReaderOptions::new())?;
        let options = ArrowReaderOptions::new().with_schema(held(plain.schema()));
        ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options)
    })?;
    let width = fixed_width(metadata.schema(), columns);
    let rows = (bytes / width.max(1)).clamp(1, BULK_ROWS);
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(pieces, metadata);
    let mask = if columns.is_empty() {
        ProjectionMask::all()
    } else {
        ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied())
    };
    builder
        .with_projection(mask)
        .with_batch_size(rows)
        .build()
        .map_err(damaged)
}

/// Bytes of a row's columns of a fixed width.
fn fixed_width(schema: &Schema, columns: &[&str]) -> usize {
    let is_read =
        |field: &&FieldRef| columns.is_empty() || columns.contains(&field.name().as_str());
    let width = |field: &FieldRef| match field.data_type() {
        DataType::FixedSizeBinary(bytes) => usize::try_from(*bytes).unwrap_or_default(),
        _ => 0,
    };
    schema.fields().iter().filter(is_read).map(width).sum()
}

/// A file that is read at places, without a descriptor and a buffer for each: pages are small.
struct PagedFile {
    file: File,
    len: u64,
}

impl Length for PagedFile {
    fn len(&self) -> u64 {
        self.len
    }
}

impl ChunkReader for PagedFile {
    type T = Reader<Bytes>;

    /// What is read this way is a page's header.
    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let len = self.len.saturating_sub(start).min(HEADER_MAX);
        let len = usize::try_from(len).unwrap_or_default();
        Ok(self.get_bytes(start, len)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// A page's header is far shorter than this, for it holds no statistics.
const HEADER_MAX: u64 = 256;

pub(super) fn damaged(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::data("a bulk file of the ledger is damaged")
        .because(cause)
        .hint("restore the file from a backup: what it held is nowhere else")
}

/// The next `RecordBatch`, or why it cannot be read.
pub(super) fn next(reader: &mut ParquetRecordBatchReader) -> Option<Result<RecordBatch>> {
    guarded(|| reader.next().transpose()).transpose()
}

/// What `read` comes to. The Parquet and Arrow libraries panic over some of what a damaged file can
/// hold; that is the file's fault, and said as such.
fn guarded<T, E>(read: impl FnOnce() -> std::result::Result<T, E>) -> Result<T>
where
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    // Nothing of what `read` touched is used again after a panic.
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(damaged),
        Err(_) => Err(damaged("its reader panicked")),
    }
}

/// The column `name` of `batch`.
pub(super) fn column<'a>(batch: &'a RecordBatch, name: &'static str) -> Result<&'a ArrayRef> {
    batch
        .column_by_name(name)
        .ok_or_else(|| Error::data("a bulk file of the ledger lacks a column").with("column", name))
}

/// How many rows are collected before they are handed to Parquet.
pub(super) fn is_full(rows: usize) -> bool {
    rows >= BULK_ROWS
}

/// The type of a column of status words.
pub(super) fn words_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt8), Box::new(DataType::Utf8))
}

/// A field of status words.
pub(super) fn status_field(name: &str) -> Field {
    Field::new(name, words_type(), false)
}

/// A column of status words, from their codes.
pub(super) fn status_column(codes: &mut Vec<u8>) -> ArrayRef {
    let words: StringArray = RowStatus::ALL
        .iter()
        .map(|status| Some(status.as_str()))
        .collect();
    let keys = UInt8Array::from(std::mem::take(codes));
    Arc::new(DictionaryArray::<UInt8Type>::new(keys, Arc::new(words)))
}

/// The statuses in a column of status words.
pub(super) fn statuses(column: &ArrayRef) -> Result<Vec<RowStatus>> {
    let dictionary = column
        .as_dictionary_opt::<UInt8Type>()
        .ok_or_else(|| Error::data("a status column of the ledger has another type"))?;
    let wrong = || Error::data("a status column of the ledger holds what is no status");
    let words = dictionary
        .values()
        .as_string_opt::<i32>()
        .ok_or_else(wrong)?;
    let known: Vec<RowStatus> = words
        .iter()
        .map(|word| word.unwrap_or_default().parse())
        .collect::<Result<_>>()?;
    let keys = dictionary.keys().values().iter();
    keys.map(|key| known.get(usize::from(*key)).copied().ok_or_else(wrong))
        .collect()
}

/// The length of a request key, as Arrow counts it.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "it is 24"
)]
pub(super) const KEY_LEN: i32 = RequestKey::LEN as i32;

/// A builder for a column of request keys.
pub(super) fn key_builder() -> FixedSizeBinaryBuilder {
    FixedSizeBinaryBuilder::new(KEY_LEN)
}

/// The request keys in a column of them.
pub(super) fn keys(column: &ArrayRef) -> Result<&FixedSizeBinaryArray> {
    column
        .as_fixed_size_binary_opt()
        .filter(|keys| keys.value_length() == KEY_LEN)
        .ok_or_else(|| Error::data("a key column of the ledger has another type"))
}

/// The request key at `row`.
pub(super) fn key(keys: &FixedSizeBinaryArray, row: usize) -> RequestKey {
    let mut key = [0; RequestKey::LEN];
    key.copy_from_slice(keys.value(row));
    RequestKey(key)
}
