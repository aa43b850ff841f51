//! Small ranges of a source, read one after the other: from a store, several to a request.

use std::ops::Range;

use bytes::Bytes;

use crate::base::Result;
use crate::output::read::source::Source;

/// The bytes that were fetched last. What is wanted is often close behind: the next page, or the next
/// chunk. As long as it is, more is fetched at once; where it lies far off, what is between is not.
#[derive(Debug)]
pub(in crate::output) struct Window<'s> {
    source: &'s Source,
    start: u64,
    bytes: Bytes,
    /// How much is fetched at once.
    ahead: u64,
    /// What follows here is somebody else's.
    end: u64,
    /// Whether it served more than once.
    served: bool,
}

/// The least that is fetched: little beside what a request costs by itself.
const AHEAD_MIN: u64 = 16 << 10;

/// The most that is fetched at once.
pub(in crate::output) const AHEAD_MAX: u64 = 256 << 10;

impl<'s> Window<'s> {
    /// A window of `source`, from which all or little may be wanted up to `end`.
    pub(in crate::output) fn over(source: &'s Source, is_dense: bool, end: u64) -> Self {
        Window {
            source,
            start: 0,
            bytes: Bytes::new(),
            ahead: AHEAD_MAX,
            end: end.min(source.data_end()),
            served: is_dense,
        }
    }

    /// The bytes of `wanted`.
    pub(in crate::output) async fn get(&mut self, wanted: Range<u64>) -> Result<Bytes> {
        if !self.source.is_remote() {
            return self.source.request(wanted).await;
        }
        if let Some(bytes) = self.held(&wanted) {
            self.served = true;
            return Ok(bytes);
        }
        self.ahead = if self.served {
            (self.ahead * 2).min(AHEAD_MAX)
        } else {
            AHEAD_MIN
        };
        let ahead = wanted.start.saturating_add(self.ahead);
        let end = wanted.end.max(ahead.min(self.end));
        self.bytes = self.source.request(wanted.start..end).await?;
        (self.start, self.served) = (wanted.start, false);
        let length = usize::try_from(wanted.end - wanted.start).unwrap_or(usize::MAX);
        Ok(self.bytes.slice(..length))
    }

    fn held(&self, wanted: &Range<u64>) -> Option<Bytes> {
        let from = usize::try_from(wanted.start.checked_sub(self.start)?).ok()?;
        let to = usize::try_from(wanted.end.checked_sub(self.start)?).ok()?;
        (to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }
}
