//! A batch from its creation to its end.
//!
//! Nothing runs: where a batch stands is a function of what is kept of it and of the time. A tenth of
//! its time it is validated, then its requests are answered one by one, in an order drawn from the
//! seed, and for the last tenth its results are made ready.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::faults::{Fault, Faults};
use super::random::{mix, named, unit};
use super::record::{Record, Stored, Summary};
use super::store::Object;
use crate::base::Time;

/// The vendors' processing window.
pub(super) const WINDOW: Duration = Duration::from_hours(24);

/// How long cancelling takes at most.
const CANCELLING_MAX: Duration = Duration::from_mins(10);

/// What is kept of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Batch {
    pub(super) id: String,
    pub(super) seq: u64,
    pub(super) dialect: String,
    /// The endpoint its requests are for, as the bill names it.
    pub(super) endpoint: String,
    /// Whose key made it.
    pub(super) owner: String,
    /// The name of its requests in the store.
    pub(super) requests: String,
    pub(super) summary: Summary,
    pub(super) created_at: Time,
    /// From creation to the end, if nobody cancels.
    pub(super) lasts: Duration,
    pub(super) cancelled_at: Option<Time>,
    pub(super) deleted: bool,
    /// Why it failed validation.
    pub(super) failures: Vec<Failure>,
    /// The seed and the faults of the sandbox that made it, so that another one ends it alike.
    pub(super) seed: u64,
    pub(super) faults: String,
    /// What its dialect wants back.
    pub(super) details: Value,
}

/// One reason why validation failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) message: String,
    pub(super) param: Option<String>,
    pub(super) line: Option<u64>,
}

impl Failure {
    /// One that the vendor does not tell of.
    pub(super) fn unsaid() -> Failure {
        Failure {
            code: String::new(),
            message: String::new(),
            param: None,
            line: None,
        }
    }
}

impl Object for Batch {
    const FOLDER: &'static str = "batches";

    fn id(&self) -> &str {
        &self.id
    }

    fn seq(&self) -> u64 {
        self.seq
    }
}

/// Where a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Validating,
    Running,
    Finalizing,
    Cancelling,
    Ended(End),
}

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Cancelled,
    Completed,
    Expired,
    Failed,
}

impl Batch {
    /// Where it stands at `now`.
    pub(super) fn phase(&self, now: Time) -> Phase {
        if now >= self.ends_at() {
            return Phase::Ended(self.end());
        }
        match self.cancelled_at {
            Some(at) if now >= at => Phase::Cancelling,
            _ if now < self.starts_at() => Phase::Validating,
            _ if now < self.finalizes_at() => Phase::Running,
            _ => Phase::Finalizing,
        }
    }

    /// How it ends.
    pub(super) fn end(&self) -> End {
        if self.cancelled_at.is_some() {
            End::Cancelled
        } else if !self.failures.is_empty() {
            End::Failed
        } else if self.lasts > WINDOW {
            End::Expired
        } else {
            End::Completed
        }
    }

    /// When it ends.
    pub(super) fn ends_at(&self) -> Time {
        match (self.end(), self.cancelled_at) {
            (End::Cancelled, Some(at)) => at + (self.lasts / 10).min(CANCELLING_MAX),
            (End::Failed, _) => self.starts_at(),
            _ => self.created_at + self.lasts.min(WINDOW),
        }
    }

    pub(super) fn starts_at(&self) -> Time {
        self.created_at + self.lasts / 10
    }

    pub(super) fn finalizes_at(&self) -> Time {
        self.created_at + self.lasts * 9 / 10
    }

    pub(super) fn expires_at(&self) -> Time {
        self.created_at + WINDOW
    }

    /// The share of its requests that are answered at `now`.
    pub(super) fn share_done(&self, now: Time) -> f64 {
        let now = self
            .cancelled_at
            .map_or(now, |at| at.min(now))
            .min(self.expires_at());
        let run = (self.finalizes_at() - self.starts_at()).as_seconds_f64();
        let ran = (now - self.starts_at()).as_seconds_f64();
        if ran >= run {
            1.0
        } else {
            (ran / run).max(0.0)
        }
    }

    /// Decides what becomes of each request in the end.
    pub(super) fn luck(&self) -> Luck {
        Luck {
            faults: self.faults.parse().unwrap_or_default(),
            key: named(self.seed, &self.id),
            share: self.share_done(self.ends_at()),
            unreached: match self.end() {
                End::Cancelled => Outcome::Cancelled,
                _ => Outcome::Expired,
            },
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Cancelled,
    /// Answered, but cut as by its budget.
    Cut,
    /// Failed in passing.
    Errored,
    Expired,
    /// Answered, until a content filter stopped it.
    Filtered,
    /// Failed for what it is.
    Invalid,
    Refused,
    Succeeded,
    /// Failed because the account's credit is out.
    Unpaid,
    /// Answered with what was not asked for.
    Wrong,
}

impl Outcome {
    /// Whether it is an answer, and so costs money.
    pub(super) fn is_answer(self) -> bool {
        matches!(
            self,
            Outcome::Cut
                | Outcome::Filtered
                | Outcome::Refused
                | Outcome::Succeeded
                | Outcome::Wrong
        )
    }
}

/// The draws of one batch.
#[derive(Clone, Debug)]
pub(super) struct Luck {
    faults: Faults,
    key: u64,
    share: f64,
    unreached: Outcome,
}

impl Luck {
    /// The draws of one online call.
    pub(super) fn online(faults: &Faults, key: u64) -> Self {
        Luck {
            faults: faults.clone(),
            key,
            share: 1.0,
            unreached: Outcome::Expired,
        }
    }

    /// The batch's own draw.
    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// Whether a fault befalls the request at `index`.
    pub(super) fn hits(&self, fault: Fault, index: u64) -> bool {
        self.faults.hits(fault, self.key, index, index)
    }

    /// What becomes of the request at `index`.
    pub(super) fn outcome(&self, index: u64, invalid: bool) -> Outcome {
        let unreached = self.share < 1.0 && unit(mix(self.key ^ mix(!index))) >= self.share;
        if unreached {
            self.unreached
        } else if self.hits(Fault::Expire, index) {
            Outcome::Expired
        } else if invalid {
            Outcome::Invalid
        } else if self.hits(Fault::NoCredit, index) {
            Outcome::Unpaid
        } else if self.hits(Fault::Errored, index) {
            Outcome::Errored
        } else if self.hits(Fault::Refusal, index) {
            Outcome::Refused
        } else if self.hits(Fault::Filter, index) {
            Outcome::Filtered
        } else if self.hits(Fault::MaxTokens, index) {
            Outcome::Cut
        } else if self.hits(Fault::Invalid, index) {
            Outcome::Wrong
        } else {
            Outcome::Succeeded
        }
    }

    /// Whether the line of `record`, the request at `index`, reaches the reader as it is.
    pub(super) fn is_readable(&self, index: u64, record: &Record<'_>) -> bool {
        let spoils = [Fault::Missing, Fault::Garbage];
        !spoils.iter().any(|fault| self.hits(*fault, index)) && !self.is_misindexed(index, record)
    }

    /// Whether its line has vectors of which nobody can tell whose they are.
    pub(super) fn is_misindexed(&self, index: u64, record: &Record<'_>) -> bool {
        matches!(record.shape, Stored::Vectors { .. }) && self.hits(Fault::Misindexed, index)
    }
}
