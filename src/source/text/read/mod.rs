//! The rows of a text file, one after the other, as they are written.

mod csv;
mod input;
mod json;
mod row;
mod row_reader;

#[cfg(test)]
pub(super) use csv::CsvReader;
#[cfg(test)]
pub(super) use input::BufferedInput;
pub(super) use input::line_error;
#[cfg(test)]
pub(super) use json::{JsonReader, Keys};
pub(super) use row::{CellKind, Row};
pub(super) use row_reader::{ReadOptions, RowReader, TextFile};
