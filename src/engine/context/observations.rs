//! What this process has seen of rows and batches, and how patiently it looks at each batch. Lost with
//! the process; nothing that is paid for depends on it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Time;
use crate::engine::decide::observed::Observed;
use crate::work::progress::Planned;

/// What is observed while steps are carried out.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    seen: Mutex<Observed>,
    polls: Mutex<BTreeMap<String, PollState>>,
}

/// How patiently a batch is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PollState {
    /// How long to wait before the next look.
    pub pause: Duration,
    /// When it was first seen ended without anything to download.
    pub empty_since: Option<Time>,
    /// Whether its age was spoken of.
    pub alarmed: bool,
}

impl Observations {
    /// The plan has made this of its rows so far.
    pub(crate) fn planned(&self, planned: Planned) {
        self.lock().planned = planned;
    }

    /// The provider was asked where the batch of `attempt` stands.
    pub(crate) fn polled(&self, attempt: &str, done: u64, is_late: bool) {
        let mut seen = self.lock();
        seen.done.insert(attempt.to_owned(), done);
        if is_late {
            seen.late.insert(attempt.to_owned());
        } else {
            seen.late.remove(attempt);
        }
    }

    /// All that was seen so far.
    pub(crate) fn observed(&self) -> Observed {
        self.lock().clone()
    }

    /// What `with` makes of the polling of `attempt`, which begins with a pause of `first`.
    pub(crate) fn poll<T>(
        &self,
        attempt: &str,
        first: Duration,
        with: impl FnOnce(&mut PollState) -> T,
    ) -> T {
        let mut polls = self.polls.lock().unwrap_or_else(PoisonError::into_inner);
        with(polls.entry(attempt.to_owned()).or_insert(PollState {
            pause: first,
            empty_since: None,
            alarmed: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
