//! The provider's batch, as it last told us.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::base::Time;

/// The provider's name for a batch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(pub String);

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a batch stands. Every ended status may carry results, so that each is harvested first and
/// judged afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Accepted, not started.
    Validating,
    /// Being worked on.
    InProgress,
    /// A cancel was asked for; it has not ended yet.
    Canceling,
    /// Ended by itself.
    Completed,
    /// Refused as a whole; nothing ran.
    Failed,
    /// Ended by its window; some requests may be done.
    Expired,
    /// Ended by a cancel; some requests may be done.
    Canceled,
    /// The provider took it, and has no such batch any more: a person said that this is how it ended.
    Gone,
    /// A word this version does not know. Polled on, until the provider's maximum age.
    Unknown(String),
}

impl BatchStatus {
    /// As a ledger has it. Older versions wrote what is gone as a word that the provider might have said.
    ///
    /// # Errors
    /// If it is none.
    pub fn stored<'de, D: Deserializer<'de>>(stored: D) -> Result<BatchStatus, D::Error> {
        Ok(match BatchStatus::deserialize(stored)? {
            BatchStatus::Unknown(word) if word == "gone" => BatchStatus::Gone,
            status => status,
        })
    }

    /// Whether nothing more will come of it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        use BatchStatus::{Canceled, Completed, Expired, Failed, Gone};
        matches!(self, Completed | Failed | Expired | Canceled | Gone)
    }
}

impl fmt::Display for BatchStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BatchStatus::Validating => "validating",
            BatchStatus::InProgress => "in progress",
            BatchStatus::Canceling => "canceling",
            BatchStatus::Completed => "completed",
            BatchStatus::Failed => "failed",
            BatchStatus::Expired => "expired",
            BatchStatus::Canceled => "canceled",
            BatchStatus::Gone => "gone",
            BatchStatus::Unknown(word) => word,
        })
    }
}

/// How many of a batch's requests are where, as far as the provider tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// All of them. Zero where the provider has not counted yet.
    pub total: u64,
    /// Answered.
    pub succeeded: u64,
    /// Ended in any other way.
    pub failed: u64,
}

/// A file of results at the provider, opaque to everyone but the provider's own client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResultFile(pub String);

/// Why a batch failed as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchError {
    /// The provider's code, such as `token_limit_exceeded`; empty where it gave none.
    pub code: String,
    /// The provider's sentence.
    pub message: String,
    /// The line of the input that it speaks of.
    pub line: Option<u64>,
}

/// What a failure of a whole batch means, as the provider's client judges it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchFailure {
    /// The account may not have it now: its money, or what it may use. Once that is mended, the
    /// requests are as good as before.
    Account,
    /// Nothing that was said speaks of the requests: they are as good as before.
    Passing,
    /// The queue had no room for it; so much fits in, where the provider says so, in its own unit.
    QueueFull(Option<u64>),
    /// What is in it is wrong, and stays so.
    Requests,
    /// Its one request is larger than the provider takes, and stays so. Said of it by us: the provider
    /// refused the body, and made no batch.
    TooLarge,
}

impl BatchView {
    /// A batch of which nothing is known but its id and where it stands.
    #[must_use]
    pub fn bare(id: BatchId, status: BatchStatus) -> Self {
        BatchView {
            id,
            status,
            counts: RequestCounts::default(),
            created_at: None,
            expires_at: None,
            ended_at: None,
            as_of: None,
            results: Vec::new(),
            awaited: false,
            errors: Vec::new(),
            failure: None,
            input_file: None,
            nonce: None,
        }
    }

    /// What it means that the batch failed as a whole, if it did and nothing of it ran: one that
    /// answered some of its requests first has results like any other.
    #[must_use]
    pub fn failed_as_a_whole(&self) -> Option<BatchFailure> {
        let ran = self.counts.succeeded > 0 || !self.results.is_empty();
        self.failure
            .filter(|_| self.status == BatchStatus::Failed && !ran)
    }

    /// A chunk of one request that the provider finds too large, as a batch that failed: what it `said`.
    #[must_use]
    pub fn too_large(said: String) -> Self {
        let error = BatchError {
            code: "too_large".to_owned(),
            message: said,
            line: None,
        };
        BatchView {
            errors: vec![error],
            failure: Some(BatchFailure::TooLarge),
            ..BatchView::bare(BatchId(String::new()), BatchStatus::Failed)
        }
    }

    /// The provider's own word for why it failed, code and sentence; empty where it gave none.
    #[must_use]
    pub fn said(&self) -> String {
        let Some(error) = self.errors.first() else {
            return String::new();
        };
        match (&*error.code, &*error.message) {
            ("", message) => message.to_owned(),
            (code, "") => code.to_owned(),
            (code, message) => format!("{code}: {message}"),
        }
    }
}

/// A batch as the provider described it in one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchView {
    /// The provider's id.
    pub id: BatchId,
    /// Where it stands.
    pub status: BatchStatus,
    /// The provider's counts.
    pub counts: RequestCounts,
    /// When the provider made it, by the provider's clock.
    pub created_at: Option<Time>,
    /// When the provider will give up on it.
    pub expires_at: Option<Time>,
    /// When it ended, by the provider's clock.
    pub ended_at: Option<Time>,
    /// When the provider described it so, by its own clock.
    pub as_of: Option<Time>,
    /// What can be downloaded now. May be empty for a while after the end.
    pub results: Vec<ResultFile>,
    /// Whether the batch has ended and there must be more to download than there is yet.
    pub awaited: bool,
    /// Why it failed as a whole, in the provider's words.
    pub errors: Vec<BatchError>,
    /// What that means.
    pub failure: Option<BatchFailure>,
    /// The uploaded file it was made from, where the provider has such a thing.
    pub input_file: Option<String>,
    /// The nonce of the body it was made from, where the provider keeps metadata.
    pub nonce: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Stored {
        #[serde(deserialize_with = "BatchStatus::stored")]
        status: BatchStatus,
    }

    #[test]
    fn what_is_gone_reads_back_from_its_older_word() {
        for (stored, status) in [
            (r#"{"status":"gone"}"#, BatchStatus::Gone),
            (r#"{"status":{"unknown":"gone"}}"#, BatchStatus::Gone),
            (
                r#"{"status":{"unknown":"paused"}}"#,
                BatchStatus::Unknown("paused".to_owned()),
            ),
            (r#"{"status":"completed"}"#, BatchStatus::Completed),
        ] {
            let read: Stored = serde_json::from_str(stored).expect("readable");
            assert_eq!(read, Stored { status }, "{stored}");
            let again = serde_json::to_string(&read).expect("written");
            assert_eq!(
                serde_json::from_str::<Stored>(&again).expect("readable"),
                read
            );
        }
        assert_eq!(BatchStatus::Gone.to_string(), "gone");
        assert!(BatchStatus::Gone.is_ended());
    }
}
