//! The columns of a table of text files, and their types, from all values.

mod columns;
mod csv;
mod json;
mod numbers;

pub(super) use columns::{ColumnInference, TextColumn};
