//! Columnist writes a column.
pub mod base;
