//! The new columns: one answer per row, and beside it what became of the row.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringBuilder};
use arrow::datatypes::{DataType, Field, SchemaRef};

use crate::base::{ErrorKind, Result, ResultExt};
use crate::output::write::schema::new_schema;
use crate::work::RowStatus;

/// The columns that say how each answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaColumns {
    /// `<column>_status` and `<column>_error`.
    Minimal,
    /// None.
    Off,
}

/// Builds the new columns of a text or a choice, row by row.
#[derive(Debug)]
pub struct AnswerColumns {
    schema: SchemaRef,
    rows: usize,
    answer: StringBuilder,
    meta: Option<(StringBuilder, StringBuilder)>,
}

/// Rows in one batch.
const ROWS_MAX: usize = 8192;

/// Bytes of answers and errors in one batch.
const BYTES_MAX: usize = 4 << 20;

impl AnswerColumns {
    /// The columns of the answer `column`; each carries `metadata`, which says who answered what.
    #[must_use]
    pub fn new(column: &str, meta: MetaColumns, metadata: &[(String, String)]) -> Self {
        let text = |name: String, nullable| Field::new(name, DataType::Utf8, nullable);
        let mut fields = vec![text(column.to_owned(), true)];
        if meta == MetaColumns::Minimal {
            fields.push(text(format!("{column}_status"), false));
            fields.push(text(format!("{column}_error"), true));
        }
        AnswerColumns {
            schema: new_schema(fields, metadata),
            rows: 0,
            answer: StringBuilder::new(),
            meta: (meta == MetaColumns::Minimal).then(Default::default),
        }
    }

    /// The columns' schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row. The answer counts only where the row succeeded, the error only where it did not.
    pub fn push(&mut self, status: RowStatus, answer: Option<&str>, error: Option<&str>) {
        let succeeded = status == RowStatus::Succeeded;
        self.answer.append_option(answer.filter(|_| succeeded));
        if let Some((statuses, errors)) = &mut self.meta {
            statuses.append_value(status.as_str());
            errors.append_option(error.filter(|_| !succeeded));
        }
        self.rows += 1;
    }

    /// How many rows wait in the batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the batch is large enough to be sent on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let errors = self
            .meta
            .as_ref()
            .map_or(0, |(_, e)| e.values_slice().len());
        self.rows >= ROWS_MAX || self.answer.values_slice().len() + errors >= BYTES_MAX
    }

    /// The batch so far; the next one begins.
    ///
    /// # Errors
    /// `Internal`, if the columns do not fit their schema.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![finish(&mut self.answer)];
        if let Some((statuses, errors)) = &mut self.meta {
            columns.extend([finish(statuses), finish(errors)]);
        }
        self.rows = 0;
        RecordBatch::try_new(self.schema(), columns).or_err(
            ErrorKind::Internal,
            "the new columns do not fit their schema",
        )
    }
}

/// The column so far. The next one starts with as much room as this one came to need.
fn finish(builder: &mut StringBuilder) -> ArrayRef {
    let next =
        StringBuilder::with_capacity(builder.offsets_slice().len(), builder.values_slice().len());
    Arc::new(std::mem::replace(builder, next).finish())
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn the_answer_is_null_unless_the_row_succeeded() {
        let metadata = [("columnist.model".to_owned(), "m".to_owned())];
        let mut columns = AnswerColumns::new("label", MetaColumns::Minimal, &metadata);
        columns.push(RowStatus::Succeeded, Some(" a\n"), Some("ignored"));
        columns.push(RowStatus::Failed, Some("not stored"), Some("overloaded"));
        columns.push(RowStatus::Skipped, None, None);
        columns.push(RowStatus::Succeeded, Some(""), None);
        assert_eq!(columns.rows(), 4);
        let batch = columns.finish().unwrap();
        let some = |text: &str| Some(text.to_owned());
        let status = ["succeeded", "failed", "skipped", "succeeded"].map(some);
        assert_eq!(texts(&batch, "label"), [some(" a\n"), None, None, some("")]);
        assert_eq!(texts(&batch, "label_status"), status);
        assert_eq!(
            texts(&batch, "label_error"),
            [None, some("overloaded"), None, None]
        );
        assert!(!batch.schema().field(1).is_nullable());
        assert_eq!(batch.schema().field(0).metadata()["columnist.model"], "m");
        assert_eq!(columns.finish().unwrap().num_rows(), 0);
    }

    #[test]
    fn without_meta_there_is_the_answer_alone() {
        let mut columns = AnswerColumns::new("label", MetaColumns::Off, &[]);
        columns.push(RowStatus::Expired, None, Some("expired"));
        let batch = columns.finish().unwrap();
        assert_eq!((batch.num_columns(), batch.column(0).null_count()), (1, 1));
    }

    #[test]
    fn a_batch_is_full_by_rows_or_by_bytes() {
        let mut columns = AnswerColumns::new("a", MetaColumns::Off, &[]);
        columns.push(RowStatus::Succeeded, Some(&"x".repeat(BYTES_MAX - 1)), None);
        assert!(!columns.is_full());
        columns.push(RowStatus::Succeeded, Some("x"), None);
        assert!(columns.is_full());
        columns.finish().unwrap();
        (0..ROWS_MAX).for_each(|_| columns.push(RowStatus::Skipped, None, None));
        assert!(columns.is_full());
    }
}
