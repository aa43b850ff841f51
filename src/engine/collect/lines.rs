//! Which requests each line of a body carried, where lines carry several: what a result says of a line
//! is divided among them.

use std::ops::Range;

use crate::base::{Error, Result};
use crate::ledger::requests::{LinePlace, RequestKeys};
use crate::work::answer::LineInputs;

/// The lines of one body: a few numbers for each of its inputs.
#[derive(Debug, Default)]
pub(crate) struct BodyLines {
    /// The first request of each line, and the number of all requests.
    firsts: Vec<u32>,
    /// The first input of each request, and the number of all inputs.
    starts: Vec<u32>,
    /// Bytes of each input.
    lens: Vec<u32>,
}

impl BodyLines {
    /// Reads them from the requests of the chunk.
    ///
    /// # Errors
    /// `Data` if a request has no line, or lines are not in order.
    pub(crate) async fn read(mut requests: RequestKeys) -> Result<BodyLines> {
        let mut lines = BodyLines::default();
        while let Some(some) = requests.next().await? {
            for at in 0..some.len() {
                let place = some.place(at).filter(|place| lines.push(*place));
                place.ok_or_else(|| Error::data("a request of the ledger has no line"))?;
            }
        }
        Ok(lines.finished())
    }

    /// With the ends of the last line and request.
    pub(super) fn finished(mut self) -> BodyLines {
        self.firsts.push(count(self.starts.len()));
        self.starts.push(count(self.lens.len()));
        self
    }

    /// Takes the next request; `false` if it is in no line that may follow.
    pub(super) fn push(&mut self, place: LinePlace<'_>) -> bool {
        let begun = count(self.firsts.len());
        if place.inputs.is_empty() || place.line > begun || place.line + 1 < begun {
            return false;
        }
        if place.line == begun {
            self.firsts.push(count(self.starts.len()));
        }
        self.starts.push(count(self.lens.len()));
        self.lens.extend_from_slice(place.inputs);
        true
    }

    /// How many lines.
    pub(crate) fn len(&self) -> usize {
        self.firsts.len().saturating_sub(1)
    }

    /// How many requests.
    pub(crate) fn requests_in_all(&self) -> usize {
        self.starts.len().saturating_sub(1)
    }

    /// The requests of line `n`.
    pub(crate) fn requests(&self, n: usize) -> Range<usize> {
        self.firsts[n] as usize..self.firsts[n + 1] as usize
    }

    /// The inputs of line `n`.
    pub(crate) fn inputs(&self, n: usize) -> LineInputs<'_> {
        let requests = self.requests(n);
        let starts = &self.starts[requests.start..=requests.end];
        let inputs = starts[0] as usize..starts[starts.len() - 1] as usize;
        LineInputs {
            starts,
            lens: &self.lens[inputs],
        }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: u32, inputs: &[u32]) -> LinePlace<'_> {
        LinePlace { line, inputs }
    }

    #[test]
    fn lines_follow_each_other_and_each_has_something() {
        let mut lines = BodyLines::default();
        assert!(!lines.push(place(1, &[1])), "no line is left out");
        assert!(!lines.push(place(0, &[])), "a request has an input");
        for (line, inputs) in [(0, &[5][..]), (0, &[2, 3]), (1, &[7])] {
            assert!(lines.push(place(line, inputs)));
        }
        assert!(!lines.push(place(0, &[1])), "they ascend");
        assert!(!lines.push(place(3, &[1])));
        let lines = lines.finished();
        assert_eq!(
            (lines.len(), lines.requests(0), lines.requests(1)),
            (2, 0..2, 2..3)
        );
        let line = lines.inputs(0);
        assert_eq!((line.requests(), line.lens), (2, &[5, 2, 3][..]));
        assert_eq!(lines.inputs(1).lens, [7]);
    }
}
