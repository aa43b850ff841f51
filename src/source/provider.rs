//! Files, as a table that SQL can name.
//!
//! Which files there are, in which order, and what their partition columns hold is decided here:
//! DataFusion's own listing reads hidden files and takes Hive's word for null as a string. Parquet is
//! read by our own scan as well, page by page, for DataFusion's holds whole row groups; what a query
//! asks of the rows goes down into it, to skip row groups and rows. CSV and JSON are read by our own
//! reader, and Arrow by DataFusion's.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, ScalarValue};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::source_as_provider;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::expr_rewriter::unnormalize_cols;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use object_store::ObjectStore;

use crate::base::{Error, Result};

use super::columns::with_partitions;
use super::context::{BATCH_ROWS, from_datafusion};
use super::format::Format;
use super::listing::Listing;
use super::predicate::Predicate;
use super::scan::{Resolved, scan_table};
use super::table::ParquetTable;
use super::text::{TextOptions, TextScan, TextTable};

/// A table, and what was found out about it.
pub(super) struct Provided {
    pub(super) table: Arc<dyn TableProvider>,
    /// The same, if its files are text.
    pub(super) text: Option<Arc<TextTable>>,
    /// What a person should know of it.
    pub(super) notes: Vec<String>,
}

/// The table over `listing`; its store is registered under `number`.
pub(super) async fn provide(
    context: &SessionContext,
    listing: Listing,
    number: usize,
    options: &TextOptions,
) -> Result<Provided> {
    let (table, text): (Arc<dyn TableProvider>, _) = match listing.format {
        Format::Parquet => {
            let mut table = ParquetTable::open(listing).await?;
            let notes = std::mem::take(&mut table.notes);
            return Ok(Provided {
                table: Arc::new(Pages(Arc::new(table))),
                text: None,
                notes,
            });
        }
        Format::Arrow => (
            Arc::new(Files::open(context, &listing, number).await?),
            None,
        ),
        Format::Csv(_) | Format::Json(_) => {
            let text = Arc::new(TextTable::open(&listing, options).await?);
            (Arc::new(Texts(Arc::clone(&text))), Some(text))
        }
    };
    Ok(Provided {
        table,
        text,
        notes: listing.notes,
    })
}

/// How many rows a query may hold at once in a batch, at most `rows`: by the width of the columns that
/// `plan` reads.
pub(super) fn rows_at_once(plan: &LogicalPlan, rows: usize) -> usize {
    let mut fitting = rows;
    // The visitor never fails.
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Ok(provider) = source_as_provider(&scan.source)
        {
            let provider = provider.as_ref() as &dyn Any;
            if let Some(Pages(table)) = provider.downcast_ref() {
                let all = || (0..table.schema.fields().len()).collect();
                let columns = scan.projection.clone().unwrap_or_else(all);
                fitting = fitting.min(table.rows_at_once(&columns, rows));
            } else if let Some(Texts(table)) = provider.downcast_ref() {
                fitting = fitting.min(table.rows_at_once(rows));
            }
        }
        Ok(TreeNodeRecursion::Continue)
    });
    fitting
}

/// Filters prune; the query evaluates them all the same.
fn pruning_only(filters: &[&Expr]) -> Vec<TableProviderFilterPushDown> {
    vec![TableProviderFilterPushDown::Inexact; filters.len()]
}

/// Parquet files, read by our own scan.
#[derive(Debug)]
struct Pages(Arc<ParquetTable>);

#[async_trait]
impl TableProvider for Pages {
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
        let scan = Resolved {
            columns,
            filter,
            sample: None,
            batch_rows: BATCH_ROWS,
            from: 0,
            limit: limit.map(|limit| limit as u64),
            views: false,
        };
        let pages = PageStream {
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
struct PageStream {
    table: Arc<ParquetTable>,
    scan: Resolved,
    schema: SchemaRef,
}

impl PartitionStream for PageStream {
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

/// CSV and JSON files, read by our own reader.
#[derive(Debug)]
struct Texts(Arc<TextTable>);

#[async_trait]
impl TableProvider for Texts {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
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
        let all = || (0..self.0.schema.fields().len()).collect();
        let columns = projection.cloned().unwrap_or_else(all);
        let schema = Arc::new(self.0.schema.project(&columns)?);
        let rows = TextStream {
            table: Arc::clone(&self.0),
            scan: TextScan {
                columns,
                batch_rows: BATCH_ROWS,
                limit: limit.map(|limit| limit as u64),
            },
            schema: Arc::clone(&schema),
        };
        let exec =
            StreamingTableExec::try_new(schema, vec![Arc::new(rows)], None, [], false, limit)?;
        Ok(Arc::new(exec))
    }
}

/// One scan of a table of text files, as DataFusion's operators take it.
#[derive(Debug)]
struct TextStream {
    table: Arc<TextTable>,
    scan: TextScan,
    schema: SchemaRef,
}

impl PartitionStream for TextStream {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.table.scan(self.scan.clone());
        let batches =
            batches.map(|batch| batch.map_err(|error| DataFusionError::External(Box::new(error))));
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// Arrow files, read by DataFusion.
#[derive(Debug)]
struct Files {
    url: ObjectStoreUrl,
    list: Vec<PartitionedFile>,
    parts: TableSchema,
    schema: SchemaRef,
}

impl Files {
    async fn open(context: &SessionContext, listing: &Listing, number: usize) -> Result<Files> {
        let internal = |error| from_datafusion(error, "cannot register the table");
        let url = ObjectStoreUrl::parse(format!("columnist://{number}")).map_err(internal)?;
        let store = Arc::clone(&listing.base.store);
        context.register_object_store(url.as_ref(), Arc::clone(&store));
        let stored = infer(context, listing, &store).await?;
        let (whole, places) = with_partitions(&stored, &listing.partitions);
        let partitions = whole.fields()[stored.fields().len()..].to_vec();
        let files = listing.files.iter().map(|file| {
            let values = places.iter().map(|at| file.partition[*at].clone());
            PartitionedFile::new_from_meta(file.object.clone())
                .with_partition_values(values.map(ScalarValue::Utf8).collect())
        });
        let list = files.collect();
        let parts = TableSchema::builder(stored)
            .with_table_partition_cols(partitions)
            .build();
        let schema = Arc::clone(parts.table_schema());
        Ok(Files {
            url,
            list,
            parts,
            schema,
        })
    }
}

async fn infer(
    context: &SessionContext,
    listing: &Listing,
    store: &Arc<dyn ObjectStore>,
) -> Result<SchemaRef> {
    let files = listing.files.iter();
    let objects: Vec<_> = files.map(|file| file.object.clone()).collect();
    let schema = ArrowFormat
        .infer_schema(&context.state(), store, &objects)
        .await;
    let schema = schema.map_err(|error| {
        from_datafusion(error, "cannot find out the columns of the table")
            .with("table", &listing.address)
    })?;
    if schema.fields().is_empty() {
        return Err(Error::invalid("the table has no columns")
            .with("table", &listing.address)
            .hint("write it anew, with the columns that it is to have"));
    }
    Ok(schema)
}

#[async_trait]
impl TableProvider for Files {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> datafusion::common::Result<Arc<dyn ExecutionPlan>> {
        let reader = ArrowFormat;
        let source = reader.file_source(self.parts.clone());
        let config = FileScanConfigBuilder::new(self.url.clone(), source)
            .with_file_group(FileGroup::new(self.list.clone()))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        reader.create_physical_plan(state, config).await
    }
}
