//! Which requests are asked again once all that was sent is home, and how. Pure; no I/O.
//!
//! | what came back | is asked again | as |
//! |---|---|---|
//! | failed in passing | so often that it is sent [`RunLimits::sends_max`] times in all | it was |
//! | an answer that breaks its type | `answer.reask` times | the same question, the answer, and what is wrong with it |
//! | an answer that the limit of output cut | while the limit can grow | it was, with a higher limit |
//!
//! Each has a bound of its own, and how much of it a request has used up stands at its chunk.
//!
//! [`RunLimits::sends_max`]: super::limits::RunLimits::sends_max

use serde::Deserialize;

use crate::ledger::action::{ChunkStored, Landed};
use crate::ledger::state::{ChunkState, PlanState, State};
use crate::spec::Job;
use crate::work::price::Price;
use crate::work::progress::AgainCounts;
use crate::work::{Finish, RowStatus, Variant};

/// Times that the limit of output grows where nobody knows how high it may be.
const GROWTHS_MAX: u32 = 3;

/// Why a request is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It failed in passing.
    Failure,
    /// Its answer broke its type.
    Invalid,
    /// Its answer was cut by the limit of output.
    Cut,
}

impl Cause {
    pub(crate) const ALL: [Cause; 3] = [Cause::Failure, Cause::Invalid, Cause::Cut];

    /// Why a request may be asked again of which this came back.
    pub(crate) fn of(status: RowStatus, is_transient: bool, finish: Option<&str>) -> Option<Cause> {
        match status {
            _ if is_transient => Some(Cause::Failure),
            RowStatus::Invalid => Some(Cause::Invalid),
            RowStatus::Truncated if finish == Some(Finish::Length.as_str()) => Some(Cause::Cut),
            _ => None,
        }
    }

    /// How many requests of a batch may be asked again for it.
    pub(crate) fn count(self, landed: &Landed) -> u64 {
        match self {
            Cause::Failure => landed.transient,
            Cause::Invalid => landed.counts.of(RowStatus::Invalid),
            Cause::Cut => landed.cut,
        }
    }
}

/// What a job wants asked again.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AgainRule {
    /// Times that an invalid answer is asked again.
    pub reask: u32,
    /// The model that is asked then, where it is another.
    pub reask_model: Option<String>,
    /// What the limit of output grows by.
    pub grow: Option<f64>,
    /// Whose models these are, and the plan's own one.
    pub model: (String, String),
}

impl AgainRule {
    /// What `job` wants.
    pub(crate) fn of(job: &Job) -> AgainRule {
        let answer = &job.answer;
        let other = answer.reask_model.clone();
        AgainRule {
            reask: answer.reask,
            reask_model: other.filter(|model| *model != job.model.model),
            grow: answer.grow_output_tokens,
            model: (job.model.provider.clone(), job.model.model.clone()),
        }
    }

    /// What the job of `plan` wanted when that was made.
    pub(crate) fn planned(plan: &PlanState) -> AgainRule {
        let job = Job::deserialize(&plan.started.job);
        job.map_or_else(|_| AgainRule::default(), |job| AgainRule::of(&job))
    }

    /// As what the requests of `stored` that came back for `cause` are asked again; nothing if they are not.
    pub(crate) fn next(
        &self,
        plan: &PlanState,
        stored: &ChunkStored,
        cause: Cause,
        sends_max: u32,
    ) -> Option<Variant> {
        let now = &stored.variant;
        match cause {
            Cause::Failure => {
                let failures = stored.failures() + 1;
                let is_plain = now.reasks == 0 && now.growths == 0;
                (failures < sends_max).then(|| Variant {
                    failures: if is_plain { 0 } else { failures },
                    ..now.clone()
                })
            }
            Cause::Invalid => (now.reasks < self.reask).then(|| self.reasked(plan, stored)),
            Cause::Cut => Some(Variant {
                growths: now.growths + 1,
                failures: stored.failures(),
                max_output_tokens: Some(self.grown(plan, stored)?),
                ..now.clone()
            }),
        }
    }

    fn reasked(&self, plan: &PlanState, stored: &ChunkStored) -> Variant {
        let asked = self.of_reask_model(plan, &stored.variant);
        Variant {
            reasks: stored.variant.reasks + 1,
            failures: stored.failures(),
            ..asked
        }
    }

    /// As what the requests of `stored` are asked, if they were to be asked about an invalid answer by another
    /// model than they are now: that one may not be there, and nothing of them was sent.
    pub(crate) fn recast(&self, plan: &PlanState, stored: &ChunkStored) -> Option<Variant> {
        let is_other = stored.variant.reasks > 0 && stored.variant.model != self.reask_model;
        is_other.then(|| self.of_reask_model(plan, &stored.variant))
    }

    /// `variant`, by the model that is asked about invalid answers.
    fn of_reask_model(&self, plan: &PlanState, variant: &Variant) -> Variant {
        let shape = &plan.started.shape;
        let model = self.reask_model.clone();
        let limit = variant.max_output_tokens.unwrap_or(shape.max_output_tokens);
        // What a model cannot say is not asked of it.
        let most = self.output_max(model.as_deref().unwrap_or(&shape.model));
        let limit = limit.min(most.unwrap_or(u32::MAX));
        Variant {
            max_output_tokens: (limit != shape.max_output_tokens).then_some(limit),
            model,
            ..variant.clone()
        }
    }

    /// The next limit of output, if it can grow.
    fn grown(&self, plan: &PlanState, stored: &ChunkStored) -> Option<u32> {
        let (now, shape) = (&stored.variant, &plan.started.shape);
        let limit = now.max_output_tokens.unwrap_or(shape.max_output_tokens);
        self.grow(limit, now.growths, plan.model_of(stored))
    }

    /// The limit of output of `model` after `limit`, which has grown so many times.
    pub(crate) fn grow(&self, limit: u32, growths: u32, model: &str) -> Option<u32> {
        let most = match self.output_max(model) {
            Some(most) => most,
            None if growths < GROWTHS_MAX => u32::MAX,
            None => return None,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a product of what is not negative; what is too large is cut to the most there is"
        )]
        let next = (f64::from(limit) * self.grow?).ceil() as u32;
        let next = next.min(most);
        (next > limit).then_some(next)
    }

    /// The most tokens that an answer of `model` may have, where that is known.
    pub(crate) fn output_max(&self, model: &str) -> Option<u32> {
        let price = Price::of(&self.model.0, model)?;
        Some(u32::try_from(price.output_max).unwrap_or(u32::MAX))
    }
}

/// How many requests of the last round are asked again.
pub(crate) fn asked_again(
    rule: &AgainRule,
    state: &State,
    plan: &PlanState,
    sends_max: u32,
) -> u64 {
    let mut requests = 0;
    for chunk in plan.round(plan.last_round()) {
        let Some(landed) = landed(state, chunk) else {
            continue;
        };
        for cause in causes(state, plan) {
            if rule.next(plan, &chunk.stored, *cause, sends_max).is_some() {
                requests += cause.count(landed);
            }
        }
    }
    requests
}

/// What requests of `plan` may be asked again for: nothing, once its output shows all there is. Then it
/// takes a person who asks for a retry.
pub(crate) fn causes(state: &State, plan: &PlanState) -> &'static [Cause] {
    match state.published_whole(plan.started.plan) {
        None => &Cause::ALL,
        Some(_) => &[],
    }
}

/// How many requests of `plan` were asked again, and what came of it.
pub(crate) fn again_counts(state: &State, plan: &PlanState) -> AgainCounts {
    let mut counts = AgainCounts::default();
    let chunks = || plan.chunks.values().filter(|chunk| !chunk.split);
    // All that went on for one cause did so together.
    let goes_on = |round: u32, is_so: fn(&Variant) -> bool| {
        chunks().any(|next| next.stored.round == round + 1 && is_so(&next.stored.variant))
    };
    for chunk in chunks() {
        let Some(landed) = landed(state, chunk) else {
            continue;
        };
        let (round, variant) = (chunk.stored.round, &chunk.stored.variant);
        let succeeded = landed.counts.of(RowStatus::Succeeded);
        if variant.reasks > 0 {
            counts.reask_succeeded += succeeded;
        } else if goes_on(round, |next| next.reasks == 1) {
            counts.reasked += Cause::Invalid.count(landed);
        }
        if variant.growths > 0 {
            counts.grow_succeeded += succeeded;
        } else if goes_on(round, |next| next.growths == 1) {
            counts.grown += Cause::Cut.count(landed);
        }
    }
    counts
}

/// What came back for `chunk`, if it is home.
fn landed<'a>(state: &'a State, chunk: &'a ChunkState) -> Option<&'a Landed> {
    let landed = state.attempts_of(chunk).filter_map(|a| a.landed.as_ref());
    landed.last()
}

#[cfg(test)]
#[path = "again_tests.rs"]
mod tests;
