//! Rows drawn from a whole table.
//!
//! Each row has a number that its position and the seed decide, as good as random; the rows with the
//! smallest numbers are drawn. So the same seed draws the same rows of the same table, a larger sample
//! holds the smaller one, and rows that are added at a table's end change little of it. What is kept
//! is one number for each row that is drawn.

use std::collections::BinaryHeap;

use arrow::buffer::BooleanBuffer;
use futures::TryStreamExt;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::base::Result;

use super::open::Source;
use super::predicate::Predicate;
use super::slice::Scan;

/// Which rows are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    seed: u64,
    /// The largest number that is drawn; none, if nothing is.
    largest: Option<u64>,
}

impl Draw {
    /// Draws `rows` of those rows of `source` that `filter` selects. With a filter, the columns that it
    /// names are read; without one, nothing is.
    ///
    /// # Errors
    /// As [`Source::scan`].
    pub async fn of(
        source: &Source,
        filter: Option<&Predicate>,
        (rows, seed): (u64, u64),
    ) -> Result<Draw> {
        let mut smallest = Smallest {
            most: usize::try_from(rows).unwrap_or(usize::MAX),
            heap: BinaryHeap::new(),
        };
        if let (None, Some(count)) = (filter, source.rows()) {
            for row in 0..count {
                smallest.push(number(row, seed));
            }
        } else {
            let mut scan = Scan::of::<String>([]);
            scan.filter = filter.cloned();
            let mut slices = source.scan(scan).await?;
            while let Some(slice) = slices.try_next().await? {
                for row in slice.rows.iter() {
                    smallest.push(number(row, seed));
                }
                tokio::task::yield_now().await;
            }
        }
        let largest = smallest.heap.peek().copied();
        Ok(Draw { seed, largest })
    }

    /// Whether the row at this position is drawn.
    #[must_use]
    pub fn has(&self, row: u64) -> bool {
        self.largest
            .is_some_and(|largest| number(row, self.seed) <= largest)
    }

    /// Those of the `selected` rows from `start` on that are drawn.
    pub(super) fn among(&self, selected: &BooleanBuffer, start: u64) -> BooleanBuffer {
        let drawn = |at: usize| selected.value(at) && self.has(start + at as u64);
        BooleanBuffer::collect_bool(selected.len(), drawn)
    }
}

fn number(row: u64, seed: u64) -> u64 {
    xxh3_64_with_seed(&row.to_le_bytes(), seed)
}

/// The smallest of many numbers.
struct Smallest {
    most: usize,
    heap: BinaryHeap<u64>,
}

impl Smallest {
    fn push(&mut self, number: u64) {
        if self.heap.len() < self.most {
            self.heap.push(number);
        } else if self.heap.peek().is_some_and(|largest| number < *largest) {
            self.heap.pop();
            self.heap.push(number);
        }
    }
}
