//! Harvesting: the result files of a batch that has ended, read to their ends line by line, however
//! often a connection is cut.

use std::time::Duration;

use futures::StreamExt;
use tracing::warn;

use crate::base::{Components, Error, ErrorKind, Result};
use crate::ledger::action::Oddities;
use crate::provider::Provider;
use crate::work::{AnswerType, CustomId, ResultFile};

use super::slots::{Put, Slots};

/// Times that a download is taken up again without having got any further.
const CUTS_MAX: u32 = 5;

/// What the result files of one batch hold.
pub(super) struct Harvest<'a> {
    pub ids: CustomId,
    pub answer: &'a AnswerType,
    pub provider: &'a dyn Provider,
    pub components: &'a Components,
    pub slots: Slots,
    pub oddities: Oddities,
}

impl Harvest<'_> {
    /// Reads a result file to its end, however often the connection is cut.
    pub(super) async fn download(&mut self, file: &ResultFile) -> Result<()> {
        let mut lines = Lines::default();
        let mut cuts = 0;
        loop {
            let before = lines.consumed;
            let error = match self.read(file, &mut lines).await {
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
    async fn read(&mut self, file: &ResultFile, lines: &mut Lines) -> Result<()> {
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
            lines.feed(&piece[pass..], |line| self.line(line))?;
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
        self.line(&rest)
    }

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
                components: &Components::system(),
                slots: Slots::new(200, folder.path(), 1 << 20),
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
