//! What may be in the provider's queue at once: chunks wait their turn. Pure; no I/O.
//!
//! A provider counts what is enqueued (requests for Anthropic, prompt tokens of a model for
//! `OpenAI`), and tells its limit only by refusing more. So the limit is the job's own, or it is
//! learned: from the refusal's sentence, else from what was under way when it came. A refusal is no
//! failure; the chunk is as good as before.

use std::time::Duration;

use chrono::TimeDelta;

use crate::base::Time;
use crate::base::backoff::Growing;
use crate::ledger::action::{Action, ChunkStored};
use crate::ledger::state::{Attempt, ChunkState, Phase, QueueLimit, State};
use crate::provider::{Capability, QueueUnit};
use crate::spec::ModelSpec;
use crate::work::caching::BYTES_PER_TOKEN;
use crate::work::{Api, RowStatus};

/// A provider's queue, as one model of one account meets it.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// What is counted.
    pub unit: QueueUnit,
    /// The fingerprint of endpoint and key.
    pub account: String,
    /// The model.
    pub model: String,
    /// The job's own limit.
    pub limit: Option<u64>,
}

/// Whether a chunk may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now.
    Enter,
    /// When it has been made smaller.
    Split,
    /// When something has left.
    Wait,
}

/// How long a limit is believed: one that the provider named, and one that was inferred. Limits are
/// raised, and others may have filled the queue.
const TOLD: TimeDelta = TimeDelta::hours(24);
const INFERRED: TimeDelta = TimeDelta::hours(1);
/// Refusals in a row, with nothing of ours in the queue, after which a chunk counts as too large.
const REFUSALS_MAX: usize = 3;
/// Tokens of a request beside its texts: of the marks around its messages.
const TOKENS_BESIDE: u64 = 9;
/// Requests that must have been counted before their ratio of tokens to bytes is believed.
const COUNTED_MIN: u64 = 20;

/// How long a chunk waits after a "not now" that named no time; twice as long each time in a row, and
/// ten minutes at most.
const LATER: Growing = Growing::doubling(Duration::from_secs(30), Duration::from_mins(10));
/// How long it waits at least when the queue was full: who may enter is decided by what is in it.
pub(crate) const QUEUE_WAIT: Duration = Duration::from_secs(5);

impl Queue {
    /// The queue that a job meets at its provider.
    pub(crate) fn of(capability: &Capability, model: &ModelSpec) -> Queue {
        Queue {
            unit: capability.queue,
            account: capability.account.clone(),
            model: model.model.clone(),
            limit: model.max_enqueued,
        }
    }

    /// The queue that the requests of `chunk` meet, which may ask another model.
    pub(crate) fn for_chunk(&self, chunk: &ChunkStored) -> Queue {
        let other = chunk.variant.model.clone();
        Queue {
            model: other.unwrap_or_else(|| self.model.clone()),
            ..self.clone()
        }
    }

    /// Whose queue it is: the model's where its tokens are counted; nobody's in particular where all
    /// models of the account share one.
    pub(crate) fn counted_by(&self) -> &str {
        match self.unit {
            QueueUnit::PromptTokens => &self.model,
            QueueUnit::Requests => "",
        }
    }

    /// Whether `learned` speaks of this queue. What older versions learned of a shared one bears the
    /// name of the model that they met it with.
    fn is_this(&self, learned: &QueueLimit) -> bool {
        let is_shared = self.unit == QueueUnit::Requests;
        learned.account == self.account && (is_shared || learned.model == self.model)
    }

    /// How full it is now, and how full it may be, as far as the ledger knows.
    pub(crate) fn gauge(&self, state: &State, now: Time) -> Gauge {
        let mut gauge = Gauge {
            limit: self.limit(state, now),
            enqueued: 0,
            price: self.price(state),
        };
        // What nobody can settle must not keep the others waiting for ever.
        let open = state.open_attempts().filter(|attempt| {
            attempt.unsettled.is_none()
                && attempt.promised.account == self.account
                && (self.unit == QueueUnit::Requests
                    || model_of(state, attempt) == Some(&*self.model))
        });
        let chunks = open.filter_map(|attempt| chunk_of(state, attempt));
        gauge.enqueued = chunks.map(|chunk| gauge.weigh(&chunk.stored)).sum();
        gauge
    }

    /// What fits in, as far as anybody knows.
    fn limit(&self, state: &State, now: Time) -> Option<u64> {
        let learned = state
            .queues
            .iter()
            .rfind(|queue| self.is_this(queue))
            .filter(|queue| now - queue.at < if queue.told { TOLD } else { INFERRED })
            .map(|queue| queue.limit);
        learned.into_iter().chain(self.limit).min()
    }

    fn price(&self, state: &State) -> Price {
        match self.unit {
            QueueUnit::Requests => Price::Requests,
            QueueUnit::PromptTokens => self.tokens_per_byte(state),
        }
    }

    /// Prompt tokens of a body: by what the model's landed batches had, else by rule of thumb.
    fn tokens_per_byte(&self, state: &State) -> Price {
        let (mut counted, mut tokens, mut of_bytes) = (0, 0, 0);
        for attempt in state.attempts.values() {
            let Some(landed) = &attempt.landed else {
                continue;
            };
            let succeeded = landed.counts.of(RowStatus::Succeeded);
            // A batch that ended early says too little of its bytes.
            let whole = succeeded == attempt.promised.requests;
            if whole && model_of(state, attempt) == Some(&*self.model) {
                let usage = &landed.usage;
                counted += succeeded;
                of_bytes += attempt.promised.body_bytes;
                tokens += usage.input + usage.cache_read + usage.cache_write_5m;
            }
        }
        if counted >= COUNTED_MIN && tokens > 0 {
            return Price::Tokens { tokens, of_bytes };
        }
        self.planned(state).unwrap_or(Price::Tokens {
            tokens: 1,
            of_bytes: BYTES_PER_TOKEN,
        })
    }

    /// The same by the prompts of the newest plan that knows them all, and by rule of thumb.
    fn planned(&self, state: &State) -> Option<Price> {
        let plans = state.plans.values().rev();
        let mut plans = plans.filter(|plan| plan.started.shape.model == self.model);
        let (plan, completed) = plans.find_map(|plan| Some((plan, plan.completed.as_ref()?)))?;
        let system = plan.started.shape.system.as_ref().map_or(0, String::len) as u64;
        let tokens = (completed.prompt_bytes + completed.requests * system) / BYTES_PER_TOKEN;
        let chunks = plan.round(0);
        let of_bytes: u64 = chunks.iter().map(|chunk| chunk.stored.body_bytes).sum();
        let beside = match plan.started.shape.api {
            // There are no messages, and no marks around them.
            Api::Embeddings => 0,
            _ => TOKENS_BESIDE,
        };
        (of_bytes > 0).then_some(Price::Tokens {
            tokens: tokens + completed.requests * beside,
            of_bytes,
        })
    }
}

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gauge {
    /// What fits in.
    limit: Option<u64>,
    /// What is in it of ours; what may be there counts.
    enqueued: u64,
    price: Price,
}

/// What a chunk takes of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Price {
    /// Its requests.
    Requests,
    /// So many tokens for so many bytes of its body.
    Tokens { tokens: u64, of_bytes: u64 },
}

impl Gauge {
    /// Whether `chunk` may enter now. `entering` is the weight of those that are on their way and
    /// not in the ledger yet.
    pub(crate) fn admit(&self, chunk: &ChunkStored, entering: u64) -> Admission {
        let Some(limit) = self.limit else {
            return Admission::Enter;
        };
        let (weight, ahead) = (self.weigh(chunk), self.enqueued + entering);
        if weight > limit && chunk.requests > 1 {
            return Admission::Split;
        }
        // One request that is over the limit by our count may be within it by the provider's.
        if ahead == 0 || ahead + weight <= limit {
            return Admission::Enter;
        }
        Admission::Wait
    }

    /// What a refusal of `chunk`, the latest of `refusals` in a row, teaches of the limit, and
    /// whether the provider named it.
    pub(crate) fn lesson(
        &self,
        chunk: &ChunkStored,
        refusals: usize,
        named: Option<u64>,
    ) -> Option<(u64, bool)> {
        let weight = self.weigh(chunk);
        match named {
            Some(limit) if self.enqueued + weight > limit => Some((limit, true)),
            // What we count is within the limit, so that others are in the queue, or we count less
            // than the provider does.
            _ if self.enqueued > 0 => Some((self.enqueued, false)),
            _ if refusals >= REFUSALS_MAX && chunk.requests > 1 => {
                Some(((weight / 2).max(1), false))
            }
            _ => None,
        }
    }

    /// What a chunk takes of the queue.
    pub(crate) fn weigh(&self, chunk: &ChunkStored) -> u64 {
        match self.price {
            Price::Requests => chunk.requests,
            Price::Tokens { tokens, of_bytes } => {
                let bytes = u128::from(chunk.body_bytes);
                let tokens = bytes * u128::from(tokens) / u128::from(of_bytes.max(1));
                u64::try_from(tokens).unwrap_or(u64::MAX).max(1)
            }
        }
    }
}

/// How many times in a row the provider has refused `chunk` until now.
pub(crate) fn refusals(state: &State, chunk: &ChunkState) -> usize {
    let attempts: Vec<&Attempt> = state.attempts_of(chunk).collect();
    let refused = |attempt: &&&Attempt| attempt.phase == Phase::RejectedForNow;
    attempts.iter().rev().take_while(refused).count()
}

/// What the refusal of `chunk` says of the queue, if anything.
pub(crate) fn learn(
    queue: &Queue,
    state: &State,
    chunk: &ChunkStored,
    (refusals, named): (usize, Option<u64>),
    now: Time,
) -> Option<Action> {
    let (limit, told) = queue.gauge(state, now).lesson(chunk, refusals, named)?;
    Some(Action::QueueFull {
        account: queue.account.clone(),
        model: queue.counted_by().to_owned(),
        limit,
        told,
        at: now,
    })
}

/// How long to wait at least after a full queue: a little where something was learned of its limit, for
/// who may enter follows from what is in it; else longer each time.
pub(crate) fn wait_for_room(has_learned: bool, refusals: usize) -> Duration {
    if has_learned {
        QUEUE_WAIT
    } else {
        later(refusals)
    }
}

/// How long to wait after so many refusals in a row.
pub(crate) fn later(refusals: usize) -> Duration {
    LATER.after(u32::try_from(refusals.saturating_sub(1)).unwrap_or(u32::MAX))
}

fn chunk_of<'a>(state: &'a State, attempt: &Attempt) -> Option<&'a ChunkState> {
    let plan = state.plans.get(&attempt.promised.plan)?;
    plan.chunks.get(&attempt.promised.chunk)
}

fn model_of<'a>(state: &'a State, attempt: &Attempt) -> Option<&'a str> {
    let plan = state.plans.get(&attempt.promised.plan)?;
    let chunk = plan.chunks.get(&attempt.promised.chunk)?;
    Some(plan.model_of(&chunk.stored))
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
