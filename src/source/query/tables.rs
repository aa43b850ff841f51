//! Files, as a table that SQL can name.
//!
//! Which files there are, in which order, and what their partition columns hold is decided here:
//! DataFusion's own listing reads hidden files and takes Hive's word for null as a string. Parquet is
//! read by our own scan as well, page by page, for DataFusion's holds whole row groups; what a query
//! asks of the rows goes down into it, to skip row groups and rows. CSV, JSON and Arrow files are read
//! by readers of our own as well.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::DataFusionError;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use futures::stream::BoxStream;

use crate::base::Result;
use crate::source::files::{FileFormat, Listing};
use crate::source::ipc::IpcTable;
use crate::source::parquet::{ParquetTable, scan_table};
use crate::source::scan::{BATCH_ROWS, Predicate, ResolvedScan};
use crate::source::text::{TextOptions, TextScan, TextTable};

/// A table, and what was found out about it.
pub(crate) struct ProvidedTable {
    pub(crate) table: Arc<dyn TableProvider>,
    /// The same, if its files are text.
    pub(crate) text: Option<Arc<TextTable>>,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
}

/// The table over `listing`.
pub(crate) async fn provide(listing: Listing, options: &TextOptions) -> Result<ProvidedTable> {
    match listing.format {
        FileFormat::Parquet => {
            let mut table = ParquetTable::open(listing).await?;
            let notes = std::mem::take(&mut table.notes);
            Ok(ProvidedTable {
                table: Arc::new(ParquetProvider(Arc::new(table))),
                text: None,
                notes,
            })
        }
        FileFormat::Arrow => {
            let mut table = IpcTable::open(listing).await?;
            let notes = std::mem::take(&mut table.notes);
            Ok(ProvidedTable {
                table: Arc::new(RowsProvider(Arc::new(table))),
                text: None,
                notes,
            })
        }
        FileFormat::Csv(_) | FileFormat::Json(_) | FileFormat::Tsv(_) => {
            let text = Arc::new(TextTable::open(&listing, options).await?);
            Ok(ProvidedTable {
                table: Arc::new(RowsProvider(Arc::clone(&text) as Arc<dyn Streamed>)),
                text: Some(text),
                notes: listing.notes,
            })
        }
    }
}

/// How many rows a query may hold at once in a batch, at most `rows`: by the width of the columns that
/// `plan` reads.
pub(crate) fn rows_at_once(plan: &LogicalPlan, rows: usize) -> usize {
    let mut fitting = rows;
    // The visitor never fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            let provider = provider.as_ref() as &dyn Any;
            if let Some(ParquetProvider(table)) = provider.downcast_ref() {
                let all = || (0..table.schema.fields().len()).collect();
                let columns = scan.projection.clone().unwrap_or_else(all);
                fitting = fitting.min(table.rows_at_once(&columns, rows));
            } else if let Some(RowsProvider(table)) = provider.downcast_ref() {
                fitting = fitting.min(table.rows_at_once(rows));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    fitting
}

/// Filters only leave rows out early: the query evaluates them again.
fn pruning_only(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    vec![TableProviderFilterPushDown::Inexact; filters.len()]
}

/// Parquet files, read by our own scan.
#[derive(Debug)]
struct ParquetProvider(Arc<ParquetTable>);

#[async_trait]
impl TableProvider for ParquetProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> datafusion::common::Result<Vec<TableProviderFilterPushDown>> {
        Ok(pruning_only(filters))
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.0.schema.fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.0.schema.project(&columns)?);
        // What our scan cannot evaluate, the query does alone.
        let filter = conjunction(unnormalize_cols(filters.iter().cloned()))
            .and_then(|filter| Predicate::of_expression(filter, &self.0.schema).ok());
        let scan = ResolvedScan {
            columns,
            filter,
            sample: None,
            batch_rows: BATCH_ROWS,
            from: 0,
            limit: limit.map(|limit| limit as u64),
            views: false,
        };
        let pages = ParquetPartition {
            table: Arc::clone(&self.0),
            scan,
            schema: Arc::clone(&schema),
        };
        let exec =
            StreamingTableExec::try_new(schema, vec![Arc::new(pages)], None, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// One scan of a Parquet table, as DataFusion's operators take it.
#[derive(Debug)]
struct ParquetPartition {
    table: Arc<ParquetTable>,
    scan: ResolvedScan,
    schema: SchemaRef,
}

impl PartitionStream for ParquetPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let slices = scan_table(Arc::clone(&self.table), self.scan.clone());
        let batches = slices.map(|slice| {
            slice
                .map(|slice| slice.batch)
                .map_err(|error| DataFusionError::External(Box::new(error)))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// Files of a format that is read from its beginning to its end.
trait Streamed: fmt::Debug + Send + Sync {
    fn schema(&self) -> &SchemaRef;
    /// How many rows may be held at once, at most `rows`.
    fn rows_at_once(&self, rows: usize) -> usize;
    fn scan(self: Arc<Self>, columns: Vec<usize>, limit: Option<u64>) -> Batches;
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

impl Streamed for TextTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn rows_at_once(&self, rows: usize) -> usize {
        self.rows_at_once(rows)
    }

    fn scan(self: Arc<Self>, columns: Vec<usize>, limit: Option<u64>) -> Batches {
        TextTable::scan(
            &self,
            TextScan {
                columns,
                batch_rows: BATCH_ROWS,
                limit,
            },
        )
    }
}

impl Streamed for IpcTable {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn rows_at_once(&self, rows: usize) -> usize {
        self.rows_at_once(rows)
    }

    fn scan(self: Arc<Self>, columns: Vec<usize>, _: Option<u64>) -> Batches {
        IpcTable::scan(&self, columns, BATCH_ROWS)
    }
}

/// Such files, as SQL names them.
#[derive(Debug)]
struct RowsProvider(Arc<dyn Streamed>);

#[async_trait]
impl TableProvider for RowsProvider {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.0.schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let all = || (0..self.0.schema().fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.0.schema().project(&columns)?);
        let rows = RowsPartition {
            table: Arc::clone(&self.0),
            columns,
            limit: limit.map(|limit| limit as u64),
            schema: Arc::clone(&schema),
        };
        let exec =
            StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// One scan of them, as DataFusion's operators take it.
#[derive(Debug)]
struct RowsPartition {
    table: Arc<dyn Streamed>,
    columns: Vec<usize>,
    limit: Option<u64>,
    schema: SchemaRef,
}

impl PartitionStream for RowsPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = Arc::clone(&self.table).scan(self.columns.clone(), self.limit);
        let batches =
            batches.map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error))));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}
