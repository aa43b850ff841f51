//! A table of text files: opened by reading all of it, and scanned as often as needed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use futures::stream::BoxStream;
use object_store::ObjectStore;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::files::{FileFormat, Listing, with_partitions};
use crate::source::scan::{rows_that_fit, stream_from_thread};
use crate::source::text::infer::{ColumnInference, TextColumn};
use crate::source::text::read::{ReadOptions, Row, RowReader, TextFile};

use super::batch::{Batch, Projection};
use super::decompress::DecompressedStore;
use super::options::TextOptions;

/// A table of text files.
#[derive(Debug)]
pub(crate) struct TextTable {
    reading: ReadOptions,
    files: Vec<TextFile>,
    /// The files' columns.
    columns: Vec<TextColumn>,
    /// The bytes of the longest record.
    widest: u64,
    /// The files' columns, then the partition columns.
    pub(crate) schema: SchemaRef,
}

/// Which rows and columns are wanted.
#[derive(Clone, Debug)]
pub(crate) struct TextScan {
    /// Places in the table's schema.
    pub(crate) columns: Vec<usize>,
    pub(crate) batch_rows: usize,
    pub(crate) limit: Option<u64>,
}

impl TextTable {
    /// Reads all of the files to find their columns.
    pub(crate) async fn open(listing: &Listing, options: &TextOptions) -> Result<TextTable> {
        let plain = Arc::clone(&listing.base.store);
        let store: Arc<dyn ObjectStore> = match listing.format.compression() {
            Some(compression) => Arc::new(DecompressedStore::new(plain, compression)),
            None => plain,
        };
        let reading = ReadOptions {
            store,
            is_csv: !matches!(listing.format, FileFormat::Json(_)),
            delimiter: match listing.format {
                FileFormat::Tsv(_) => options.delimiter.or(Some(b'\t')),
                _ => options.delimiter,
            },
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
        let own: Vec<FieldRef> = columns
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        let (schema, partitions) = with_partitions(&Schema::new(own), &listing.partitions);
        for file in &mut files {
            let values = partitions.iter().map(|at| file.partition[*at].clone());
            file.partition = values.collect();
        }
        Ok(TextTable {
            reading,
            files,
            columns,
            widest,
            schema: Arc::new(schema),
        })
    }

    /// How many rows may be held at once, at most `rows`.
    pub(crate) fn rows_at_once(&self, rows: usize) -> usize {
        rows_that_fit(self.widest, rows)
    }

    /// Reads rows on a thread of its own, which ends when the stream is dropped.
    pub(crate) fn scan(
        self: &Arc<Self>,
        scan: TextScan,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let (table, runtime) = (Arc::clone(self), Handle::current());
        stream_from_thread(move |send| table.read(&scan, &runtime, send))
    }

    /// The files' columns.
    pub(crate) fn columns(&self) -> &[TextColumn] {
        &self.columns
    }

    fn read(&self, scan: &TextScan, runtime: &Handle, send: &Sender) -> Result<()> {
        let mut left = scan.limit.unwrap_or(u64::MAX);
        let projection = Projection::new(&self.schema, self.columns.len(), &scan.columns)?;
        let mut row = Row::default();
        for file in &self.files {
            let names = self.names_of(&projection).map(str::to_owned).collect();
            let mut rows = RowReader::open(&self.reading, file, Some(names), runtime)?;
            let places = self.places(&projection, &rows);
            loop {
                let mut batch = Batch::new(&self.columns, &projection, scan.batch_rows)?;
                let most = left.min(scan.batch_rows as u64);
                let more = batch.fill(&mut rows, &mut row, &places, most)?;
                left -= batch.len() as u64;
                if batch.len() > 0 {
                    let built = batch.build(&projection, file)?;
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

    fn names_of<'t>(&'t self, projection: &'t Projection) -> impl Iterator<Item = &'t str> {
        let stored = projection.stored.iter();
        stored.map(|at| self.columns[*at].field.name().as_str())
    }

    /// Where the wanted columns stand in a file.
    fn places(&self, projection: &Projection, rows: &RowReader) -> Vec<Option<usize>> {
        let place = |name: &str| rows.names().iter().position(|known| known == name);
        self.names_of(projection).map(place).collect()
    }
}

type Sender = mpsc::Sender<Result<RecordBatch>>;

/// The columns of all files, and the bytes of their longest record.
fn find_columns(
    reading: &ReadOptions,
    files: &[TextFile],
    types: &BTreeMap<String, DataType>,
    runtime: &Handle,
) -> Result<(Vec<TextColumn>, u64)> {
    let mut columns = ColumnInference::new(types);
    for (number, file) in files.iter().enumerate() {
        let mut rows = RowReader::open(reading, file, None, runtime)?;
        columns.observe_file(number, files, &mut rows)?;
    }
    let widest = columns.widest;
    Ok((columns.decide(files.len()), widest))
}
