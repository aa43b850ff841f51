//! What a scan is asked for, and the rows that come of it, whatever they are read from.

mod batch_size;
mod predicate;
mod request;
mod sample;
mod slice;
mod thread;

#[cfg(test)]
pub(crate) use batch_size::BATCH_BYTES;
pub(crate) use batch_size::{BATCH_ROWS, rows_that_fit, split_by_bytes};
pub use predicate::Predicate;
pub(crate) use predicate::parameter_value;
pub(crate) use request::ResolvedScan;
pub use request::Scan;
pub use sample::Sample;
pub(crate) use sample::Sampler;
pub use slice::{RowNumbers, Slice, Slices};
pub(crate) use slice::{as_index, filter_rows, truncate};
pub(crate) use thread::stream_from_thread;
