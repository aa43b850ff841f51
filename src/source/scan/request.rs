//! What is read of a source.

use super::batch_size::BATCH_ROWS;
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

/// A scan whose columns are known to be there.
#[derive(Clone, Debug)]
pub(crate) struct ResolvedScan {
    pub(crate) columns: Vec<usize>,
    pub(crate) filter: Option<Predicate>,
    pub(crate) sample: Option<Sample>,
    pub(crate) batch_rows: usize,
    pub(crate) from: u64,
    pub(crate) limit: Option<u64>,
    pub(crate) views: bool,
}
