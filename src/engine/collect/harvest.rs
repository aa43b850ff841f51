//! Harvesting: the result files of a batch that has ended, read to their ends line by line, however
//! often a connection is cut.
//!
//! The end of a download is not believed at once. Where the provider says no length, a connection
//! that was cut can look like the end of the file; so an end within a line counts when it has come
//! again at the same place, one before what was read already never does, and files that hold fewer
//! answers than the batch counts are read once more. Answers that are not seen would be paid twice.

use std::time::Duration;

use futures::StreamExt;
use tracing::warn;

use crate::base::backoff::Growing;
use crate::base::{Components, Error, ErrorKind, Result};
use crate::ledger::action::Oddities;
use crate::provider::{Provider, Seen};
use crate::work::{BatchView, CustomId, Judge, Outcome, ResultFile};

use super::lines::BodyLines;
use super::slots::{Put, Slots};

/// Times that a download is taken up again without having got any further.
const CUTS_MAX: u32 = 5;
/// How long to wait before that.
const CUT_WAIT: Growing = Growing::doubling(Duration::from_secs(2), Duration::from_secs(32));
/// Times in a row that a download must end at the same place within a line, for the file to be what
/// is cut.
const SAME_END: u32 = 3;
/// Before files are read again that hold less than they should.
const PAUSE: Duration = Duration::from_secs(5);

/// What the result files of one batch hold.
pub(crate) struct Harvest<'a> {
    pub ids: CustomId,
    pub judge: &'a Judge,
    pub provider: &'a dyn Provider,
    pub components: &'a Components,
    /// Whether a result file that the provider shows no more is passed by.
    pub take_what_is_there: bool,
    /// Which requests each line of the body carried, where lines carry several: then lines have the ids, and
    /// the provider counts them.
    pub lines: Option<BodyLines>,
    pub slots: Slots,
    pub oddities: Oddities,
}

impl Harvest<'_> {
    /// Reads all result files of `view`, and reads them again while they hold fewer answers than the
    /// batch counts and the last reading has found more.
    ///
    /// # Errors
    /// `Unavailable` if a file cannot be read to its end.
    pub(crate) async fn gather(&mut self, view: &BatchView) -> Result<Seen<()>> {
        if let Seen::Unseen(error) = self.read_all(view).await? {
            return Ok(Seen::Unseen(error));
        }
        let odd = self.oddities;
        while self.lost(view) > 0 && !view.results.is_empty() {
            let (answered, counted) = (self.slots.answered(), view.counts.succeeded);
            warn!(batch = %view.id, answered, counted, "the results of a batch lack answers; reading them again");
            let wait = self.components.ids.jitter(PAUSE);
            self.components.clock.sleep(wait).await;
            if let Seen::Unseen(error) = self.read_all(view).await? {
                return Ok(Seen::Unseen(error));
            }
            // What was seen in the first reading is odd once.
            self.oddities = odd;
            if self.slots.answered() == answered {
                break;
            }
        }
        Ok(Seen::There(()))
    }

    /// How many answers the provider counts of which no line can be matched to a request, for whatever
    /// reason. A server may count a failure among the answers: one more failed line than it counts is
    /// taken for one of those.
    pub(crate) fn lost(&self, view: &BatchView) -> u64 {
        let counted_as_answers = self.slots.failed().saturating_sub(view.counts.failed);
        let matched = self.slots.answered() + counted_as_answers;
        view.counts.succeeded.saturating_sub(matched)
    }

    async fn read_all(&mut self, view: &BatchView) -> Result<Seen<()>> {
        for file in &view.results {
            match self.download(file).await? {
                Seen::There(()) => {}
                // A person said that what is gone is to be sent again; the rest is kept.
                Seen::Unseen(error) if self.take_what_is_there => {
                    warn!(%error, "a result file is gone");
                }
                unseen @ Seen::Unseen(_) => return Ok(unseen),
            }
        }
        Ok(Seen::There(()))
    }

    /// Reads a result file to its end, however often the connection is cut.
    async fn download(&mut self, file: &ResultFile) -> Result<Seen<()>> {
        let mut lines = Lines::default();
        let mut cuts = 0;
        loop {
            let before = lines.consumed;
            let error = match self.read(file, &mut lines).await {
                Ok(seen) => return Ok(seen),
                Err(error) if error.kind() == ErrorKind::Unavailable => error,
                Err(error) => return Err(error),
            };
            cuts = if lines.consumed > before { 1 } else { cuts + 1 };
            if cuts > CUTS_MAX {
                return Err(error);
            }
            warn!(%error, offset = lines.consumed, "a download was cut; taking it up again");
            let own = || self.components.ids.jitter(CUT_WAIT.after(cuts - 1));
            let wait = error.retry_after().unwrap_or_else(own);
            self.components.clock.sleep(wait).await;
        }
    }

    /// Reads on from the last whole line.
    async fn read(&mut self, file: &ResultFile, lines: &mut Lines) -> Result<Seen<()>> {
        (lines.dropped, lines.partial) = (0, Vec::new());
        let mut download = match self.provider.fetch(file, lines.consumed).await? {
            Seen::There(download) => download,
            Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
        };
        // A provider that cannot skip starts over: what was read already is passed by.
        let Some(mut skip) = lines.consumed.checked_sub(download.offset) else {
            return Err(Error::unavailable("a download left bytes of its file out"));
        };
        let mut seen = download.offset;
        while let Some(piece) = download.stream.next().await {
            let piece = piece?;
            seen += piece.len() as u64;
            let pass = skip.min(piece.len() as u64);
            skip -= pass;
            let pass = usize::try_from(pass).unwrap_or(usize::MAX);
            lines.feed(&piece[pass..], |line| self.line(line))?;
        }
        if skip > 0 || download.total.is_some_and(|total| seen < total) {
            return Err(Error::unavailable("a result file ended early").with("bytes", seen));
        }
        // A last line without an end is whole if it can be read, and cut if it cannot.
        let rest = std::mem::take(&mut lines.partial);
        if rest.iter().all(u8::is_ascii_whitespace) {
            return Ok(Seen::There(()));
        }
        let is_cut = download.total.is_none() && self.provider.parse(&rest).is_err();
        if is_cut && !lines.ends_at(seen) {
            return Err(Error::unavailable(
                "a result file ended in the middle of a line",
            ));
        }
        lines.consumed += (lines.dropped + rest.len()) as u64;
        self.line(&rest)?;
        Ok(Seen::There(()))
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Ok(reply) = self.provider.parse(line) else {
            self.oddities.broken += 1;
            return Ok(());
        };
        let count = self.lines.as_ref().map_or(self.slots.len(), BodyLines::len);
        let Some(n) = self.ids.number(&reply.custom_id, count as u64) else {
            self.oddities.strangers += 1;
            return Ok(());
        };
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        let put = match &self.lines {
            None => self.slots.put(n, &self.judge.judge(reply.body))?,
            Some(lines) => {
                let first = lines.requests(n).start;
                let (slots, mut put) = (&mut self.slots, Put::First);
                let keep = |n: usize, outcome: &Outcome<'_>| {
                    if n == 0 {
                        put = slots.put(first, outcome)?;
                    } else {
                        slots.put_beside(first + n, outcome)?;
                    }
                    Ok(())
                };
                self.judge.judge_line(reply.body, lines.inputs(n), keep)?;
                put
            }
        };
        self.oddities.duplicates += u64::from(put == Put::Again);
        Ok(())
    }
}

/// Lines of a result file as they arrive.
#[derive(Debug, Default)]
struct Lines {
    /// Bytes of the file up to the end of the last whole line.
    consumed: u64,
    /// Bytes of a line that is too long to be one, which were let go of.
    dropped: usize,
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    /// Where downloads ended within a line last, and how many in a row.
    ends: (u64, u32),
}

/// The longest line that is held. An answer of 300,000 tokens is two megabytes; what is longer is
/// broken.
const LINE_MAX: usize = 64 << 20;

impl Lines {
    /// A download ended at byte `end`, within a line. Whether the file itself ends there.
    fn ends_at(&mut self, end: u64) -> bool {
        let times = if self.ends.0 == end { self.ends.1 } else { 0 };
        self.ends = (end, times + 1);
        self.ends.1 >= SAME_END
    }

    /// Takes in `piece`, and hands on each line that it ends.
    fn feed(&mut self, piece: &[u8], mut line: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', piece) {
            if self.partial.is_empty() {
                line(&piece[start..end])?;
            } else {
                self.partial.extend_from_slice(&piece[start..end]);
                line(&self.partial)?;
            }
            let held = self.partial.len().max(end - start);
            self.consumed += (std::mem::take(&mut self.dropped) + held + 1) as u64;
            self.partial.clear();
            start = end + 1;
        }
        if self.partial.len() > LINE_MAX {
            self.dropped += self.partial.len();
            self.partial.clear();
        }
        self.partial.extend_from_slice(&piece[start..]);
        Ok(())
    }
}

#[cfg(test)]
#[path = "harvest_tests.rs"]
mod tests;
