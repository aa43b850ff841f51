//! What of a plan says something of the provider's prompt cache, and what goes before the rest. Pure; no I/O.
//!
//! A chunk whose requests mark their prefix is sent only where the entry is there to be read; what writes it
//! is one request that goes first, as a batch of its own. Where nobody is sure to read it, a chunk goes
//! without marks, and costs what it costs without a cache.

use std::time::Duration;

use crate::base::{Error, Result, Time};
use crate::ledger::action::{ChunkStored, Landed};
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::spec::CacheSetting;
use crate::work::caching::tokens_of;
use crate::work::price::{Price, Tariff};
use crate::work::{CacheStyle, CacheTerms, CacheUse, Prefix, RowStatus};

use super::chunk::{ChunkStatus, chunk_status};

/// How the requests of a job use the provider's cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum CachePolicy {
    /// They say nothing of it.
    #[default]
    Nothing,
    /// They all say this.
    Always(CacheUse),
    /// They mark what they share, where that is expected to be read.
    Marked {
        /// For how long it is kept.
        kept: CacheUse,
        /// What it costs, as far as that is known.
        terms: Option<CacheTerms>,
        /// Whether a person says that it is worth it.
        is_asked_for: bool,
    },
}

/// A policy, and what it rests on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheChoice {
    pub policy: CachePolicy,
    /// Tokens of what all requests share, about.
    pub prefix_tokens: u64,
    /// From how many tokens on the model caches, where that is known.
    pub cached_min: Option<u64>,
    /// What caching that costs, where it is known and the prefix is long enough.
    pub terms: Option<CacheTerms>,
    /// Why nothing is said, or what else a person should know.
    pub why: Option<String>,
}

/// Requests of a primer, where no trial is one.
pub(crate) const PRIMER: u64 = 1;
/// Primers in a row that may be in vain, before the rest goes without marks.
const IN_VAIN_MAX: usize = 2;

impl CacheChoice {
    /// How requests with this `prefix` use the cache of `provider`, as a job says by `setting`.
    ///
    /// # Errors
    /// `Invalid` if the provider keeps nothing for the time that the job says.
    pub(crate) fn of(
        setting: CacheSetting,
        prefix: Prefix,
        (provider, model): (&str, &str),
    ) -> Result<CacheChoice> {
        let price = Price::of(provider, model);
        let tokens = tokens_of(prefix.bytes);
        let kept = match (setting, prefix.style) {
            (CacheSetting::Minutes, CacheStyle::Marked) => CacheUse::Minutes,
            (_, CacheStyle::Marked) => CacheUse::Hour,
            (CacheSetting::Auto | CacheSetting::Off, CacheStyle::Automatic) => CacheUse::Key,
            (CacheSetting::Minutes | CacheSetting::Hour, CacheStyle::Automatic) => {
                return Err(no_such_life(provider));
            }
        };
        let facts = Facts {
            prefix,
            price,
            tokens,
            model,
        };
        let is_long = |price: &&Price| tokens >= price.cached_min;
        let terms = price.filter(is_long).map(|price| facts.terms(kept, price));
        let (policy, why) = match setting {
            CacheSetting::Off => facts.off(),
            CacheSetting::Auto => facts.auto(kept),
            CacheSetting::Minutes | CacheSetting::Hour => facts.asked_for(kept),
        };
        Ok(CacheChoice {
            policy,
            prefix_tokens: tokens,
            cached_min: price.map(|price| price.cached_min),
            terms,
            why,
        })
    }
}

fn no_such_life(provider: &str) -> Error {
    Error::invalid("the provider keeps nothing in its cache for a time that one may choose")
        .with("key", "prompt.cache")
        .with("provider", provider)
        .hint("write `cache = \"auto\"` under `[prompt]`: it caches by itself what requests begin with")
}

/// What a policy follows from.
struct Facts<'a> {
    prefix: Prefix,
    price: Option<&'static Price>,
    tokens: u64,
    model: &'a str,
}

/// A policy, and why it is none or what to mind.
type Reasoned = (CachePolicy, Option<String>);

impl Facts<'_> {
    /// Where a provider caches by itself and takes money for writing, it is told not to.
    fn off(&self) -> Reasoned {
        let is_charged = self
            .price
            .is_some_and(|price| price.batch.cache_write_5m > price.batch.input);
        let is_automatic = self.prefix.style == CacheStyle::Automatic && !self.prefix.is_own;
        if is_automatic && is_charged {
            return (CachePolicy::Always(CacheUse::Off), None);
        }
        (CachePolicy::Nothing, Some("`prompt.cache` is off".into()))
    }

    /// What is cached where that is possible, and pays.
    fn auto(&self, kept: CacheUse) -> Reasoned {
        let nothing = |why: String| (CachePolicy::Nothing, Some(why));
        if let Some(why) = self.hindrance() {
            return nothing(why);
        }
        let Some(price) = self.price else {
            let hint = match self.prefix.style {
                CacheStyle::Marked => "; `cache = \"1h\"` marks it all the same",
                CacheStyle::Automatic => "",
            };
            return nothing(format!(
                "this version knows no prices of `{}`, and so not whether it pays{hint}",
                self.model
            ));
        };
        if self.tokens < price.cached_min {
            return nothing(format!(
                "all requests share about {} tokens, and {} caches from {} on",
                self.tokens, price.model, price.cached_min
            ));
        }
        if self.prefix.style == CacheStyle::Automatic {
            return (CachePolicy::Always(kept), None);
        }
        let terms = Some(self.terms(kept, price));
        let is_asked_for = false;
        let policy = CachePolicy::Marked {
            kept,
            terms,
            is_asked_for,
        };
        (policy, None)
    }

    /// What a person asks for, whatever it costs.
    fn asked_for(&self, kept: CacheUse) -> Reasoned {
        if let Some(why) = self.hindrance() {
            return (CachePolicy::Nothing, Some(why));
        }
        let terms = self.price.map(|price| self.terms(kept, price));
        let short = self.price.filter(|price| self.tokens < price.cached_min);
        let why = short.map(|price| {
            format!(
                "`prompt.cache` asks for it, and it may do nothing: all requests share about {} tokens, and \
                 {} caches from {} on",
                self.tokens, price.model, price.cached_min
            )
        });
        let is_asked_for = true;
        let policy = CachePolicy::Marked {
            kept,
            terms,
            is_asked_for,
        };
        (policy, why)
    }

    /// What keeps anything from being said of the cache.
    fn hindrance(&self) -> Option<String> {
        if self.prefix.is_own {
            return Some("`model.params` says itself what is cached".into());
        }
        (self.tokens == 0)
            .then(|| "the requests share no system prompt, and nothing else can be cached".into())
    }

    fn terms(&self, kept: CacheUse, price: &Price) -> CacheTerms {
        let rates = price.rates(Tariff::Batch, self.tokens);
        CacheTerms::new(kept, rates, self.tokens)
    }
}

impl CachePolicy {
    /// What requests may say of the cache; they may also say nothing.
    pub(crate) fn uses(&self) -> Option<CacheUse> {
        match self {
            CachePolicy::Nothing => None,
            CachePolicy::Always(cache) => Some(*cache),
            CachePolicy::Marked { kept, .. } => Some(*kept),
        }
    }

    /// From how many requests on a primer of `cold` requests is worth it; never, where nothing is primed.
    pub(crate) fn worth_from(&self, cold: u64) -> Option<u64> {
        match self {
            CachePolicy::Nothing | CachePolicy::Always(_) => None,
            CachePolicy::Marked {
                is_asked_for: true, ..
            } => Some(cold + 1),
            CachePolicy::Marked { terms, .. } => terms.as_ref()?.worth_from(cold),
        }
    }

    /// How many of the first of `requests` at most go before the others.
    pub(crate) fn primer(&self, requests: u64) -> u64 {
        let is_worth = self.worth_from(PRIMER).is_some_and(|from| requests >= from);
        if is_worth { PRIMER } else { 0 }
    }
}

/// What the chunks of a plan do now about the provider's cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caching {
    /// Whatever is sent says this, or nothing.
    Says(Option<CacheUse>),
    /// This chunk goes first, and alone, and says this.
    Primes(u64, CacheUse),
    /// One request of this chunk is to go first.
    Parts(u64),
    /// Nothing is sent: for a primer is under way, or it is not known yet whether one is worth it.
    Waits,
}

impl Caching {
    /// Whether `chunk` may be sent now. One for another model reads nothing of what the plan's own model
    /// has cached, and leaves nothing there.
    pub(crate) fn lets(self, chunk: &ChunkStored) -> bool {
        match self {
            _ if chunk.variant.model.is_some() => true,
            Caching::Says(_) => true,
            Caching::Primes(primer, _) => primer == chunk.chunk,
            Caching::Parts(_) | Caching::Waits => false,
        }
    }

    /// What the requests of `chunk` say of the cache, if it is sent now.
    pub(crate) fn says(self, chunk: &ChunkStored) -> Option<CacheUse> {
        match self {
            _ if chunk.variant.model.is_some() => None,
            Caching::Says(cache) => cache,
            Caching::Primes(primer, cache) if primer == chunk.chunk => Some(cache),
            Caching::Primes(..) | Caching::Parts(_) | Caching::Waits => None,
        }
    }
}

/// What the chunks of `plan` do about the provider's cache at `now`.
///
/// `account` is the fingerprint of endpoint and key: a cache is read by the account that wrote it alone.
pub(crate) fn caching(
    (policy, account): (&CachePolicy, &str),
    state: &State,
    plan: &PlanState,
    now: Time,
) -> Caching {
    let (kept, life) = match policy {
        CachePolicy::Nothing => return Caching::Says(None),
        CachePolicy::Always(cache) => return Caching::Says(Some(*cache)),
        CachePolicy::Marked { kept, .. } => (*kept, kept.life().unwrap_or_default()),
    };
    // A batch begins some time after it is sent: half of the life must be left.
    if is_warm(state, plan, (kept, account), now + life / 2) {
        return Caching::Says(Some(kept));
    }
    let own = || plan.chunks.values().filter(|chunk| asks_as_planned(chunk));
    let primers = || own().filter(|chunk| goes_first(chunk));
    if primers().any(|chunk| matches!(chunk_status(state, chunk), ChunkStatus::Open)) {
        return Caching::Waits;
    }
    if is_in_vain(state, plan) {
        return Caching::Says(None);
    }
    let unsent = |chunk: &&ChunkState| matches!(chunk_status(state, chunk), ChunkStatus::Unsent);
    let first = primers().find(unsent);
    let cold = first.map_or(PRIMER, |chunk| chunk.stored.requests);
    let left = own().filter(unsent);
    let left: u64 = left.map(|chunk| chunk.stored.requests).sum();
    let is_whole = plan.completed.is_some();
    if policy.worth_from(cold).is_none_or(|from| left < from) {
        return if is_whole {
            Caching::Says(None)
        } else {
            Caching::Waits
        };
    }
    match first.or_else(|| own().find(unsent)) {
        Some(chunk) if goes_first(chunk) => Caching::Primes(chunk.stored.chunk, kept),
        // New chunks are numbered after the last one, which is known once all are there.
        Some(chunk) if is_whole => Caching::Parts(chunk.stored.chunk),
        _ => Caching::Waits,
    }
}

/// Whether `chunk` asks the plan's own model, whose cache it is.
fn asks_as_planned(chunk: &ChunkState) -> bool {
    chunk.stored.variant.model.is_none()
}

/// Whether `chunk` can go before others: it was made for that, or is as small.
fn goes_first(chunk: &ChunkState) -> bool {
    chunk.stored.primer || chunk.stored.requests == PRIMER
}

/// The attempts at primers of `plan` that the provider has, and whose answers are to come.
pub(crate) fn open_primers<'a>(
    state: &'a State,
    plan: &'a PlanState,
) -> impl Iterator<Item = &'a Attempt> {
    let primers = plan.chunks.values().filter(|chunk| chunk.stored.primer);
    let attempts = primers.flat_map(|chunk| state.attempts_of(chunk));
    attempts.filter(|attempt| attempt.phase == Phase::Accepted && attempt.promised.cache.is_some())
}

/// Whether what the requests of `plan` share is in the provider's cache until `until`: as long as its life
/// after the last batch that used it has ended.
fn is_warm(
    state: &State,
    plan: &PlanState,
    (kept, account): (CacheUse, &str),
    until: Time,
) -> bool {
    let life = kept.life().unwrap_or(Duration::ZERO);
    let alike = |attempt: &&Attempt| {
        let of = state.plans.get(&attempt.promised.plan);
        of.is_some_and(|of| of.started.fingerprint == plan.started.fingerprint)
            && attempt.promised.cache == Some(kept)
            && attempt.promised.account == account
    };
    let used = state.attempts.values().filter(alike);
    let used = used.filter_map(|attempt| last_use(attempt, life));
    used.max().is_some_and(|at| until < at + life)
}

/// When the batch of `attempt` last used the cache, if it did and that can be told: its end, which is soon
/// after its last answer. Of one that took longer than an entry lives nobody knows whether that is still so.
fn last_use(attempt: &Attempt, life: Duration) -> Option<Time> {
    let landed = attempt.landed.as_ref()?;
    let accepted = attempt.accepted.as_ref();
    let began = accepted.and_then(|accepted| accepted.created_at);
    let began = began.unwrap_or(attempt.promised.at);
    let ended = landed.ended_at.unwrap_or(began);
    (landed.usage.cached() > 0 && ended <= began + life).then_some(ended)
}

/// Whether primers are of no use: the provider shows that what is marked is not cached, or entries are gone
/// before anything reads them. Those that came home since something was sent behind one count.
fn is_in_vain(state: &State, plan: &PlanState) -> bool {
    let attempts = || {
        let chunks = plan.chunks.values().filter(|chunk| asks_as_planned(chunk));
        chunks.flat_map(|chunk| {
            let attempts = state.attempts_of(chunk);
            attempts.map(move |attempt| (goes_first(chunk), attempt))
        })
    };
    let is_marked = |attempt: &Attempt| attempt.promised.cache.is_some_and(|c| c.life().is_some());
    let behind = attempts().filter(|(is_primer, attempt)| !is_primer && is_marked(attempt));
    let last = behind.map(|(_, attempt)| attempt.promised.at).max();
    let since = |attempt: &Attempt| last.is_none_or(|last| attempt.promised.at > last);
    let primers = attempts().filter(|(is_primer, attempt)| {
        *is_primer && is_marked(attempt) && attempt.landed.is_some() && since(attempt)
    });
    let landed: Vec<_> = primers.filter_map(|(_, a)| a.landed.as_ref()).collect();
    let shows_nothing =
        |landed: &&Landed| landed.counts.of(RowStatus::Succeeded) > 0 && landed.usage.cached() == 0;
    landed.len() >= IN_VAIN_MAX || landed.iter().any(shows_nothing)
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
