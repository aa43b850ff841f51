//! Requests into chunks: each durable in the ledger's folder before it is spoken of.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::base::{Ids, Result};
use crate::ledger::action::ChunkStored;
use crate::ledger::requests::RequestsWriter;
use crate::work::{CustomId, Frame, Limits, Packer, RequestKey};

use super::files::Files;

/// Sizes of chunks by count: near the limit, never above it, and each of its own, so that a batch
/// can be told from its brothers by its count alone.
#[derive(Debug)]
pub(super) struct Sizes {
    limit: u64,
    drawn: BTreeSet<u64>,
}

impl Sizes {
    /// Sizes within `limit`.
    pub(super) fn within(limit: u64) -> Self {
        Sizes {
            limit: limit.clamp(1, CustomId::REQUESTS_MAX),
            drawn: BTreeSet::new(),
        }
    }

    /// A size within the top hundredth of the limit, unlike those before while there are others.
    pub(super) fn draw(&mut self, ids: &Ids) -> u64 {
        let room = self.limit / 100;
        if self.drawn.len() as u64 > room / 2 {
            self.drawn.clear();
        }
        loop {
            let size = self.limit - ids.below(room + 1);
            if room == 0 || self.drawn.insert(size) {
                return size;
            }
        }
    }
}

/// Writes requests into chunks, one chunk after the other.
#[derive(Debug)]
pub(super) struct ChunkWriter<'a> {
    files: &'a Files,
    ids: &'a Ids,
    frame: &'a Frame,
    keep: bool,
    sizes: Sizes,
    packer: Packer,
    open: Option<OpenChunk>,
    next: ChunkStored,
}

#[derive(Debug)]
struct OpenChunk {
    writer: RequestsWriter,
    /// The same with the prompts, where the ledger is not to have them.
    aside: Option<RequestsWriter>,
    draft: PathBuf,
    first: u64,
    last: u64,
    listed: bool,
}

impl<'a> ChunkWriter<'a> {
    /// Chunks of wave `wave` of `plan`, numbered from `chunk`. Unless `keep` says so, the prompts
    /// are not in the ledger, and lie in the scratch folder until this process ends.
    pub(super) fn new(
        files: &'a Files,
        ids: &'a Ids,
        frame: &'a Frame,
        limits: Limits,
        (plan, wave, chunk): (u64, u32, u64),
        keep: bool,
    ) -> Self {
        let mut sizes = Sizes::within(limits.requests_max);
        let limits = Limits {
            requests_max: sizes.draw(ids),
            ..limits
        };
        let next = ChunkStored {
            plan,
            chunk,
            wave,
            first: 0,
            listed: false,
            requests: 0,
            body_bytes: 0,
        };
        let packer = Packer::new(limits, frame.base_len());
        ChunkWriter {
            files,
            ids,
            frame,
            keep,
            sizes,
            packer,
            open: None,
            next,
        }
    }

    /// Takes a request, whose prompt adds so many bytes to a body; the chunk that it did not fit into any more, if so, which is durable now.
    pub(super) async fn push(
        &mut self,
        ordinal: u64,
        row: u64,
        key: RequestKey,
        (prompt, bytes): (&str, u64),
    ) -> Result<Option<ChunkStored>> {
        let mut full = None;
        if !self.packer.take(bytes) {
            full = self.cut().await?;
            self.packer.take(bytes);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(self.begin(ordinal)?),
        };
        open.listed |= ordinal > open.last + 1;
        open.last = ordinal;
        open.writer.push(ordinal, row, key, prompt)?;
        if let Some(aside) = &mut open.aside {
            aside.push(ordinal, row, key, prompt)?;
        }
        Ok(full)
    }

    /// Ends the open chunk, if there is one; it is durable now.
    pub(super) async fn cut(&mut self) -> Result<Option<ChunkStored>> {
        let Some(open) = self.open.take() else {
            return Ok(None);
        };
        let requests = open.writer.finish()?;
        if let Some(aside) = open.aside {
            aside.finish()?;
        }
        let stored = ChunkStored {
            first: open.first,
            listed: open.listed,
            requests,
            // The first request has no separator before it.
            body_bytes: self.packer.bytes() - self.frame.between.len() as u64,
            ..self.next.clone()
        };
        self.files
            .keep(&open.draft, &self.files.requests(stored.plan, stored.chunk))
            .await?;
        self.next.chunk += 1;
        self.packer.reset(self.sizes.draw(self.ids));
        Ok(Some(stored))
    }

    fn begin(&self, ordinal: u64) -> Result<OpenChunk> {
        let draft = self
            .files
            .draft(&format!("requests-{}-{}", self.next.plan, self.next.chunk));
        let writer = RequestsWriter::create(&draft, self.keep)?;
        let aside = self.files.prompts_aside(self.next.plan, self.next.chunk);
        let aside = (!self.keep)
            .then(|| RequestsWriter::create(&aside, true))
            .transpose()?;
        Ok(OpenChunk {
            writer,
            aside,
            draft,
            first: ordinal,
            last: ordinal,
            listed: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_stay_in_the_top_hundredth_and_differ() {
        let ids = Ids::seeded(3);
        let mut sizes = Sizes::within(50_000);
        let drawn: Vec<u64> = (0..200).map(|_| sizes.draw(&ids)).collect();
        assert!(drawn.iter().all(|size| (49_500..=50_000).contains(size)));
        assert_eq!(drawn.iter().collect::<BTreeSet<_>>().len(), 200);
        let mut small = Sizes::within(7);
        assert!((0..20).all(|_| small.draw(&ids) == 7));
    }
}
