//! What happens, for whoever watches; and how far it is.
//!
//! There is one model of how far a job is, [`Progress`]: bars, plain lines, JSON lines, `status` and
//! the last line of a run all show it, and none counts for itself.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{StatusCounts, Usage};
use crate::base::Time;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The job is in the hands of this run.
    Opened {
        /// The run's id.
        run: String,
    },
    /// Rows have been looked at: what the plan made of them so far.
    Planned(Planned),
    /// A chunk is at the provider.
    Submitted {
        /// Its number.
        chunk: u64,
        /// Its requests.
        requests: u64,
    },
    /// The provider said where a batch stands.
    Polled {
        /// The provider's id.
        batch: String,
        /// The provider's word, in ours.
        status: String,
        /// Requests that are done, as far as the provider tells.
        done: u64,
        /// Requests in all.
        total: u64,
    },
    /// A batch's results are durable.
    Landed {
        /// The provider's id.
        batch: String,
        /// Its requests.
        requests: u64,
        /// Its requests by status.
        counts: StatusCounts,
    },
    /// The job is so far.
    Progress(Progress),
    /// These things are waited for, and no others.
    Waiting(Waits),
    /// The output is visible.
    Published {
        /// The address of the output.
        output: String,
    },
    /// Something that a person should know, and that stops nothing.
    Warning(String),
}

/// All that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// In words.
    pub waits: Vec<Wait>,
    /// What is known of open attempts, by their ids, that no ledger holds.
    pub looks: BTreeMap<String, Look>,
}

/// Something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// What, in words that follow "waiting for".
    pub what: String,
    /// When something is done about it, or it is over; nothing where nobody can tell.
    pub when: Option<Time>,
    /// What comes then.
    pub then: Then,
}

/// What comes at the end of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is looked at again.
    NextLook,
    /// It is tried again.
    NextTry,
    /// The wait is over.
    End,
}

/// What a process knows of an open attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Requests that are done, as the provider counts; nothing before the first look.
    pub done: Option<u64>,
    /// When it is looked at next.
    pub next: Option<Time>,
}

impl Wait {
    /// A wait whose end nobody can tell.
    #[must_use]
    pub fn of(what: impl Into<String>) -> Wait {
        Wait {
            what: what.into(),
            when: None,
            then: Then::End,
        }
    }

    /// A wait until `when`, if that is known.
    #[must_use]
    pub fn until(self, when: Option<Time>, then: Then) -> Wait {
        Wait { when, then, ..self }
    }
}

impl From<Wait> for Waits {
    fn from(wait: Wait) -> Waits {
        Waits {
            waits: vec![wait],
            looks: BTreeMap::new(),
        }
    }
}

/// Rows by what a plan made of them so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Planned {
    /// The first rows to ask something that is new: the plan's requests.
    pub requests: u64,
    /// Rows that ask what an earlier row of the plan asks.
    pub identical: u64,
    /// Rows whose request was answered in an earlier plan.
    pub answered: u64,
    /// Rows without a prompt.
    pub skipped: u64,
    /// Rows whose request cannot be sent at all.
    pub failed: u64,
    /// Rows that are left to a later run.
    pub deferred: u64,
}

impl Planned {
    /// All rows that were looked at.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.requests + self.identical + self.answered + self.skipped + self.failed + self.deferred
    }
}

/// How far a plan is: its rows by what was made of them, and its requests by where they stand. A
/// request that is sent again is one request, wherever it was before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The plan's number.
    pub plan: u64,
    /// All rows of the source.
    pub rows: u64,
    /// What the plan made of those that it has looked at.
    pub planned: Planned,
    /// Requests that are being sent, or of which nobody knows yet whether the provider took them.
    pub unconfirmed: u64,
    /// Requests that the provider has taken.
    pub sent: u64,
    /// How many of them are done, as far as the provider tells.
    pub done: u64,
    /// Requests that failed in passing, and wait for another try.
    pub again: u64,
    /// Requests with an answer.
    pub succeeded: u64,
    /// Requests that are settled without one.
    pub failed: u64,
    /// Batches that are open at the provider.
    pub batches: u64,
    /// Requests that are tried before the others, while their answers are awaited.
    pub trial: u64,
    /// Requests that went before the others so that these can read what they leave in the provider's cache,
    /// while their answers are awaited.
    pub primer: u64,
    /// Requests that were asked again for what came back.
    pub asked_again: AgainCounts,
    /// Tokens of what has landed.
    pub usage: Usage,
    /// What that cost, in millionths of a US dollar; `None` where a price is unknown.
    pub cost_micros: Option<u64>,
}

/// How many requests were asked again for an answer that could not be used, and how many of each succeeded
/// then. One may have been asked again for both reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgainCounts {
    /// Requests that were asked again with what is wrong with their answer.
    pub reasked: u64,
    /// Those of them that succeeded.
    pub reask_succeeded: u64,
    /// Requests that were asked again with a higher limit of output.
    pub grown: u64,
    /// Those of them that succeeded.
    pub grow_succeeded: u64,
}

impl AgainCounts {
    /// Whether any was.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == AgainCounts::default()
    }
}

/// Rows by state. They sum to the rows.
///
/// Where a row asks what another row asks is known when it is planned, but not of which request it is
/// without reading the whole row map. So until all is settled such rows are shared out over the states
/// as the requests are; that is exact as soon as all requests are in one state, as at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RowStates {
    /// Not looked at yet.
    pub unplanned: u64,
    /// To be sent.
    pub to_send: u64,
    /// Being sent, or not known to be at the provider.
    pub unconfirmed: u64,
    /// At the provider.
    pub sent: u64,
    /// Failed in passing, and to be sent again.
    pub again: u64,
    /// Answered.
    pub succeeded: u64,
    /// Settled without an answer.
    pub failed: u64,
    /// Answered in an earlier plan.
    pub answered_before: u64,
    /// Left to a later run.
    pub deferred: u64,
    /// Without a prompt.
    pub skipped: u64,
}

impl RowStates {
    /// Rows that nothing more happens to.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.succeeded + self.failed + self.answered_before + self.deferred + self.skipped
    }
}

impl Progress {
    /// Requests that are to be sent for the first time.
    #[must_use]
    pub fn to_send(&self) -> u64 {
        let known = self.unconfirmed + self.sent + self.again + self.succeeded + self.failed;
        self.planned.requests.saturating_sub(known)
    }

    /// Rows that were not looked at yet.
    #[must_use]
    pub fn unplanned(&self) -> u64 {
        self.rows.saturating_sub(self.planned.rows())
    }

    /// The rows by state.
    #[must_use]
    pub fn by_row(&self) -> RowStates {
        let own = [
            self.to_send(),
            self.unconfirmed,
            self.sent,
            self.again,
            self.succeeded,
            self.failed,
        ];
        let shared = share(self.planned.identical, own);
        let [to_send, unconfirmed, sent, again, succeeded, failed] =
            std::array::from_fn(|n| own[n] + shared[n]);
        RowStates {
            unplanned: self.unplanned(),
            to_send,
            unconfirmed,
            sent,
            again,
            succeeded,
            failed: failed + self.planned.failed,
            answered_before: self.planned.answered,
            deferred: self.planned.deferred,
            skipped: self.planned.skipped,
        }
    }

    /// Requests of which the provider is done, landed or not.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.succeeded + self.failed + self.done.min(self.sent)
    }

    /// How long it will take yet, if it goes on as it went since `finished` requests were done, which
    /// is `elapsed` ago. Nothing while nothing has been done since, or while nobody knows how much
    /// there is to do.
    #[must_use]
    pub fn time_left(&self, finished: u64, elapsed: Duration) -> Option<Duration> {
        let (now, all) = (self.finished(), self.planned.requests);
        if self.unplanned() > 0 || now <= finished || now >= all {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a guess needs no last digit")]
        let per_request = elapsed.as_secs_f64() / (now - finished) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a guess needs no last digit")]
        let left = per_request * (all - now) as f64;
        Duration::try_from_secs_f64(left).ok()
    }
}

/// `total` in parts as large to each other as `parts` are; all in the first where those are nothing.
fn share(total: u64, parts: [u64; 6]) -> [u64; 6] {
    let all: u128 = parts.iter().copied().map(u128::from).sum();
    if all == 0 {
        return [total, 0, 0, 0, 0, 0];
    }
    // The ends of the parts are rounded, and not the parts: so they sum to the whole.
    let end = |sum: u128| u64::try_from(u128::from(total) * sum / all).unwrap_or(total);
    let mut before: u128 = 0;
    parts.map(|part| {
        let start = end(before);
        before += u128::from(part);
        end(before) - start
    })
}

/// Whoever watches a run.
pub trait Watch: Debug + Send + Sync + 'static {
    /// Takes note. Must not wait.
    fn event(&self, event: &Event);
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn event(&self, _: &Event) {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn planned(requests: u64, identical: u64) -> Progress {
        Progress {
            rows: requests + identical,
            planned: Planned {
                requests,
                identical,
                ..Planned::default()
            },
            ..Progress::default()
        }
    }

    #[track_caller]
    fn check(progress: Progress, expected: RowStates) {
        assert_eq!(progress.by_row(), expected, "{progress:?}");
    }

    #[test]
    fn rows_stand_where_their_requests_stand() {
        let none = RowStates::default();
        check(Progress::default(), none);
        let to_send = |to_send| RowStates { to_send, ..none };
        check(planned(8, 0), to_send(8));
        // A plan whose only requests are those of an earlier plan, asked by several rows.
        check(planned(0, 3), to_send(3));
        let stands = Progress {
            sent: 1,
            again: 2,
            succeeded: 4,
            failed: 1,
            ..planned(8, 0)
        };
        let expected = RowStates {
            sent: 1,
            again: 2,
            succeeded: 4,
            failed: 1,
            ..none
        };
        check(stands, expected);
    }

    #[test]
    fn a_row_that_repeats_another_one_is_where_that_one_is() {
        let none = RowStates::default();
        let sent = |sent, done| Progress {
            sent,
            done,
            ..planned(8, 2)
        };
        check(sent(8, 3), RowStates { sent: 10, ..none });
        // Half of them are at the provider, and so are half of those that repeat them.
        let half = RowStates {
            to_send: 5,
            sent: 5,
            ..none
        };
        check(sent(4, 0), half);
        let home = Progress {
            succeeded: 8,
            ..planned(8, 2)
        };
        let succeeded = 10;
        check(home, RowStates { succeeded, ..none });
    }

    #[test]
    fn rows_that_ask_nothing_have_states_of_their_own() {
        let progress = Progress {
            rows: 20,
            planned: Planned {
                requests: 1,
                identical: 0,
                answered: 2,
                skipped: 3,
                failed: 4,
                deferred: 5,
            },
            failed: 1,
            ..Progress::default()
        };
        let expected = RowStates {
            unplanned: 5,
            failed: 5,
            answered_before: 2,
            skipped: 3,
            deferred: 5,
            ..RowStates::default()
        };
        check(progress, expected);
    }

    #[test]
    fn a_guess_is_made_of_what_was_done_since() {
        let minute = Duration::from_mins(1);
        let at = |sent, done, succeeded| Progress {
            sent,
            done,
            succeeded,
            ..planned(100, 0)
        };
        let cases = [
            // Nothing was done since.
            (at(100, 0, 0), 0, None),
            (at(60, 0, 40), 40, None),
            (at(100, 25, 0), 0, Some(3 * minute)),
            (at(40, 10, 40), 0, Some(minute)),
            // What an earlier process did says nothing of how fast it goes now.
            (at(60, 10, 40), 40, Some(5 * minute)),
            (at(0, 0, 100), 0, None),
        ];
        for (progress, before, expected) in cases {
            assert_eq!(progress.time_left(before, minute), expected, "{progress:?}");
        }
        let unplanned = Progress {
            rows: 101,
            ..at(100, 25, 0)
        };
        assert_eq!(unplanned.time_left(0, minute), None);
    }

    proptest! {
        #[test]
        fn rows_by_state_sum_to_the_rows(
            parts in prop::array::uniform6(0u64..1 << 40),
            identical in 0u64..1 << 40,
            others in prop::array::uniform5(0u64..1 << 40),
        ) {
            let [to_send, unconfirmed, sent, again, succeeded, failed] = parts;
            let progress = Progress {
                rows: parts.iter().sum::<u64>() + identical + others.iter().sum::<u64>(),
                planned: Planned {
                    requests: parts.iter().sum(),
                    identical,
                    answered: others[0],
                    skipped: others[1],
                    failed: others[2],
                    deferred: others[3],
                },
                unconfirmed,
                sent,
                again,
                succeeded,
                failed,
                ..Progress::default()
            };
            let rows = progress.by_row();
            let open = rows.unplanned + rows.to_send + rows.unconfirmed + rows.sent + rows.again;
            prop_assert_eq!(rows.settled() + open, progress.rows);
            prop_assert_eq!(rows.unplanned, others[4]);
            prop_assert!(rows.to_send >= to_send && rows.unconfirmed >= unconfirmed && rows.sent >= sent && rows.failed >= failed);
        }
    }
}
