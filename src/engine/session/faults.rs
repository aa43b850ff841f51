//! Why a run ends before its goal: errors that a person has to mend, and panics.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

use crate::base::{Error, ErrorKind, Result};
use crate::engine::decide::trial::is_answered;
use crate::ledger::state::{Attempt, State};

/// What `work` comes to. A panic is an error like others: nothing else has to end with it.
pub(crate) async fn unless_it_panics<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| {
        Err(Error::internal(
            "a step panicked; this is a defect of columnist",
        ))
    };
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(panicked)
}

/// The provider refused the chunk of `attempt` for good.
pub(crate) fn refused(attempt: &str) -> Error {
    Error::new(ErrorKind::Refused, "the provider refused a chunk for good")
        .with("attempt", attempt)
        .hint("`columnist status` shows what it said; mend that, and change the job or run again")
}

/// Nobody can tell whether the provider took `attempt`.
pub(crate) fn unsettled(attempt: &Attempt) -> Error {
    let promised = &attempt.promised;
    Error::new(
        ErrorKind::Ambiguous,
        "nobody can tell whether the provider took a chunk, and a person must say",
    )
    .with("attempt", &promised.attempt)
    .with("requests", promised.requests)
    .with("since", promised.at)
    .with("why", attempt.unsettled.as_deref().unwrap_or_default())
    .hint(
        "look at the provider's console for a batch of that time and number of requests. If there is \
         none, or paying twice is all right, run once with --set ledger.on_ambiguous=resubmit; with \
         --publish-partial the other rows are published now",
    )
}

/// Why the trial chunk says that no request of the job can succeed.
pub(crate) fn trial_failed(state: &State, attempt: &str) -> Error {
    let attempt = state.attempts.get(attempt);
    let batch = attempt.and_then(|attempt| attempt.accepted.as_ref());
    let batch = batch.map_or_else(String::new, |accepted| accepted.batch.to_string());
    if attempt.is_some_and(is_answered) {
        let why = "no answer of the trial is what the job says; nothing else was sent";
        return Error::invalid(why).with("batch", batch).hint(
            "`columnist show JOB --key KEY` says why for a row; mend `[answer] dimensions` or the model and run \
             again; if the server was mended, `columnist retry JOB --status invalid` comes first",
        );
    }
    Error::invalid("the provider refuses every request of the trial; nothing else was sent")
        .with("batch", batch)
        .hint("`columnist show JOB --key KEY` prints its answer for a row; mend the job's model or params")
}
