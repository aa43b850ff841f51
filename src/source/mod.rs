//! The source: from a path or a query to rows in a stable order, each with its position.
//!
//! ```text
//! address ── files ─┬─ Parquet ──────────────── parquet ─► Slice { rows, batch }
//!                   ├─ CSV, JSON ── text ──┐               ▲
//!                   └─ Arrow ────── ipc ───┤               │
//! SQL over named tables ─────────────────── query ── snapshot
//! ```
//!
//! | room | what it does |
//! |---|---|
//! | `files` | from an address to the files of a table, and whether they still are what they were |
//! | `schema` | columns: names, common types, views, what Parquet can hold |
//! | `scan` | what a scan is asked for, and the rows that come of it |
//! | `parquet` | tables of Parquet files |
//! | `text` | tables of CSV and JSON files |
//! | `ipc` | tables of Arrow files |
//! | `query` | SQL, run by DataFusion, over all of these |
//! | `key` | row ids |
//!
//! [`Source`] stands above them.
//!
//! # Promises
//! - Rows come in the order of the paths, then of the rows in each file, whatever the number of files
//!   and row groups; a position is a row's place in that order. A query's rows come in its order.
//! - Only the columns that are named are read.
//! - What is held in memory does not grow with the table.
//!
//! # Memory
//! DataFusion's Parquet scan, and the asynchronous reader under it, fetch the projected column chunks
//! of a whole row group at once (37 MB in a row group of 50,000 tickets of 1 KB), in as many
//! partitions as there are cores, and hold them until the row group is done: that is what grows with
//! the file. So Parquet is read here by Parquet's synchronous reader, page by page, for tables
//! ([`Source::scan`]) and beneath queries alike; DataFusion parses and evaluates predicates, runs
//! queries in one partition. CSV and JSON are read here, a record at a time, and Arrow a record batch at
//! a time, as it was written.
//!
//! Measured over 100 thousand and over 1 million such tickets, as anonymous memory at its peak: a scan
//! 18 and 19 MB, with a predicate 37 and 40 MB, a query 24 and 35 MB (70 MB with DataFusion's own
//! reader, in one partition), a snapshot of a query 72 MB. Besides, DataFusion's code takes room as it
//! is first used. A good part of what remains is glibc's: it raises its threshold for mapping memory
//! when a large buffer is freed, and then keeps such buffers. An allocator that gives pages back, or
//! `MALLOC_MMAP_THRESHOLD_=131072`, lowers the predicate's peak from 62 to 40 MB (with batches of 4096
//! rows, where this was compared).

mod error;
mod files;
mod ipc;
mod key;
mod open;
mod parquet;
mod query;
mod scan;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;

pub use self::parquet::SourceFile;
pub use files::{Drift, drift};
pub use key::{RowIds, check_unique};
pub use open::{Input, Source};
pub use scan::{Predicate, RowNumbers, Sample, Scan, Slice, Slices};
pub use text::{TextNotes, TextOptions};
