//! A table of Parquet files as they are: footers read, schemas merged, row groups read in order.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::CastOptions;
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::nested_struct::cast_column;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;
use parquet::schema::types::TypePtr;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::work::Pin;

use super::bytes::FileBytes;
use super::columns::{all_views, with_partitions, with_views, without_views};
use super::listing::{Listed, Listing};
use super::logical::{loses_months, with_uuids};
use super::merge::{Merged, Places, merge};
use super::pieces::{fitting, pieces, rows_at_once, widths};

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
    /// Where it has the table's columns.
    places: Places,
    /// How many bytes a row holds, on average, in the row group of its widest rows; by column of the file.
    widths: Arc<[u64]>,
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
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
    /// Whether all files have the same columns, of the same types in Parquet.
    pub(super) is_uniform: bool,
}

impl ParquetTable {
    /// Reads the footers of the listed files.
    pub(super) async fn open(listing: Listing) -> Result<Self> {
        let is_file = listing
            .files
            .iter()
            .all(|file| file.location.path == listing.base.path);
        let footers: Vec<Footer> = futures::stream::iter(listing.files)
            .map(|listed| async {
                tokio::task::spawn_blocking(move || read_footer(listed))
                    .await
                    .or_err(ErrorKind::Internal, "reading a footer was cut off")?
            })
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let named = footers.iter();
        let named: Vec<_> = named
            .map(|footer| (footer.file.relative.as_str(), &footer.schema))
            .collect();
        let merged = merge(&named)?;
        check_partitions(&listing.partitions, &merged, &named)?;
        let (schema, partitions) = with_partitions(&merged.schema, &listing.partitions);
        let types = footers[0].types.get_fields();
        let is_uniform = footers
            .iter()
            .all(|footer| footer.types.get_fields() == types);
        let files = footers.into_iter().zip(merged.places);
        let files = files.map(|(footer, places)| SourceFile {
            places,
            ..footer.file
        });
        Ok(ParquetTable {
            files: files.collect(),
            schema: Arc::new(schema),
            partitions,
            is_file,
            notes: listing.notes.into_iter().chain(merged.notes).collect(),
            is_uniform,
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

    /// How many rows of `columns` may be held at once, at most `rows`.
    pub(super) fn rows_at_once(&self, columns: &[usize], rows: usize) -> usize {
        let width = |file: &SourceFile| {
            let stored = columns
                .iter()
                .filter_map(|at| file.places.get(*at).copied()?);
            stored.map(|at| file.widths[at]).sum::<u64>()
        };
        let widest = self.files.iter().map(width).max();
        fitting(widest.unwrap_or(0), rows)
    }
}

/// A footer, as far as a table of many files keeps it.
struct Footer {
    file: SourceFile,
    schema: SchemaRef,
    /// Its columns as Parquet has them.
    types: TypePtr,
}

fn read_footer(listed: Listed) -> Result<Footer> {
    let pin = listed.pin();
    let mut file = SourceFile {
        location: listed.location,
        relative: listed.relative,
        pin,
        rows: 0,
        row_groups: 0,
        partition: listed.partition,
        places: Arc::default(),
        widths: Arc::default(),
    };
    let footer = OpenFile::open(&file)?.metadata;
    let groups = footer.metadata().row_groups();
    file.rows = groups
        .iter()
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
        .sum();
    file.row_groups = groups.len();
    file.widths = widths(footer.metadata());
    Ok(Footer {
        file,
        schema: Arc::new(with_uuids(footer.schema(), footer.parquet_schema())),
        types: footer.parquet_schema().root_schema_ptr(),
    })
}

/// A partition column must be in all files or in none: it could be the one in some and the other in others.
fn check_partitions(names: &[String], merged: &Merged, files: &[(&str, &SchemaRef)]) -> Result<()> {
    for name in names {
        let Ok(at) = merged.schema.index_of(name) else {
            continue;
        };
        let lacks = |places: &Places| places[at].is_none();
        if let Some(file) = merged.places.iter().position(lacks) {
            return Err(Error::invalid(
                "a partition column is in some of the files, and not in others",
            )
            .with("column", name)
            .with("missing_in", files[file].0)
            .hint("choose the files of one kind with a glob, such as `folder/dt=2024-*`"));
        }
    }
    Ok(())
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
        if file.pin.size == 0 {
            return Err(Error::invalid(
                "a file of the table is empty, not even a Parquet file without rows",
            )
            .with("file", url)
            .hint("whoever wrote it broke off: write it again, or delete it"));
        }
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

    /// An error for columns whose spans cannot be read as they are.
    fn check_spans(&self, roots: &[usize]) -> Result<()> {
        let file = self.metadata.metadata().file_metadata();
        let mut fields = roots.iter().map(|root| self.metadata.schema().field(*root));
        match fields.find(|field| loses_months(field, file)) {
            None => Ok(()),
            Some(field) => Err(Error::invalid(
                "a column holds spans of months, days and milliseconds, which cannot be read",
            )
            .with("column", field.name())
            .with("file", &self.file.location.url)
            .hint("leave it out of the prompt, the key and the filter, or write it as text first")),
        }
    }

    /// Reads some columns of one row group.
    pub(super) fn read(
        &self,
        table: &ParquetTable,
        reading: Reading<'_>,
    ) -> Result<GroupReader<'t>> {
        let broken = |error| broken(error, self.file.location.url.as_str());
        let places = &self.file.places;
        let columns = reading.columns;
        let stored = columns.iter().filter_map(|at| places.get(*at).copied()?);
        let mut roots: Vec<usize> = stored.collect();
        roots.sort_unstable();
        roots.dedup();
        self.check_spans(&roots)?;
        let parquet = self.metadata.parquet_schema();
        let group = self.metadata.metadata().row_group(reading.group);
        let rows = rows_at_once(group, reading.batch_rows, |leaf| {
            roots
                .binary_search(&parquet.get_column_root_idx(leaf))
                .is_ok()
        });
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            as_views(&self.metadata).map_err(broken)?,
        )
        .with_row_groups(vec![reading.group])
        .with_projection(ProjectionMask::roots(parquet, roots.iter().copied()))
        .with_batch_size(rows);
        if let Some(selection) = reading.selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(broken)?;
        let parts = columns.iter().map(|&at| match places.get(at) {
            Some(Some(place)) => Part::Stored(roots.partition_point(|root| root < place)),
            Some(None) => Part::Missing,
            None => {
                let partition = table.partitions[at - places.len()];
                Part::Constant(self.file.partition[partition].clone())
            }
        });
        let mut schema = table
            .schema
            .project(columns)
            .or_err(ErrorKind::Internal, "no such column")?;
        if reading.views {
            schema = with_views(&schema, |at| columns[at] < places.len());
        }
        Ok(GroupReader {
            file: self.file,
            reader,
            parts: parts.collect(),
            schema: Arc::new(schema),
            ready: VecDeque::new(),
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
    /// From nowhere: the file lacks it.
    Missing,
    /// From the folder's name.
    Constant(Option<String>),
}

/// One row group, batch by batch, with the table's own schema.
pub(super) struct GroupReader<'t> {
    file: &'t SourceFile,
    reader: ParquetRecordBatchReader,
    parts: Vec<Part>,
    schema: SchemaRef,
    /// What is read and not handed on yet.
    ready: VecDeque<RecordBatch>,
}

impl Iterator for GroupReader<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.reader.next()? {
                Ok(batch) => self.ready.extend(pieces(&batch)),
                Err(error) => return Some(Err(self.damaged(error))),
            }
        }
        let piece = self.ready.pop_front()?;
        Some(self.assemble(&piece))
    }
}

impl GroupReader<'_> {
    fn damaged(&self, error: ArrowError) -> Error {
        Error::invalid("cannot read the rows of a Parquet file")
            .with("file", &self.file.location.url)
            .because(error)
            .hint("the file is damaged or was replaced while it was read; write it again, or leave it out with a glob")
    }

    /// The columns that were read, as the table has them.
    fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.parts.iter().zip(self.schema.fields());
        let columns = columns.map(|(part, field)| match part {
            Part::Constant(value) => Ok(constant(value.as_deref(), rows)),
            Part::Missing => Ok(new_null_array(field.data_type(), rows)),
            Part::Stored(at) => self.fit(batch.column(*at), field),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .map_err(|error| self.damaged(error))
    }

    /// A column as the type that the table has for it. The one holds every value of the other, but for
    /// moments that are too far away to be told in a finer unit.
    fn fit(&self, column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
        if column.data_type() == field.data_type() {
            return Ok(Arc::clone(column));
        }
        let exact = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        cast_column(column, field.data_type(), &exact)
            .map_err(|error| error.strip_backtrace())
            .or_err(ErrorKind::Invalid, "a value does not fit the type that the files' column has in common")
            .map_err(|error| {
                error
                    .with("file", &self.file.location.url)
                    .with("column", field.name())
                    .with("type", field.data_type())
                    .hint("read the files of each kind under a name of their own, in a query that casts, and put them together with UNION ALL")
            })
    }
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

/// The same file, with its texts and bytes as views of the pages that they lie in.
fn as_views(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = Arc::new(all_views(metadata.schema()));
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
