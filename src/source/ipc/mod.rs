//! Tables of Arrow files: files and streams of Arrow's IPC format, in one order, with the columns of all.
//!
//! The columns are found in the files' heads, and merged as those of Parquet files are. A record batch is
//! held as it was written, once, however large its writer made it; it is handed on in slices, which copy
//! nothing and are bounded in rows and in bytes.

mod file;
mod reader;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::source::files::{ListedFile, Listing, with_partitions};
use crate::source::parquet::check_partitions;
use crate::source::scan::{rows_that_fit, split_by_bytes, stream_from_thread};
use crate::source::schema::{Assembly, ColumnMap, Origin, merge};
use crate::work::Pin;

use file::Head;
use reader::Batches;

/// How many files' heads are read at once.
const HEADS_AT_ONCE: usize = 8;

/// The rows of which the sizes are looked at together.
const LOOKED_AT: usize = 1 << 14;

/// A table of Arrow files.
#[derive(Debug)]
pub(crate) struct IpcTable {
    files: Vec<IpcFile>,
    /// The files' columns, then the partition columns.
    pub(crate) schema: SchemaRef,
    /// For each partition column of the table, its place in [`IpcFile::partition`].
    partitions: Vec<usize>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
    /// The bytes of a row, in the batch where they are most.
    width: u64,
}

/// A file of it.
#[derive(Debug)]
struct IpcFile {
    location: Location,
    pin: Pin,
    partition: Vec<Option<String>>,
    /// Where it has the table's columns.
    mapping: ColumnMap,
}

impl IpcTable {
    /// Reads the heads of the listed files.
    pub(crate) async fn open(listing: Listing) -> Result<IpcTable> {
        let heads: Vec<(ListedFile, Head)> = stream::iter(listing.files)
            .map(|listed| async {
                let read = move || {
                    let head = Head::read(&listed.location, &listed.pin())?;
                    Ok::<_, Error>((listed, head))
                };
                tokio::task::spawn_blocking(read)
                    .await
                    .or_err(ErrorKind::Internal, "reading a file's head was cut off")?
            })
            .buffered(HEADS_AT_ONCE)
            .try_collect()
            .await?;
        let named = heads.iter();
        let named: Vec<_> = named
            .map(|(listed, head)| (listed.relative.as_str(), &head.schema))
            .collect();
        let merged = merge(&named)?;
        check_partitions(&listing.partitions, &merged, &named)?;
        if merged.schema.fields().is_empty() {
            return Err(Error::invalid("the table has no columns")
                .with("table", &listing.address)
                .hint("write it anew, with the columns that it is to have"));
        }
        let (schema, partitions) = with_partitions(&merged.schema, &listing.partitions);
        let width = heads.iter().map(|(_, head)| head.width).max();
        let files = heads.into_iter().zip(merged.mappings);
        let files = files.map(|((listed, _), mapping)| IpcFile {
            pin: listed.pin(),
            location: listed.location,
            partition: listed.partition,
            mapping,
        });
        Ok(IpcTable {
            files: files.collect(),
            schema: Arc::new(schema),
            partitions,
            notes: listing.notes.into_iter().chain(merged.notes).collect(),
            width: width.unwrap_or(0),
        })
    }

    /// How many rows may be held at once, at most `rows`.
    pub(crate) fn rows_at_once(&self, rows: usize) -> usize {
        rows_that_fit(self.width, rows)
    }

    /// Reads some columns on a thread of its own, which ends when the stream is dropped; at most
    /// `batch_rows` rows come at once.
    pub(crate) fn scan(
        self: &Arc<Self>,
        columns: Vec<usize>,
        batch_rows: usize,
    ) -> BoxStream<'static, Result<RecordBatch>> {
        let table = Arc::clone(self);
        stream_from_thread(move |send| table.read(&columns, batch_rows, send))
    }

    fn read(&self, columns: &[usize], batch_rows: usize, send: &Sender) -> Result<()> {
        let schema = self.schema.project(columns);
        let schema = Arc::new(schema.or_err(ErrorKind::Internal, "no such column")?);
        for file in &self.files {
            let stored = columns
                .iter()
                .filter_map(|at| file.mapping.get(*at).copied()?);
            let mut roots: Vec<usize> = stored.collect();
            roots.sort_unstable();
            roots.dedup();
            let assembly = Assembly {
                url: file.location.url.to_string(),
                origins: self.origins(file, columns, &roots),
                schema: Arc::clone(&schema),
            };
            for batch in Batches::open(&file.location, &file.pin, roots)? {
                let batch = batch?;
                for piece in slices(&batch, LOOKED_AT).flat_map(|part| split_by_bytes(&part)) {
                    for slice in slices(&piece, batch_rows) {
                        if send.blocking_send(assembly.assemble(&slice)).is_err() {
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn origins(&self, file: &IpcFile, columns: &[usize], roots: &[usize]) -> Vec<Origin> {
        let origin = |at: &usize| match file.mapping.get(*at) {
            Some(Some(place)) => Origin::Stored(roots.partition_point(|root| root < place)),
            Some(None) => Origin::Missing,
            None => {
                let partition = self.partitions[at - file.mapping.len()];
                Origin::Constant(file.partition[partition].clone())
            }
        };
        columns.iter().map(origin).collect()
    }
}

type Sender = mpsc::Sender<Result<RecordBatch>>;

/// `batch` in slices of at most `rows` rows.
fn slices(batch: &RecordBatch, rows: usize) -> impl Iterator<Item = RecordBatch> {
    let all = batch.num_rows();
    (0..all)
        .step_by(rows)
        .map(move |start| batch.slice(start, rows.min(all - start)))
}
