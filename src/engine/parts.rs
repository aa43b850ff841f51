//! The outcomes of one plan, by ordinal, wherever they landed.
//!
//! The chunks of one wave are disjoint and ascend, so that their parts read one after the other are
//! one ordered stream. A request that was sent again has an outcome in several waves; the streams
//! go forward together, and the best outcome of an ordinal is taken: a success, else the newest.

use crate::base::Result;
use crate::ledger::outcomes::{OutcomeColumns, Outcomes, OutcomesReader};
use crate::ledger::state::{Attempt, State};
use crate::work::RowStatus;

use super::files::Files;

/// All outcomes of one plan. Asked for ascending ordinals only.
#[derive(Debug)]
pub(super) struct Parts {
    /// One for each wave, the newest first.
    waves: Vec<Wave>,
}

/// The parts of one wave, read one after the other.
#[derive(Debug)]
struct Wave {
    files: Files,
    columns: OutcomeColumns,
    /// Those that are not open yet, the next one last.
    parts: Vec<Attempt>,
    reader: Option<OutcomesReader>,
    some: Option<Outcomes>,
    at: usize,
}

/// What was found for a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    outcomes: &'a Outcomes,
    at: usize,
}

impl<'a> Found<'a> {
    /// The status.
    pub(super) fn status(&self) -> RowStatus {
        self.outcomes.status(self.at)
    }

    /// Whether sending it again can help.
    pub(super) fn is_transient(&self) -> bool {
        self.outcomes.is_transient(self.at)
    }

    /// The answer, if there is one.
    pub(super) fn answer(&self) -> Option<&'a str> {
        self.outcomes.answer(self.at)
    }

    /// Why there is none.
    pub(super) fn error(&self) -> Option<&'a str> {
        self.outcomes.error(self.at)
    }
}

impl Parts {
    /// The outcomes of `plan` that have landed so far.
    pub(super) fn of(state: &State, plan: u64, files: &Files, columns: OutcomeColumns) -> Parts {
        let mut waves: Vec<(u32, Vec<Attempt>)> = Vec::new();
        let Some(plan) = state.plans.get(&plan) else {
            return Parts { waves: Vec::new() };
        };
        for chunk in (0..=plan.last_wave()).flat_map(|wave| plan.wave(wave)) {
            // A chunk that landed twice makes a wave of its own for the second time.
            for (again, attempt) in state
                .attempts_of(chunk)
                .filter(|a| a.landed.is_some())
                .enumerate()
            {
                let wave = chunk.stored.wave + u32::try_from(again).unwrap_or(u32::MAX) * 1000;
                match waves.iter_mut().find(|(number, _)| *number == wave) {
                    Some((_, parts)) => parts.push(attempt.clone()),
                    None => waves.push((wave, vec![attempt.clone()])),
                }
            }
        }
        waves.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let open = |(_, mut parts): (u32, Vec<Attempt>)| {
            parts.reverse();
            Wave {
                files: files.clone(),
                columns,
                parts,
                reader: None,
                some: None,
                at: 0,
            }
        };
        Parts {
            waves: waves.into_iter().map(open).collect(),
        }
    }

    /// The best outcome of `ordinal`, if there is one.
    pub(super) async fn find(&mut self, ordinal: u64) -> Result<Option<Found<'_>>> {
        for wave in &mut self.waves {
            wave.seek(ordinal).await?;
        }
        let found = || self.waves.iter().filter_map(|wave| wave.found(ordinal));
        let success = found().find(|found| found.status() == RowStatus::Succeeded);
        Ok(success.or_else(|| found().next()))
    }
}

impl Wave {
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
        }
    }

    fn found(&self, ordinal: u64) -> Option<Found<'_>> {
        let outcomes = self.some.as_ref()?;
        let here = self.at < outcomes.len() && outcomes.ordinal(self.at) == ordinal;
        here.then_some(Found {
            outcomes,
            at: self.at,
        })
    }
}
