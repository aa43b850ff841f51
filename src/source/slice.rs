//! What to read of a source, and what comes of it: rows with their positions.

use std::ops::Range;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use crate::base::Result;

use super::context::BATCH_ROWS;
use super::predicate::Predicate;
use super::sample::Sample;

/// What to read.
#[derive(Clone, Debug)]
pub struct Scan {
    /// The columns, in the order in which they are wanted.
    pub columns: Vec<String>,
    /// Which rows; all, if there is none.
    pub filter: Option<Predicate>,
    /// Which of those are drawn; all, if nothing is said.
    pub sample: Option<Sample>,
    /// The most rows that come at once.
    pub batch_rows: usize,
    /// The position to begin at.
    pub from: u64,
    /// The most rows that come at all.
    pub limit: Option<u64>,
    /// Whether strings may come as views of the pages that they lie in, for those who only read them.
    pub views: bool,
}

impl Scan {
    /// All rows of `columns`.
    pub fn of<C: Into<String>>(columns: impl IntoIterator<Item = C>) -> Self {
        Scan {
            columns: columns.into_iter().map(Into::into).collect(),
            filter: None,
            sample: None,
            batch_rows: BATCH_ROWS,
            from: 0,
            limit: None,
            views: false,
        }
    }

    /// Only the rows that `predicate` selects.
    #[must_use]
    pub fn filter(mut self, predicate: Predicate) -> Self {
        self.filter = Some(predicate);
        self
    }

    /// Only the rows of a sample.
    #[must_use]
    pub fn sample(mut self, sample: Sample) -> Self {
        self.sample = Some(sample);
        self
    }

    /// At most `rows` rows.
    #[must_use]
    pub fn limit(mut self, rows: u64) -> Self {
        self.limit = Some(rows);
        self
    }

    /// Begins at position `from`.
    #[must_use]
    pub fn from(mut self, from: u64) -> Self {
        self.from = from;
        self
    }

    /// Strings may come as views.
    #[must_use]
    pub fn views(mut self) -> Self {
        self.views = true;
        self
    }

    /// At most `rows` rows at once.
    #[must_use]
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = rows.max(1);
        self
    }
}

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

    pub(super) fn truncate(&mut self, rows: usize) {
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
