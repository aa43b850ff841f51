//! What of a source does not come along, and how a person is told.

/// What of a source does not come along. None of it changes a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::output) enum Dropped {
    /// The logical type of this column.
    Type(String),
    /// The bloom filters of this column.
    BloomFilter(String),
    /// The page indexes.
    Indexes,
}

impl Dropped {
    /// What is said of it; `file` is the first in which it was.
    pub(in crate::output) fn sentence(&self, file: &str) -> String {
        match self {
            Dropped::Type(column) => format!(
                "the logical type of column `{column}` is not known here: the output has its plain values, without \
             that type, file=`{file}`"
            ),
            Dropped::BloomFilter(column) => format!(
                "the bloom filters of column `{column}` are not where the footer says, and are left out of the \
             output, file=`{file}`"
            ),
            Dropped::Indexes => format!(
                "the page indexes are damaged or not of all columns, and are left out of the output, file=`{file}`"
            ),
        }
    }
}
