//! What comes of a scan: rows with their positions.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use futures::stream::BoxStream;

use crate::base::{ErrorKind, Result, ResultExt};

/// Positions in the table, strictly ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowNumbers {
    /// Some of them.
    List(Vec<u64>),
    /// All from one to another.
    Range(Range<u64>),
}

impl RowNumbers {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            RowNumbers::List(list) => list.len(),
            RowNumbers::Range(range) => {
                usize::try_from(range.end - range.start).unwrap_or(usize::MAX)
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The position of the batch's row `index`, if it has so many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u64> {
        match self {
            RowNumbers::List(list) => list.get(index).copied(),
            RowNumbers::Range(range) => {
                Some(range.start + index as u64).filter(|at| *at < range.end)
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            RowNumbers::List(list) => list.truncate(rows),
            RowNumbers::Range(range) => range.end = range.end.min(range.start + rows as u64),
        }
    }
}

/// Some rows, with their positions.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Where they stand in the table.
    pub rows: RowNumbers,
    /// The columns that were asked for.
    pub batch: RecordBatch,
}

/// A stream of slices, in the order of the table.
pub type Slices = BoxStream<'static, Result<Slice>>;

/// At most `rows` rows of a slice.
pub(crate) fn truncate(mut slice: Slice, rows: u64) -> Slice {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    if rows < slice.rows.len() {
        slice.rows.truncate(rows);
        slice.batch = slice.batch.slice(0, rows);
    }
    slice
}

/// The rows of `batch` whose bit is set.
pub(crate) fn filter_rows(batch: &RecordBatch, mask: BooleanBuffer) -> Result<RecordBatch> {
    filter_record_batch(batch, &mask.into())
        .or_err(ErrorKind::Internal, "cannot choose the rows of a batch")
}

/// A count of rows, as an index into memory.
pub(crate) fn as_index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
