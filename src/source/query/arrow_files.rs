//! Arrow files, as a table that SQL can name. DataFusion reads them; which files there are, and what their
//! partition columns hold, is decided here.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder};
use datafusion::datasource::table_schema::TableSchema;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use object_store::ObjectStore;

use crate::base::{Error, Result};
use crate::source::error::from_datafusion;
use crate::source::files::{Listing, with_partitions};

/// Arrow files, read by DataFusion.
#[derive(Debug)]
pub(super) struct ArrowProvider {
    url: ObjectStoreUrl,
    list: Vec<PartitionedFile>,
    parts: TableSchema,
    schema: SchemaRef,
}

impl ArrowProvider {
    /// The table over `listing`; its store is registered under `number`.
    pub(super) async fn open(
        context: &SessionContext,
        listing: &Listing,
        number: usize,
    ) -> Result<ArrowProvider> {
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
        Ok(ArrowProvider {
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
impl TableProvider for ArrowProvider {
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
