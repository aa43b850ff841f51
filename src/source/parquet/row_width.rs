//! How many bytes a row holds, by what a footer says.

use std::sync::Arc;

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use crate::source::scan::rows_that_fit;

/// How many rows of the group to read at once, at most `rows`, when the leaves that `wanted` says are
/// read.
pub(super) fn rows_at_once(
    group: &RowGroupMetaData,
    rows: usize,
    wanted: impl Fn(usize) -> bool,
) -> usize {
    let leaves = group.columns().iter().enumerate();
    let bytes: u64 = leaves
        .filter(|(leaf, _)| wanted(*leaf))
        .map(|(_, column)| bytes_of(column))
        .sum();
    rows_that_fit(bytes.div_ceil(rows_of(group)), rows)
}

/// How many bytes a row holds in each column of a file, on average, in the row group where it is most.
pub(super) fn row_widths(file: &ParquetMetaData) -> Arc<[u64]> {
    let schema = file.file_metadata().schema_descr();
    let mut widths = vec![0; schema.root_schema().get_fields().len()];
    for group in file.row_groups() {
        let mut here = vec![0; widths.len()];
        for (leaf, column) in group.columns().iter().enumerate() {
            here[schema.get_column_root_idx(leaf)] += bytes_of(column);
        }
        for (width, bytes) in widths.iter_mut().zip(here) {
            *width = bytes.div_ceil(rows_of(group)).max(*width);
        }
    }
    widths.into()
}

/// How large a column chunk is once it is decoded. A value of a dictionary is stored once and decoded many
/// times, so the larger of the two sizes counts, where the writer says both.
fn bytes_of(column: &ColumnChunkMetaData) -> u64 {
    let meant = column.unencoded_byte_array_data_bytes().unwrap_or(0);
    u64::try_from(column.uncompressed_size().max(meant)).unwrap_or(0)
}

fn rows_of(group: &RowGroupMetaData) -> u64 {
    u64::try_from(group.num_rows()).unwrap_or(0).max(1)
}
