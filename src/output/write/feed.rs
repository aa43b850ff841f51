//! The new columns' rows, in the portions that row groups want.

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::base::{Error, Result};
use crate::output::bridge::Bridge;

/// Takes rows off a stream, as many as are wanted, on a blocking thread.
pub(in crate::output) struct RowFeed {
    schema: SchemaRef,
    batches: BoxStream<'static, Result<RecordBatch>>,
    bridge: Bridge,
    rest: Option<RecordBatch>,
    taken: u64,
}

impl RowFeed {
    /// Rows of `schema` from `batches`.
    pub(in crate::output) fn new(
        schema: SchemaRef,
        batches: BoxStream<'static, Result<RecordBatch>>,
        bridge: Bridge,
    ) -> Self {
        RowFeed {
            schema,
            batches,
            bridge,
            rest: None,
            taken: 0,
        }
    }

    /// How many rows were taken: the position of the next one in the table.
    pub(in crate::output) fn position(&self) -> u64 {
        self.taken
    }

    /// The next rows: at least one and at most `wanted`, which is not zero.
    pub(in crate::output) fn take(&mut self, wanted: u64) -> Result<RecordBatch> {
        let Some(batch) = self.next()? else {
            return Err(Error::internal("there are fewer answers than rows")
                .with("answers", self.taken)
                .hint("nothing was published; the ledger and the source do not fit each other"));
        };
        let rows = usize::try_from(wanted).map_or(batch.num_rows(), |n| n.min(batch.num_rows()));
        if rows < batch.num_rows() {
            self.rest = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.taken += rows as u64;
        Ok(batch.slice(0, rows))
    }

    /// Checks that no row is left.
    pub(in crate::output) fn expect_end(&mut self) -> Result<()> {
        match self.next()? {
            None => Ok(()),
            Some(_) => Err(Error::internal("there are more answers than rows")
                .with("rows", self.taken)
                .hint("nothing was published; the ledger and the source do not fit each other")),
        }
    }

    fn next(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(rest) = self.rest.take() {
            return Ok(Some(rest));
        }
        let bridge = self.bridge.clone();
        while let Some(batch) = bridge.wait(async { self.batches.next().await.transpose() })? {
            self.check(&batch)?;
            if batch.num_rows() > 0 {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let fields = self.schema.fields();
        let fits = fields.len() == batch.num_columns()
            && fields.iter().zip(batch.columns()).all(|(field, column)| {
                field.data_type() == column.data_type()
                    && (field.is_nullable() || column.null_count() == 0)
            });
        if fits {
            Ok(())
        } else {
            Err(Error::internal("answers of another type than was promised")
                .with("promised", &self.schema)
                .with("came", batch.schema()))
        }
    }
}
