//! Tables of CSV and JSON files: every value arrives as it stands there, or the file is refused.
//!
//! ```text
//! files ── read: csv | json ──► rows ─┬─ infer ──► the columns and their types
//!                                     └─ batch ──► RecordBatch, by the types found
//! ```
//!
//! Text says nothing of types, and a type that is guessed from its beginning is wrong at its end. So
//! all records are read twice: the first reading finds the columns of all files, by name, and for each
//! the type that holds every value as it is written; the second one makes batches. Both hold one
//! record or one batch at a time. What cannot be read (a quote that is never closed, a row of another
//! length, a record that is no JSON) is found by the first one, with file and line, before anything is
//! sent.

mod batch;
mod blocking_reader;
mod column_builder;
mod decompress;
#[cfg(test)]
mod fuzz;
mod infer;
mod options;
mod read;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use options::OptionsCheck;
pub use options::{TextNotes, TextOptions};
pub(crate) use table::{TextScan, TextTable};
