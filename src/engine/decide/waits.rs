//! What a run waits for, in words: from what the ledger says and what the loop is at. Pure; no I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::Time;
use crate::ledger::state::{Attempt, ChunkState, Phase, PlanState, State};
use crate::work::progress::{Look, Then, Wait, Waits};

use super::cache::{CachePolicy, caching};
use super::chunk::{ChunkStatus, chunk_status};
use super::observed::Observed;
use super::step::{InFlight, Step};
use super::trial::{TrialStatus, trial_status};

/// What the loop knows.
#[derive(Debug)]
pub(crate) struct WaitInputs<'a> {
    pub state: &'a State,
    /// The plan that is carried out; nothing, while older ones are brought home.
    pub plan: Option<&'a PlanState>,
    pub in_flight: &'a InFlight,
    pub observed: &'a Observed,
    /// How the provider's prompt cache is used, and by which account.
    pub cache: (&'a CachePolicy, &'a str),
    /// Whether rows are being read.
    pub is_planning: bool,
    /// How long "not found" must hold.
    pub settle: Duration,
    pub now: Time,
}

impl WaitInputs<'_> {
    /// All that is waited for.
    pub(crate) fn waits(&self) -> Waits {
        let mut waits = Vec::new();
        if self.is_planning {
            waits.push(Wait::of("the rest of the rows to be read"));
        }
        waits.extend(self.batches());
        waits.extend(self.unknown());
        if let Some(plan) = self.plan {
            waits.extend(self.chunks(plan));
        }
        waits.extend(self.work());
        Waits {
            waits,
            looks: self.looks(),
        }
    }

    /// The batches that are open at the provider.
    fn batches(&self) -> Option<Wait> {
        let accepted = |a: &&Attempt| a.phase == Phase::Accepted;
        let open: Vec<_> = self.state.attempts.values().filter(accepted).collect();
        let (first, others) = open.split_first()?;
        let which = match (&first.accepted, others) {
            (Some(accepted), []) => format!("batch {}", accepted.batch),
            _ => format!("{} batches", open.len()),
        };
        let current = self.plan.map(|plan| plan.started.plan);
        let is_earlier = open.iter().all(|a| Some(a.promised.plan) != current);
        let earlier = if is_earlier {
            " of an earlier plan"
        } else {
            ""
        };
        let is_late = |a: &&Attempt| self.observed.late.contains(&a.promised.attempt);
        let late = if open.iter().all(is_late) {
            ", which ended, and whose results are to come"
        } else {
            ""
        };
        let next = open.iter().filter_map(|attempt| self.next_look(attempt));
        let what = format!("{which}{earlier}{late}");
        Some(Wait::of(what).until(next.min(), Then::NextLook))
    }

    fn next_look(&self, attempt: &Attempt) -> Option<Time> {
        let attempt = attempt.promised.attempt.clone();
        let step = match self.state.attempts.get(&attempt)?.phase {
            Phase::Promised => Step::Recover { attempt },
            _ => Step::Poll { attempt },
        };
        self.after_now(&step)
    }

    /// When `step` may be done, if that is not now.
    fn after_now(&self, step: &Step) -> Option<Time> {
        let at = self.in_flight.not_before.get(step).copied();
        at.filter(|at| *at > self.now)
    }

    /// The attempts of which nobody knows whether the provider took them, and which are not being made.
    fn unknown(&self) -> Vec<Wait> {
        let unknown = self.state.attempts.values().filter(|a| self.is_unknown(a));
        let (unsettled, open): (Vec<&Attempt>, Vec<_>) =
            unknown.partition(|attempt| attempt.unsettled.is_some());
        let (maybe, absent): (Vec<&Attempt>, Vec<_>) =
            open.into_iter().partition(|a| !a.candidates.is_empty());
        let mut waits = Vec::new();
        if let [first, ..] = &*unsettled {
            let why = first.unsettled.as_deref().unwrap_or_default();
            waits.push(Wait::of(format!("a person's {}: {why}", word(&unsettled))));
        }
        if let [first, ..] = &*maybe {
            let batches: Vec<_> = first.candidates.iter().map(ToString::to_string).collect();
            let batches = if maybe.len() == 1 {
                batches.join(" or ")
            } else {
                "batches that are there".to_owned()
            };
            let next = maybe.iter().filter_map(|attempt| self.next_look(attempt));
            let what = format!("{}: it may be {batches}", word(&maybe));
            waits.push(Wait::of(what).until(next.min(), Then::NextLook));
        }
        if !absent.is_empty() {
            let settles = absent.iter().map(|a| settles_at(a, self.settle));
            let next = absent.iter().filter_map(|attempt| self.next_look(attempt));
            let wait = Wait::of(word(&absent));
            // The last of them to settle; while one was not looked for, nobody knows when that is.
            waits.push(match settles.collect::<Option<Vec<_>>>() {
                Some(settles) => wait.until(settles.into_iter().max(), Then::End),
                None => wait.until(next.min(), Then::NextLook),
            });
        }
        waits
    }

    fn is_unknown(&self, attempt: &Attempt) -> bool {
        let promised = &attempt.promised;
        let chunk = promised.chunk;
        let is_ours = self.plan.is_some_and(|p| p.started.plan == promised.plan);
        let is_sent = is_ours && self.in_flight.busy.contains(&Step::Submit { chunk });
        attempt.phase == Phase::Promised && !is_sent
    }

    /// What is to be sent, and why it is not.
    fn chunks(&self, plan: &PlanState) -> Vec<Wait> {
        let mut waits = Vec::new();
        let is_idle = |chunk: &&ChunkState| {
            let number = chunk.stored.chunk;
            let work = [
                Step::Submit { chunk: number },
                Step::Split { chunk: number },
                Step::Prime { chunk: number },
                Step::Recast { chunk: number },
                Step::Fail { chunk: number },
            ];
            !plan.canceled
                && matches!(chunk_status(self.state, chunk), ChunkStatus::Unsent)
                && !work.iter().any(|step| self.in_flight.busy.contains(step))
        };
        let unsent: Vec<&ChunkState> = plan.chunks.values().filter(is_idle).collect();
        let is_tried = trial_status(self.state, plan) == TrialStatus::Passed;
        let (free, held): (Vec<&ChunkState>, Vec<_>) = unsent
            .into_iter()
            .partition(|chunk| is_tried || plan.is_trial(chunk));
        if !held.is_empty() {
            let trial = plan.started.trial;
            let others = requests(&held);
            waits.push(Wait::of(format!(
                "the answers of the trial of {trial} requests, before {others} others are sent"
            )));
        }
        let cache = caching(self.cache, self.state, plan, self.now);
        let (free, behind): (Vec<&ChunkState>, Vec<_>) = free
            .into_iter()
            .partition(|chunk| cache.lets(&chunk.stored));
        if !behind.is_empty() && plan.completed.is_some() {
            let others = requests(&behind);
            waits.push(Wait::of(format!(
                "the request that goes first, so that {others} others read what it leaves in the \
                 provider's cache"
            )));
        }
        let again = |chunk: &&ChunkState| {
            let chunk = chunk.stored.chunk;
            self.after_now(&Step::Submit { chunk })
        };
        let next = free.iter().filter_map(again).min();
        let (later, now): (Vec<&ChunkState>, Vec<_>) =
            free.into_iter().partition(|chunk| again(chunk).is_some());
        if !later.is_empty() {
            let what = format!("the provider to take {}", named(&later));
            waits.push(Wait::of(what).until(next, Then::NextTry));
        }
        let is_sending = |step: &Step| matches!(step, Step::Submit { .. } | Step::Split { .. });
        if !now.is_empty() && !self.in_flight.busy.iter().any(is_sending) {
            waits.push(Wait::of(format!(
                "room in the provider's queue for {}",
                named(&now)
            )));
        }
        waits
    }

    /// What is being done.
    fn work(&self) -> Vec<Wait> {
        let mut waits = Vec::new();
        let sent = self.in_flight.busy.iter().filter_map(|step| match step {
            Step::Submit { chunk } => self.plan?.chunks.get(chunk),
            _ => None,
        });
        let sent: Vec<_> = sent.collect();
        if !sent.is_empty() {
            waits.push(Wait::of(format!("{} to be sent", named(&sent))));
        }
        let makes = |step: &Step| {
            matches!(
                step,
                Step::Prime { .. } | Step::Recast { .. } | Step::Resend { .. } | Step::Split { .. }
            )
        };
        if self.in_flight.busy.iter().any(makes) {
            waits.push(Wait::of("new chunks to be made of old ones"));
        }
        if self.in_flight.busy.contains(&Step::Publish) {
            waits.push(Wait::of("the output to be written"));
        } else if let Some(at) = self.after_now(&Step::Publish) {
            let again = Wait::of("the output to be written");
            waits.push(again.until(Some(at), Then::NextTry));
        }
        waits
    }

    fn looks(&self) -> BTreeMap<String, Look> {
        let look = |attempt: &Attempt| Look {
            done: self.observed.done.get(&attempt.promised.attempt).copied(),
            next: self.next_look(attempt),
        };
        let open = self.state.open_attempts();
        open.map(|attempt| (attempt.promised.attempt.clone(), look(attempt)))
            .collect()
    }
}

/// When an attempt that was looked for in vain is given up, if nothing is found before.
pub(crate) fn settles_at(attempt: &Attempt, settle: Duration) -> Option<Time> {
    let is_sought = attempt.phase == Phase::Promised && attempt.candidates.is_empty();
    attempt
        .sought_since
        .filter(|_| is_sought)
        .map(|since| since + settle)
}

/// What is waited for where it is not known whether the provider took `attempts`.
fn word(attempts: &[&Attempt]) -> String {
    let requests: u64 = attempts.iter().map(|a| a.promised.requests).sum();
    let which = match attempts {
        [attempt] => format!("chunk {}", attempt.promised.chunk),
        attempts => format!("{} chunks", attempts.len()),
    };
    format!("word whether the provider took {which} ({requests} requests)")
}

fn requests(chunks: &[&ChunkState]) -> u64 {
    chunks.iter().map(|chunk| chunk.stored.requests).sum()
}

/// "chunk 3 (995 requests)", or "12 chunks (9,000 requests)".
fn named(chunks: &[&ChunkState]) -> String {
    let which = match chunks {
        [chunk] => format!("chunk {}", chunk.stored.chunk),
        chunks => format!("{} chunks", chunks.len()),
    };
    format!("{which} ({} requests)", requests(chunks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::scenario::{Scenario, at};
    use crate::ledger::action::Action;
    use crate::work::BatchId;

    /// What is waited for, each with its end in seconds.
    fn told(
        scenario: &Scenario,
        in_flight: &InFlight,
        observed: &Observed,
    ) -> Vec<(String, Option<i64>)> {
        let inputs = WaitInputs {
            state: &scenario.0,
            plan: scenario.0.plans.get(&0),
            in_flight,
            observed,
            cache: (&CachePolicy::Nothing, ""),
            is_planning: false,
            settle: Duration::from_mins(10),
            now: at(100),
        };
        let seconds = |wait: Wait| {
            (
                wait.what,
                wait.when.map(|when| (when - at(0)).num_seconds()),
            )
        };
        inputs.waits().waits.into_iter().map(seconds).collect()
    }

    #[track_caller]
    fn check(scenario: &Scenario, in_flight: &InFlight, expected: &[(&str, Option<i64>)]) {
        let told = told(scenario, in_flight, &Observed::default());
        let told: Vec<_> = told.iter().map(|(what, when)| (&**what, *when)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn an_open_batch_is_waited_for_until_the_next_look() {
        let mut scenario = Scenario::of(&[3, 4]);
        let mut in_flight = InFlight::default();
        let attempt = scenario.accepted(0);
        let poll = |attempt: &str| Step::Poll {
            attempt: attempt.to_owned(),
        };
        in_flight.not_before.insert(poll(&attempt), at(130));
        in_flight.busy.insert(Step::Submit { chunk: 1 });
        check(
            &scenario,
            &in_flight,
            &[
                ("batch batch of attempt-000", Some(130)),
                ("chunk 1 (4 requests) to be sent", None),
            ],
        );
        in_flight.busy.clear();
        let second = scenario.accepted(1);
        in_flight.not_before.insert(poll(&second), at(120));
        let observed = Observed {
            done: [(attempt, 2)].into(),
            ..Observed::default()
        };
        let told = told(&scenario, &in_flight, &observed);
        assert_eq!(told, [("2 batches".to_owned(), Some(120))]);
    }

    #[test]
    fn what_nobody_knows_of_is_waited_for_until_it_settles() {
        let mut scenario = Scenario::of(&[3]);
        let mut in_flight = InFlight::default();
        let attempt = scenario.promised(0);
        in_flight.busy.insert(Step::Submit { chunk: 0 });
        check(
            &scenario,
            &in_flight,
            &[("chunk 0 (3 requests) to be sent", None)],
        );
        in_flight.busy.clear();
        let word = "word whether the provider took chunk 0 (3 requests)";
        check(&scenario, &in_flight, &[(word, None)]);
        let sought = |candidates| Action::Sought {
            attempt: attempt.clone(),
            as_of: at(50),
            candidates,
        };
        scenario.tell(sought(Vec::new()));
        check(&scenario, &in_flight, &[(word, Some(650))]);
        scenario.tell(sought(vec![BatchId("b1".into()), BatchId("b2".into())]));
        let recover = Step::Recover {
            attempt: attempt.clone(),
        };
        in_flight.not_before.insert(recover, at(130));
        let maybe = format!("{word}: it may be b1 or b2");
        check(&scenario, &in_flight, &[(&maybe, Some(130))]);
        scenario.tell(Action::Unsettled {
            attempt,
            why: "they cannot be read".into(),
        });
        let person = format!("a person's {word}: they cannot be read");
        check(&scenario, &in_flight, &[(&person, None)]);
    }

    #[test]
    fn what_nobody_knows_of_several_chunks_is_one_wait_until_the_last_settles() {
        let mut scenario = Scenario::of(&[3, 4]);
        let in_flight = InFlight::default();
        for (chunk, seconds) in [(0, 50), (1, 60)] {
            let attempt = scenario.promised(chunk);
            scenario.tell(Action::Sought {
                attempt,
                as_of: at(seconds),
                candidates: Vec::new(),
            });
        }
        let word = "word whether the provider took 2 chunks (7 requests)";
        check(&scenario, &in_flight, &[(word, Some(660))]);
    }

    #[test]
    fn what_is_not_sent_has_its_reason() {
        let mut scenario = Scenario::of(&[3, 4, 5]);
        let mut in_flight = InFlight::default();
        in_flight
            .not_before
            .insert(Step::Submit { chunk: 1 }, at(160));
        check(
            &scenario,
            &in_flight,
            &[
                ("the provider to take chunk 1 (4 requests)", Some(160)),
                (
                    "room in the provider's queue for 2 chunks (8 requests)",
                    None,
                ),
            ],
        );
        scenario.tell(Action::CancelAsked { plan: 0 });
        check(&scenario, &in_flight, &[]);
    }

    #[test]
    fn a_trial_holds_the_others_back() {
        let mut scenario = Scenario::with_trial(3);
        scenario.stored(0, 0, 3);
        scenario.stored(0, 3, 10);
        scenario.accepted(0);
        check(
            &scenario,
            &InFlight::default(),
            &[
                ("batch batch of attempt-000", None),
                (
                    "the answers of the trial of 3 requests, before 10 others are sent",
                    None,
                ),
            ],
        );
    }

    #[test]
    fn an_output_takes_its_time() {
        let mut scenario = Scenario::of(&[3]);
        scenario.landed(0, 0);
        let mut in_flight = InFlight::default();
        in_flight.busy.insert(Step::Publish);
        check(&scenario, &in_flight, &[("the output to be written", None)]);
    }
}
