//! Queries over named tables, and files that are read as one would be: planned and run by DataFusion.

mod plan;
mod run;
mod session;
mod tables;

pub(crate) use plan::Query;
pub(crate) use run::scan_query;
pub(crate) use session::session_context;
#[cfg(test)]
pub(crate) use tables::{provide, rows_at_once};
