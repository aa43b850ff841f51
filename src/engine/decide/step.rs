//! The steps of a run, what each comes to, and which are under way.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Time;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Promise an attempt to send the chunk, and send it.
    Submit {
        /// The number of the chunk in the current plan.
        chunk: u64,
    },
    /// Find out what became of an attempt whose answer we never saw.
    Recover {
        /// The id of the attempt.
        attempt: String,
    },
    /// Look where a batch stands; land it if it has ended.
    Poll {
        /// The id of the attempt that the batch is of.
        attempt: String,
    },
    /// Tell the provider to cancel a batch.
    Cancel {
        /// The id of the attempt that the batch is of.
        attempt: String,
    },
    /// Delete an uploaded body that nothing needs any more.
    Discard {
        /// The id of the attempt that it was uploaded for.
        attempt: String,
    },
    /// Look once more for an attempt that was given up, after another one at its chunk landed.
    Recheck {
        /// The id of the attempt.
        attempt: String,
    },
    /// Land a chunk of one request that the provider finds too large, as failed.
    Fail {
        /// The number of the chunk in the current plan.
        chunk: u64,
    },
    /// Make smaller chunks of one that is too large for the provider.
    Split {
        /// The number of the chunk in the current plan.
        chunk: u64,
    },
    /// Make a chunk of its own of one request of a chunk, to be sent before the others.
    Prime {
        /// The number of the chunk in the current plan.
        chunk: u64,
    },
    /// Make another chunk of one that was to ask a model which the job names no more.
    Recast {
        /// The number of the chunk in the current plan.
        chunk: u64,
    },
    /// Make chunks of what is asked again of the last round.
    Resend {
        /// The round to make.
        round: u32,
    },
    /// Join and publish.
    Publish,
}

/// What a step leaves behind beside what it wrote into the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StepResult {
    /// It is done, and nothing more is to be told.
    Done,
    /// A batch may have been made or not.
    Lost,
    /// It is not to be tried again before this.
    NotBefore(Time),
    /// The same, for this reason of the provider's, which may last for hours.
    Later(Time, String),
    /// This chunk of this plan is to be sent again, and not before this.
    SendAgain(u64, u64, Time),
    /// The chunk of this number has to be made smaller.
    TooLarge(u64),
    /// Nothing more can be done about it in this process.
    GivenUp,
}

/// What the loop knows and the ledger does not.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    /// Steps that are being carried out.
    pub busy: BTreeSet<Step>,
    /// What must not be done before a moment.
    pub not_before: BTreeMap<Step, Time>,
    /// Discards, last looks, and looks at batches that the provider does not show: they failed, and are
    /// not worth another try in this process.
    pub given_up: BTreeSet<Step>,
    /// Chunks of the current plan that the provider found too large for one batch.
    pub too_large: BTreeSet<u64>,
}
