//! DataFusion, set up for order and flat memory, with our stores registered.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::common::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;
use url::Url;

use crate::base::{ErrorKind, Result, ResultExt, Stores};
use crate::source::scan::BATCH_ROWS;

/// What a query may hold in sorts and aggregates before it spills to the scratch folder.
const QUERY_MEMORY: usize = 512 << 20;

/// A context whose results come in the order of the source: one partition, nothing repartitioned.
pub(crate) fn session_context(stores: &Arc<Stores>, scratch: &Path) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(QUERY_MEMORY)))
        .with_temp_file_path(scratch)
        .with_metadata_cache_limit(METADATA_CACHE)
        .with_object_store_registry(Arc::new(Registry {
            stores: Arc::clone(stores),
            known: Mutex::default(),
        }))
        .build_arc()
        .or_err(ErrorKind::Internal, "cannot set up the query engine")?;
    Ok(SessionContext::new_with_config_rt(config(), runtime))
}

/// Footers that DataFusion may keep. Its default, 50 MB, is a third of what we may use in all.
const METADATA_CACHE: usize = 8 << 20;

fn config() -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(BATCH_ROWS)
        .with_collect_statistics(false)
        .with_repartition_file_scans(false)
        .with_repartition_joins(false)
        .with_repartition_aggregations(false)
        .with_repartition_sorts(false)
        .with_repartition_windows(false)
        .with_round_robin_repartition(false);
    let options = config.options_mut();
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.skip_metadata = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

/// Hands our stores to DataFusion. A table's store is registered under a number, since a URL's
/// host does not tell all of a store (an Azure container is part of its path); any other URL is
/// opened when it is first asked for.
#[derive(Debug)]
struct Registry {
    stores: Arc<Stores>,
    known: Mutex<Vec<(String, Arc<dyn ObjectStore>)>>,
}

impl ObjectStoreRegistry for Registry {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((url.as_str().to_owned(), store));
        None
    }

    fn get_store(&self, url: &Url) -> datafusion::common::Result<Arc<dyn ObjectStore>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.iter().find(|(known, _)| known == url.as_str());
        if let Some((_, store)) = found {
            return Ok(Arc::clone(store));
        }
        drop(known);
        self.stores
            .locate(url.as_str())
            .map(|location| location.store)
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }
}
