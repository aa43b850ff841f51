//! Tables of Parquet files: their footers, and their rows, read page by page.

mod file;
mod file_bytes;
mod logical_types;
mod pruning;
mod row_group;
mod row_width;
mod scan;
mod source_file;
mod table;

pub(crate) use file_bytes::FileBytes;
pub(crate) use logical_types::stored_schema;
pub(crate) use scan::scan_table;
pub use source_file::SourceFile;
pub(crate) use table::{ParquetTable, check_partitions};
