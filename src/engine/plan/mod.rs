//! Rows into requests: rendered, keyed, held against earlier answers, and stored in chunks.

pub(crate) mod chunks;
pub(crate) mod earlier;
pub(crate) mod input;
pub(crate) mod planner;
pub(crate) mod prior;
pub(crate) mod retry_filter;
pub(crate) mod rows;
