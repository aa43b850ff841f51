//! The facts of the ledger, as they are stored: about chunks, attempts and plans, never about rows.
//!
//! A reader keeps what it does not know: unknown fields are ignored, while an unknown action stops
//! it, for it may change what everything else means.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::Time;
use crate::work::{
    BatchId, BatchStatus, CacheUse, KeyRule, Pin, RowStatus, Shape, StatusCounts, Usage, Variant,
};

/// One fact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// The ledger was made, for this job and no other.
    LedgerMade(LedgerMade),
    /// A process began to work on the job.
    RunStarted(RunStarted),
    /// From here on plans make their request keys by this rule. A program that does not know the rule
    /// would take answered requests for new ones: it stops here.
    RequestKeys {
        /// The rule.
        rule: KeyRule,
    },
    /// A plan was begun: what will be read, and what will be asked.
    PlanStarted(Box<PlanStarted>),
    /// A chunk's requests are durable.
    ChunkStored(ChunkStored),
    /// A chunk was too large for the provider's queue, or for a batch: it will never be sent, and
    /// its requests are in chunks of their own, stored in the same commit.
    ChunkSplit {
        /// The number of the plan.
        plan: u64,
        /// The number of the chunk in the plan.
        chunk: u64,
    },
    /// Every row has been looked at; the row map is durable.
    #[serde(rename = "plan_sealed")]
    PlanCompleted(PlanCompleted),
    /// A plan will never be finished: the source or the job changed under it.
    PlanAbandoned {
        /// The number of the plan.
        plan: u64,
        /// Why, for people.
        why: String,
    },
    /// An attempt is about to be made. Durable before anything billable leaves this machine.
    Promised(Promised),
    /// The body was uploaded under this name.
    Staged {
        /// Of which attempt.
        attempt: String,
        /// The provider's name for it.
        file: String,
    },
    /// The provider took the batch.
    Accepted(Accepted),
    /// The provider certainly did not take it.
    Rejected {
        /// The id of the attempt.
        attempt: String,
        /// What the provider said.
        why: String,
        /// Whether the same chunk may be sent again.
        again: bool,
    },
    /// The provider's queue was full: so much fits in, in its own unit (requests, or prompt tokens
    /// of a model).
    QueueFull {
        /// Whose queue: the fingerprint of endpoint and key.
        account: String,
        /// The model, for the queue is one model's where tokens are counted; empty where all models
        /// of the account share one.
        model: String,
        /// What fits in.
        limit: u64,
        /// Whether the provider said so; else it is what was under way when it refused more.
        told: bool,
        /// When, by our clock. Limits change, and so this is not believed for ever.
        at: Time,
    },
    /// The answer to the billable call was lost: whether the provider took the batch is not known.
    Lost {
        /// The id of the attempt.
        attempt: String,
        /// When: nothing can have been sent after this moment.
        at: Time,
        /// What went wrong.
        why: String,
    },
    /// The provider's listings, read to their end after the attempt's sender was dead, show nothing
    /// that is surely of the attempt. Written at the first such look, from which `settle` counts,
    /// and whenever the candidates change.
    Sought {
        /// The id of the attempt.
        attempt: String,
        /// When the listing began: by the provider's clock, or by ours where it does not say.
        as_of: Time,
        /// Batches of which one may be ours; only their results can tell.
        candidates: Vec<BatchId>,
    },
    /// Nobody can tell whether the provider took the attempt, and waiting will not settle it, or is
    /// not wanted: a person must say. Holds for the run that wrote it; the next one looks again.
    Unsettled {
        /// The id of the attempt.
        attempt: String,
        /// Why.
        why: String,
    },
    /// Nothing of the attempt is at the provider, and nothing can come any more.
    Absent {
        /// The id of the attempt.
        attempt: String,
        /// Whether that is a person's word (`on_ambiguous = "resubmit"`) and not what was found.
        assumed: bool,
    },
    /// After another attempt at its chunk had landed, one that had been given up was looked for
    /// once more. What was found was canceled and is `wasted`.
    Rechecked {
        /// The id of the attempt.
        attempt: String,
    },
    /// A second batch of one body was found, and canceled: money that may be lost.
    Wasted {
        /// Of which attempt.
        attempt: String,
        /// The superfluous batch.
        batch: BatchId,
    },
    /// A cancel was asked for, by a person. Open batches are to be canceled and harvested, and
    /// nothing more is submitted for the plan.
    CancelAsked {
        /// Which plan.
        plan: u64,
    },
    /// A person asked for requests that have no answer to be sent again. The next plan asks them anew.
    RetryAsked(RetryAsked),
    /// The provider was told to cancel the batch.
    CancelSent {
        /// The id of the attempt.
        attempt: String,
    },
    /// Everything that an ended batch holds is durable in an outcome part.
    Landed(Box<Landed>),
    /// The uploaded body was deleted at the provider.
    Discarded {
        /// Which attempt's.
        attempt: String,
    },
    /// The output is about to become visible.
    PublishStarted(PublishStarted),
    /// The output is visible.
    Published(Box<Published>),
    /// The prompts and the snapshot of a plan were deleted, for nothing needs them any more.
    Cleaned {
        /// Which plan.
        plan: u64,
    },
}

/// Requests that a person asked to be sent again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAsked {
    /// The last plan at that time: outcomes of it, and of those before it, are meant.
    pub plan: u64,
    /// All requests whose outcome has one of these statuses.
    #[serde(default)]
    pub statuses: Vec<RowStatus>,
    /// And these, whatever status they have, unless they were answered.
    #[serde(default)]
    pub requests: Vec<RequestPlace>,
    /// When it was written, by the clock of the run.
    pub at: Time,
}

/// A request, by where it was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestPlace {
    /// The plan.
    pub plan: u64,
    /// Its number within the plan.
    pub ordinal: u64,
}

/// The first fact of every ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerMade {
    /// The ledger's own id.
    pub ledger: String,
    /// The job's name.
    pub job: String,
    /// What the job reads: its address, or its query's file.
    pub source: String,
    /// The key columns.
    pub key: Vec<String>,
    /// The output beside which the ledger was made, where its place follows from the output: see
    /// `LedgerSpec::output`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// A process began to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The run's id.
    pub run: String,
    /// The command, such as `run`.
    pub command: String,
    /// The version of the program.
    pub version: String,
    /// When it was written, by the clock of the run.
    pub at: Time,
}

/// A plan was begun.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanStarted {
    /// Its number: 0, 1, 2, …
    pub plan: u64,
    /// The run that began it.
    pub run: String,
    /// When it was written, by the clock of the run.
    pub at: Time,
    /// The fingerprint of the parts of the job that make a plan.
    pub digest: String,
    /// The resolved job, whole.
    pub job: Value,
    /// What all its requests share.
    pub shape: Shape,
    /// The fingerprint of that.
    pub fingerprint: String,
    /// The source's files; for a query, those of its snapshot.
    pub pins: Vec<Pin>,
    /// Whether the files are a snapshot in the ledger.
    pub snapshot: bool,
    /// Rows of the source.
    pub rows: u64,
    /// Whether the row id is a key, and not the row's position.
    pub has_key: bool,
    /// How many of the first requests form a chunk of their own, that is tried before the others.
    pub trial: u64,
    /// Whether new requests of it are deferred to a later plan, and nothing is sent.
    #[serde(default)]
    pub deferred: bool,
}

/// A chunk's requests are durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkStored {
    /// The number of the plan.
    pub plan: u64,
    /// Its number within the plan.
    pub chunk: u64,
    /// 0 for what is sent for the first time; n for what is sent for the nth time again.
    #[serde(rename = "wave")]
    pub round: u32,
    /// The first ordinal. The others follow it, or stand in the file where `listed`.
    pub first: u64,
    /// Whether the ordinals are a list with gaps.
    pub listed: bool,
    /// How many requests.
    pub requests: u64,
    /// How many lines its body has, where they carry several requests each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Bytes of the body as it is sent.
    pub body_bytes: u64,
    /// The nonce of its first body. The chunk's size was drawn from it.
    pub nonce: String,
    /// Whether it is sent before the others, so that these can read what it leaves in the provider's
    /// cache.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub primer: bool,
    /// What its requests differ in from those of the plan's shape, where they do.
    #[serde(default, skip_serializing_if = "Variant::is_plain")]
    pub variant: Variant,
}

impl ChunkStored {
    /// How many times its requests failed in passing before.
    #[must_use]
    pub fn failures(&self) -> u32 {
        // Who only failed in passing did so in every round before.
        match (self.variant.reasks, self.variant.growths) {
            (0, 0) => self.round,
            _ => self.variant.failures,
        }
    }
}

/// Every row has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCompleted {
    /// Which plan.
    pub plan: u64,
    /// Its distinct new requests.
    pub requests: u64,
    /// Rows by what the plan made of them.
    pub rows: PlanCounts,
    /// Bytes of all prompts of new requests: what the token estimate starts from.
    pub prompt_bytes: u64,
}

/// Rows by what a plan made of them. They sum to the rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanCounts {
    /// The row's request is new; it is the first row to ask it.
    pub new: u64,
    /// As new, for a row that an earlier plan asked something else for.
    pub changed: u64,
    /// The row's request is that of an earlier row.
    pub identical: u64,
    /// The row's request was settled, or is under way, in an earlier plan.
    pub answered: u64,
    /// There is no prompt for the row.
    pub skipped: u64,
    /// The row's request cannot be sent at all.
    pub failed: u64,
    /// The row's request is new, and is not to be sent now.
    pub deferred: u64,
}

impl PlanCounts {
    /// All rows.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.new
            + self.changed
            + self.identical
            + self.answered
            + self.skipped
            + self.failed
            + self.deferred
    }
}

/// An attempt is about to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promised {
    /// Its id: unique, and sent along where the provider has room for it.
    pub attempt: String,
    /// The number of the plan.
    pub plan: u64,
    /// Of which chunk.
    pub chunk: u64,
    /// Which attempt at the chunk it is; the first is 1.
    pub number: u32,
    /// The nonce of its body.
    pub nonce: String,
    /// The body's requests.
    pub requests: u64,
    /// The body's bytes.
    pub body_bytes: u64,
    /// The provider's short name.
    pub provider: String,
    /// The fingerprint of endpoint and key.
    pub account: String,
    /// When, by our clock.
    pub at: Time,
    /// What each request of the body says of the provider's cache; `body_bytes` counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheUse>,
}

/// The provider took the batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// The id of the attempt.
    pub attempt: String,
    /// The provider's batch.
    pub batch: BatchId,
    /// When it was made, by the provider's clock.
    pub created_at: Option<Time>,
    /// When the provider gives up on it.
    pub expires_at: Option<Time>,
    /// Whether it was found afterwards, its answer having been lost.
    pub adopted: bool,
}

/// Everything that an ended batch holds is durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Landed {
    /// The id of the attempt.
    pub attempt: String,
    /// How the batch ended.
    #[serde(deserialize_with = "BatchStatus::stored")]
    pub status: BatchStatus,
    /// Why it failed as a whole, if it did.
    pub error: Option<String>,
    /// Its requests by outcome.
    pub counts: StatusCounts,
    /// How many of them are worth another attempt.
    pub transient: u64,
    /// How many of those failed for the account's sake, and wait until that is mended.
    #[serde(default)]
    pub account: u64,
    /// How many were cut by the limit of output, and may be whole under a higher one.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cut: u64,
    /// What was used.
    pub usage: Usage,
    /// What that cost, in millionths of a US dollar; `None` where no price is known.
    pub cost_micros: Option<u64>,
    /// What the provider's cache saved of it, in the same; less than nothing where more was paid for
    /// writing than was saved by reading. `None` where neither happened, or no price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_saved_micros: Option<i64>,
    /// When the batch ended, by the provider's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
    /// What was wrong with the result files.
    pub oddities: Oddities,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands on a reference"
)]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What was wrong with a batch's result files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Oddities {
    /// Lines for a request that had one already.
    pub duplicates: u64,
    /// Lines for ids that are not the batch's.
    pub strangers: u64,
    /// Lines that could not be read, or that name no request.
    pub broken: u64,
}

impl std::ops::AddAssign for Oddities {
    fn add_assign(&mut self, other: Self) {
        self.duplicates += other.duplicates;
        self.strangers += other.strangers;
        self.broken += other.broken;
    }
}

/// The output is about to become visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishStarted {
    /// The publication's id; also its staging's.
    pub publish: String,
    /// The number of the plan.
    pub plan: u64,
    /// The fingerprint of the plan and of the output's settings.
    pub digest: String,
    /// The address of the output.
    pub output: String,
    /// The parts that it shows.
    pub landed: u64,
    /// Whether rows without an answer yet are shown as `pending`, because a person said so.
    pub partial: bool,
}

/// The output is visible.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The publication's id.
    pub publish: String,
    /// The number of the plan.
    pub plan: u64,
    /// The fingerprint of the plan and of the output's settings.
    pub digest: String,
    /// The address of the output.
    pub output: String,
    /// Its rows by status.
    pub rows: StatusCounts,
    /// The outcomes that it shows: parts landed later make it out of date.
    pub landed: u64,
    /// Whether rows without an answer are shown as `pending`, because a person said so.
    pub partial: bool,
    /// When it was written, by the clock of the run.
    pub at: Time,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_an_older_version_cleaned_is_clean() {
        let stored = r#"{"action":"cleaned","plan":3,"prompts_only":true}"#;
        let read: Action = serde_json::from_str(stored).expect("known");
        assert_eq!(read, Action::Cleaned { plan: 3 });
    }
}
