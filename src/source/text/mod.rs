//! Tables of CSV and JSON files: every value arrives as it stands there, or the file is refused.
//!
//! ```text
//! files ── input ── csv | json ── row ─┬─ decide: evidence | shape ──► the columns and their types
//!                                      └─ columns ──► RecordBatch, by the types found
//! ```
//!
//! Text says nothing of types, and a type that is guessed from its beginning is wrong at its end. So
//! all records are read twice: the first reading finds the columns of all files, by name, and for each
//! the type that holds every value as it is written; the second one makes batches. Both hold one
//! record or one batch at a time. What cannot be read (a quote that is never closed, a row of another
//! length, a record that is no JSON) is found by the first one, with file and line, before anything is
//! sent.

mod columns;
mod csv;
mod decide;
mod evidence;
#[cfg(test)]
mod fuzz;
mod input;
mod json;
mod numbers;
mod row;
mod rows;
mod shape;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::{Error, ErrorKind, Result, ResultExt};

use super::format::Format;
use super::listing::Listing;
use super::pieces::fitting;
use super::scan::next_sent;
use super::unpacked::Unpacked;
use columns::Column;
use decide::Columns;
use row::Row;
use rows::{Reading, Rows};
pub use usage::TextNotes;
pub(super) use usage::TextUse;

/// Bytes of text in a batch: rows of megabytes come a few at a time.
const BATCH_BYTES: usize = 4 << 20;

/// What a job says of its text files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The types of columns, whatever their values look like.
    pub types: BTreeMap<String, DataType>,
    /// What separates the values of CSV.
    pub delimiter: Option<u8>,
}

/// A table of text files.
#[derive(Debug)]
pub(super) struct TextTable {
    reading: Reading,
    files: Vec<TextFile>,
    /// The files' columns.
    columns: Vec<TextColumn>,
    /// The bytes of the longest record.
    widest: u64,
    /// The files' columns, then the partition columns.
    pub(super) schema: SchemaRef,
}

/// A file of it.
#[derive(Debug)]
struct TextFile {
    object: ObjectMeta,
    url: String,
    /// The values of the partition columns of the table.
    partition: Vec<Option<String>>,
}

/// A column of it.
#[derive(Debug)]
struct TextColumn {
    field: FieldRef,
    /// Its type, in a few words, and why it is that one.
    note: String,
}

/// Which rows and columns are wanted.
#[derive(Clone, Debug)]
pub(super) struct TextScan {
    /// Places in the table's schema.
    pub(super) columns: Vec<usize>,
    pub(super) batch_rows: usize,
    pub(super) limit: Option<u64>,
}

impl TextTable {
    /// Reads all of the files to find their columns.
    pub(super) async fn open(listing: &Listing, options: &TextOptions) -> Result<TextTable> {
        let plain = Arc::clone(&listing.base.store);
        let store: Arc<dyn ObjectStore> = match listing.format.packed() {
            Some(packed) => Arc::new(Unpacked::new(plain, packed)),
            None => plain,
        };
        let reading = Reading {
            store,
            is_csv: matches!(listing.format, Format::Csv(_)),
            delimiter: options.delimiter,
        };
        let files: Vec<TextFile> = listing
            .files
            .iter()
            .map(|file| TextFile {
                object: file.object.clone(),
                url: file.location.url.to_string(),
                partition: file.partition.clone(),
            })
            .collect();
        let (types, runtime) = (options.types.clone(), Handle::current());
        let reader = tokio::task::spawn_blocking(move || {
            let found = find_columns(&reading, &files, &types, &runtime)?;
            Ok::<_, Error>((reading, files, found))
        });
        let found = reader.await;
        let (reading, mut files, (columns, widest)) =
            found.or_err(ErrorKind::Internal, "reading the table was cut off")??;
        if columns.is_empty() {
            return Err(Error::invalid("the table has no columns")
                .with("table", &listing.address)
                .hint("a CSV file needs a header line, an NDJSON file one object per line"));
        }
        let schema = with_partitions(&columns, listing, &mut files);
        Ok(TextTable {
            reading,
            files,
            columns,
            widest,
            schema,
        })
    }

    /// How many rows may be held at once, at most `rows`.
    pub(super) fn rows_at_once(&self, rows: usize) -> usize {
        fitting(self.widest, rows)
    }

    /// Reads rows on a thread of its own, which ends when the stream is dropped.
    pub(super) fn scan(
        self: &Arc<Self>,
        scan: TextScan,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let (send, receive) = mpsc::channel(1);
        let (table, runtime) = (Arc::clone(self), Handle::current());
        let reader = tokio::task::spawn_blocking(move || {
            if let Err(error) = table.read(&scan, &runtime, &send) {
                // Nobody is left to tell if this fails.
                let _ = send.blocking_send(Err(error));
            }
        });
        stream::unfold((receive, Some(reader)), next_sent).boxed()
    }

    fn read(&self, scan: &TextScan, runtime: &Handle, send: &Sender) -> Result<()> {
        let mut left = scan.limit.unwrap_or(u64::MAX);
        let wanted = self.stored(scan);
        let schema = Arc::new(
            self.schema
                .project(&scan.columns)
                .or_err(ErrorKind::Internal, "no such column")?,
        );
        let mut row = Row::default();
        for file in &self.files {
            let names = wanted
                .iter()
                .map(|at| self.columns[*at].field.name().clone())
                .collect();
            let mut rows = Rows::open(&self.reading, file, Some(names), runtime)?;
            let places = self.places(&wanted, &rows);
            loop {
                let mut batch = Batch::new(self, &wanted, scan.batch_rows)?;
                let more = batch.fill(
                    &mut rows,
                    &mut row,
                    &places,
                    left.min(scan.batch_rows as u64),
                )?;
                left -= batch.lines.len() as u64;
                if !batch.lines.is_empty() {
                    let built = batch.build(self, scan, file, &schema)?;
                    if send.blocking_send(Ok(built)).is_err() {
                        return Ok(());
                    }
                }
                if left == 0 {
                    return Ok(());
                }
                if !more {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The files' own columns among those that are wanted, each once.
    fn stored(&self, scan: &TextScan) -> Vec<usize> {
        let mut stored: Vec<usize> = scan
            .columns
            .iter()
            .copied()
            .filter(|at| *at < self.columns.len())
            .collect();
        stored.sort_unstable();
        stored.dedup();
        stored
    }

    /// Where the wanted columns stand in a file.
    fn places(&self, wanted: &[usize], rows: &Rows) -> Vec<Option<usize>> {
        let place = |at: &usize| {
            rows.names()
                .iter()
                .position(|name| name == self.columns[*at].field.name())
        };
        wanted.iter().map(place).collect()
    }
}

type Sender = mpsc::Sender<Result<RecordBatch>>;

/// The columns of all files, and the bytes of their longest record.
fn find_columns(
    reading: &Reading,
    files: &[TextFile],
    types: &BTreeMap<String, DataType>,
    runtime: &Handle,
) -> Result<(Vec<TextColumn>, u64)> {
    let mut columns = Columns::new(types);
    for (number, file) in files.iter().enumerate() {
        let mut rows = Rows::open(reading, file, None, runtime)?;
        columns.see_file(number, files, &mut rows)?;
    }
    let widest = columns.widest;
    Ok((columns.decide(files.len()), widest))
}

/// The files' columns, then the partition columns that are not in the files as well; of the files'
/// partition values, those of these columns stay.
fn with_partitions(columns: &[TextColumn], listing: &Listing, files: &mut [TextFile]) -> SchemaRef {
    let mut fields: Vec<FieldRef> = columns
        .iter()
        .map(|column| Arc::clone(&column.field))
        .collect();
    let is_new = |name: &String| columns.iter().all(|column| column.field.name() != name);
    let names = listing.partitions.iter();
    fields.extend(
        names
            .filter(|name| is_new(name))
            .map(|name| Arc::new(Field::new(name, DataType::Utf8, true))),
    );
    for file in files {
        let values = listing
            .partitions
            .iter()
            .zip(std::mem::take(&mut file.partition));
        file.partition = values
            .filter(|(name, _)| is_new(name))
            .map(|(_, value)| value)
            .collect();
    }
    Arc::new(Schema::new(fields))
}

/// Rows on their way to a batch.
struct Batch {
    columns: Vec<Column>,
    lines: Vec<u64>,
}

impl Batch {
    fn new(table: &TextTable, wanted: &[usize], rows: usize) -> Result<Batch> {
        let column = |at: &usize| Column::new(Arc::clone(&table.columns[*at].field), rows);
        Ok(Batch {
            columns: wanted.iter().map(column).collect::<Result<_>>()?,
            lines: Vec::new(),
        })
    }

    /// Takes rows until it is full; `false` at the end of the file.
    fn fill(
        &mut self,
        rows: &mut Rows,
        row: &mut Row,
        places: &[Option<usize>],
        most: u64,
    ) -> Result<bool> {
        let mut bytes = 0;
        while (self.lines.len() as u64) < most && bytes < BATCH_BYTES {
            if !rows.next(row)? {
                return Ok(false);
            }
            for (column, place) in self.columns.iter_mut().zip(places) {
                column.push(row, *place)?;
            }
            self.lines.push(row.line);
            bytes += row.text.len();
        }
        Ok(true)
    }

    fn build(
        mut self,
        table: &TextTable,
        scan: &TextScan,
        file: &TextFile,
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        let lines = self.lines;
        let built = self
            .columns
            .iter_mut()
            .map(|column| column.finish(|at| (&file.url, lines[at])));
        let built: Vec<ArrayRef> = built.collect::<Result<_>>()?;
        let wanted = table.stored(scan);
        let stored = table.columns.len();
        let arrays = scan.columns.iter().map(|at| match at.checked_sub(stored) {
            None => Arc::clone(&built[wanted.partition_point(|stored| stored < at)]),
            Some(partition) => {
                let value = file.partition[partition].as_deref();
                Arc::new(std::iter::repeat_n(value, lines.len()).collect::<StringArray>())
            }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        RecordBatch::try_new_with_options(Arc::clone(schema), arrays.collect(), &options).or_err(
            ErrorKind::Internal,
            "a text file's rows do not have its own types",
        )
    }
}
