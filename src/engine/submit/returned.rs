//! The requests of a chunk that is home, each with what came back for it.

use crate::base::{Error, Result};
use crate::engine::context::context::Context;
use crate::engine::decide::again::Cause;
use crate::ledger::outcomes::{OutcomeColumns, OutcomeVerdicts, Outcomes, OutcomesReader};
use crate::ledger::requests::{RequestColumns, Requests, RequestsReader};
use crate::ledger::state::{Attempt, ChunkState};
use crate::work::{Attachment, Correction, RequestKey, Variant};

use super::chunk::prompts_of;

/// A chunk that is home, and what of it is asked again as `to`.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub chunk: &'a ChunkState,
    pub attempt: &'a Attempt,
    pub cause: Cause,
    pub to: Variant,
}

/// A request that is asked again.
#[derive(Debug)]
pub(super) struct ReturnedRequest {
    pub ordinal: u64,
    pub row: u64,
    pub key: RequestKey,
    pub text: String,
    pub attachments: Vec<Attachment>,
    /// What followed the text when it was asked.
    pub correction: Option<(String, String)>,
    /// What the model said, and why that is no answer; where it is asked again for that.
    pub invalid: Option<(String, String)>,
}

/// The requests of one chunk that came back for one cause, by their numbers.
pub(super) struct Returned<'a> {
    source: &'a Source<'a>,
    requests: RequestsReader,
    some: Option<(Requests, usize)>,
    outcomes: OutcomesOf,
    /// The next one.
    next: Option<ReturnedRequest>,
}

/// What came back for a chunk's requests, one after the other. Outcomes and requests both lie by ordinal, so
/// that they go side by side.
struct OutcomesOf {
    reader: OutcomeSource,
    some: Option<(Outcomes, usize)>,
}

/// Where outcomes are read from: who only asks whether they failed reads no answers.
enum OutcomeSource {
    Verdicts(OutcomeVerdicts),
    Reasons(OutcomesReader),
}

impl<'a> Returned<'a> {
    /// Those of `source`.
    pub(super) async fn open(cx: &Context, source: &'a Source<'a>) -> Result<Returned<'a>> {
        let place = cx.files.outcomes(source.attempt);
        let reader = match source.cause {
            Cause::Failure => OutcomeSource::Verdicts(OutcomeVerdicts::open(&place).await?),
            Cause::Invalid | Cause::Cut => {
                let file = cx.files.open(&place).await?;
                OutcomeSource::Reasons(OutcomesReader::open(file, OutcomeColumns::Reasons)?)
            }
        };
        let stored = &source.chunk.stored;
        let requests = prompts_of(cx, stored.plan, stored.chunk).await?;
        let mut returned = Returned {
            source,
            requests: RequestsReader::open(requests, RequestColumns::All)?,
            some: None,
            outcomes: OutcomesOf { reader, some: None },
            next: None,
        };
        returned.advance().await?;
        Ok(returned)
    }

    /// The number of the next one; nothing at the end.
    pub(super) fn ordinal(&self) -> Option<u64> {
        self.next.as_ref().map(|next| next.ordinal)
    }

    /// Takes the next one.
    pub(super) async fn take(&mut self) -> Result<Option<ReturnedRequest>> {
        let next = self.next.take();
        self.advance().await?;
        Ok(next)
    }

    async fn advance(&mut self) -> Result<()> {
        loop {
            let (some, at) = match self.some.take() {
                Some((some, at)) if at < some.len() => (some, at),
                _ => match self.requests.next().transpose()? {
                    Some(some) => {
                        // Reading from disk blocks and gives nobody else a turn by itself.
                        tokio::task::yield_now().await;
                        self.some = Some((some, 0));
                        continue;
                    }
                    None => return Ok(()),
                },
            };
            let ordinal = some.ordinals.value(at);
            let (outcomes, found) = self.outcomes.find(ordinal).await?;
            let finish = outcomes.text("finish", found);
            let (status, is_transient) = (outcomes.status(found), outcomes.is_transient(found));
            let cause = Cause::of(status, is_transient, finish);
            if cause == Some(self.source.cause) {
                let said = |name| outcomes.text(name, found).unwrap_or_default().to_owned();
                let invalid = (cause == Some(Cause::Invalid)).then(|| (said("raw"), said("error")));
                let gone = || Error::data("a prompt was not kept");
                self.next = Some(ReturnedRequest {
                    ordinal,
                    row: some.rows.value(at),
                    key: some.key(at),
                    text: some.prompt(at).ok_or_else(gone)?.to_owned(),
                    attachments: some.attachments(at)?,
                    correction: some.correction(at).map(Correction::to_owned),
                    invalid,
                });
            }
            self.some = Some((some, at + 1));
            if self.next.is_some() {
                return Ok(());
            }
        }
    }
}

impl OutcomesOf {
    /// What came back for the request `ordinal`, which is the next one.
    async fn find(&mut self, ordinal: u64) -> Result<(&Outcomes, usize)> {
        let is_over = self
            .some
            .as_ref()
            .is_none_or(|(some, at)| *at >= some.len());
        if is_over {
            let next = match &mut self.reader {
                OutcomeSource::Verdicts(reader) => reader.next().await?,
                OutcomeSource::Reasons(reader) => reader.next().transpose()?,
            };
            self.some = next.map(|some| (some, 0));
        }
        match &mut self.some {
            Some((some, at)) if *at < some.len() && some.ordinal(*at) == ordinal => {
                *at += 1;
                Ok((some, *at - 1))
            }
            _ => Err(Error::data(
                "the outcomes of a chunk are not those of its requests",
            )),
        }
    }
}
