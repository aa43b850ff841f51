//! Where column chunks lie, by what the footer says of them.

use std::ops::Range;

use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use crate::base::Result;
use crate::output::error::corrupt;

/// The bytes that the footer gives to all chunks of `row_groups`, in the file's order.
pub(in crate::output) fn told_ranges(row_groups: &[RowGroupMetaData]) -> Vec<Range<u64>> {
    let chunks = row_groups.iter().flat_map(RowGroupMetaData::columns);
    let mut ranges: Vec<_> = chunks
        .filter_map(|chunk| told_range(chunk, "").ok())
        .collect();
    ranges.sort_unstable_by_key(|range| (range.start, range.end));
    ranges
}

/// The bytes that the footer gives to `chunks`, and to their bloom filters and indexes, in the file's
/// order. What tells no length has none.
pub(in crate::output) fn parts(
    row_groups: &[RowGroupMetaData],
    chunks: &[Range<u64>],
) -> Vec<Range<u64>> {
    let beside = |chunk: &ColumnChunkMetaData| {
        let bloom = (chunk.bloom_filter_offset(), chunk.bloom_filter_length());
        let content = (chunk.column_index_offset(), chunk.column_index_length());
        let pages = (chunk.offset_index_offset(), chunk.offset_index_length());
        [bloom, content, pages]
    };
    let all = row_groups.iter().flat_map(RowGroupMetaData::columns);
    let beside = all.flat_map(beside).filter_map(|(offset, length)| {
        let start = u64::try_from(offset.filter(|offset| *offset > 0)?).ok()?;
        let length = u64::try_from(length.unwrap_or_default()).ok()?;
        Some(start..start.checked_add(length)?)
    });
    let mut parts: Vec<_> = chunks.iter().cloned().chain(beside).collect();
    parts.sort_unstable_by_key(|range| (range.start, range.end));
    parts
}

/// Where the footer says that the data pages of all chunks begin, in the file's order.
pub(in crate::output) fn data_starts(row_groups: &[RowGroupMetaData]) -> Vec<u64> {
    let chunks = row_groups.iter().flat_map(RowGroupMetaData::columns);
    let starts = chunks.filter_map(|chunk| u64::try_from(chunk.data_page_offset()).ok());
    let mut starts: Vec<_> = starts.collect();
    starts.sort_unstable();
    starts
}

/// Where a chunk's bytes lie in the source, by the footer.
pub(in crate::output) fn told_range(chunk: &ColumnChunkMetaData, name: &str) -> Result<Range<u64>> {
    let start = dictionary_offset(chunk).unwrap_or(chunk.data_page_offset());
    let range = u64::try_from(start)
        .ok()
        .zip(u64::try_from(chunk.compressed_size()).ok())
        .and_then(|(start, length)| Some(start..start.checked_add(length)?));
    range.ok_or_else(|| corrupt("the footer points outside of the file", name))
}

/// Where the dictionary page is. Some writers say zero where there is none; a chunk without values
/// may have a dictionary and no data page at all.
pub(in crate::output) fn dictionary_offset(chunk: &ColumnChunkMetaData) -> Option<i64> {
    let data = chunk.data_page_offset();
    let offset = chunk.dictionary_page_offset();
    offset.filter(|offset| *offset > 0 && (data <= 0 || *offset < data))
}
