//! What follows from a step that came to its end: it is done, or comes up again, at once, later or never.

use tracing::debug;

use crate::base::{Error, ErrorKind, Result, Time};
use crate::engine::decide::step::{Step, StepResult};
use crate::ledger::state::Phase;

use super::{AGAIN, Driver, Ended};

/// Steps that failed because something was away are tried again so many times in a row.
const TRIES_MAX: u32 = 8;

impl Driver<'_> {
    /// Takes in what a task came back with.
    pub(super) fn end(&mut self, ended: Ended) -> Result<()> {
        let Some(step) = ended.step else {
            self.planning = false;
            return ended.result.map(|_| ());
        };
        debug!(?step, result = ?ended.result, "ended");
        self.in_flight.busy.remove(&step);
        if let Step::Submit { chunk } = &step {
            self.release(*chunk);
        }
        match ended.result {
            Ok(StepResult::Done | StepResult::Lost) => {
                self.tries.remove(&step);
                self.in_flight.not_before.remove(&step);
            }
            Ok(StepResult::NotBefore(at)) => {
                self.tries.remove(&step);
                self.in_flight.not_before.insert(step, at);
            }
            Ok(StepResult::Later(at, why)) => {
                self.tries.remove(&step);
                self.say_why_it_waits(&step, at, &why);
                self.in_flight.not_before.insert(step, at);
            }
            Ok(StepResult::SendAgain(plan, chunk, at)) => {
                self.tries.remove(&step);
                if self.plan == Some(plan) {
                    self.in_flight.not_before.insert(Step::Submit { chunk }, at);
                }
            }
            Ok(StepResult::TooLarge(chunk)) => {
                self.in_flight.too_large.insert(chunk);
            }
            Ok(StepResult::GivenUp) => {
                self.in_flight.given_up.insert(step);
            }
            Err(error) if matches!(step, Step::Discard { .. }) => {
                self.cx
                    .notices
                    .warn(&format!("an uploaded file stays at the provider: {error}"));
                self.in_flight.given_up.insert(step);
            }
            Err(error) if matches!(step, Step::Recheck { .. }) => {
                let what = "whether a chunk was taken twice could not be looked up";
                self.cx.notices.warn(&format!("{what}: {error}"));
                self.in_flight.given_up.insert(step);
            }
            Err(error) if error.kind() == ErrorKind::Refused && self.looked_in_vain(&step) => {
                self.unseen.get_or_insert(error);
                self.in_flight.given_up.insert(step);
            }
            Err(error) if error.kind() == ErrorKind::Unavailable => self.again(step, error)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether `step` is a look at a batch of which nothing more is known than before.
    fn looked_in_vain(&self, step: &Step) -> bool {
        let Step::Poll { attempt } = step else {
            return false;
        };
        let attempt = self.ledger.state().attempts.get(attempt);
        attempt.is_some_and(|attempt| attempt.phase == Phase::Accepted)
    }

    /// Says why a chunk waits, and for how long; unless a person asked for a stop, which is why then.
    fn say_why_it_waits(&self, step: &Step, at: Time, why: &str) {
        let Step::Submit { chunk } = step else {
            return;
        };
        if !self.cx.guard.interrupt.is_cancelled() {
            // What is left of a second counts as one.
            let wait = (at - self.cx.now()).num_milliseconds();
            let wait = (wait + 999) / 1000;
            let text = format!("chunk {chunk} waits: {why}; trying again in {wait} s");
            self.cx.notices.warn_seldom(why, &text);
        }
    }

    /// The promised attempts of a chunk are nobody's now: if one is still open, it is looked for.
    fn release(&mut self, chunk: u64) {
        let attempts = self.ledger.state().attempts.values();
        for attempt in attempts.filter(|a| Some(a.promised.plan) == self.plan) {
            if attempt.promised.chunk == chunk {
                let attempt = attempt.promised.attempt.clone();
                self.in_flight.busy.remove(&Step::Recover { attempt });
            }
        }
    }

    /// Something was away: the same again, later and later, but not for ever.
    fn again(&mut self, step: Step, error: Error) -> Result<()> {
        let tries = self.tries.entry(step.clone()).or_default();
        *tries += 1;
        if *tries >= TRIES_MAX {
            return Err(error);
        }
        let own = AGAIN.after(*tries - 1);
        let components = &self.cx.components;
        // The time that is named is kept to.
        let wait = error.retry_after();
        let wait = wait.unwrap_or_else(|| components.ids.jitter(own));
        let hint = error.hint_text().map(|hint| format!(" ({hint})"));
        let hint = hint.unwrap_or_default();
        let text = format!("{error}{hint}; trying again in {} s", wait.as_secs());
        self.cx.notices.warn_seldom(error.message(), &text);
        let at = components.clock.now() + wait;
        self.in_flight.not_before.insert(step, at);
        Ok(())
    }
}
