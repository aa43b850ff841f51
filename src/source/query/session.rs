//! DataFusion, set up for order and flat memory. It reads no files: we do.

use std::path::Path;
use std::sync::Arc;

use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::base::{ErrorKind, Result, ResultExt};
use crate::source::scan::BATCH_ROWS;

/// What a query may hold in sorts and aggregates before it spills to the scratch folder.
const QUERY_MEMORY: usize = 512 << 20;

/// A context whose results come in the order of the source: one partition, nothing repartitioned.
pub(crate) fn session_context(scratch: &Path) -> Result<SessionContext> {
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(QUERY_MEMORY)))
        .with_temp_file_path(scratch)
        .with_metadata_cache_limit(METADATA_CACHE)
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
