//! Requests into chunks: each durable in the ledger's folder before it is spoken of.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::base::{Ids, Result};
use crate::ledger::action::ChunkStored;
use crate::ledger::requests::{LinePlace, RequestsWriter};
use crate::ledger::state::{ChunkState, Phase, PlanState, State};
use crate::work::{
    Content, CustomId, Frame, InputRule, Limits, LinePacker, Load, Packer, RequestKey, Variant,
};

use crate::engine::context::context::Context;
use crate::engine::context::files::Files;
use crate::engine::context::points;

/// Sizes of chunks by count: near the limit, never above it, and each of its own, so that a batch
/// can be told from its brothers by its count alone.
#[derive(Debug)]
struct Sizes {
    limit: u64,
    taken: BTreeSet<u64>,
}

/// Nonces that are tried for a size that no other chunk has.
const DRAWS_MAX: u32 = 1000;

impl Sizes {
    /// Sizes within `limit`, unlike those in `taken`.
    fn within(limit: u64, taken: BTreeSet<u64>) -> Self {
        Sizes {
            limit: limit.clamp(1, CustomId::REQUESTS_MAX),
            taken,
        }
    }

    /// The nonce of a chunk's first body, and the chunk's size, which follows from it.
    fn draw(&mut self, ids: &Ids) -> (String, u64) {
        let mut nonce = ids.nonce(CustomId::NONCE_LEN);
        for _ in 0..DRAWS_MAX {
            if !self.taken.contains(&size(&nonce, self.limit)) {
                break;
            }
            nonce = ids.nonce(CustomId::NONCE_LEN);
        }
        let size = size(&nonce, self.limit);
        self.taken.insert(size);
        (nonce, size)
    }
}

/// The size that `nonce` stands for: within the top hundredth of the limit.
fn size(nonce: &str, limit: u64) -> u64 {
    limit - xxhash_rust::xxh3::xxh3_64(nonce.as_bytes()) % (limit / 100 + 1)
}

/// The sizes of the chunks of which something may still be open at a provider.
fn open_sizes(state: &State) -> BTreeSet<u64> {
    let chunks = state.plans.values().flat_map(|plan| plan.chunks.values());
    // A chunk that was split may have been taken whole before.
    let is_landed =
        |chunk: &&ChunkState| state.attempts_of(chunk).any(|a| a.phase == Phase::Landed);
    chunks
        .filter(|chunk| !is_landed(chunk))
        .map(|chunk| chunk.stored.requests)
        .collect()
}

/// Writes requests into chunks, one chunk after the other.
#[derive(Debug)]
pub(crate) struct ChunkWriter<'a> {
    files: &'a Files,
    ids: &'a Ids,
    frame: &'a Frame,
    /// Room that is left for what a request may say of the provider's cache.
    spare: u64,
    keep: bool,
    sizes: Sizes,
    packing: Packing,
    /// Requests up to this ordinal are tried before the others.
    trial: u64,
    open: Option<OpenChunk>,
    next: ChunkStored,
}

/// How requests become lines of a body.
#[derive(Debug)]
enum Packing {
    /// Each is one.
    Each(Packer),
    /// Several are one: they are texts to be embedded.
    Lines {
        packer: LinePacker,
        rule: InputRule,
        /// Bytes of the inputs that a request is sent as.
        lens: Vec<u32>,
    },
}

/// Where the next request goes.
#[derive(Clone, Copy, Debug)]
enum Taken {
    /// Nowhere: the chunk is full.
    Full,
    /// In a line of its own.
    Alone,
    /// In this line.
    In(u32),
}

impl Packing {
    /// Takes the request for `prompt`, which adds so many bytes where it is a line by itself.
    fn take(&mut self, (prompt, bytes): (&str, u64), is_trial: bool) -> Taken {
        match self {
            Packing::Each(packer) => {
                if packer.take(bytes) {
                    Taken::Alone
                } else {
                    Taken::Full
                }
            }
            Packing::Lines { packer, rule, lens } => {
                rule.pieces(prompt, lens);
                // A line that is refused does not say whose fault it is, and a trial has to.
                match packer.take(Load::of(prompt, lens.len()), is_trial) {
                    Some(line) => Taken::In(u32::try_from(line).unwrap_or(u32::MAX)),
                    None => Taken::Full,
                }
            }
        }
    }

    /// Bytes of the inputs of the request that was taken last.
    fn lens(&self) -> &[u32] {
        match self {
            Packing::Each(_) => &[],
            Packing::Lines { lens, .. } => lens,
        }
    }

    /// Starts the next chunk.
    fn reset(&mut self, requests_max: u64) {
        match self {
            Packing::Each(packer) => packer.reset(requests_max),
            Packing::Lines { packer, .. } => packer.reset(requests_max),
        }
    }

    /// Bytes of the body so far.
    fn bytes(&self) -> u64 {
        match self {
            Packing::Each(packer) => packer.bytes(),
            Packing::Lines { packer, .. } => packer.bytes(),
        }
    }

    /// Requests for which room was spared: a line of several says nothing of the provider's cache.
    fn spared(&self) -> u64 {
        match self {
            Packing::Each(packer) => packer.count(),
            Packing::Lines { .. } => 0,
        }
    }

    /// Lines of the body, where they are fewer than requests.
    fn lines(&self) -> Option<u64> {
        match self {
            Packing::Each(_) => None,
            Packing::Lines { packer, .. } => Some(packer.lines()),
        }
    }
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

/// A writer of chunks of `round` of `plan`, numbered after those that it has.
pub(crate) fn chunk_writer<'a>(
    cx: &'a Context,
    state: &State,
    limits: Limits,
    (plan, round): (&PlanState, u32),
) -> ChunkWriter<'a> {
    let (ids, keep) = (&cx.components.ids, cx.job.ledger.keep_prompts);
    let place = (plan.started.plan, round, plan.next_chunk());
    let taken = open_sizes(state);
    let parts = (&cx.parts.frame, cx.parts.cache_bytes, cx.parts.inputs);
    let trial = plan.started.trial;
    ChunkWriter::new(&cx.files, ids, parts, limits, place, (taken, trial), keep)
}

impl<'a> ChunkWriter<'a> {
    /// Chunks of round `round` of `plan`, numbered from `chunk`. Unless `keep` says so, the prompts
    /// are not in the ledger, and lie in the scratch folder until this process ends.
    fn new(
        files: &'a Files,
        ids: &'a Ids,
        (frame, spare, inputs): (&'a Frame, u64, Option<InputRule>),
        limits: Limits,
        (plan, round, chunk): (u64, u32, u64),
        (taken, trial): (BTreeSet<u64>, u64),
        keep: bool,
    ) -> Self {
        let mut sizes = Sizes::within(limits.requests_max, taken);
        let (nonce, requests_max) = sizes.draw(ids);
        let limits = Limits {
            requests_max,
            ..limits
        };
        let next = ChunkStored {
            plan,
            chunk,
            round,
            first: 0,
            listed: false,
            requests: 0,
            lines: None,
            body_bytes: 0,
            nonce,
            primer: false,
            variant: Variant::default(),
        };
        let packing = match frame.inputs.zip(inputs) {
            Some((line, rule)) => Packing::Lines {
                packer: LinePacker::new(limits, line.in_round(round), frame),
                rule,
                lens: Vec::new(),
            },
            None => Packing::Each(Packer::new(limits, frame.base_len())),
        };
        ChunkWriter {
            files,
            ids,
            frame,
            spare,
            keep,
            sizes,
            packing,
            trial,
            open: None,
            next,
        }
    }

    /// What is taken from here on differs by `variant` from what the plan asks. Nothing may be in the open
    /// chunk.
    pub(crate) fn vary(&mut self, variant: Variant) {
        self.next.variant = variant;
    }

    /// Takes a request, whose prompt adds so many bytes to a body; the chunk that it did not fit into any more, if so, which is durable now.
    pub(crate) async fn push(
        &mut self,
        ordinal: u64,
        row: u64,
        key: RequestKey,
        (content, bytes): (Content<'_>, u64),
    ) -> Result<Option<ChunkStored>> {
        let mut full = None;
        let is_trial = self.next.round == 0 && ordinal < self.trial;
        let asked = (content.text, bytes + self.spare);
        let mut taken = self.packing.take(asked, is_trial);
        if matches!(taken, Taken::Full) {
            full = self.cut().await?;
            taken = self.packing.take(asked, is_trial);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(self.begin(ordinal)?),
        };
        open.listed |= ordinal > open.last + 1;
        open.last = ordinal;
        for writer in [Some(&mut open.writer), open.aside.as_mut()] {
            let Some(writer) = writer else { continue };
            if let Taken::In(line) = taken {
                let inputs = self.packing.lens();
                writer.push_at(LinePlace { line, inputs }, (ordinal, row, key), content)?;
            } else {
                writer.push(ordinal, row, key, content)?;
            }
        }
        Ok(full)
    }

    /// Ends the open chunk, if there is one; it is durable now.
    pub(crate) async fn cut(&mut self) -> Result<Option<ChunkStored>> {
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
            lines: self.packing.lines(),
            // The first request has no separator before it; and the spare room is not used yet.
            body_bytes: self.packing.bytes()
                - self.frame.between.len() as u64
                - self.packing.spared() * self.spare,
            ..self.next.clone()
        };
        let place = self.files.requests(stored.plan, stored.chunk);
        self.files
            .keep(&open.draft, &place, points::REQUESTS)
            .await?;
        self.next.chunk += 1;
        let (nonce, size) = self.sizes.draw(self.ids);
        self.next.nonce = nonce;
        self.packing.reset(size);
        Ok(Some(stored))
    }

    fn begin(&self, ordinal: u64) -> Result<OpenChunk> {
        let draft = self
            .files
            .draft(&format!("requests-{}-{}", self.next.plan, self.next.chunk));
        let create = |path: &Path, keep| -> Result<RequestsWriter> {
            let mut writer = RequestsWriter::create(path, keep)?;
            if self.frame.parts.is_some() {
                writer = writer.with_attachments();
            }
            if self.next.variant.reasks > 0 {
                writer = writer.with_corrections();
            }
            Ok(writer)
        };
        let writer = create(&draft, self.keep)?;
        let aside = self.files.prompts_aside(self.next.plan, self.next.chunk);
        let aside = (!self.keep).then(|| create(&aside, true)).transpose()?;
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
        let taken = (49_500..49_600).collect::<BTreeSet<u64>>();
        let mut sizes = Sizes::within(50_000, taken.clone());
        let drawn: Vec<_> = (0..200).map(|_| sizes.draw(&ids)).collect();
        for (nonce, size) in &drawn {
            assert!((49_500..=50_000).contains(size));
            assert_eq!(
                super::size(nonce, 50_000),
                *size,
                "it follows from the nonce"
            );
            assert!(!taken.contains(size), "an open chunk has it");
        }
        let distinct: BTreeSet<_> = drawn.iter().map(|(_, size)| size).collect();
        assert_eq!(distinct.len(), 200);
        let mut small = Sizes::within(7, BTreeSet::new());
        assert!((0..20).all(|_| small.draw(&ids).1 == 7));
    }
}
