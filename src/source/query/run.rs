//! A query, run: its rows, numbered as they come.

use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::prelude::DataFrame;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use crate::base::{ErrorKind, Result, ResultExt};
use crate::source::error::from_datafusion;
use crate::source::scan::{
    BATCH_ROWS, ResolvedScan, RowNumbers, Slice, Slices, as_index, filter_rows, split_by_bytes,
    truncate,
};
use crate::source::schema::parquet_values;

use super::plan::Query;
use super::tables::rows_at_once;

/// Runs the plan, numbers its rows as they come, and keeps those that are wanted.
pub(crate) async fn scan_query(query: &Query, scan: ResolvedScan) -> Result<Slices> {
    let wanted = scan.columns.len();
    let mut columns = scan.columns.clone();
    if let Some(filter) = &scan.filter {
        columns.extend(filter.columns());
    }
    let batches = run(query, &columns).await?;
    let numbered = NumberedRows {
        wanted,
        next: 0,
        remaining: scan.limit.unwrap_or(u64::MAX),
        scan,
    };
    Ok(
        stream::try_unfold((batches, numbered), |(mut batches, mut numbered)| async {
            while numbered.remaining > 0 {
                let Some(batch) = batches.try_next().await? else {
                    break;
                };
                let slice = numbered.take(&batch)?;
                if !slice.rows.is_empty() {
                    return Ok(Some((slice, (batches, numbered))));
                }
            }
            Ok(None)
        })
        .boxed(),
    )
}

/// Runs the plan for some columns.
async fn run(query: &Query, columns: &[usize]) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let wrong = |error| from_datafusion(error, "the query failed");
    let plan = project(&query.plan, columns).map_err(wrong)?;
    let mut state = query.context.state();
    // What is read of the tables is known once the plan is optimised.
    let rows = rows_at_once(&state.optimize(&plan).map_err(wrong)?, BATCH_ROWS);
    *state.config_mut() = state.config().clone().with_batch_size(rows);
    let frame = DataFrame::new(state, plan);
    let schema = Arc::new(
        query
            .schema
            .project(columns)
            .or_err(ErrorKind::Internal, "no such column")?,
    );
    let batches = frame.execute_stream().await.map_err(wrong)?;
    Ok(batches
        .map_err(|error| from_datafusion(error, "the query failed"))
        .map_ok(|batch| stream::iter(split_by_bytes(&batch)).map(Ok))
        .try_flatten()
        .and_then(move |batch| futures::future::ready(as_schema(&batch, &schema)))
        .boxed())
}

/// `plan` narrowed to some of its columns, by place: names may repeat across relations.
fn project(plan: &LogicalPlan, columns: &[usize]) -> datafusion::common::Result<LogicalPlan> {
    let schema = plan.schema();
    let mut seen = Vec::new();
    let columns: Vec<Expr> = columns
        .iter()
        .map(|&at| {
            let column = Expr::Column(schema.columns()[at].clone());
            seen.push(at);
            match seen.iter().filter(|earlier| **earlier == at).count() {
                1 => column,
                // A projection may not hold one name twice.
                again => column.alias(format!("{} ({again})", schema.field(at).name())),
            }
        })
        .collect();
    datafusion::logical_expr::LogicalPlanBuilder::from(plan.clone())
        .project(columns)?
        .build()
}

/// Rows of a stream, counted.
struct NumberedRows {
    scan: ResolvedScan,
    wanted: usize,
    next: u64,
    remaining: u64,
}

impl NumberedRows {
    fn take(&mut self, batch: &RecordBatch) -> Result<Slice> {
        let start = self.next;
        self.next += batch.num_rows() as u64;
        let skipped = as_index(self.scan.from.saturating_sub(start)).min(batch.num_rows());
        let batch = batch.slice(skipped, batch.num_rows() - skipped);
        let start = start + skipped as u64;
        let slice = self.select(start, &batch)?;
        let slice = truncate(slice, self.remaining);
        self.remaining -= slice.rows.len() as u64;
        Ok(slice)
    }

    fn select(&self, start: u64, batch: &RecordBatch) -> Result<Slice> {
        let project = |columns: Vec<usize>| {
            batch
                .project(&columns)
                .or_err(ErrorKind::Internal, "no such column")
        };
        let wanted = project((0..self.wanted).collect())?;
        let selected = match (&self.scan.filter, &self.scan.sample) {
            (None, None) => {
                let end = start + wanted.num_rows() as u64;
                return Ok(Slice {
                    rows: RowNumbers::Range(start..end),
                    batch: wanted,
                });
            }
            (None, Some(_)) => BooleanBuffer::new_set(wanted.num_rows()),
            (Some(filter), _) => {
                let tested = project((self.wanted..batch.num_columns()).collect())?;
                filter.select(&tested)?.values().clone()
            }
        };
        let selected = match &self.scan.sample {
            None => selected,
            Some(sample) => sample.among(&selected, start),
        };
        let rows = selected.set_indices().map(|at| start + at as u64).collect();
        Ok(Slice {
            rows: RowNumbers::List(rows),
            batch: filter_rows(&wanted, selected)?,
        })
    }
}

/// The batch with the types and names of `schema`.
fn as_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| parquet_values(column, field))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).or_err(
        ErrorKind::Invalid,
        "the query's rows do not have its own types",
    )
}
