//! Landing: everything that an ended batch holds, durable in an outcome part.
//!
//! However a batch ended, its files are read first and it is judged afterwards: by what is there,
//! line by line, never by the provider's word for the whole. What no line speaks of is counted by
//! how the batch ended.

use std::time::Duration;

use futures::StreamExt;
use tracing::warn;

use crate::base::{Components, Error, ErrorKind, Result};
use crate::ledger::action::{ChunkStored, Landed, Oddities, stored_counts};
use crate::ledger::outcomes::OutcomesWriter;
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::state::Attempt;
use crate::provider::Provider;
use crate::work::price::{Price, Tariff, micro_usd};
use crate::work::{
    AnswerType, BatchStatus, BatchView, CustomId, Outcome, ResultFile, RowStatus, StatusCounts,
    Usage,
};

use super::files::Files;
use super::points;
use super::poll::is_unseen;
use super::slots::{Put, Slots};

/// Bytes of outcomes that a landing holds in memory; more of them lie in a file.
const SPOOL_MEMORY: usize = 8 << 20;
/// Times that a download is taken up again without having got any further.
const CUTS_MAX: u32 = 5;

/// One batch to land, and what it takes.
#[derive(Debug)]
pub(super) struct Landing<'a> {
    pub attempt: &'a Attempt,
    pub chunk: &'a ChunkStored,
    pub answer: &'a AnswerType,
    pub price: Option<&'static Price>,
    pub provider: &'a dyn Provider,
    /// Whether results that the provider shows no more count as missing.
    pub take_what_is_there: bool,
    pub files: &'a Files,
    pub components: &'a Components,
}

impl Landing<'_> {
    /// Lands the batch `view`, which has ended. The part is durable when this returns.
    ///
    /// # Errors
    /// `Unavailable` if the results cannot be downloaded to their end, or the part not be written:
    /// then nothing has landed, and the next try starts over.
    pub(super) async fn land(&self, view: &BatchView) -> Result<Landed> {
        let count = usize::try_from(self.chunk.requests).unwrap_or(usize::MAX);
        let mut harvest = Harvest {
            ids: CustomId::new(&self.attempt.promised.nonce, self.chunk.chunk),
            answer: self.answer,
            provider: self.provider,
            slots: Slots::new(count, self.files.scratch(), SPOOL_MEMORY),
            oddities: Oddities::default(),
        };
        for file in &view.results {
            match self.download(file, &mut harvest).await {
                // A person said that what is gone is to be sent again; the rest is kept.
                Err(error) if self.take_what_is_there && is_unseen(&error) => {
                    warn!(%error, "a result file is gone");
                }
                done => done?,
            }
        }
        tell_oddities(view, harvest.oddities);
        let Sums {
            counts,
            transient,
            usage,
            cost,
        } = self.write(view, &harvest.slots).await?;
        Ok(Landed {
            attempt: self.attempt.promised.attempt.clone(),
            status: view.status.clone(),
            error: view
                .errors
                .first()
                .map(|error| format!("{}: {}", error.code, error.message)),
            counts: stored_counts(&counts),
            transient,
            usage,
            cost_micros: self
                .price
                .map(|_| u64::try_from(micro_usd(cost)).unwrap_or(u64::MAX)),
            oddities: harvest.oddities,
        })
    }

    /// Reads a result file to its end, however often the connection is cut.
    async fn download(&self, file: &ResultFile, harvest: &mut Harvest<'_>) -> Result<()> {
        let mut lines = Lines::default();
        let mut cuts = 0;
        loop {
            let before = lines.consumed;
            let error = match self.read(file, &mut lines, harvest).await {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Unavailable => error,
                Err(error) => return Err(error),
            };
            cuts = if lines.consumed > before { 1 } else { cuts + 1 };
            if cuts > CUTS_MAX {
                return Err(error);
            }
            warn!(%error, offset = lines.consumed, "a download was cut; taking it up again");
            let wait = self.components.ids.jitter(Duration::from_secs(1 << cuts));
            self.components.clock.sleep(wait).await;
        }
    }

    /// Reads on from the last whole line.
    async fn read(
        &self,
        file: &ResultFile,
        lines: &mut Lines,
        harvest: &mut Harvest<'_>,
    ) -> Result<()> {
        (lines.dropped, lines.partial) = (0, Vec::new());
        let mut download = self.provider.fetch(file, lines.consumed).await?;
        // A provider that cannot skip starts over: what was read already is passed by.
        let mut skip = lines.consumed.saturating_sub(download.offset);
        let mut seen = download.offset;
        while let Some(piece) = download.stream.next().await {
            let piece = piece?;
            seen += piece.len() as u64;
            let pass = skip.min(piece.len() as u64);
            skip -= pass;
            let pass = usize::try_from(pass).unwrap_or(usize::MAX);
            lines.feed(&piece[pass..], |line| harvest.line(line))?;
        }
        if download.total.is_some_and(|total| seen < total) {
            return Err(Error::unavailable("a result file ended early").with("bytes", seen));
        }
        // A last line without an end is whole if it can be read, and cut if it cannot.
        let rest = std::mem::take(&mut lines.partial);
        if rest.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        if download.total.is_none() && self.provider.parse(&rest).is_err() {
            return Err(Error::unavailable(
                "a result file ended in the middle of a line",
            ));
        }
        lines.consumed += (lines.dropped + rest.len()) as u64;
        harvest.line(&rest)
    }

    /// Writes the part: each request of the chunk, in order.
    async fn write(&self, view: &BatchView, slots: &Slots) -> Result<Sums> {
        let promised = &self.attempt.promised;
        let place = self.files.outcomes(self.attempt);
        let draft = self
            .files
            .draft(&format!("outcomes-{}.parquet", promised.attempt));
        let mut writer = OutcomesWriter::create(&draft, &promised.attempt, &view.id.0)?;
        let requests = self
            .files
            .open(&self.files.requests(promised.plan, promised.chunk))
            .await?;
        let mut sums = Sums::default();
        let silence = silence(view);
        let (mut n, mut buffer) = (0, Vec::new());
        for some in RequestsReader::open(requests, RequestColumns::Keys)? {
            let some = some?;
            for at in 0..some.len() {
                if n >= slots.len() {
                    return Err(Error::data(
                        "a chunk has more requests than the ledger says",
                    ));
                }
                let found = slots.take(n, &mut buffer)?;
                let outcome = found.as_ref().unwrap_or(&silence);
                sums.add(outcome, self.price);
                writer.push(some.ordinals.value(at), some.key(at), outcome)?;
                n += 1;
            }
        }
        if n != slots.len() {
            return Err(Error::data(
                "a chunk has fewer requests than the ledger says",
            ));
        }
        writer.finish()?;
        self.files.keep(&draft, &place, points::OUTCOMES).await?;
        Ok(sums)
    }
}

/// Says so where a result file has lines that are no answer to anything: whoever reads the files for
/// themselves finds them too.
fn tell_oddities(view: &BatchView, oddities: Oddities) {
    let Oddities {
        duplicates,
        strangers,
        broken,
    } = oddities;
    if oddities != Oddities::default() {
        warn!(batch = %view.id, duplicates, strangers, broken, "the results of a batch have odd lines");
    }
}

/// What a part comes to.
#[derive(Debug, Default)]
struct Sums {
    counts: StatusCounts,
    transient: u64,
    usage: Usage,
    /// In millionths of a millionth of a US dollar.
    cost: u128,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome<'_>, price: Option<&Price>) {
        self.counts.add(outcome.status, 1);
        self.transient += u64::from(outcome.transient);
        self.usage += outcome.usage;
        self.cost += price.map_or(0, |price| price.cost(Tariff::Batch, &outcome.usage));
    }
}

/// What a request is of which the result files say nothing.
fn silence(view: &BatchView) -> Outcome<'static> {
    match view.status {
        BatchStatus::Expired => Outcome::without_answer(RowStatus::Expired, "expired".into()),
        BatchStatus::Canceled => Outcome::without_answer(RowStatus::Canceled, "canceled".into()),
        BatchStatus::Failed => {
            let why = view.errors.first().map_or_else(
                || "the batch failed".to_owned(),
                |error| format!("{}: {}", error.code, error.message),
            );
            Outcome::without_answer(RowStatus::Failed, why.into())
        }
        _ => Outcome::without_answer(
            RowStatus::Missing,
            "the provider's files say nothing of it".into(),
        ),
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
}

/// The longest line that is held. An answer of 300,000 tokens is two megabytes; what is longer is
/// broken.
const LINE_MAX: usize = 64 << 20;

impl Lines {
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

/// What is made of each line.
struct Harvest<'a> {
    ids: CustomId,
    answer: &'a AnswerType,
    provider: &'a dyn Provider,
    slots: Slots,
    oddities: Oddities,
}

impl Harvest<'_> {
    fn line(&mut self, line: &[u8]) -> Result<()> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let Ok(reply) = self.provider.parse(line) else {
            self.oddities.broken += 1;
            return Ok(());
        };
        let Some(n) = self.ids.number(&reply.custom_id, self.slots.len() as u64) else {
            self.oddities.strangers += 1;
            return Ok(());
        };
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if self.slots.put(n, &self.answer.judge(reply.body))? == Put::Again {
            self.oddities.duplicates += 1;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::base::http::RouterService;
    use crate::base::mutate::spoilt;
    use crate::provider::{self, Network, Options};

    const WIRE: [(&str, &str); 3] = [
        (
            "anthropic",
            include_str!("../../fixtures/wire/anthropic/results.jsonl"),
        ),
        (
            "openai",
            include_str!("../../fixtures/wire/openai/output.jsonl"),
        ),
        (
            "openai",
            include_str!("../../fixtures/wire/openai/error.jsonl"),
        ),
    ];

    /// A vendor that is never called.
    fn silent(vendor: &str) -> Arc<dyn Provider> {
        let components = Components::system();
        let options = Options {
            provider: vendor,
            base_url: None,
            api_key_env: None,
            service: None,
            env: &|name| name.ends_with("_API_KEY").then(|| "key".to_owned()),
        };
        let network = Network {
            http: Arc::new(RouterService::new(axum::Router::new())),
            clock: components.clock,
            ids: components.ids,
        };
        provider::open(&options, network).expect("a provider")
    }

    proptest! {
        #[test]
        fn no_line_is_lost_without_being_counted(
            (vendor, file) in prop::sample::select(&WIRE[..]).prop_flat_map(|(vendor, text)| {
                (Just(vendor), spoilt(text.as_bytes().to_vec()))
            }),
        ) {
            let (provider, folder) = (silent(vendor), tempfile::tempdir().expect("a folder"));
            let mut harvest = Harvest {
                ids: CustomId::new("abcdefghjkmn", 3),
                answer: &AnswerType::Text,
                provider: &*provider,
                slots: Slots::new(200, folder.path(), SPOOL_MEMORY),
                oddities: Oddities::default(),
            };
            let mut lines = 0;
            for line in file.split(|byte| *byte == b'\n') {
                harvest.line(line).expect("no I/O error");
                lines += u64::from(!line.iter().all(u8::is_ascii_whitespace));
            }
            let mut buffer = Vec::new();
            let kept = (0..200).filter(|n| {
                harvest.slots.take(*n, &mut buffer).expect("no I/O error").is_some()
            });
            let kept = kept.count() as u64;
            let odd = harvest.oddities;
            prop_assert_eq!(kept + odd.broken + odd.duplicates + odd.strangers, lines);
        }

        #[test]
        fn lines_are_whole_however_the_bytes_arrive(
            text in prop::collection::vec("[a-z\u{e9}]{0,12}", 0..20),
            tail in "[a-z]{0,5}",
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let mut bytes = text.join("\n");
            if !text.is_empty() {
                bytes.push('\n');
            }
            let whole = bytes.len() as u64;
            bytes.push_str(&tail);
            let mut rest = Bytes::from(bytes);
            let (mut lines, mut seen) = (Lines::default(), Vec::new());
            let mut cuts = cuts.into_iter().cycle();
            while !rest.is_empty() {
                let cut = cuts.next().unwrap_or(1).min(rest.len());
                let piece = rest.split_to(cut);
                lines
                    .feed(&piece, |line| {
                        seen.push(String::from_utf8_lossy(line).into_owned());
                        Ok(())
                    })
                    .expect("no line is too long");
            }
            prop_assert_eq!(seen, text);
            prop_assert_eq!(lines.consumed, whole);
            prop_assert_eq!(lines.partial, tail.as_bytes());
        }
    }
}
