//! Columnist writes a column.
pub mod base;
pub mod emulator;
