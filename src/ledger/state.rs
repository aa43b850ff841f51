//! The state of a job: a pure fold of the ledger's actions.

use serde::{Deserialize, Serialize};

use super::action::{
    Accepted, Action, ChunkStored, Landed, LedgerMade, PlanCompleted, PlanStarted, Promised,
    PublishStarted, Published, RetryAsked, RunStarted,
};
use super::shared::SharedMap;
use crate::base::{Error, Result, Time};
use crate::work::{BatchId, KeyRule};

/// What the ledger says, all together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Whose ledger it is.
    pub made: Option<LedgerMade>,
    /// The run that wrote last.
    pub run: Option<RunStarted>,
    /// The rule by which the next plan makes its request keys.
    #[serde(default)]
    pub key_rule: KeyRule,
    /// All plans, by number.
    pub plans: SharedMap<u64, PlanState>,
    /// All attempts, in the order in which they were promised: an attempt's id sorts by time.
    pub attempts: SharedMap<String, Attempt>,
    /// A publication whose end is not known.
    pub publishing: Option<PublishStarted>,
    /// The last publication.
    pub published: Option<Published>,
    /// What was learned of providers' queues, the newest of each last.
    pub queues: Vec<QueueLimit>,
    /// What people asked to be sent again, the newest last.
    pub retries: Vec<RetryAsked>,
}

/// What was learned of a queue at a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLimit {
    /// Whose queue: the fingerprint of endpoint and key.
    pub account: String,
    /// The model; empty where the queue is all models'.
    pub model: String,
    /// What fits in.
    pub limit: u64,
    /// Whether the provider said so.
    pub told: bool,
    /// When it was learned.
    pub at: Time,
}

/// One plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanState {
    /// What it set out to do.
    pub started: PlanStarted,
    /// The rule by which it makes its request keys, from its first row to its last.
    #[serde(default)]
    pub key_rule: KeyRule,
    /// Its chunks, by number.
    pub chunks: SharedMap<u64, ChunkState>,
    /// What it came to.
    #[serde(rename = "sealed")]
    pub completed: Option<PlanCompleted>,
    /// Why it was given up, if it was.
    pub abandoned: Option<String>,
    /// Whether a person asked to cancel it.
    pub canceled: bool,
    /// Whether its prompts and its snapshot were deleted.
    pub prompts_gone: bool,
}

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkState {
    /// What is in it.
    pub stored: ChunkStored,
    /// The attempts to send it, in order.
    pub attempts: Vec<String>,
    /// Whether its requests are in other chunks by now: it will never be sent.
    pub split: bool,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
/// One attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// What was promised.
    pub promised: Promised,
    /// The uploaded body, where there is one.
    pub staged: Option<String>,
    /// Whether that was deleted again.
    pub discarded: bool,
    /// Where it stands.
    pub phase: Phase,
    /// The batch, once the provider took it.
    pub accepted: Option<Accepted>,
    /// Why the provider refused it, if it did.
    pub refusal: Option<String>,
    /// Why the answer to the billable call was lost, where its sender lived to say so.
    pub lost: Option<String>,
    /// The provider's time of the first complete look at its listings after the sender was dead.
    /// Durable, so that restarts do not extend the wait that is counted from here.
    pub sought_since: Option<Time>,
    /// Batches of which one may be its own.
    pub candidates: Vec<BatchId>,
    /// Why nobody can tell whether the provider took it, as far as this run knows.
    pub unsettled: Option<String>,
    /// Whether this run gave it up by a person's word, and not by what was found.
    pub assumed: bool,
    /// Whether it was looked for once more after another batch had landed for its chunk, or for
    /// itself after it had been adopted.
    pub rechecked: bool,
    /// Second batches of its body, canceled.
    pub wasted: Vec<BatchId>,
    /// Whether the provider was told to cancel it.
    pub cancel_sent: bool,
    /// What came of it.
    pub landed: Option<Landed>,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Promised; whether the provider has it is not known.
    Promised,
    /// The provider has it.
    Accepted,
    /// The provider refused it, and would take it later.
    RejectedForNow,
    /// The provider refused it for good.
    RejectedForGood,
    /// The provider never had it.
    Absent,
    /// Its results are ours.
    Landed,
}

impl Phase {
    /// Whether something may still come of it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Phase::Promised | Phase::Accepted)
    }
}

impl PlanState {
    /// The chunks of a round in the order of their requests, which none shares with another: without
    /// those that were split.
    #[must_use]
    pub fn round(&self, round: u32) -> Vec<&ChunkState> {
        let chunks = self.chunks.values();
        let mut chunks: Vec<_> = chunks
            .filter(|chunk| chunk.stored.round == round && !chunk.split)
            .collect();
        chunks.sort_by_key(|chunk| chunk.stored.first);
        chunks
    }

    /// The number of the next chunk.
    #[must_use]
    pub fn next_chunk(&self) -> u64 {
        self.chunks.keys().next_back().map_or(0, |last| last + 1)
    }

    /// Whether `chunk` is of the requests that are tried first: one chunk, or several where that was
    /// split.
    #[must_use]
    pub fn is_trial(&self, chunk: &ChunkState) -> bool {
        chunk.stored.round == 0 && chunk.stored.first < self.started.trial
    }

    /// The model that the requests of `chunk` ask.
    #[must_use]
    pub fn model_of<'a>(&'a self, chunk: &'a ChunkStored) -> &'a str {
        let other = chunk.variant.model.as_deref();
        other.unwrap_or(&self.started.shape.model)
    }

    /// The newest round.
    #[must_use]
    pub fn last_round(&self) -> u32 {
        let rounds = self.chunks.values().map(|chunk| chunk.stored.round);
        rounds.max().unwrap_or_default()
    }
}

impl State {
    /// Takes in one more fact.
    ///
    /// # Errors
    /// `Data` if the fact cannot follow what went before: the ledger is corrupt.
    pub fn apply(&mut self, action: &Action) -> Result<()> {
        match action {
            Action::LedgerMade(made) => self.made = Some(made.clone()),
            Action::RunStarted(run) => self.start_run(run),
            Action::RequestKeys { rule } => self.key_rule = *rule,
            Action::PlanStarted(started) => self.start_plan(started)?,
            Action::ChunkStored(stored) => self.store_chunk(stored)?,
            Action::ChunkSplit { plan, chunk } => self.chunk_mut(*plan, *chunk)?.split = true,
            Action::PlanCompleted(completed) => {
                self.plan_mut(completed.plan)?.completed = Some(completed.clone());
            }
            Action::PlanAbandoned { plan, why } => {
                self.plan_mut(*plan)?.abandoned = Some(why.clone());
            }
            Action::Promised(promised) => self.promise(promised)?,
            Action::QueueFull {
                account,
                model,
                limit,
                told,
                at,
            } => self.learn(QueueLimit {
                account: account.clone(),
                model: model.clone(),
                limit: *limit,
                told: *told,
                at: *at,
            }),
            Action::CancelAsked { plan } => self.plan_mut(*plan)?.canceled = true,
            Action::RetryAsked(asked) => self.retries.push(asked.clone()),
            Action::PublishStarted(started) => self.publishing = Some(started.clone()),
            Action::Published(published) => {
                self.publishing = None;
                self.published = Some((**published).clone());
            }
            Action::Cleaned { plan } => self.plan_mut(*plan)?.prompts_gone = true,
            Action::Staged { attempt, .. }
            | Action::Rejected { attempt, .. }
            | Action::Absent { attempt, .. }
            | Action::Lost { attempt, .. }
            | Action::Sought { attempt, .. }
            | Action::Unsettled { attempt, .. }
            | Action::Rechecked { attempt }
            | Action::Wasted { attempt, .. }
            | Action::CancelSent { attempt }
            | Action::Discarded { attempt }
            | Action::Accepted(Accepted { attempt, .. }) => {
                self.attempt_mut(attempt)?.apply(action);
            }
            Action::Landed(landed) => self.attempt_mut(&landed.attempt)?.apply(action),
        }
        Ok(())
    }

    /// The newest plan that was not given up.
    #[must_use]
    pub fn plan(&self) -> Option<&PlanState> {
        self.plans
            .values()
            .next_back()
            .filter(|plan| plan.abandoned.is_none())
    }

    /// The number of the newest plan, given up or not.
    #[must_use]
    pub fn last_plan(&self) -> Option<u64> {
        self.plans.keys().next_back().copied()
    }

    /// The number of the next plan.
    #[must_use]
    pub fn next_plan(&self) -> u64 {
        self.last_plan().map_or(0, |last| last + 1)
    }

    /// Whether somebody asked for a retry, and no plan has been made since.
    #[must_use]
    pub fn is_retry_asked(&self) -> bool {
        let last = self.retries.last();
        last.is_some_and(|asked| asked.plan + 1 == self.next_plan())
    }

    /// The publication that shows all that has landed of `plan`, if there is one. Its rows may be
    /// `pending`.
    #[must_use]
    pub fn shown(&self, plan: u64) -> Option<&Published> {
        let shows = |published: &&Published| {
            published.plan == plan && published.landed == self.landed_count(plan)
        };
        self.published.as_ref().filter(shows)
    }

    /// The same, where no row of it is still to get an answer.
    #[must_use]
    pub fn published_whole(&self, plan: u64) -> Option<&Published> {
        self.shown(plan).filter(|published| !published.partial)
    }

    /// Whether nothing more will come of `chunk`: its results are ours, or its requests are in other
    /// chunks.
    #[must_use]
    pub fn is_home(&self, chunk: &ChunkState) -> bool {
        let mut attempts = self.attempts_of(chunk);
        chunk.split || attempts.any(|attempt| attempt.phase == Phase::Landed)
    }

    /// The attempts of a chunk, in order.
    pub fn attempts_of<'a>(&'a self, chunk: &'a ChunkState) -> impl Iterator<Item = &'a Attempt> {
        chunk.attempts.iter().filter_map(|id| self.attempts.get(id))
    }

    /// The attempts of which something may still come.
    pub fn open_attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.attempts
            .values()
            .filter(|attempt| attempt.phase.is_open())
    }

    /// How many attempts of a plan have landed.
    #[must_use]
    pub fn landed_count(&self, plan: u64) -> u64 {
        let landed = |a: &&Attempt| a.promised.plan == plan && a.landed.is_some();
        self.attempts.values().filter(landed).count() as u64
    }

    /// A new run looks again at what the last one gave up on, and may send again what was refused:
    /// something may have been mended meanwhile.
    fn start_run(&mut self, run: &RunStarted) {
        self.run = Some(run.clone());
        let was_given_up = |attempt: &Attempt| {
            let is_refused = attempt.phase == Phase::RejectedForGood;
            attempt.unsettled.is_some() || attempt.assumed || is_refused
        };
        for attempt in self.attempts.values_mut(was_given_up) {
            attempt.unsettled = None;
            attempt.assumed = false;
            if attempt.phase == Phase::RejectedForGood {
                attempt.phase = Phase::RejectedForNow;
            }
        }
    }

    /// The newest word about a queue replaces the older ones.
    fn learn(&mut self, queue: QueueLimit) {
        self.queues
            .retain(|old| (&old.account, &old.model) != (&queue.account, &queue.model));
        self.queues.push(queue);
    }

    fn start_plan(&mut self, started: &PlanStarted) -> Result<()> {
        if started.plan != self.next_plan() {
            return Err(corrupt("a plan is out of order", "plan", started.plan));
        }
        let plan = PlanState {
            started: started.clone(),
            key_rule: self.key_rule,
            chunks: SharedMap::default(),
            completed: None,
            abandoned: None,
            canceled: false,
            prompts_gone: false,
        };
        self.plans.insert(started.plan, plan);
        Ok(())
    }

    fn store_chunk(&mut self, stored: &ChunkStored) -> Result<()> {
        let chunks = &mut self.plan_mut(stored.plan)?.chunks;
        let chunk = ChunkState {
            stored: stored.clone(),
            attempts: Vec::new(),
            split: false,
        };
        match chunks.insert(stored.chunk, chunk) {
            Some(_) => Err(corrupt("a chunk is stored twice", "chunk", stored.chunk)),
            None => Ok(()),
        }
    }

    fn promise(&mut self, promised: &Promised) -> Result<()> {
        let chunk = self.chunk_mut(promised.plan, promised.chunk)?;
        chunk.attempts.push(promised.attempt.clone());
        let attempt = Attempt {
            promised: promised.clone(),
            staged: None,
            discarded: false,
            phase: Phase::Promised,
            accepted: None,
            refusal: None,
            lost: None,
            sought_since: None,
            candidates: Vec::new(),
            unsettled: None,
            assumed: false,
            rechecked: false,
            wasted: Vec::new(),
            cancel_sent: false,
            landed: None,
        };
        match self.attempts.insert(promised.attempt.clone(), attempt) {
            Some(_) => Err(corrupt(
                "an attempt is promised twice",
                "attempt",
                &promised.attempt,
            )),
            None => Ok(()),
        }
    }

    fn plan_mut(&mut self, plan: u64) -> Result<&mut PlanState> {
        self.plans
            .get_mut(&plan)
            .ok_or_else(|| corrupt("no such plan", "plan", plan))
    }

    fn chunk_mut(&mut self, plan: u64, chunk: u64) -> Result<&mut ChunkState> {
        let chunks = &mut self.plan_mut(plan)?.chunks;
        chunks
            .get_mut(&chunk)
            .ok_or_else(|| corrupt("no such chunk", "chunk", chunk))
    }

    fn attempt_mut(&mut self, attempt: &str) -> Result<&mut Attempt> {
        self.attempts
            .get_mut(attempt)
            .ok_or_else(|| corrupt("no such attempt", "attempt", attempt))
    }
}

impl Attempt {
    fn apply(&mut self, action: &Action) {
        match action {
            Action::Staged { file, .. } => self.staged = Some(file.clone()),
            Action::Accepted(accepted) => {
                self.phase = Phase::Accepted;
                self.accepted = Some(accepted.clone());
                self.candidates.clear();
            }
            Action::Rejected { again, why, .. } => {
                self.refusal = Some(why.clone());
                self.phase = if *again {
                    Phase::RejectedForNow
                } else {
                    Phase::RejectedForGood
                };
            }
            Action::Absent { assumed, .. } => {
                self.phase = Phase::Absent;
                self.assumed = *assumed;
                self.candidates.clear();
            }
            Action::Lost { why, .. } => self.lost = Some(why.clone()),
            Action::Sought {
                as_of, candidates, ..
            } => {
                self.sought_since.get_or_insert(*as_of);
                self.candidates.clone_from(candidates);
            }
            Action::Unsettled { why, .. } => self.unsettled = Some(why.clone()),
            Action::Rechecked { .. } => self.rechecked = true,
            Action::Wasted { batch, .. } => self.wasted.push(batch.clone()),
            Action::CancelSent { .. } => self.cancel_sent = true,
            Action::Discarded { .. } => self.discarded = true,
            Action::Landed(landed) => {
                self.phase = Phase::Landed;
                self.landed = Some((**landed).clone());
            }
            _ => {}
        }
    }
}

fn corrupt(message: &str, key: &'static str, value: impl std::fmt::Display) -> Error {
    Error::data(format!("the ledger is corrupt: {message}")).with(key, value)
}
