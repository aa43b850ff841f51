//! How long a batch has been running.

use std::time::Duration;

use crate::base::Time;
use crate::ledger::state::{Attempt, Phase};

/// How long results may be late after a batch has ended.
pub(crate) const RESULTS_LATE_MAX: Duration = Duration::from_mins(10);
/// The age at which a batch is spoken of: vendors end theirs after 24 hours.
const ALARM: Duration = Duration::from_hours(25);

/// For how many hours a batch has been running, if that is longer than any should.
pub(crate) fn overdue(attempt: &Attempt, now: Time) -> Option<u64> {
    let age = age(attempt, now);
    (attempt.phase == Phase::Accepted && age > ALARM).then_some(age.as_secs() / 3600)
}

/// How long ago the provider made the batch of `attempt`, as far as it has said so.
pub(crate) fn age(attempt: &Attempt, now: Time) -> Duration {
    let accepted = attempt.accepted.as_ref();
    let since = accepted.and_then(|accepted| accepted.created_at);
    let age = now - since.unwrap_or(attempt.promised.at);
    age.to_std().unwrap_or_default()
}
