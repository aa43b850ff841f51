//! Batches, bounded by what they hold as well as by their rows.
//!
//! Rows may be of any size: five hundred documents of five megabytes are more than a plain text array
//! can hold, and more than memory should. So fewer rows are read at once where they are wide, and what
//! came is handed on in pieces.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, GenericByteViewArray, OffsetSizeTrait, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{ByteViewType, DataType};

/// The rows that are handed on at once. A sixteenth of DataFusion's own number: our rows carry prompts,
/// and a few batches are alive at a time. So few that their texts are still in the processor's cache when
/// they are hashed and written.
pub(crate) const BATCH_ROWS: usize = 512;

/// The bytes of a batch, if it has more than one row.
pub(crate) const BATCH_BYTES: u64 = 16 << 20;
/// How much wider than the average the rows that are read at once may be without a batch being too large.
const UNEVEN: u64 = 4;

/// How many rows of `width` bytes on average to read at once, at most `rows`.
pub(crate) fn rows_that_fit(width: u64, rows: usize) -> usize {
    let fitting = BATCH_BYTES / width.max(1).saturating_mul(UNEVEN);
    usize::try_from(fitting)
        .unwrap_or(usize::MAX)
        .clamp(1, rows.max(1))
}

/// `batch` in pieces of at most [`BATCH_BYTES`], or of one row. Nothing is copied.
pub(crate) fn split_by_bytes(batch: &RecordBatch) -> Vec<RecordBatch> {
    let rows = batch.num_rows();
    let mut sizes = vec![0_u64; rows];
    for column in batch.columns() {
        add_sizes(column, &mut sizes);
    }
    if sizes.iter().sum::<u64>() <= BATCH_BYTES {
        return vec![batch.clone()];
    }
    let mut pieces = Vec::new();
    let (mut start, mut held) = (0, 0);
    for (row, size) in sizes.iter().enumerate() {
        if row > start && held + size > BATCH_BYTES {
            pieces.push(batch.slice(start, row - start));
            (start, held) = (row, 0);
        }
        held += size;
    }
    pieces.push(batch.slice(start, rows - start));
    pieces
}

/// Adds what the texts and bytes of each row of `array` hold. Numbers are small, and left out.
fn add_sizes(array: &ArrayRef, sizes: &mut [u64]) {
    match array.data_type() {
        DataType::Utf8View => add_views(array.as_string_view(), sizes),
        DataType::BinaryView => add_views(array.as_binary_view(), sizes),
        DataType::Utf8 => add_lengths(array.as_string::<i32>().offsets(), sizes),
        DataType::LargeUtf8 => add_lengths(array.as_string::<i64>().offsets(), sizes),
        DataType::Binary => add_lengths(array.as_binary::<i32>().offsets(), sizes),
        DataType::LargeBinary => add_lengths(array.as_binary::<i64>().offsets(), sizes),
        DataType::Dictionary(_, value) if !value.is_primitive() => {
            let dictionary = array.as_any_dictionary();
            // Without values every key belongs to a null.
            if dictionary.values().is_empty() {
                return;
            }
            let mut values = vec![0; dictionary.values().len()];
            add_sizes(dictionary.values(), &mut values);
            for (size, key) in sizes.iter_mut().zip(dictionary.normalized_keys()) {
                // The key of a null may point beyond the values.
                *size += values.get(key).copied().unwrap_or(0);
            }
        }
        DataType::Struct(_) => {
            for column in array.as_struct().columns() {
                add_sizes(column, sizes);
            }
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            add_nested(list.values(), list.offsets(), sizes);
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            add_nested(list.values(), list.offsets(), sizes);
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let entries: ArrayRef = Arc::new(map.entries().clone());
            add_nested(&entries, map.offsets(), sizes);
        }
        DataType::FixedSizeList(_, length) => {
            let list = array.as_fixed_size_list();
            let mut values = vec![0; list.values().len()];
            add_sizes(list.values(), &mut values);
            let length = usize::try_from(*length).unwrap_or(0).max(1);
            for (size, items) in sizes.iter_mut().zip(values.chunks(length)) {
                *size += items.iter().sum::<u64>();
            }
        }
        _ => {}
    }
}

fn add_views<T: ByteViewType>(array: &GenericByteViewArray<T>, sizes: &mut [u64]) {
    for (size, view) in sizes.iter_mut().zip(array.views()) {
        // The length of a view is its lowest four bytes.
        *size += u64::try_from(*view & u128::from(u32::MAX)).unwrap_or(0);
    }
}

fn add_lengths<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>, sizes: &mut [u64]) {
    for (size, length) in sizes.iter_mut().zip(offsets.lengths()) {
        *size += length as u64;
    }
}

fn add_nested<O: OffsetSizeTrait>(values: &ArrayRef, offsets: &OffsetBuffer<O>, sizes: &mut [u64]) {
    // A slice of a list still holds all of the list's items.
    let (first, last) = (offsets[0].as_usize(), offsets[offsets.len() - 1].as_usize());
    let mut inner = vec![0; last - first];
    add_sizes(&values.slice(first, last - first), &mut inner);
    for (size, ends) in sizes.iter_mut().zip(offsets.windows(2)) {
        *size += inner[ends[0].as_usize() - first..ends[1].as_usize() - first]
            .iter()
            .sum::<u64>();
    }
}
