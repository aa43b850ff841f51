//! How often each fault has happened: what a run had to bear.
//!
//! Faults of calls are counted as they happen, by the process that they happen in. What befell the
//! requests of ended batches is told by the same draws that wrote their results.

use std::collections::BTreeMap;

use super::batch::{Batch, End, Luck, Outcome, Phase};
use super::faults::Fault;
use super::middleware::Dialect;
use super::record::Record;
use super::results::scan;
use super::world::World;
use crate::base::Result;

/// How often each fault has happened, by name; those alone that have.
pub(super) fn fault_counts(
    world: &World,
    dialects: &[Dialect],
) -> Result<BTreeMap<&'static str, u64>> {
    let mut counts = world.fault_counts();
    let mut note = |fault: Fault| *counts.entry(fault.name()).or_default() += 1;
    for batch in world.store.all::<Batch>()? {
        if batch.end() == End::Failed || !matches!(batch.phase(world.now()), Phase::Ended(_)) {
            continue;
        }
        let luck = batch.luck();
        let has_files = |dialect: &Dialect| dialect.has_files && dialect.name == batch.dialect;
        if dialects.iter().any(has_files) && luck.hits(Fault::LateOutput, 0) {
            note(Fault::LateOutput);
        }
        scan(&world.store, &batch, &mut |index, record, _| {
            of_outcome(&luck, index, luck.outcome(index, record.is_invalid()))
                .into_iter()
                .chain(of_lines(&luck, index, record))
                .for_each(&mut note);
            Ok(())
        })?;
    }
    Ok(counts)
}

/// What decided the outcome of a request, if a fault did.
fn of_outcome(luck: &Luck, index: u64, outcome: Outcome) -> Option<Fault> {
    match outcome {
        Outcome::Expired => Some(Fault::Expire).filter(|fault| luck.hits(*fault, index)),
        Outcome::Errored => Some(Fault::Errored),
        Outcome::Refused => Some(Fault::Refusal),
        Outcome::Cut => Some(Fault::MaxTokens),
        Outcome::Unpaid => Some(Fault::NoCredit),
        Outcome::Wrong => Some(Fault::Invalid),
        Outcome::Filtered => Some(Fault::Filter),
        Outcome::Cancelled | Outcome::Invalid | Outcome::Succeeded => None,
    }
}

/// What befell the line of a request.
fn of_lines(luck: &Luck, index: u64, record: &Record<'_>) -> impl Iterator<Item = Fault> {
    let hits = |fault: &Fault| luck.hits(*fault, index);
    let instead = [Fault::Missing, Fault::Garbage, Fault::Anonymous]
        .into_iter()
        .find(hits);
    let is_there = instead != Some(Fault::Missing);
    let again = Some(Fault::Duplicate).filter(|fault| is_there && hits(fault));
    let beside = Some(Fault::Stranger).filter(hits);
    let is_answer = luck.outcome(index, record.is_invalid()).is_answer();
    let within =
        (is_there && is_answer && luck.is_misindexed(index, record)).then_some(Fault::Misindexed);
    [instead, again, beside, within].into_iter().flatten()
}
