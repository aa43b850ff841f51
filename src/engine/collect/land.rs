//! Landing: everything that an ended batch holds, durable in an outcome part.
//!
//! However a batch ended, its files are read first and it is judged afterwards: by what is there,
//! line by line, never by the provider's word for the whole. What no line speaks of is counted by
//! how the batch ended.

use tracing::warn;

use crate::base::{Components, Error, ErrorKind, Result};
use crate::ledger::action::{ChunkStored, Landed, Oddities};
use crate::ledger::outcomes::OutcomesWriter;
use crate::ledger::requests::RequestKeys;
use crate::ledger::state::Attempt;
use crate::provider::{Provider, Seen};
use crate::work::price::{Pricing, Tariff, micro_usd, saved};
use crate::work::{
    BatchFailure, BatchStatus, BatchView, CustomId, Finish, Judge, Outcome, RowStatus,
    StatusCounts, Usage,
};

use super::harvest::Harvest;
use super::lines::BodyLines;
use super::slots::Slots;
use crate::engine::context::files::Files;
use crate::engine::context::points;
use crate::engine::decide::again::Cause;

/// Bytes of outcomes that a landing holds in memory; more of them lie in a file. Of vectors that is where
/// they lie in any case.
const SPOOL_MEMORY: usize = 8 << 20;
const SPOOL_OF_VECTORS: usize = 1 << 20;

/// What became of a landing.
#[derive(Debug)]
pub(crate) enum LandResult {
    /// The outcomes are durable, and are still to be written down.
    Home(Box<Landed>),
    /// The provider counts answers that it does not show, or does not say whose they are. They were
    /// paid, and a person has to say what becomes of them.
    NotShown(Error),
}

/// One batch to land, and what it takes.
#[derive(Debug)]
pub(crate) struct Landing<'a> {
    pub attempt: &'a Attempt,
    pub chunk: &'a ChunkStored,
    pub judge: &'a Judge,
    pub pricing: Pricing,
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
    pub(crate) async fn land(&self, view: &BatchView) -> Result<LandResult> {
        let count = usize::try_from(self.chunk.requests).unwrap_or(usize::MAX);
        let lines = self.lines(count).await?;
        let spool = match self.judge.dimensions() {
            Some(_) => SPOOL_OF_VECTORS,
            None => SPOOL_MEMORY,
        };
        let mut harvest = Harvest {
            ids: CustomId::new(&self.attempt.promised.nonce, self.chunk.chunk),
            judge: self.judge,
            provider: self.provider,
            components: self.components,
            take_what_is_there: self.take_what_is_there,
            lines,
            slots: Slots::new(count, self.files.scratch(), spool),
            oddities: Oddities::default(),
        };
        if let Seen::Unseen(error) = harvest.gather(view).await? {
            return Ok(LandResult::NotShown(error));
        }
        tell_oddities(view, harvest.oddities);
        let lost = harvest.lost(view);
        if lost > 0 && !self.take_what_is_there {
            return Ok(LandResult::NotShown(unmatched(lost, harvest.oddities)));
        }
        let Sums {
            counts,
            transient,
            account,
            cut,
            usage,
            cost,
            uncached,
        } = self.write(view, &harvest.slots).await?;
        Ok(LandResult::Home(Box::new(Landed {
            attempt: self.attempt.promised.attempt.clone(),
            status: view.status.clone(),
            error: view.errors.first().map(|_| view.said()),
            counts,
            transient,
            account,
            cut,
            usage,
            cost_micros: self.pricing.is_known().then(|| micro_usd(cost)),
            cache_saved_micros: (self.pricing.is_known() && usage.cached() > 0)
                .then(|| saved(uncached, cost)),
            ended_at: view.ended_at,
            oddities: harvest.oddities,
        })))
    }

    /// Which requests each line of the body carries, where lines carry several.
    async fn lines(&self, requests: usize) -> Result<Option<BodyLines>> {
        if self.chunk.lines.is_none() {
            return Ok(None);
        }
        let promised = &self.attempt.promised;
        let place = self.files.requests(promised.plan, promised.chunk);
        let lines = BodyLines::read(RequestKeys::open_with_lines(&place).await?).await?;
        if lines.requests_in_all() == requests {
            return Ok(Some(lines));
        }
        Err(Error::data(
            "a chunk has another number of requests than the ledger says",
        ))
    }

    /// Writes the part: each request of the chunk, in order.
    async fn write(&self, view: &BatchView, slots: &Slots) -> Result<Sums> {
        let promised = &self.attempt.promised;
        let place = self.files.outcomes(self.attempt);
        let draft = self
            .files
            .draft(&format!("outcomes-{}.parquet", promised.attempt));
        let mut writer = OutcomesWriter::create(
            &draft,
            (&promised.attempt, &view.id.0),
            self.judge.dimensions(),
        )?;
        let requests = self.files.requests(promised.plan, promised.chunk);
        let mut requests = RequestKeys::open(&requests).await?;
        let mut sums = Sums::default();
        let silence = silence(view, self.provider.capability().names_all);
        let (mut n, mut buffer) = (0, Vec::new());
        while let Some(some) = requests.next().await? {
            for at in 0..some.len() {
                if n >= slots.len() {
                    return Err(Error::data(
                        "a chunk has more requests than the ledger says",
                    ));
                }
                let found = slots.take(n, &mut buffer)?;
                let outcome = found.as_ref().unwrap_or(&silence);
                sums.add(outcome, self.pricing);
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
    account: u64,
    /// Cut by the limit of output.
    cut: u64,
    usage: Usage,
    /// In millionths of a millionth of a US dollar.
    cost: u128,
    /// What it would have cost without a cache.
    uncached: u128,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome<'_>, pricing: Pricing) {
        self.counts.add(outcome.status, 1);
        self.transient += u64::from(outcome.transient);
        self.account += u64::from(outcome.account);
        let finish = outcome.finish.map(Finish::as_str);
        let cause = Cause::of(outcome.status, outcome.transient, finish);
        self.cut += u64::from(cause == Some(Cause::Cut));
        self.usage += outcome.usage;
        self.cost += pricing.cost(Tariff::Batch, &outcome.usage);
        self.uncached += pricing.cost(Tariff::Batch, &outcome.usage.uncached());
    }
}

/// Answers were counted, so paid, and no line of the results says whose they are.
fn unmatched(answers: u64, oddities: Oddities) -> Error {
    Error::new(
        ErrorKind::Refused,
        "the provider counts answers, and its results do not say whose they are",
    )
    .with("answers", answers)
    .with("unreadable_lines", oddities.broken)
    .with("lines_of_others", oddities.strangers)
}

/// What a request is of which the result files say nothing. Where the provider's results name every
/// request (`names_all`), those that were not reached too, it is missing, however the batch ended.
fn silence(view: &BatchView, names_all: bool) -> Outcome<'static> {
    let missing = || {
        let why = "the provider's files say nothing of it";
        Outcome::without_answer(RowStatus::Missing, why.into())
    };
    match view.status {
        _ if names_all && !view.results.is_empty() => missing(),
        BatchStatus::Expired => Outcome::without_answer(RowStatus::Expired, "expired".into()),
        BatchStatus::Canceled => Outcome::without_answer(RowStatus::Canceled, "canceled".into()),
        BatchStatus::Failed => {
            let said = view.said();
            let why = if said.is_empty() {
                "the batch failed, and the provider does not say why".to_owned()
            } else {
                said
            };
            let stays = matches!(
                view.failure,
                Some(BatchFailure::Requests | BatchFailure::TooLarge)
            );
            Outcome {
                transient: !stays,
                ..Outcome::without_answer(RowStatus::Failed, why.into())
            }
        }
        _ => missing(),
    }
}
