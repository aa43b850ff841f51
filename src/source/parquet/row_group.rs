//! One row group of a file, read batch by batch as the table has it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::CastOptions;
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use datafusion::common::nested_struct::cast_column;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::scan::split_by_bytes;
use crate::source::schema::{all_views, with_views};

use super::file::{OpenFile, broken};
use super::row_width::rows_at_once;
use super::source_file::SourceFile;
use super::table::ParquetTable;

/// What is read of a file, and how.
#[derive(Debug)]
pub(super) struct GroupRead<'s> {
    pub(super) group: usize,
    /// Places in the table's schema.
    pub(super) columns: &'s [usize],
    /// Which rows; all, if there is none.
    pub(super) selection: Option<RowSelection>,
    pub(super) batch_rows: usize,
    /// Whether strings come as views.
    pub(super) views: bool,
}

/// Reads some columns of one row group.
pub(super) fn read_group<'t>(
    file: &OpenFile<'t>,
    table: &ParquetTable,
    read: GroupRead<'_>,
) -> Result<GroupReader<'t>> {
    let broken = |error| broken(error, file.file.location.url.as_str());
    let mapping = &file.file.mapping;
    let columns = read.columns;
    let stored = columns.iter().filter_map(|at| mapping.get(*at).copied()?);
    let mut roots: Vec<usize> = stored.collect();
    roots.sort_unstable();
    roots.dedup();
    file.check_spans(&roots)?;
    let parquet = file.footer().parquet_schema();
    let group = file.footer().metadata().row_group(read.group);
    let rows = rows_at_once(group, read.batch_rows, |leaf| {
        roots
            .binary_search(&parquet.get_column_root_idx(leaf))
            .is_ok()
    });
    let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
        file.bytes.clone(),
        as_views(file.footer()).map_err(broken)?,
    )
    .with_row_groups(vec![read.group])
    .with_projection(ProjectionMask::roots(parquet, roots.iter().copied()))
    .with_batch_size(rows);
    if let Some(selection) = read.selection {
        builder = builder.with_row_selection(selection);
    }
    let reader = builder.build().map_err(broken)?;
    let origins = columns.iter().map(|&at| match mapping.get(at) {
        Some(Some(place)) => Origin::Stored(roots.partition_point(|root| root < place)),
        Some(None) => Origin::Missing,
        None => {
            let partition = table.partitions[at - mapping.len()];
            Origin::Constant(file.file.partition[partition].clone())
        }
    });
    let mut schema = table
        .schema
        .project(columns)
        .or_err(ErrorKind::Internal, "no such column")?;
    if read.views {
        schema = with_views(&schema, |at| columns[at] < mapping.len());
    }
    Ok(GroupReader {
        file: file.file,
        reader,
        origins: origins.collect(),
        schema: Arc::new(schema),
        ready: VecDeque::new(),
    })
}

/// Where a column of a batch comes from.
enum Origin {
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
    origins: Vec<Origin>,
    schema: SchemaRef,
    /// What is read and not handed on yet.
    ready: VecDeque<RecordBatch>,
}

impl Iterator for GroupReader<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.is_empty() {
            match self.reader.next()? {
                Ok(batch) => self.ready.extend(split_by_bytes(&batch)),
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
        let columns = self.origins.iter().zip(self.schema.fields());
        let columns = columns.map(|(origin, field)| match origin {
            Origin::Constant(value) => Ok(constant(value.as_deref(), rows)),
            Origin::Missing => Ok(new_null_array(field.data_type(), rows)),
            Origin::Stored(at) => self.fit(batch.column(*at), field),
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

/// The same file, with its texts and bytes as views of the pages that they lie in.
fn as_views(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = Arc::new(all_views(metadata.schema()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}
