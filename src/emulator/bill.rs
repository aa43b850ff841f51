//! What a vendor would charge: a fold over what is kept of the batches and of the online calls.
//!
//! Nothing is booked when a batch ends, so nothing can be booked twice. Requests are told apart by a
//! hash of their dialect, endpoint and body as written, without the `custom_id`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde::Serialize;

use super::batch::{Batch, End, Phase};
use super::results::{billed, scan};
use super::world::World;
use crate::base::{ErrorKind, Result, ResultExt};

/// Hashes counted at a time: what a bill holds in memory is 16 MB, whatever there was.
const HASHES_HELD: u64 = 1 << 21;

/// Counts of one endpoint, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Charges {
    /// Batches created, also those that failed validation.
    pub batches_created: u64,
    /// Requests in batches that were accepted, and online calls that were answered.
    pub requests_accepted: u64,
    /// Answers that somebody could read: succeeded lines of ended batches, and online answers.
    pub requests_billed: u64,
    /// The tokens of those.
    pub input_tokens: u64,
    /// The tokens of those.
    pub output_tokens: u64,
    /// Those of the input that were read from a prompt cache.
    pub cache_read_tokens: u64,
    /// Those of the input that were written to one.
    pub cache_write_tokens: u64,
    /// What the input costs, in thousandths of a token that is neither: reads cost less, writes more.
    pub input_cost_thousandths: u64,
}

impl Charges {
    fn add(&mut self, other: &Charges) {
        self.batches_created += other.batches_created;
        self.requests_accepted += other.requests_accepted;
        self.requests_billed += other.requests_billed;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cache_read_tokens += other.cache_read_tokens;
        self.cache_write_tokens += other.cache_write_tokens;
        self.input_cost_thousandths += other.input_cost_thousandths;
    }
}

/// Everything accepted and billed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bill {
    /// Over all dialects.
    #[serde(flatten)]
    pub total: Charges,
    /// Different requests that were accepted.
    pub distinct_accepted: u64,
    /// Requests that were accepted again after the first time: how many of them.
    pub accepted_more_than_once: u64,
    /// Different requests that were billed.
    pub distinct_billed: u64,
    /// Different requests that were billed more than once.
    pub billed_more_than_once: u64,
    /// By dialect and endpoint: `anthropic /v1/messages`.
    pub endpoints: BTreeMap<String, Charges>,
}

impl Bill {
    /// The bill so far.
    pub(super) fn of(world: &World) -> Result<Self> {
        let mut bill = Bill::default();
        for batch in world.store.all::<Batch>()? {
            let name = format!("{} {}", batch.dialect, batch.endpoint);
            bill.endpoints
                .entry(name)
                .or_default()
                .add(&charges(world, &batch)?);
        }
        online(world, &mut |line| {
            let charges = bill.endpoints.entry(line.name).or_default();
            charges.requests_accepted += 1;
            charges.requests_billed += 1;
            charges.input_tokens += line.input_tokens;
            charges.output_tokens += line.output_tokens;
            charges.input_cost_thousandths += line.input_tokens * 1000;
        })?;
        for charges in bill.endpoints.values() {
            bill.total.add(charges);
        }
        bill.count_repeats(world)?;
        Ok(bill)
    }

    /// Sorts the hashes, as many at a time as may be held.
    fn count_repeats(&mut self, world: &World) -> Result<()> {
        let passes = self.total.requests_accepted / HASHES_HELD + 1;
        for pass in 0..passes {
            let (mut accepted, mut billed) = (Vec::new(), Vec::new());
            hashes(world, &mut |hash, was_billed| {
                if hash % passes == pass {
                    accepted.push(hash);
                    if was_billed {
                        billed.push(hash);
                    }
                }
            })?;
            let (distinct, repeated) = repeats(&mut accepted);
            self.distinct_accepted += distinct;
            self.accepted_more_than_once += repeated;
            let (distinct, repeated) = repeats(&mut billed);
            self.distinct_billed += distinct;
            self.billed_more_than_once += repeated;
        }
        Ok(())
    }
}

fn charges(world: &World, batch: &Batch) -> Result<Charges> {
    let mut charges = Charges {
        batches_created: 1,
        ..Charges::default()
    };
    if batch.end() == End::Failed {
        return Ok(charges);
    }
    charges.requests_accepted = batch.summary.count;
    if matches!(batch.phase(world.now()), Phase::Ended(_)) {
        let tally = world.tally(batch)?;
        charges.requests_billed = tally.billed;
        charges.input_tokens = tally.input_tokens;
        charges.output_tokens = tally.output_tokens;
        charges.cache_read_tokens = tally.cache_read_tokens;
        charges.cache_write_tokens = tally.cache_write_tokens;
        charges.input_cost_thousandths = tally.input_thousandths;
    }
    Ok(charges)
}

/// Calls `each` with the draw of every billed request of a batch, its number in the rule of the answers, and
/// whether the answer was whole and what was asked for; of one for embeddings, with that of each of its inputs.
pub(super) fn draws(world: &World, each: &mut dyn FnMut(u64, bool) -> Result<()>) -> Result<()> {
    for batch in world.store.all::<Batch>()? {
        if batch.end() == End::Failed || !matches!(batch.phase(world.now()), Phase::Ended(_)) {
            continue;
        }
        billed(&world.store, &batch, each)?;
    }
    Ok(())
}

/// Calls `each` with the hash of every accepted request, and whether it was billed.
fn hashes(world: &World, each: &mut dyn FnMut(u64, bool)) -> Result<()> {
    for batch in world.store.all::<Batch>()? {
        if batch.end() == End::Failed {
            continue;
        }
        let luck = batch.luck();
        let ended = matches!(batch.phase(world.now()), Phase::Ended(_));
        scan(&world.store, &batch, &mut |index, record, _| {
            let outcome = luck.outcome(index, record.is_invalid());
            each(
                record.body,
                ended && outcome.is_answer() && luck.is_readable(index, record),
            );
            Ok(())
        })?;
    }
    online(world, &mut |line| each(line.body, true))
}

/// How many different hashes there are, and how many of those more than once.
fn repeats(hashes: &mut [u64]) -> (u64, u64) {
    hashes.sort_unstable();
    let runs = hashes.chunk_by(|a, b| a == b);
    runs.fold((0, 0), |(distinct, repeated), run| {
        (distinct + 1, repeated + u64::from(run.len() > 1))
    })
}

/// One line of the online log.
struct OnlineLine {
    name: String,
    body: u64,
    input_tokens: u64,
    output_tokens: u64,
}

/// Notes a billed online call.
pub(super) fn note_online(
    world: &World,
    (dialect, endpoint): (&str, &str),
    body: u64,
    (input_tokens, output_tokens): (u32, u32),
) -> Result<()> {
    world.store.note_online(&format!(
        "{body} {input_tokens} {output_tokens} {dialect} {endpoint}"
    ))
}

fn online(world: &World, each: &mut dyn FnMut(OnlineLine)) -> Result<()> {
    let Ok(file) = File::open(world.store.online_log()) else {
        return Ok(());
    };
    for line in BufReader::new(file).lines() {
        let line = line.or_err(ErrorKind::Unavailable, "cannot read the bill")?;
        // A last line that a crash cut short was never answered.
        if let Some(line) = parse(&line) {
            each(line);
        }
    }
    Ok(())
}

fn parse(line: &str) -> Option<OnlineLine> {
    let mut words = line.splitn(4, ' ');
    let mut number = || words.next()?.parse().ok();
    let (body, input_tokens, output_tokens) = (number()?, number()?, number()?);
    Some(OnlineLine {
        name: words.next()?.to_owned(),
        body,
        input_tokens,
        output_tokens,
    })
}
