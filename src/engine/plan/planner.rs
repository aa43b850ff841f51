//! Planning: every row is read, rendered and keyed, once, in order; what is new goes into chunks.
//!
//! Three things leave here, durable before they are spoken of: chunks of requests, as soon as each
//! is full, so that sending overlaps with reading; at the end the row map; and the counts by which
//! the plan is judged. A plan that was cut off is taken up again by doing the same once more, for
//! the same rows make the same requests: those that are stored already are passed by.

use std::collections::BTreeMap;

use futures::StreamExt;

use crate::base::{Error, Result};
use crate::ledger::action::{Action, ChunkStored, PlanCounts};
use crate::ledger::row_map::{Place, RowKey, RowMapWriter, RowPlan};
use crate::prompt::{Prompt, Prompts, Template};
use crate::source::{RowIds, Slice};
use crate::work::{Content, InputFit};

use super::chunks::ChunkWriter;
use super::input::{PlanInput, short_hash};
use super::prior::PriorAnswers;
use crate::engine::attachments::attacher::{Found, found};
use crate::engine::context::writer::LedgerWriter;
use crate::work::RequestKey;
use crate::work::caching::BYTES_PER_TOKEN;

/// What a plan comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub rows: PlanCounts,
    pub requests: u64,
    pub prompt_bytes: u64,
    pub reasons: Reasons,
    /// Rows of the last plan that are not among those that were looked at now. Counted where nothing is
    /// written, for people; and where rows have a key.
    pub gone: Option<u64>,
}

/// Why rows ask nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons {
    /// Skipped rows by their reason: there are no more of these than columns and rules.
    pub skipped: BTreeMap<String, u64>,
    /// The reason of the first row that failed.
    pub failed: Option<String>,
}

impl Reasons {
    fn count(&mut self, why: &str) {
        match self.skipped.get_mut(why) {
            Some(count) => *count += 1,
            None => {
                self.skipped.insert(why.to_owned(), 1);
            }
        }
    }

    fn fail(&mut self, why: &str) {
        if self.failed.is_none() {
            self.failed = Some(why.to_owned());
        }
    }
}

/// Where the requests and the rows of a plan go.
pub(crate) enum Sink<'a> {
    /// Nowhere: they are only counted.
    Count,
    /// Into the ledger.
    Ledger {
        chunks: Box<ChunkWriter<'a>>,
        rows: Box<RowMapWriter>,
        writer: &'a LedgerWriter,
        /// Requests that are stored already.
        stored: u64,
    },
}

/// Looks at every row.
///
/// # Errors
/// Whatever keeps the source from being read, or the ledger from being written.
pub(crate) async fn plan_all(
    input: &PlanInput<'_>,
    plan: u64,
    mut template: Template,
    prior: PriorAnswers<'_>,
    sink: Sink<'_>,
    mut progress: impl FnMut(&Tally),
) -> Result<(Tally, Option<Box<RowMapWriter>>)> {
    let plan = u32::try_from(plan).map_err(|_| Error::data("too many plans"))?;
    let row_ids = match input.key {
        [] => None,
        key => Some(RowIds::new(input.source.schema(), key)?),
    };
    let tally = Tally {
        gone: prior.last_rows().filter(|_| matches!(sink, Sink::Count)),
        ..Tally::default()
    };
    let mut planner = RowPlanner {
        input,
        plan,
        prior,
        sink,
        tally,
        next_row: 0,
        prompted: 0,
        row_ids,
        requests: Vec::new(),
    };
    let mut prompts = Prompts::default();
    let mut slices = input.source.scan(input.scan()).await?;
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        template.render(&slice.batch, &mut prompts)?;
        let attached = found(input.attacher, &slice.batch, template.columns(), &prompts).await?;
        planner.take(&slice, &prompts, &attached).await?;
        progress(&planner.tally);
        tokio::task::yield_now().await;
        if input.limit.is_some_and(|limit| planner.prompted >= limit) && input.key.is_empty() {
            break;
        }
    }
    drop(slices);
    planner.skip_to(input.source.rows().unwrap_or(planner.next_row))?;
    planner.finish().await
}

/// Takes the rows one after the other.
struct RowPlanner<'a> {
    input: &'a PlanInput<'a>,
    plan: u32,
    prior: PriorAnswers<'a>,
    sink: Sink<'a>,
    tally: Tally,
    next_row: u64,
    /// Rows that the filter chose so far.
    prompted: u64,
    row_ids: Option<RowIds>,
    /// What the rows of the slice ask.
    requests: Vec<Option<RequestKey>>,
}

impl RowPlanner<'_> {
    /// Takes the rows of `slice`; `attached` has what is attached to each, where something may be.
    async fn take(&mut self, slice: &Slice, prompts: &Prompts, attached: &[Found]) -> Result<()> {
        let keys = self
            .row_ids
            .as_ref()
            .map(|ids| ids.encode(&slice.batch))
            .transpose()?;
        self.begin(slice)?;
        self.identify(slice, keys.as_ref(), (prompts, attached))?;
        self.prior.look_up().await?;
        for (at, place) in (0..slice.batch.num_rows()).zip(0..) {
            let lost = || Error::internal("a row without a position");
            let row = slice.rows.get(at).ok_or_else(lost)?;
            self.skip_to(row)?;
            let key = keys.as_ref().map(|keys| keys.row(at));
            let id = key.as_ref().map(|key| RowKey {
                hash: short_hash(key.as_ref()),
                place,
            });
            self.prompted += 1;
            if self.input.limit.is_some_and(|limit| self.prompted > limit) {
                self.note(&RowPlan::Skipped(Some(BEYOND_LIMIT)), id)?;
                continue;
            }
            match prompts.get(at) {
                None => return Err(Error::internal("a row was not rendered")),
                Some(Prompt::Skipped(why)) => {
                    self.note(&RowPlan::Skipped(Some(&why.to_string())), id)?;
                }
                Some(Prompt::Failed(why)) => self.note(&RowPlan::Failed(why), id)?,
                Some(Prompt::Text(text)) => {
                    let attachments = match attached.get(at) {
                        None => &[][..],
                        Some(Ok(attachments)) => attachments,
                        Some(Err(why)) => {
                            self.note(&RowPlan::Failed(why), id)?;
                            continue;
                        }
                    };
                    let own = row.to_le_bytes();
                    let key = key.as_ref().map_or(&own[..], AsRef::as_ref);
                    let content = Content::of(text, attachments);
                    let row_id = (!self.input.dedupe).then_some(key);
                    self.ask((at, row), row_id, id, content).await?;
                }
            }
        }
        Ok(())
    }

    /// Makes the request keys of a slice's rows, which are looked for together.
    fn identify(
        &mut self,
        slice: &Slice,
        keys: Option<&arrow::row::Rows>,
        (prompts, attached): (&Prompts, &[Found]),
    ) -> Result<()> {
        let input = self.input;
        let rows = slice.batch.num_rows();
        self.requests.clear();
        self.prior.begin(rows);
        let most = input
            .limit
            .map_or(u64::MAX, |limit| limit.saturating_sub(self.prompted));
        for (at, number) in (0..rows).zip(0u32..) {
            let chosen = u64::from(number) < most;
            let content = match (prompts.get(at).filter(|_| chosen), attached.get(at)) {
                (Some(Prompt::Text(text)), None) => Content::text(text),
                (Some(Prompt::Text(text)), Some(Ok(attachments))) => Content::of(text, attachments),
                _ => {
                    self.requests.push(None);
                    continue;
                }
            };
            // The key is that of what is asked, and not of what was cut off.
            let InputFit::Asks(text) = input.fit(content.text) else {
                self.requests.push(None);
                continue;
            };
            let content = Content { text, ..content };
            let lost = || Error::internal("a row without a position");
            let own = slice.rows.get(at).ok_or_else(lost)?.to_le_bytes();
            let key = keys.map(|keys| keys.row(at));
            let key = key.as_ref().map_or(&own[..], AsRef::as_ref);
            let row_id = (!input.dedupe).then_some(key);
            let request = input.keyer.key_of(content, row_id);
            self.requests.push(Some(request));
            self.prior.want(number, request, content, row_id);
        }
        Ok(())
    }

    /// A row that has a prompt: a request of its own, or one that is there already. `at` is where it stands
    /// in its slice, and in the source.
    async fn ask(
        &mut self,
        (at, row): (usize, u64),
        row_id: Option<&[u8]>,
        id: Option<RowKey>,
        content: Content<'_>,
    ) -> Result<()> {
        let input = self.input;
        let InputFit::Asks(text) = input.fit(content.text) else {
            return self.note(&RowPlan::Failed(TOO_LONG), id);
        };
        let content = Content { text, ..content };
        let bytes = input.frame.added_len(content);
        if bytes + input.cache_bytes > input.limits.request_bytes_max {
            return self.note(&RowPlan::Failed(TOO_LARGE), id);
        }
        let lost = || Error::internal("a row without a request");
        let request = self.requests.get(at).copied().flatten().ok_or_else(lost)?;
        let place = Place {
            plan: self.plan,
            ordinal: self.tally.requests,
        };
        if let Some(there) = self.prior.find(at, request, content, row_id)? {
            let counts = &mut self.tally.rows;
            let identical = there.plan == self.plan;
            *(if identical {
                &mut counts.identical
            } else {
                &mut counts.answered
            }) += 1;
            return self.record(&RowPlan::Asks(there), id);
        }
        if input.defer {
            return self.note(&RowPlan::Deferred, id);
        }
        if input.dedupe {
            self.prior.ask(request, place)?;
        }
        let known = match id {
            Some(id) => self.prior.had_row(id.hash)?,
            None => false,
        };
        *(if known {
            &mut self.tally.rows.changed
        } else {
            &mut self.tally.rows.new
        }) += 1;
        self.tally.requests += 1;
        self.tally.prompt_bytes += content.text.len() as u64 + BYTES_PER_TOKEN * content.tokens();
        self.record(&RowPlan::Asks(place), id)?;
        self.store(place.ordinal, row, request, (content, bytes))
            .await
    }

    async fn store(
        &mut self,
        ordinal: u64,
        row: u64,
        key: RequestKey,
        (content, bytes): (Content<'_>, u64),
    ) -> Result<()> {
        let Sink::Ledger {
            chunks,
            writer,
            stored,
            ..
        } = &mut self.sink
        else {
            return Ok(());
        };
        if ordinal < *stored {
            return Ok(());
        }
        let mut full = chunks.push(ordinal, row, key, (content, bytes)).await?;
        if full.is_none() && ordinal + 1 == self.input.first {
            let primer = self.input.primes;
            full = chunks.cut().await?;
            full = full.map(|chunk| ChunkStored { primer, ..chunk });
        }
        match full {
            Some(chunk) => writer.write(vec![Action::ChunkStored(chunk)]).await,
            None => Ok(()),
        }
    }

    /// Notes a row that asks nothing, and counts it.
    fn note(&mut self, row: &RowPlan<'_>, id: Option<RowKey>) -> Result<()> {
        let counts = &mut self.tally.rows;
        match row {
            RowPlan::Skipped(why) => {
                counts.skipped += 1;
                self.tally.reasons.count(why.unwrap_or_default());
            }
            RowPlan::Failed(why) => {
                counts.failed += 1;
                self.tally.reasons.fail(why);
            }
            RowPlan::Deferred => counts.deferred += 1,
            RowPlan::Asks(_) => {}
        }
        self.record(row, id)
    }

    fn record(&mut self, row: &RowPlan<'_>, id: Option<RowKey>) -> Result<()> {
        self.next_row += 1;
        match &mut self.sink {
            Sink::Count => {
                if let (Some(gone), Some(id)) = (&mut self.tally.gone, id) {
                    *gone = gone.saturating_sub(u64::from(self.prior.had_row(id.hash)?));
                }
                Ok(())
            }
            Sink::Ledger { rows, .. } => rows.push(row, id),
        }
    }

    /// The rows to come are those of `slice`: their keys go into the row map beside them.
    fn begin(&mut self, slice: &Slice) -> Result<()> {
        let Sink::Ledger { rows, .. } = &mut self.sink else {
            return Ok(());
        };
        let column = |name: &String| {
            let column = slice.batch.column_by_name(name);
            column
                .cloned()
                .ok_or_else(|| Error::internal("a slice without its key"))
        };
        let keys = self.input.key.iter().map(column);
        rows.begin(&keys.collect::<Result<Vec<_>>>()?)
    }

    /// The rows before `row` that were not chosen have no prompt.
    fn skip_to(&mut self, row: u64) -> Result<()> {
        let limit = self.input.limit;
        let why = if limit.is_some_and(|limit| self.prompted >= limit) {
            BEYOND_LIMIT
        } else {
            NOT_SELECTED
        };
        while self.next_row < row {
            self.note(&RowPlan::Skipped(Some(why)), None)?;
        }
        Ok(())
    }

    /// Stores the last chunk; the row map is finished and returned by the caller.
    async fn finish(self) -> Result<(Tally, Option<Box<RowMapWriter>>)> {
        let Sink::Ledger {
            mut chunks,
            rows,
            writer,
            ..
        } = self.sink
        else {
            return Ok((self.tally, None));
        };
        if let Some(chunk) = chunks.cut().await? {
            writer.write(vec![Action::ChunkStored(chunk)]).await?;
        }
        Ok((self.tally, Some(rows)))
    }
}

/// Why a row is skipped that no template was asked about.
const NOT_SELECTED: &str = "not selected by `source.where`";
const BEYOND_LIMIT: &str = "beyond `source.limit`";

pub(crate) const TOO_LONG: &str = "the text is too long for the model's embeddings";
const TOO_LARGE: &str = "the prompt is over the provider's limit for one request";
