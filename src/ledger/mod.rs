//! The ledger: what a job has promised and what has come true.
pub mod action;
mod bulk;
pub mod outcomes;
pub mod requests;
pub mod row_map;
pub mod state;
