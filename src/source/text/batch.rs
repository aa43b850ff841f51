//! Records of a text file on their way to a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use crate::base::{ErrorKind, Result, ResultExt};
use crate::source::text::infer::TextColumn;
use crate::source::text::read::{Row, RowReader, TextFile};

use super::column_builder::ColumnBuilder;

/// Bytes of text in a batch: rows of megabytes come a few at a time.
const BATCH_BYTES: usize = 4 << 20;

/// The columns that are wanted of a table, and where each of them comes from.
pub(super) struct Projection {
    /// The files' own columns that are read, ascending, each once.
    pub(super) stored: Vec<usize>,
    origins: Vec<Origin>,
    schema: SchemaRef,
}

enum Origin {
    /// From the file: its place among the columns that are read.
    File(usize),
    /// From the folder's name: its place among the file's partition values.
    Folder(usize),
}

impl Projection {
    /// The `columns` of a table of this `schema`, of which the first `own` are the files' own.
    pub(super) fn new(schema: &Schema, own: usize, columns: &[usize]) -> Result<Projection> {
        let mut stored: Vec<usize> = columns.iter().copied().filter(|at| *at < own).collect();
        stored.sort_unstable();
        stored.dedup();
        let origin = |at: &usize| match at.checked_sub(own) {
            None => Origin::File(stored.partition_point(|stored| stored < at)),
            Some(partition) => Origin::Folder(partition),
        };
        let origins = columns.iter().map(origin).collect();
        let schema = schema.project(columns);
        Ok(Projection {
            stored,
            origins,
            schema: Arc::new(schema.or_err(ErrorKind::Internal, "no such column")?),
        })
    }
}

/// Rows on their way to a batch.
pub(super) struct Batch {
    columns: Vec<ColumnBuilder>,
    lines: Vec<u64>,
}

impl Batch {
    /// An empty batch of at most `rows` rows of a table's `columns`.
    pub(super) fn new(
        columns: &[TextColumn],
        projection: &Projection,
        rows: usize,
    ) -> Result<Batch> {
        let column = |at: &usize| ColumnBuilder::new(Arc::clone(&columns[*at].field), rows);
        let stored = projection.stored.iter().map(column);
        Ok(Batch {
            columns: stored.collect::<Result<_>>()?,
            lines: Vec::new(),
        })
    }

    /// How many rows it has.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// Takes rows until it is full; `false` at the end of the file.
    pub(super) fn fill(
        &mut self,
        rows: &mut RowReader,
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

    /// The rows, as the table has them.
    pub(super) fn build(mut self, projection: &Projection, file: &TextFile) -> Result<RecordBatch> {
        let lines = self.lines;
        let built = self
            .columns
            .iter_mut()
            .map(|column| column.finish(|at| (&file.url, lines[at])));
        let built: Vec<ArrayRef> = built.collect::<Result<_>>()?;
        let arrays = projection.origins.iter().map(|origin| match origin {
            Origin::File(at) => Arc::clone(&built[*at]),
            Origin::Folder(at) => {
                let value = file.partition[*at].as_deref();
                Arc::new(std::iter::repeat_n(value, lines.len()).collect::<StringArray>())
            }
        });
        let schema = Arc::clone(&projection.schema);
        let options = RecordBatchOptions::new().with_row_count(Some(lines.len()));
        RecordBatch::try_new_with_options(schema, arrays.collect(), &options).or_err(
            ErrorKind::Internal,
            "a text file's rows do not have its own types",
        )
    }
}
