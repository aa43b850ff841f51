//! A sample: rows drawn from a whole table.
//!
//! Each row has a number that its position and the seed decide, as good as random; the rows with the
//! smallest numbers are drawn. So the same seed draws the same rows of the same table, a larger sample
//! holds the smaller one, and rows that are added at a table's end change little of it. What is kept
//! is one number for each row that is drawn.

use std::collections::BinaryHeap;

use arrow::buffer::BooleanBuffer;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Which rows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    seed: u64,
    /// The largest number that is drawn; none, if nothing is.
    largest: Option<u64>,
}

impl Sample {
    /// Whether the row at this position is drawn.
    #[must_use]
    pub fn has(&self, row: u64) -> bool {
        self.largest
            .is_some_and(|largest| number(row, self.seed) <= largest)
    }

    /// Those of the `selected` rows from `start` on that are drawn.
    pub(crate) fn among(&self, selected: &BooleanBuffer, start: u64) -> BooleanBuffer {
        let drawn = |at: usize| selected.value(at) && self.has(start + at as u64);
        BooleanBuffer::collect_bool(selected.len(), drawn)
    }
}

fn number(row: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&row.to_le_bytes(), seed)
}

/// A sample while its rows are drawn.
pub(crate) struct Sampler {
    seed: u64,
    size: usize,
    /// The smallest numbers so far, the largest of them on top.
    smallest: BinaryHeap<u64>,
}

impl Sampler {
    /// A sample of at most `size` rows.
    pub(crate) fn new(size: u64, seed: u64) -> Sampler {
        Sampler {
            seed,
            size: usize::try_from(size).unwrap_or(usize::MAX),
            smallest: BinaryHeap::new(),
        }
    }

    /// Takes the row at this position into account.
    pub(crate) fn offer(&mut self, row: u64) {
        let number = number(row, self.seed);
        if self.smallest.len() < self.size {
            self.smallest.push(number);
        } else if self
            .smallest
            .peek()
            .is_some_and(|largest| number < *largest)
        {
            self.smallest.pop();
            self.smallest.push(number);
        }
    }

    /// The sample of all rows that were offered.
    pub(crate) fn finish(&self) -> Sample {
        Sample {
            seed: self.seed,
            largest: self.smallest.peek().copied(),
        }
    }
}
