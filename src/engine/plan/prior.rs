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

use crate::base::{Error, HashKey, KeyIndex, Result};
use crate::ledger::outcomes::OutcomeVerdicts;
use crate::ledger::requests::RequestKeys;
use crate::ledger::row_map::{Place, RowMapReader};
use crate::ledger::state::{PlanState, State};
use crate::work::{KeyRule, Keyer, RequestKey, RowStatus, Shape};

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
pub(crate) struct PriorAnswers {
    /// Requests that have an answer, and those of the present plan.
    answered: KeyIndex,
    /// Requests that are settled without one: they were cut, or failed for good.
    unanswered: KeyIndex,
    /// Makes the keys of older plans, by their limit of output.
    older: Vec<(u32, Keyer)>,
    /// The rows of the last plan, where they have a key, and how many they are.
    rows: Option<(KeyIndex, u64)>,
}

/// What an earlier outcome is to a request of the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worth {
    /// Its answer.
    Answer,
    /// As good as what asking again would bring.
    Verdict,
    /// It may come out otherwise now.
    Nothing,
}

/// What an outcome under the limit `then` is worth under the limit `now`.
fn worth(status: RowStatus, then: u32, now: u32) -> Worth {
    use RowStatus::{Invalid, Refused, Succeeded, Truncated};
    match status {
        Succeeded | Invalid | Refused => Worth::Answer,
        Truncated if then >= now => Worth::Verdict,
        Truncated => Worth::Nothing,
        _ if then == now => Worth::Verdict,
        _ => Worth::Nothing,
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

impl PriorAnswers {
    /// What the plans before that of `question` left.
    pub(crate) async fn read(
        state: &State,
        question: &PlanQuestion<'_>,
        files: &Files,
        memory: usize,
    ) -> Result<PriorAnswers> {
        let memory = index_memory(memory);
        let mut prior = PriorAnswers {
            answered: KeyIndex::new(files.scratch(), memory)?,
            unanswered: KeyIndex::new(files.scratch(), memory / 2)?,
            older: Vec::new(),
            rows: None,
        };
        // What a trial was refused is worth another try once something has been mended.
        let before = state.plans.range(..question.plan);
        let before = before.filter(|(_, plan)| !trial_failed(state, plan));
        for (_, earlier) in before.clone().filter(|(_, plan)| question.is_like(plan)) {
            prior.learn_rule(question, earlier);
            prior.read_outcomes(state, question, earlier, files).await?;
        }
        let last = before.clone().rfind(|(_, plan)| plan.completed.is_some());
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
        let known = self.older.iter().any(|(known, _)| *known == limit);
        if earlier.key_rule < question.rule && !known {
            let shape = Shape {
                max_output_tokens: limit,
                ..question.shape.clone()
            };
            self.older.push((limit, shape.keyer(earlier.key_rule)));
            self.older
                .sort_by_key(|(limit, _)| std::cmp::Reverse(*limit));
        }
    }

    async fn read_outcomes(
        &mut self,
        state: &State,
        question: &PlanQuestion<'_>,
        earlier: &PlanState,
        files: &Files,
    ) -> Result<()> {
        let plan = plan_number(earlier)?;
        let retry_filter = RetryFilter::of(state, earlier.started.plan);
        let (then, now) = (
            earlier.started.shape.max_output_tokens,
            question.shape.max_output_tokens,
        );
        let chunks = earlier.chunks.values();
        for attempt in chunks.flat_map(|chunk| state.attempts_of(chunk)) {
            if attempt.landed.is_none() {
                continue;
            }
            let mut outcomes = OutcomeVerdicts::open(&files.outcomes(attempt)).await?;
            while let Some(some) = outcomes.next().await? {
                for at in (0..some.len()).filter(|at| !some.is_transient(*at)) {
                    let ordinal = some.ordinal(at);
                    // A person wants it asked again.
                    if retry_filter.holds(ordinal, some.status(at)) {
                        continue;
                    }
                    let index = match worth(some.status(at), then, now) {
                        Worth::Answer => &mut self.answered,
                        Worth::Verdict => &mut self.unanswered,
                        Worth::Nothing => continue,
                    };
                    index.insert(some.key(at).0, Place { plan, ordinal }.pack())?;
                }
            }
        }
        Ok(())
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
            self.learn_rule(question, planned);
            let plan = plan_number(planned)?;
            let requests = files.requests(promised.plan, promised.chunk);
            let mut requests = RequestKeys::open(&requests).await?;
            while let Some(some) = requests.next().await? {
                for at in 0..some.len() {
                    let ordinal = some.ordinals.value(at);
                    let place = Place { plan, ordinal };
                    self.answered.insert(some.key(at).0, place.pack())?;
                }
            }
        }
        Ok(())
    }

    /// Where the request `key`, of this prompt and row id, is settled or was asked already.
    pub(crate) fn find(
        &mut self,
        key: RequestKey,
        prompt: &str,
        row_id: Option<&[u8]>,
    ) -> Result<Option<Place>> {
        if let Some(place) = self.answered.get(key.0)? {
            return Ok(Some(Place::unpack(place)));
        }
        let older = self.older.iter();
        let older: Vec<HashKey> = older
            .map(|(_, keyer)| keyer.key(prompt, row_id).0)
            .collect();
        for key in &older {
            if let Some(place) = self.answered.get(*key)? {
                return Ok(Some(Place::unpack(place)));
            }
        }
        for key in std::iter::once(key.0).chain(older) {
            if let Some(place) = self.unanswered.get(key)? {
                return Ok(Some(Place::unpack(place)));
            }
        }
        Ok(None)
    }

    /// The request `key` is asked by the present plan, at `place`.
    pub(crate) fn ask(&mut self, key: RequestKey, place: Place) -> Result<()> {
        self.answered.insert(key.0, place.pack()).map(|_| ())
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
