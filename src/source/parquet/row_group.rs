//! One row group of a file, read batch by batch as the table has it.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::errors::ParquetError;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::scan::split_by_bytes;
use crate::source::schema::{Assembly, Origin, all_views, with_views};

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
        assembly: Assembly {
            url: file.file.location.url.to_string(),
            origins: origins.collect(),
            schema: Arc::new(schema),
        },
        ready: VecDeque::new(),
    })
}

/// One row group, batch by batch, with the table's own schema.
pub(super) struct GroupReader<'t> {
    file: &'t SourceFile,
    reader: ParquetRecordBatchReader,
    assembly: Assembly,
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
        Some(self.assembly.assemble(&piece))
    }
}

impl GroupReader<'_> {
    fn damaged(&self, error: ArrowError) -> Error {
        Error::invalid("cannot read the rows of a Parquet file")
            .with("file", &self.file.location.url)
            .because(error)
            .hint("the file is damaged or was replaced while it was read; write it again, or leave it out with a glob")
    }
}

/// The same file, with its texts and bytes as views of the pages that they lie in.
fn as_views(metadata: &ArrowReaderMetadata) -> Result<ArrowReaderMetadata, ParquetError> {
    let schema = Arc::new(all_views(metadata.schema()));
    let options = ArrowReaderOptions::new().with_schema(schema);
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}
