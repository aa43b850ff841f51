//! What became of a row.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::base::Error;

/// Where a row stands. At the end of a run the counts of all statuses sum to the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RowStatus {
    /// Answered, and the answer has its type.
    Succeeded,
    /// Answered, but the answer broke its type.
    Invalid,
    /// The model refused.
    Refused,
    /// The answer was cut by the output limit.
    Truncated,
    /// The provider reported an error, or the request could not be sent at all.
    Failed,
    /// The provider ran out of its window.
    Expired,
    /// The batch was canceled before the row's turn.
    Canceled,
    /// The provider's files say nothing of it.
    Missing,
    /// The budget did not reach it.
    Deferred,
    /// There is no prompt for it.
    Skipped,
    /// Not settled yet.
    Pending,
    // What came later stands at the end: the place is the code.
    /// A content filter of the provider kept the answer back, or the question.
    Filtered,
}

impl RowStatus {
    /// Every status, in the order of its code.
    pub const ALL: [RowStatus; 12] = [
        RowStatus::Succeeded,
        RowStatus::Invalid,
        RowStatus::Refused,
        RowStatus::Truncated,
        RowStatus::Failed,
        RowStatus::Expired,
        RowStatus::Canceled,
        RowStatus::Missing,
        RowStatus::Deferred,
        RowStatus::Skipped,
        RowStatus::Pending,
        RowStatus::Filtered,
    ];

    /// The word used in the output, the ledger and the reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RowStatus::Succeeded => "succeeded",
            RowStatus::Invalid => "invalid",
            RowStatus::Refused => "refused",
            RowStatus::Truncated => "truncated",
            RowStatus::Failed => "failed",
            RowStatus::Expired => "expired",
            RowStatus::Canceled => "canceled",
            RowStatus::Missing => "missing",
            RowStatus::Deferred => "deferred",
            RowStatus::Skipped => "skipped",
            RowStatus::Pending => "pending",
            RowStatus::Filtered => "filtered",
        }
    }

    /// Its place in [`RowStatus::ALL`], and its code in dictionary-encoded columns.
    #[must_use]
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The status of a code, if there is one.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// Whether it counts against `max_failed`.
    #[must_use]
    pub fn is_failure(self) -> bool {
        use RowStatus::{
            Canceled, Deferred, Expired, Failed, Filtered, Invalid, Missing, Pending, Refused,
            Skipped, Succeeded, Truncated,
        };
        match self {
            Invalid | Refused | Filtered | Truncated | Failed | Expired | Canceled | Missing => {
                true
            }
            Succeeded | Deferred | Skipped | Pending => false,
        }
    }
}

impl fmt::Display for RowStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RowStatus {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == word)
            .ok_or_else(|| Error::data("not a row status").with("word", word))
    }
}

/// How many rows (or requests) have each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatusCounts([u64; RowStatus::ALL.len()]);

impl StatusCounts {
    /// Counts `count` more of `status`.
    pub fn add(&mut self, status: RowStatus, count: u64) {
        self.0[usize::from(status.code())] += count;
    }

    /// How many have `status`.
    #[must_use]
    pub fn of(&self, status: RowStatus) -> u64 {
        self.0[usize::from(status.code())]
    }

    /// The sum over all statuses.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How many count against `max_failed`.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.iter()
            .filter(|(status, _)| status.is_failure())
            .map(|(_, count)| count)
            .sum()
    }

    /// Every status with its count, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (RowStatus, u64)> + '_ {
        RowStatus::ALL.into_iter().zip(self.0)
    }

    /// Adds another count to this one.
    pub fn merge(&mut self, other: &StatusCounts) {
        for (status, count) in other.iter() {
            self.add(status, count);
        }
    }
}

/// As a map of words to counts, without those that are zero.
impl Serialize for StatusCounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let counted = self.iter().filter(|(_, count)| *count > 0);
        serializer.collect_map(counted.map(|(status, count)| (status.as_str(), count)))
    }
}

/// Words that this version does not know are left out.
impl<'de> Deserialize<'de> for StatusCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = BTreeMap::<String, u64>::deserialize(deserializer)?;
        let mut counts = StatusCounts::default();
        for (word, count) in stored {
            if let Ok(status) = word.parse() {
                counts.add(status, count);
            }
        }
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_codes_name_the_same_status() {
        for (at, status) in RowStatus::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(status.code()), at);
            assert_eq!(RowStatus::from_code(status.code()), Some(status));
            assert_eq!(status.as_str().parse::<RowStatus>().ok(), Some(status));
        }
        assert!("done".parse::<RowStatus>().is_err());
    }

    #[test]
    fn counts_are_stored_by_word_and_unknown_words_are_passed_by() {
        let read = |text| serde_json::from_str::<StatusCounts>(text).expect("counts");
        let counts = read(r#"{"succeeded":40,"failed":2,"of_tomorrow":7}"#);
        assert_eq!(counts.total(), 42);
        assert_eq!(counts.of(RowStatus::Failed), 2);
        let stored = serde_json::to_string(&counts).expect("a map");
        assert_eq!(read(&stored), counts);
        assert!(!stored.contains("skipped"), "{stored}");
    }

    #[test]
    fn failures_are_what_the_provider_or_the_answer_broke() {
        let failures: Vec<_> = RowStatus::ALL
            .into_iter()
            .filter(|s| s.is_failure())
            .collect();
        let mut expect = RowStatus::ALL[1..8].to_vec();
        expect.push(RowStatus::Filtered);
        assert_eq!(failures, expect);
    }
}
