//! From an address to the files of a table: which they are, in which order, and what they hold.

mod data_files;
mod drift;
mod file_format;
mod listing;
mod partitions;
mod table_format;

pub use drift::{Drift, drift};
pub(crate) use file_format::FileFormat;
pub(crate) use listing::{ListedFile, Listing, list};
pub(crate) use partitions::with_partitions;
