//! A table of Parquet files as they are: footers read, schemas compared, row groups read in order.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt, Stores, Time};

use super::bytes::FileBytes;
use super::listing::{Listed, Listing, unreachable_store};

/// How many footers are read at once.
const FOOTERS_AT_ONCE: usize = 8;

/// What pins a file: if any of it differs, it is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The whole address.
    pub url: String,
    /// Its length in bytes.
    pub size: u64,
    /// The store's own tag of this content, if it has one.
    pub etag: Option<String>,
    /// When it was last written.
    pub modified: Time,
}

/// What became of a pinned file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It holds something else, or was written again.
    Changed,
    /// It is no longer there.
    Gone,
}

impl Pin {
    /// Looks at the file again: `None` if it is as it was.
    ///
    /// # Errors
    /// `Unavailable` or `Refused` if the store does not say.
    pub async fn drift(&self, stores: &Stores) -> Result<Option<Drift>> {
        let location = stores.locate(&self.url)?;
        match location.store.head(&location.path).await {
            Ok(now) if now.size != self.size => Ok(Some(Drift::Changed)),
            Ok(now) => {
                let same = match (&now.e_tag, &self.etag) {
                    (Some(now), Some(then)) => now == then,
                    _ => now.last_modified == self.modified,
                };
                Ok((!same).then_some(Drift::Changed))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(Some(Drift::Gone)),
            Err(error) => Err(unreachable_store(error, &self.url)),
        }
    }
}

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

    /// Reads `columns` (places in the table's schema) of one row group.
    pub(super) fn read(
        &self,
        table: &ParquetTable,
        group: usize,
        columns: &[usize],
        selection: Option<RowSelection>,
        batch_rows: usize,
    ) -> Result<GroupReader<'t>> {
        let stored = table.file_columns();
        let mut roots: Vec<usize> = columns.iter().copied().filter(|at| *at < stored).collect();
        roots.sort_unstable();
        roots.dedup();
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), roots.iter().copied());
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            self.bytes.clone(),
            self.metadata.clone(),
        )
        .with_row_groups(vec![group])
        .with_projection(mask)
        .with_batch_size(batch_rows);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder
            .build()
            .map_err(|error| broken(error, self.file.location.url.as_str()))?;
        let parts = columns
            .iter()
            .map(|&at| match at.checked_sub(stored) {
                None => Part::Stored(roots.partition_point(|root| *root < at)),
                Some(partition) => {
                    Part::Constant(self.file.partition[table.partitions[partition]].clone())
                }
            })
            .collect();
        let schema = table
            .schema
            .project(columns)
            .or_err(ErrorKind::Internal, "no such column")?;
        Ok(GroupReader {
            file: self.file,
            reader,
            parts,
            schema: Arc::new(schema),
        })
    }
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
    Arc::new(StringArray::from_iter(std::iter::repeat_n(value, rows)))
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

/// The schema with `Utf8` and `Binary` in the place of their view types, at every depth: a view is
/// how Arrow holds a string, not what the table says of it.
pub(super) fn without_views(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    if plain == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(plain))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::ListView(field) | DataType::List(field) => DataType::List(plain_field(field)),
        DataType::LargeListView(field) | DataType::LargeList(field) => {
            DataType::LargeList(plain_field(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain_field(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(field, sorted) => DataType::Map(plain_field(field), *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(plain_type(value)))
        }
        // Parquet has no run-end encoding: what comes back from a snapshot is the plain values.
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        other => other.clone(),
    }
}

/// The columns that all files have. They must agree in names, order and types; a column may be
/// missing its nulls in one file and have them in another.
fn common_columns(footers: &[(SourceFile, SchemaRef)]) -> Result<Schema> {
    let (first_file, first) = &footers[0];
    let mut fields: Vec<Field> = first
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for (file, schema) in &footers[1..] {
        if let Some((column, here, there)) = first_difference(first, schema) {
            return Err(Error::invalid("the files of the table have different columns")
                .with("column", column)
                .with("file", &file.relative)
                .with("has", there)
                .with("first_file", &first_file.relative)
                .with("first_has", here)
                .hint("choose files of one schema with a glob, or read them with a query that casts"));
        }
        for (field, other) in fields.iter_mut().zip(schema.fields()) {
            field.set_nullable(field.is_nullable() || other.is_nullable());
        }
    }
    Ok(Schema::new_with_metadata(fields, first.metadata().clone()))
}

fn first_difference(first: &Schema, other: &Schema) -> Option<(String, String, String)> {
    let describe = |field: Option<&FieldRef>| {
        field.map_or("nothing there".to_owned(), |field| {
            format!("{} {}", field.name(), field.data_type())
        })
    };
    let count = first.fields().len().max(other.fields().len());
    (0..count)
        .map(|at| (first.fields().get(at), other.fields().get(at)))
        .find(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => {
                a.name() != b.name() || !a.data_type().equals_datatype(b.data_type())
            }
            _ => true,
        })
        .map(|(a, b)| {
            let name = a.or(b).map_or("", |field| field.name()).to_owned();
            (name, describe(a), describe(b))
        })
}

/// The files' columns, then the partition columns that are not in the files as well.
fn with_partitions(columns: &Schema, names: &[String]) -> (Schema, Vec<usize>) {
    let mut fields: Vec<FieldRef> = columns.fields().to_vec();
    let mut places = Vec::new();
    for (place, name) in names.iter().enumerate() {
        if columns.index_of(name).is_err() {
            fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
            places.push(place);
        }
    }
    let schema = Schema::new_with_metadata(fields, columns.metadata().clone());
    (schema, places)
}

fn broken(error: ParquetError, file: &str) -> Error {
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
