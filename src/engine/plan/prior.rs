//! What earlier plans know already: requests that are settled, and rows that were there.
//!
//! A request is looked for by its key, and keys are made by a rule ([`KeyRule`]). What the ledger holds
//! under an older rule is found all the same: the prompt's key is made by that rule as well, where the
//! older plan asked the same in all but the limit of output. So a new version of the program pays for
//! nothing again. The reverse cannot happen either: two requests that differ in more than the limit
//! have different keys under every rule.
//!
//! The limit is no part of the newest keys, and what an outcome is worth under another one follows from
//! how it ended. An answer that came to its own end is the answer under any limit. One that was cut is
//! cut under a lower limit too, and is asked again under a higher one. A failure may have been the
//! limit's fault, and nothing was paid for it: under another limit it is asked again.
//!
//! Where outcomes are, the index of the ledger says, for the rows of a slice at a time; what they are
//! worth is judged here, by the state: a person may have asked for a retry since, and what a trial
//! was refused is worth another try once something has been mended.

use std::collections::BTreeMap;

use crate::base::{Error, HashKey, KeyIndex, Result};
use crate::ledger::index::Entry;
use crate::ledger::requests::RequestKeys;
use crate::ledger::row_map::{Place, RowMapReader};
use crate::ledger::state::{PlanState, State};
use crate::work::{Content, KeyRule, Keyer, RequestKey, RowStatus, Shape};

use super::earlier::{EarlierOutcomes, IndexSetup};
use super::retry_filter::RetryFilter;
use crate::engine::context::files::Files;
use crate::engine::context::source::index_memory;
use crate::engine::decide::trial::trial_failed;

/// What a plan asks, and by which keys it looks for that.
#[derive(Debug)]
pub(crate) struct PlanQuestion<'a> {
    /// The plan's number: those before it are the earlier ones.
    pub plan: u64,
    pub shape: &'a Shape,
    pub rule: KeyRule,
}

/// What earlier plans left.
#[derive(Debug)]
pub(crate) struct PriorAnswers<'a> {
    judge: OutcomeJudge<'a>,
    earlier: EarlierOutcomes<'a>,
    /// Requests of the present plan, and those that are most likely answered soon.
    asked: KeyIndex,
    /// Makes the keys of older plans, by their limit of output.
    older: Vec<(u32, Keyer)>,
    /// Whether some of what is asked is there under such a key.
    is_asked_by_older: bool,
    /// The rows of the last plan, where they have a key, and how many they are.
    rows: Option<(KeyIndex, u64)>,
    /// The keys of the rows that are looked at now, by the rows' numbers among them.
    wanted: Vec<(RequestKey, u32)>,
    found: Vec<(u32, Entry)>,
    /// What settles each of these rows.
    settled: Vec<Option<Settled>>,
}

/// What settles a request; the greater, the better it does.
type Settled = (Worth, bool, Place);

/// What an earlier outcome is to a request of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It may come out otherwise now.
    Nothing,
    /// As good as what asking again would bring.
    Verdict,
    /// Its answer.
    Answer,
}

/// What an outcome under the limit `then` is worth under the limit `now`.
fn worth(status: RowStatus, then: u32, now: u32) -> Worth {
    use RowStatus::{Filtered, Invalid, Refused, Succeeded, Truncated};
    match status {
        Succeeded | Invalid | Refused | Filtered => Worth::Answer,
        Truncated if then >= now => Worth::Verdict,
        Truncated => Worth::Nothing,
        _ if then == now => Worth::Verdict,
        _ => Worth::Nothing,
    }
}

/// Judges what outcomes are worth to a plan.
#[derive(Debug)]
struct OutcomeJudge<'a> {
    state: &'a State,
    /// The plan, and its limit of output.
    plan: u64,
    limit: u32,
    /// What is set aside of the plans whose outcomes were met so far.
    plans: BTreeMap<u32, SetAside>,
}

/// What of a plan's outcomes counts for nothing.
#[derive(Debug)]
enum SetAside {
    /// All: its trial failed, or it is none of those before.
    All,
    /// What a person wants asked again.
    Retried(RetryFilter),
}

impl OutcomeJudge<'_> {
    /// How well `entry` settles a request of its key; nothing if it does not.
    fn judge(&mut self, entry: &Entry) -> Option<Settled> {
        let Entry { place, status, .. } = *entry;
        let (state, next) = (self.state, self.plan);
        let set_aside = self.plans.entry(place.plan).or_insert_with(|| {
            let number = u64::from(place.plan);
            let plan = state.plans.get(&number).filter(|_| number < next);
            if plan.is_none_or(|plan| trial_failed(state, plan)) {
                SetAside::All
            } else {
                SetAside::Retried(RetryFilter::of(state, number, next))
            }
        });
        let is_set_aside = match set_aside {
            SetAside::All => true,
            SetAside::Retried(filter) => filter.holds(place.ordinal, status),
        };
        let worth = worth(status, entry.limit, self.limit);
        let counts = !is_set_aside && worth > Worth::Nothing;
        counts.then_some((worth, status == RowStatus::Succeeded, place))
    }
}

impl PlanQuestion<'_> {
    /// Whether `earlier` asked the same of its prompts as far as keys can tell.
    fn is_like(&self, earlier: &PlanState) -> bool {
        let limit = match self.rule {
            KeyRule::WithLimit => self.shape.max_output_tokens,
            KeyRule::WithoutLimit => earlier.started.shape.max_output_tokens,
        };
        let shape = Shape {
            max_output_tokens: limit,
            ..self.shape.clone()
        };
        shape.fingerprint() == earlier.started.fingerprint
    }
}

impl<'a> PriorAnswers<'a> {
    /// What the plans before that of `question` left.
    pub(crate) async fn read(
        setup: IndexSetup<'a>,
        question: &PlanQuestion<'_>,
    ) -> Result<PriorAnswers<'a>> {
        let (state, files, memory) = (setup.state, setup.files, index_memory(setup.memory));
        let mut prior = PriorAnswers {
            judge: OutcomeJudge {
                state,
                plan: question.plan,
                limit: question.shape.max_output_tokens,
                plans: BTreeMap::new(),
            },
            earlier: EarlierOutcomes::open(setup, question.plan).await?,
            asked: KeyIndex::new(files.scratch(), memory)?,
            older: Vec::new(),
            is_asked_by_older: false,
            rows: None,
            wanted: Vec::new(),
            found: Vec::new(),
            settled: Vec::new(),
        };
        let before = state.plans.range(..question.plan);
        for (_, earlier) in before.clone() {
            prior.learn_rule(question, earlier);
        }
        // What a trial was refused is worth another try once something has been mended.
        let mut last = before.rev().filter(|(_, plan)| plan.completed.is_some());
        let last = last.find(|(_, plan)| !trial_failed(state, plan));
        if let Some((number, plan)) = last
            && plan.started.has_key
        {
            prior.rows = Some(read_row_ids(*number, files, memory / 2).await?);
        }
        Ok(prior)
    }

    /// Keeps what makes the keys of `earlier`, where they are made by an older rule.
    fn learn_rule(&mut self, question: &PlanQuestion<'_>, earlier: &PlanState) {
        let limit = earlier.started.shape.max_output_tokens;
        let known = || self.older.iter().any(|(known, _)| *known == limit);
        if earlier.key_rule < question.rule && !known() && question.is_like(earlier) {
            let shape = Shape {
                max_output_tokens: limit,
                ..question.shape.clone()
            };
            self.older.push((limit, shape.keyer(earlier.key_rule)));
        }
    }

    /// Takes what is asked in open batches for answered: it most likely will be.
    pub(crate) async fn expect(
        &mut self,
        state: &State,
        question: &PlanQuestion<'_>,
        files: &Files,
    ) -> Result<()> {
        for attempt in state.open_attempts() {
            let promised = &attempt.promised;
            let planned = state.plans.get(&promised.plan);
            let Some(planned) = planned.filter(|plan| !plan.canceled && question.is_like(plan))
            else {
                continue;
            };
            if attempt.cancel_sent {
                continue;
            }
            self.is_asked_by_older |= planned.key_rule < question.rule;
            let plan = plan_number(planned)?;
            let requests = files.requests(promised.plan, promised.chunk);
            let mut requests = RequestKeys::open(&requests).await?;
            while let Some(some) = requests.next().await? {
                for at in 0..some.len() {
                    let ordinal = some.ordinals.value(at);
                    let place = Place { plan, ordinal };
                    self.asked.insert(some.key(at).0, place.pack())?;
                }
            }
        }
        Ok(())
    }

    /// The rows to come are others: so many.
    pub(crate) fn begin(&mut self, rows: usize) {
        self.wanted.clear();
        self.settled.clear();
        self.settled.resize(rows, None);
    }

    /// The row `row` asks the request `key`, of this prompt and row id.
    pub(crate) fn want(
        &mut self,
        row: u32,
        key: RequestKey,
        content: Content<'_>,
        row_id: Option<&[u8]>,
    ) {
        if self.earlier.is_empty() {
            return;
        }
        self.wanted.push((key, row));
        for (_, keyer) in &self.older {
            self.wanted.push((keyer.key_of(content, row_id), row));
        }
    }

    /// Looks for what the rows ask.
    pub(crate) async fn look_up(&mut self) -> Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        self.earlier.find(&mut self.wanted, &mut self.found).await?;
        for (row, entry) in &self.found {
            let row = usize::try_from(*row).unwrap_or(usize::MAX);
            let better = self.judge.judge(entry);
            if let Some(settled) = self.settled.get_mut(row) {
                *settled = better.max(*settled);
            }
        }
        Ok(())
    }

    /// Where the request `key`, of this prompt and row id, is settled or was asked already. It is what the
    /// row `row` asks.
    pub(crate) fn find(
        &mut self,
        row: usize,
        key: RequestKey,
        content: Content<'_>,
        row_id: Option<&[u8]>,
    ) -> Result<Option<Place>> {
        if let Some(place) = self.asked.get(key.0)? {
            return Ok(Some(Place::unpack(place)));
        }
        if self.is_asked_by_older {
            for (_, keyer) in &self.older {
                if let Some(place) = self.asked.get(keyer.key_of(content, row_id).0)? {
                    return Ok(Some(Place::unpack(place)));
                }
            }
        }
        let settled = self.settled.get(row).copied().flatten();
        Ok(settled.map(|(_, _, place)| place))
    }

    /// The request `key` is asked by the present plan, at `place`.
    pub(crate) fn ask(&mut self, key: RequestKey, place: Place) -> Result<()> {
        self.asked.insert(key.0, place.pack()).map(|_| ())
    }

    /// Whether the last plan had a row of this id.
    pub(crate) fn had_row(&mut self, id: u64) -> Result<bool> {
        match &mut self.rows {
            Some((rows, _)) => Ok(rows.get(padded(id))?.is_some()),
            None => Ok(false),
        }
    }

    /// How many rows the last plan looked at, if they have a key.
    pub(crate) fn last_rows(&self) -> Option<u64> {
        self.rows.as_ref().map(|(_, count)| *count)
    }
}

fn plan_number(plan: &PlanState) -> Result<u32> {
    u32::try_from(plan.started.plan).map_err(|_| Error::data("too many plans"))
}

/// The rows of a plan, by the hash of their key.
async fn read_row_ids(plan: u64, files: &Files, memory: usize) -> Result<(KeyIndex, u64)> {
    let mut ids = KeyIndex::new(files.scratch(), memory)?;
    let mut count = 0;
    for slice in RowMapReader::open(files.open(&files.rows(plan)).await?)? {
        let slice = slice?;
        tokio::task::yield_now().await;
        for id in (0..slice.len()).filter_map(|at| slice.row_id(at)) {
            count += u64::from(ids.insert(padded(id), 0)?.is_none());
        }
    }
    Ok((ids, count))
}

/// A short hash as a key of an index.
fn padded(hash: u64) -> HashKey {
    let mut key = HashKey::default();
    key[16..].copy_from_slice(&hash.to_be_bytes());
    key
}

#[cfg(test)]
#[path = "prior_tests.rs"]
mod tests;
