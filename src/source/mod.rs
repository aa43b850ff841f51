//! The source: from a path or a query to rows in a stable order, each with its position.
//!
//! ```text
//! file, folder, glob ── listing ─┬─ Parquet ──────────── table ── scan ──► Slice { rows, batch }
//!                                └─ CSV, NDJSON, Arrow ┐                      ▲
//! SQL over named tables ── context ─────────────────── query ── snapshot ── table
//! ```
//!
//! # Promises
//! - Rows come in the order of the paths, then of the rows in each file, whatever the number of files
//!   and row groups; a position is a row's place in that order. A query's rows come in its order.
//! - Only the columns that are named are read.
//! - What is held in memory does not grow with the table.
//!
//! # Memory
//! DataFusion's Parquet scan, and the asynchronous reader under it, fetch the projected column chunks
//! of a whole row group at once, in as many partitions as there are cores, and hold them until the
//! row group is done. So a Parquet table is read here by Parquet's synchronous reader, page by page
//! ([`Source::scan`]); DataFusion parses and evaluates predicates, and runs queries and the other
//! formats, in one partition.

mod bytes;
mod context;
mod format;
mod listing;
mod open;
mod predicate;
mod provider;
mod prune;
mod query;
mod row_id;
mod scan;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;

pub use open::{Input, Source};
pub use predicate::Predicate;
pub use row_id::{RowIds, check_unique};
pub use scan::{RowNumbers, Scan, Slice, Slices};
pub use table::{Drift, Pin, SourceFile};
