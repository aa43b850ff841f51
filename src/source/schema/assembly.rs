//! From the columns of a file to those of its table.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, new_null_array};
use arrow::compute::CastOptions;
use arrow::datatypes::{Field, SchemaRef};
use datafusion::common::nested_struct::cast_column;

use crate::base::{Error, ErrorKind, Result, ResultExt};

/// Where a column of a table comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    /// From the file: its place among the columns that are read.
    Stored(usize),
    /// From nowhere: the file lacks it.
    Missing,
    /// From the folder's name.
    Constant(Option<String>),
}

/// How the rows of a file become rows of its table.
#[derive(Clone, Debug)]
pub(crate) struct Assembly {
    /// The file, for errors.
    pub(crate) url: String,
    /// For each column of `schema`, where it comes from.
    pub(crate) origins: Vec<Origin>,
    pub(crate) schema: SchemaRef,
}

impl Assembly {
    /// The columns that were read, as the table has them.
    pub(crate) fn assemble(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let columns = self.origins.iter().zip(self.schema.fields());
        let columns = columns.map(|(origin, field)| match origin {
            Origin::Constant(value) => Ok(constant(value.as_deref(), rows)),
            Origin::Missing => Ok(new_null_array(field.data_type(), rows)),
            Origin::Stored(at) => self.fit(batch.column(*at), field),
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options).map_err(
            |error| {
                Error::invalid("the rows of a file are not what its columns say")
                    .with("file", &self.url)
                    .because(error)
                    .hint("the file is damaged or was replaced while it was read; write it again, or leave it out with a glob")
            },
        )
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
                    .with("file", &self.url)
                    .with("column", field.name())
                    .with("type", field.data_type())
                    .hint("read the files of each kind under a name of their own, in a query that casts, and put them together with UNION ALL")
            })
    }
}

fn constant(value: Option<&str>, rows: usize) -> ArrayRef {
    Arc::new(std::iter::repeat_n(value, rows).collect::<StringArray>())
}
