//! The columns of a table: their names, and the types in which they are read and kept.

mod assembly;
mod common_type;
mod merge;
mod names;
mod parquet_types;
mod views;

pub(crate) use assembly::{Assembly, Origin};
pub(crate) use merge::{ColumnMap, MergedSchema, merge};
pub(crate) use names::{check_names, find_column};
pub(crate) use parquet_types::{parquet_schema, parquet_values};
pub(crate) use views::{all_views, with_views, without_views};
