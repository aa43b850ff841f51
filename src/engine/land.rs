//! Landing: everything that an ended batch holds, durable in an outcome part.
//!
//! However a batch ended, its files are read first and it is judged afterwards: by what is there,
//! line by line, never by the provider's word for the whole. What no line speaks of is counted by
//! how the batch ended.

use tracing::warn;

use crate::base::{Components, Error, Result};
use crate::ledger::action::{ChunkStored, Landed, Oddities, stored_counts};
use crate::ledger::outcomes::OutcomesWriter;
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::state::Attempt;
use crate::provider::Provider;
use crate::work::price::{Price, Tariff, micro_usd};
use crate::work::{
    AnswerType, BatchStatus, BatchView, CustomId, Outcome, RowStatus, StatusCounts, Usage,
};

use super::files::Files;
use super::harvest::Harvest;
use super::points;
use super::poll::failed_in_passing;
use super::slots::Slots;

/// Bytes of outcomes that a landing holds in memory; more of them lie in a file.
const SPOOL_MEMORY: usize = 8 << 20;

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
            components: self.components,
            take_what_is_there: self.take_what_is_there,
            slots: Slots::new(count, self.files.scratch(), SPOOL_MEMORY),
            oddities: Oddities::default(),
            answered: 0,
        };
        harvest.gather(view).await?;
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
            Outcome {
                transient: failed_in_passing(view),
                ..Outcome::without_answer(RowStatus::Failed, why.into())
            }
        }
        _ => Outcome::without_answer(
            RowStatus::Missing,
            "the provider's files say nothing of it".into(),
        ),
    }
}
