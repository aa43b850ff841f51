//! A table of Parquet files as they are: footers read, schemas compared, row groups read in order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};

use super::bytes::FileBytes;
use super::columns::{common_columns, with_partitions, with_views, without_views};
use super::listing::{Listed, Listing};
use super::pin::Pin;

/// How many footers are read at once.
const FOOTERS_AT_ONCE: usize = 8;

/// One Parquet file of a table.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub location: Location,
    /// Its path beneath the table's fixed part, as the output will mirror it.
    pub relative: String,
    /// What it was when it was listed.
    pub pin: Pin,
    /// How many rows it has.
    pub rows: u64,
    /// How many row groups it has.
    pub row_groups: usize,
    /// The values of the partition columns, in the order of the table's.
    pub partition: Vec<Option<String>>,
}

/// A table of Parquet files.
#[derive(Clone, Debug)]
pub(super) struct ParquetTable {
    pub(super) files: Vec<SourceFile>,
    /// The table as the user sees it: the files' columns, then the partition columns.
    pub(super) schema: SchemaRef,
    /// For each partition column of the table, its place in [`SourceFile::partition`].
    partitions: Vec<usize>,
    /// Whether the address names one file, and not a folder or a glob.
    pub(super) is_file: bool,
}

impl ParquetTable {
    /// Reads the footers of the listed files.
    pub(super) async fn open(listing: Listing) -> Result<Self> {
        let is_file = listing
            .files
            .iter()
            .all(|file| file.location.path == listing.base.path);
        let footers: Vec<(SourceFile, SchemaRef)> = futures::stream::iter(listing.files)
            .map(|listed| async {
                tokio::task::spawn_blocking(move || read_footer(listed))
                    .await
                    .or_err(ErrorKind::Internal, "reading a footer was cut off")?
            })
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let columns = common_columns(&footers)?;
        let (schema, partitions) = with_partitions(&columns, &listing.partitions);
        Ok(ParquetTable {
            files: footers.into_iter().map(|(file, _)| file).collect(),
            schema: Arc::new(schema),
            partitions,
            is_file,
        })
    }

    /// The partition columns of a file, with its values.
    pub(super) fn partitions_of(&self, file: &SourceFile) -> Vec<(String, Option<String>)> {
        let names = self.schema.fields()[self.file_columns()..].iter();
        let values = self
            .partitions
            .iter()
            .map(|place| file.partition[*place].clone());
        names
            .map(|field| field.name().clone())
            .zip(values)
            .collect()
    }

    pub(super) fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    fn file_columns(&self) -> usize {
        self.schema.fields().len() - self.partitions.len()
    }
}

fn read_footer(listed: Listed) -> Result<(SourceFile, SchemaRef)> {
    let pin = listed.pin();
    let mut file = SourceFile {
        location: listed.location,
        relative: listed.relative,
        pin,
        rows: 0,
        row_groups: 0,
        partition: listed.partition,
    };
    let footer = OpenFile::open(&file)?.metadata;
    let groups = footer.metadata().row_groups();
    file.rows = groups
        .iter()
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
        .sum();
    file.row_groups = groups.len();
    Ok((file, Arc::clone(footer.schema())))
}

/// A file whose footer is read.
pub(super) struct OpenFile<'t> {
    file: &'t SourceFile,
    bytes: FileBytes,
    metadata: ArrowReaderMetadata,
}

impl<'t> OpenFile<'t> {
    pub(super) fn open(file: &'t SourceFile) -> Result<Self> {
        let url = &file.location.url;
        let bytes = FileBytes::open(&file.location, file.pin.size, file.pin.etag.as_deref())
            .or_err(ErrorKind::Unavailable, "cannot open the file")
            .map_err(|error| error.with("file", url))?;
        if parquet::file::reader::Length::len(&bytes) != file.pin.size {
            return Err(
                Error::unavailable("the file changed while it was being read")
                    .with("file", url)
                    .hint("run again once nobody writes to it"),
            );
        }
        let metadata = load(&bytes).map_err(|error| broken(error, url.as_str()))?;
        Ok(OpenFile {
            file,
            bytes,
            metadata,
        })
    }

    pub(super) fn group_rows(&self, group: usize) -> u64 {
        let rows = self.metadata.metadata().row_group(group).num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    pub(super) fn footer(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    pub(super) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// Reads some columns of one row group.
    pub(super) fn read(
        &self,
        table: &ParquetTable,
        reading: Reading<'_>,
    ) -> Result<GroupReader<'t>> {
        let columns = reading.columns;
        let broken = |error| broken(error, self.file.location.url.as_str());
        let metadata = if reading.views {
            as_views(&self.metadata).map_err(broken)?
        } else {
            self.metadata.clone()
        };
        let stored = table.file_columns();
        let mut roots: Vec<usize> = columns.iter().copied().filter(|at| *at < stored).collect();
        roots.sort_unstable();
        roots.dedup();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots.iter().copied());
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
                .with_row_groups(vec![reading.group])
                .with_projection(mask)
                .with_batch_size(reading.batch_rows);
        if let Some(selection) = reading.selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(broken)?;
        let parts = columns
            .iter()
            .map(|&at| match at.checked_sub(stored) {
                None => Part::Stored(roots.partition_point(|root| *root < at)),
                Some(partition) => {
                    Part::Constant(self.file.partition[table.partitions[partition]].clone())
                }
            })
            .collect();
        let mut schema = table
            .schema
            .project(columns)
            .or_err(ErrorKind::Internal, "no such column")?;
        if reading.views {
            schema = with_views(&schema, |at| columns[at] < stored);
        }
        Ok(GroupReader {
            file: self.file,
            reader,
            parts,
            schema: Arc::new(schema),
        })
    }
}

/// What is read of a file, and how.
#[derive(Debug)]
pub(super) struct Reading<'s> {
    pub(super) group: usize,
    /// Places in the table's schema.
    pub(super) columns: &'s [usize],
    /// Which rows; all, if there is none.
    pub(super) selection: Option<RowSelection>,
    pub(super) batch_rows: usize,
    /// Whether strings come as views.
    pub(super) views: bool,
}

/// Where a column of a batch comes from.
enum Part {
    /// From the file: its place among the columns that are read.
    Stored(usize),
    /// From the folder's name.
    Constant(Option<String>),
}

/// One row group, batch by batch, with the table's own schema.
pub(super) struct GroupReader<'t> {
    file: &'t SourceFile,
    reader: ParquetRecordBatchReader,
    parts: Vec<Part>,
    schema: SchemaRef,
}

impl Iterator for GroupReader<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.reader.next()?;
        Some(
            batch
                .and_then(|batch| assemble(&batch, &self.parts, &self.schema))
                .or_err(ErrorKind::Invalid, "cannot read the rows of a Parquet file")
                .map_err(|error| {
                    error
                        .with("file", &self.file.location.url)
                        .hint("the file is damaged or was replaced while it was read; write it again, or leave it out with a glob")
                }),
        )
    }
}

fn assemble(
    batch: &RecordBatch,
    parts: &[Part],
    schema: &SchemaRef,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = batch.num_rows();
    let columns = parts
        .iter()
        .zip(schema.fields())
        .map(|(part, field)| match part {
            Part::Constant(value) => Ok(constant(value.as_deref(), rows)),
            Part::Stored(at) if batch.column(*at).data_type() == field.data_type() => {
                Ok(Arc::clone(batch.column(*at)))
            }
            // The same type but for the metadata of nested fields.
            Part::Stored(at) => cast(batch.column(*at), field.data_type()),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
}

fn constant(value: Option<&str>, rows: usize) -> ArrayRef {
    Arc::new(std::iter::repeat_n(value, rows).collect::<StringArray>())
}

fn load(bytes: &FileBytes) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new())?;
    let plain = without_views(metadata.schema());
    if plain == **metadata.schema() {
        return Ok(metadata);
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(plain));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// The same file, with its strings as views of the pages that they lie in.
fn as_views(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = Arc::new(with_views(metadata.schema(), |_| true));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

fn broken(error: ParquetError, file: &str) -> Error {
    use object_store::Error::NotSupported;
    let of_disk = |cause: &std::io::Error| {
        let within = cause.get_ref().and_then(|cause| cause.downcast_ref());
        matches!(within, Some(NotSupported { .. }))
    };
    let is_whole_only = match &error {
        ParquetError::External(cause) => {
            matches!(cause.downcast_ref(), Some(NotSupported { .. }))
                || cause.downcast_ref().is_some_and(of_disk)
        }
        _ => false,
    };
    if is_whole_only {
        return Error::invalid("the server does not send a file in parts, as Parquet is read")
            .with("file", file)
            .because(error)
            .hint("copy the file to local disk or object storage, and name it there");
    }
    let is_away = matches!(&error, ParquetError::External(cause) if cause.is::<object_store::Error>() || cause.is::<std::io::Error>());
    if is_away {
        return Error::unavailable("cannot read the file")
            .with("file", file)
            .because(error);
    }
    Error::invalid("not a Parquet file, or a damaged one")
        .with("file", file)
        .hint("the footer cannot be read: was the file written to its end? A file of another format needs its own ending (.csv, .ndjson, .arrow)")
        .because(error)
}
