//! One Parquet file of a table, as its footer and its listing describe it.

use std::sync::Arc;

use crate::base::Location;
use crate::source::schema::ColumnMap;
use crate::work::Pin;

/// One Parquet file of a table.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub location: Location,
    /// Its path beneath the table's fixed part, as the output will mirror it.
    pub relative: String,
    /// What it was when it was listed.
    pub pin: Pin,
    /// How many rows it has.
    pub rows: u64,
    /// How many row groups it has.
    pub row_groups: usize,
    /// The values of the partition columns, in the order of the table's.
    pub partition: Vec<Option<String>>,
    /// Where it has the table's columns.
    pub(crate) mapping: ColumnMap,
    /// How many bytes a row holds, on average, in the row group of its widest rows; by column of the file.
    pub(crate) widths: Arc<[u64]>,
}
