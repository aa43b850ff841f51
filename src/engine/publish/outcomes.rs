//! The outcomes of one plan, by ordinal, wherever they landed.
//!
//! The chunks of one round that ask alike are disjoint and ascend, so that their parts read one after the
//! other are one ordered stream. A request that was sent again has an outcome in several rounds; the streams
//! go forward together, and the best outcome of an ordinal is taken. A success is better than an answer that
//! is none, a whole answer better than one that was cut, and that better than none at all: it was paid for.
//! Of those that are equally good the newest is taken.

use std::collections::BTreeMap;

use crate::base::Result;
use crate::ledger::outcomes::{OutcomeColumns, Outcomes, OutcomesReader};
use crate::ledger::state::{Attempt, State};
use crate::output::Provenance;
use crate::work::price::{Pricing, Tariff};
use crate::work::{AnswerRef, RequestKey, RowStatus, Usage, Variant};

use crate::engine::context::files::Files;

/// All outcomes of one plan. Asked for ascending ordinals only.
#[derive(Debug)]
pub(crate) struct Parts {
    /// One for each round, the newest first.
    rounds: Vec<Round>,
    columns: OutcomeColumns,
}

/// The parts of one round that ask alike, read one after the other.
#[derive(Debug)]
struct Round {
    files: Files,
    columns: OutcomeColumns,
    /// What their model costs.
    pricing: Pricing,
    /// The most tokens that an answer may have.
    limit: u32,
    /// Those that are not open yet, the next one last.
    parts: Vec<Attempt>,
    reader: Option<OutcomesReader>,
    /// Whose outcomes are being read.
    attempt: Option<Attempt>,
    some: Option<Outcomes>,
    at: usize,
}

/// What was found for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutcomeRef<'a> {
    outcomes: &'a Outcomes,
    at: usize,
    attempt: Option<&'a Attempt>,
    pricing: Pricing,
    limit: u32,
    provenance: Option<Provenance<'a>>,
}

/// How much an outcome tells, where a request has several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// The request was not answered.
    Nothing,
    /// The answer was cut.
    Cut,
    /// The answer is whole, and none.
    Whole,
    /// It succeeded.
    Success,
}

impl Rank {
    fn of(status: RowStatus) -> Rank {
        match status {
            RowStatus::Succeeded => Rank::Success,
            RowStatus::Invalid | RowStatus::Refused | RowStatus::Filtered => Rank::Whole,
            RowStatus::Truncated => Rank::Cut,
            _ => Rank::Nothing,
        }
    }
}

impl<'a> OutcomeRef<'a> {
    /// The request's key.
    pub(crate) fn key(&self) -> RequestKey {
        self.outcomes.key(self.at)
    }

    /// The most tokens that the answer could have.
    pub(crate) fn limit(&self) -> u32 {
        self.limit
    }

    /// The status.
    pub(crate) fn status(&self) -> RowStatus {
        self.outcomes.status(self.at)
    }

    /// Whether sending it again can help.
    pub(crate) fn is_transient(&self) -> bool {
        self.outcomes.is_transient(self.at)
    }

    /// The answer, if there is one.
    pub(crate) fn answer(&self) -> Option<AnswerRef<'a>> {
        let vector = self.outcomes.vector(self.at).map(AnswerRef::Vector);
        vector.or_else(|| self.outcomes.answer(self.at).map(AnswerRef::Text))
    }

    /// Why there is none.
    pub(crate) fn error(&self) -> Option<&'a str> {
        self.outcomes.error(self.at)
    }

    /// How it came about, if everything was read.
    pub(crate) fn provenance(&self) -> Option<Provenance<'a>> {
        self.provenance
    }
}

impl<'a> OutcomeRef<'a> {
    fn usage(&self) -> Usage {
        self.outcomes.usage(self.at)
    }

    /// How it came about: one of so many attempts, which cost so much together.
    fn describe(&self, attempts: u32, cost: Option<u128>) -> Provenance<'a> {
        let text = |name| self.outcomes.text(name, self.at);
        let accepted = self.attempt.and_then(|attempt| attempt.accepted.as_ref());
        let landed = self.attempt.and_then(|attempt| attempt.landed.as_ref());
        Provenance {
            key: self.outcomes.key(self.at),
            model: text("model"),
            finish: text("finish"),
            usage: self.usage(),
            cost,
            batch: accepted.map(|accepted| &*accepted.batch.0),
            attempts,
            answered_at: landed.and_then(|landed| landed.ended_at),
            // What the model said is kept apart only where it is not the answer.
            raw: text("raw").or(self.outcomes.answer(self.at)),
        }
    }
}

impl Parts {
    /// The outcomes of `plan` that have landed so far.
    pub(crate) fn of(state: &State, plan: u64, files: &Files, columns: OutcomeColumns) -> Parts {
        // A chunk that landed again makes a stream of its own for each further time.
        let mut rounds: BTreeMap<(usize, u32, &Variant), Vec<Attempt>> = BTreeMap::new();
        let Some(plan) = state.plans.get(&plan) else {
            return Parts {
                rounds: Vec::new(),
                columns,
            };
        };
        let shape = &plan.started.shape;
        for chunk in (0..=plan.last_round()).flat_map(|round| plan.round(round)) {
            let landed = state.attempts_of(chunk).filter(|a| a.landed.is_some());
            for (again, attempt) in landed.enumerate() {
                let alike = (again, chunk.stored.round, &chunk.stored.variant);
                rounds.entry(alike).or_default().push(attempt.clone());
            }
        }
        let open = |((_, _, variant), mut parts): ((usize, u32, &Variant), Vec<Attempt>)| {
            parts.reverse();
            let asked = shape.varied(variant);
            Round {
                files: files.clone(),
                columns,
                pricing: Pricing::of(&asked.service, &asked.model),
                limit: asked.max_output_tokens,
                parts,
                reader: None,
                attempt: None,
                some: None,
                at: 0,
            }
        };
        Parts {
            rounds: rounds.into_iter().rev().map(open).collect(),
            columns,
        }
    }

    /// The best outcome of `ordinal`, if there is one.
    pub(crate) async fn find(&mut self, ordinal: u64) -> Result<Option<OutcomeRef<'_>>> {
        for round in &mut self.rounds {
            round.seek(ordinal).await?;
        }
        let found = || self.rounds.iter().filter_map(|round| round.found(ordinal));
        // Of several that are equally good, the last is taken: the newest stands first.
        let best = found().rev().max_by_key(|found| Rank::of(found.status()));
        let Some(mut best) = best else {
            return Ok(None);
        };
        if self.columns == OutcomeColumns::All {
            // Every attempt was paid for, whichever of them is shown.
            let (mut attempts, mut cost) = (0, Some(0));
            for found in found() {
                attempts += 1;
                let own = found.pricing.cost(Tariff::Batch, &found.usage());
                cost = cost.filter(|_| found.pricing.is_known());
                cost = cost.map(|cost| cost + own);
            }
            best.provenance = Some(best.describe(attempts, cost));
        }
        Ok(Some(best))
    }
}

impl Round {
    /// Goes forward to `ordinal`, or to the first after it.
    async fn seek(&mut self, ordinal: u64) -> Result<()> {
        loop {
            if let Some(some) = &self.some {
                while self.at < some.len() && some.ordinal(self.at) < ordinal {
                    self.at += 1;
                }
                if self.at < some.len() {
                    return Ok(());
                }
            }
            if !self.advance().await? {
                self.some = None;
                return Ok(());
            }
        }
    }

    /// Reads some more; `false` at the end.
    async fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some(some) = self.reader.as_mut().and_then(Iterator::next) {
                (self.some, self.at) = (Some(some?), 0);
                return Ok(true);
            }
            let Some(part) = self.parts.pop() else {
                return Ok(false);
            };
            let file = self.files.open(&self.files.outcomes(&part)).await?;
            self.reader = Some(OutcomesReader::open(file, self.columns)?);
            self.attempt = Some(part);
        }
    }

    fn found(&self, ordinal: u64) -> Option<OutcomeRef<'_>> {
        let outcomes = self.some.as_ref()?;
        let here = self.at < outcomes.len() && outcomes.ordinal(self.at) == ordinal;
        here.then_some(OutcomeRef {
            outcomes,
            at: self.at,
            attempt: self.attempt.as_ref(),
            pricing: self.pricing,
            limit: self.limit,
            provenance: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Crash, Stores};
    use crate::engine::decide::scenario::Scenario;
    use crate::ledger::outcomes::OutcomesWriter;
    use crate::work::Outcome;

    fn usage(output: u64) -> Usage {
        Usage {
            input: 10,
            output,
            ..Usage::default()
        }
    }

    /// What was asked again is what the best of its answers says: it was paid for, also where asking again came
    /// to nothing. Streams of one round lie between each other.
    #[tokio::test]
    async fn a_paid_answer_stays_whatever_comes_of_asking_again() {
        use RowStatus::{Failed, Invalid, Refused, Succeeded, Truncated};
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger").display().to_string();
        let root = Stores::default().locate(&ledger).unwrap();
        let files = Files::new(&root, &Crash::never()).unwrap();
        let mut scenario = Scenario::of(&[7]);
        let other = |reasks: u32, growths: u32| Variant {
            reasks,
            growths,
            max_output_tokens: (growths > 0).then_some(2),
            ..Variant::default()
        };
        let rounds: [(Variant, &[(u64, RowStatus)]); 4] = [
            (
                other(0, 0),
                &[
                    (0, Invalid),
                    (1, Truncated),
                    (2, Invalid),
                    (3, Truncated),
                    (4, Invalid),
                    (5, Truncated),
                    (6, Succeeded),
                ],
            ),
            (other(1, 0), &[(0, Failed), (2, Truncated), (4, Refused)]),
            (other(0, 1), &[(1, Failed), (3, Invalid), (5, Succeeded)]),
            (other(1, 1), &[(2, Truncated)]),
        ];
        for (number, (variant, outcomes)) in rounds.into_iter().enumerate() {
            let round = variant.reasks + variant.growths;
            let chunk = number as u64;
            if chunk > 0 {
                scenario.varied(round, outcomes.len() as u64, variant);
            }
            let attempt = scenario.landed(chunk, 0);
            let path = files
                .outcomes(&scenario.0.attempts[&attempt])
                .local
                .unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut writer = OutcomesWriter::create(&path, (&attempt, "b"), None).unwrap();
            for (ordinal, status) in outcomes {
                let mut outcome = Outcome::without_answer(*status, "why".into());
                outcome.raw = Some(format!("{ordinal} in chunk {chunk}").into());
                writer
                    .push(*ordinal, RequestKey([9; 24]), &outcome)
                    .unwrap();
            }
            writer.finish().unwrap();
        }
        let mut parts = Parts::of(&scenario.0, 0, &files, OutcomeColumns::All);
        let mut came = Vec::new();
        for ordinal in 0..7 {
            let found = parts.find(ordinal).await.unwrap().unwrap();
            let raw = found.provenance().unwrap().raw.unwrap();
            let chunk: u64 = raw.rsplit(' ').next().unwrap().parse().unwrap();
            came.push((found.status(), chunk, found.limit()));
        }
        let expect = [
            (Invalid, 0, 1),
            (Truncated, 0, 1),
            (Invalid, 0, 1),
            (Invalid, 2, 2),
            (Refused, 1, 1),
            (Succeeded, 2, 2),
            (Succeeded, 0, 1),
        ];
        assert_eq!(came, expect);
    }

    /// A request that was cut, and paid, and sent again: it is shown how the last answer came about, and
    /// what both cost together.
    #[tokio::test]
    async fn a_request_costs_all_its_attempts_whichever_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger").display().to_string();
        let root = Stores::default().locate(&ledger).unwrap();
        let files = Files::new(&root, &Crash::never()).unwrap();
        let mut scenario = Scenario::of(&[2]);
        let shape = &mut scenario.0.plans.get_mut(&0).unwrap().started.shape;
        (shape.service, shape.model) = ("anthropic".into(), "claude-haiku-4-5".into());
        let first = scenario.landed(0, 1);
        scenario.stored(1, 1, 1);
        let second = scenario.landed(1, 0);
        let cut = Outcome {
            usage: usage(64),
            transient: true,
            raw: Some("half".into()),
            ..Outcome::without_answer(RowStatus::Truncated, "cut".into())
        };
        let answered = |text: &'static str| Outcome {
            usage: usage(100),
            ..Outcome::succeeded(text.into())
        };
        let write = |attempt: &str, outcomes: &[(u64, Outcome<'_>)]| {
            let path = files.outcomes(&scenario.0.attempts[attempt]).local.unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut writer = OutcomesWriter::create(&path, (attempt, "b"), None).unwrap();
            for (ordinal, outcome) in outcomes {
                writer.push(*ordinal, RequestKey([9; 24]), outcome).unwrap();
            }
            writer.finish().unwrap();
        };
        write(&first, &[(0, answered("once")), (1, cut)]);
        write(&second, &[(1, answered("twice"))]);
        let mut parts = Parts::of(&scenario.0, 0, &files, OutcomeColumns::All);
        let mut came = Vec::new();
        for ordinal in 0..2 {
            let found = parts.find(ordinal).await.unwrap().unwrap();
            let known = found.provenance().unwrap();
            came.push((
                known.raw.unwrap().to_owned(),
                known.batch.unwrap().to_owned(),
                known.attempts,
                known.usage,
                known.cost.unwrap(),
            ));
        }
        // Half a dollar for a million tokens of input, two and a half for one of output.
        let each = |output: u128| 10 * 500_000 + output * 2_500_000;
        let of = |attempt: &str| format!("batch of {attempt}");
        assert_eq!(
            came,
            [
                ("once".to_owned(), of(&first), 1, usage(100), each(100)),
                (
                    "twice".to_owned(),
                    of(&second),
                    2,
                    usage(100),
                    each(100) + each(64)
                ),
            ]
        );
        // Whoever wants answers alone reads no more.
        let mut parts = Parts::of(&scenario.0, 0, &files, OutcomeColumns::Answers);
        let found = parts.find(0).await.unwrap().unwrap();
        assert_eq!(
            (found.answer(), found.provenance()),
            (Some(AnswerRef::Text("once")), None)
        );
    }
}
