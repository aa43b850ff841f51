//! The results of a batch: counted, or written as lines while somebody reads them.
//!
//! Lines come in an order drawn from the seed: segments in any order, and any order within one. A
//! segment's records are all that is held in memory.

use std::collections::HashMap;

use super::answer::{self, Plan};
use super::batch::{Batch, Luck, Outcome};
use super::cache::{CacheView, Found};
use super::faults::Fault;
use super::problem::Problem;
use super::random::{mix, shuffle};
use super::record::{Record, RecordReader, Stored};
use super::store::Store;
use super::text::tokens_of;
use crate::base::{Error, Result};

/// Plans kept while reading; beyond it a schema is read again.
const PLANS_KEPT: usize = 256;

/// What the model says when it does not want to.
pub(super) const REFUSAL: &str = "I can't help with that.";

/// Why an answer stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    Done,
    Filtered,
    Length,
    Refused,
}

/// A request with what became of it.
#[derive(Debug)]
pub(super) struct Reply<'a> {
    /// A number of its own, for ids.
    pub(super) draw: u64,
    pub(super) record: Record<'a>,
    pub(super) outcome: Outcome,
    pub(super) text: &'a str,
    pub(super) stop: StopReason,
    pub(super) output_tokens: u32,
    /// What it found in the cache.
    pub(super) found: Found,
    /// Whether its vectors do not have each index once.
    pub(super) misindexed: bool,
}

impl Reply<'_> {
    /// Why it failed.
    pub(super) fn problem(&self) -> Problem {
        self.record
            .problem()
            .unwrap_or_else(|| Problem::invalid("the request is invalid"))
    }
}

/// What a batch came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Answered, whether or not the line can be read.
    pub(super) succeeded: u64,
    pub(super) errored: u64,
    pub(super) cancelled: u64,
    pub(super) expired: u64,
    /// Answers whose lines can be read: these are what the vendor counts, and bills.
    pub(super) billed: u64,
    /// Tokens of the answers that can be read.
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// Those of the input that were read from the cache, and written to it.
    pub(super) cache_read_tokens: u64,
    pub(super) cache_write_tokens: u64,
    /// What the input costs, in thousandths of a token at its full price.
    pub(super) input_thousandths: u64,
}

/// Makes answers, remembering the plans of the schemas it has seen.
#[derive(Debug, Default)]
struct Answers {
    plans: HashMap<Stored, Plan>,
    text: String,
}

impl Answers {
    /// The answer to `record`: its text, why it stopped, and its tokens.
    fn write(
        &mut self,
        record: &Record<'_>,
        outcome: Outcome,
        reader: &mut RecordReader,
    ) -> Result<(&str, StopReason, u32)> {
        self.text.clear();
        if !outcome.is_answer() {
            return Ok(("", StopReason::Done, 0));
        }
        if !self.plans.contains_key(&record.shape) {
            if self.plans.len() >= PLANS_KEPT {
                self.plans.clear();
            }
            let plan = Plan::of(record.shape, |at, len| reader.schema(at, len))?;
            self.plans.insert(record.shape, plan);
        }
        let plan = self.plans.get(&record.shape).unwrap_or(&Plan::Sentence);
        let draw = record.draws().next().unwrap_or(0);
        let (stop, tokens) = spoken(plan, draw, record.budget, outcome, &mut self.text);
        Ok((&self.text, stop, tokens))
    }
}

/// Writes an answer as `outcome` has it.
pub(super) fn spoken(
    plan: &Plan,
    draw: u64,
    budget: u32,
    outcome: Outcome,
    text: &mut String,
) -> (StopReason, u32) {
    // A model that embeds says nothing.
    if matches!(plan, Plan::Vectors { .. }) {
        return (StopReason::Done, 0);
    }
    if outcome == Outcome::Refused {
        return (StopReason::Refused, tokens_of(REFUSAL.len()));
    }
    let (tokens, cut) = match outcome {
        Outcome::Wrong => plan.write_wrong(draw, budget, text),
        _ => plan.write(draw, budget, text),
    };
    let early = match outcome {
        Outcome::Cut => Some(StopReason::Length),
        Outcome::Filtered => Some(StopReason::Filtered),
        _ => None,
    };
    if let Some(stop) = early {
        let half = text.len() / 2;
        answer::cut(text, half);
        return (stop, tokens_of(half));
    }
    (
        if cut {
            StopReason::Length
        } else {
            StopReason::Done
        },
        tokens,
    )
}

/// Calls `each` for every record of a batch in the order of the upload.
pub(super) fn scan(
    store: &Store,
    batch: &Batch,
    each: &mut dyn FnMut(u64, &Record<'_>, &mut RecordReader) -> Result<()>,
) -> Result<()> {
    let mut reader = RecordReader::open(&store.requests(&batch.requests), &batch.summary)?;
    let mut buffer = Vec::new();
    for segment in 0..reader.segments() {
        reader.read(segment, &mut buffer)?;
        let mut index = RecordReader::first_of(segment);
        let mut bytes = buffer.as_slice();
        while !bytes.is_empty() {
            let record = Record::decode(&mut bytes).ok_or_else(corrupt)?;
            each(index, &record, &mut reader)?;
            index += 1;
        }
    }
    Ok(())
}

fn corrupt() -> Error {
    Error::data("a sandbox's requests are corrupt")
}

/// Counts what an ended batch came to.
pub(super) fn tally(store: &Store, batch: &Batch) -> Result<Tally> {
    let luck = batch.luck();
    let cache = CacheView::of(store, batch)?;
    let (mut tally, mut answers) = (Tally::default(), Answers::default());
    scan(store, batch, &mut |index, record, reader| {
        let outcome = luck.outcome(index, record.is_invalid());
        match outcome {
            Outcome::Cancelled => tally.cancelled += 1,
            Outcome::Expired => tally.expired += 1,
            Outcome::Errored | Outcome::Invalid | Outcome::Unpaid => tally.errored += 1,
            Outcome::Cut
            | Outcome::Filtered
            | Outcome::Refused
            | Outcome::Succeeded
            | Outcome::Wrong => tally.succeeded += 1,
        }
        if outcome.is_answer() && luck.is_readable(index, record) {
            let (_, _, output_tokens) = answers.write(record, outcome, reader)?;
            tally.billed += 1;
            tally.input_tokens += u64::from(record.input_tokens);
            tally.output_tokens += u64::from(output_tokens);
            let found = cache.found(index, record.cache, record.input_tokens);
            tally.cache_read_tokens += u64::from(found.read);
            tally.cache_write_tokens += u64::from(found.written);
            tally.input_thousandths += found.thousandths;
        }
        Ok(())
    })?;
    Ok(tally)
}

/// Calls `each` with the draws of every billed request of an ended batch, and whether the answer is whole and
/// what was asked for.
pub(super) fn billed(
    store: &Store,
    batch: &Batch,
    each: &mut dyn FnMut(u64, bool) -> Result<()>,
) -> Result<()> {
    let luck = batch.luck();
    let mut answers = Answers::default();
    scan(store, batch, &mut |index, record, reader| {
        let outcome = luck.outcome(index, record.is_invalid());
        if !outcome.is_answer() || !luck.is_readable(index, record) {
            return Ok(());
        }
        let (_, stop, _) = answers.write(record, outcome, reader)?;
        let is_good = outcome == Outcome::Succeeded && stop == StopReason::Done;
        record.draws().try_for_each(|draw| each(draw, is_good))
    })
}

/// Writes one line, without its end.
pub(super) type WriteLine = fn(&Batch, &Reply<'_>, &mut String);

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Line,
    Anonymous,
    Garbage,
    Stranger,
}

#[derive(Clone, Copy)]
struct LineAt {
    offset: u32,
    index: u64,
    kind: Kind,
}

/// The lines of an ended batch, one after the other.
pub(super) struct Results {
    batch: Batch,
    luck: Luck,
    cache: CacheView,
    wants: fn(Outcome) -> bool,
    write: WriteLine,
    reader: RecordReader,
    answers: Answers,
    order: Vec<usize>,
    buffer: Vec<u8>,
    places: Vec<LineAt>,
}

impl Results {
    /// The lines of those requests whose outcome is wanted.
    pub(super) fn open(
        store: &Store,
        batch: Batch,
        wants: fn(Outcome) -> bool,
        write: WriteLine,
    ) -> Result<Self> {
        let reader = RecordReader::open(&store.requests(&batch.requests), &batch.summary)?;
        let luck = batch.luck();
        let cache = CacheView::of(store, &batch)?;
        let mut order: Vec<usize> = (0..reader.segments()).collect();
        shuffle(&mut order, luck.key());
        Ok(Results {
            batch,
            luck,
            cache,
            wants,
            write,
            reader,
            answers: Answers::default(),
            order,
            buffer: Vec::new(),
            places: Vec::new(),
        })
    }

    /// Appends lines until `out` holds about `enough` bytes. False when there are no more.
    pub(super) fn fill(&mut self, out: &mut String, enough: usize) -> Result<bool> {
        while out.len() < enough {
            match self.places.pop() {
                Some(place) => self.line(place, out)?,
                None => match self.order.pop() {
                    Some(segment) => self.load(segment)?,
                    None => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    fn load(&mut self, segment: usize) -> Result<()> {
        self.reader.read(segment, &mut self.buffer)?;
        let mut index = RecordReader::first_of(segment);
        let mut bytes = self.buffer.as_slice();
        while !bytes.is_empty() {
            let at = self.buffer.len() - bytes.len();
            let offset = u32::try_from(at).map_err(|_| corrupt())?;
            let record = Record::decode(&mut bytes).ok_or_else(corrupt)?;
            if (self.wants)(self.luck.outcome(index, record.is_invalid())) {
                let kinds = kinds(&self.luck, index);
                self.places.extend(kinds.map(|kind| LineAt {
                    offset,
                    index,
                    kind,
                }));
            }
            index += 1;
        }
        shuffle(&mut self.places, mix(self.luck.key() ^ segment as u64));
        Ok(())
    }

    fn line(&mut self, place: LineAt, out: &mut String) -> Result<()> {
        let offset = usize::try_from(place.offset).map_err(|_| corrupt())?;
        let mut bytes = &self.buffer[offset..];
        let mut record = Record::decode(&mut bytes).ok_or_else(corrupt)?;
        let outcome = self.luck.outcome(place.index, record.is_invalid());
        let (text, stop, output_tokens) = self.answers.write(&record, outcome, &mut self.reader)?;
        let draw = mix(self.luck.key().wrapping_add(place.index));
        let stranger = format!("stranger-{draw:016x}");
        if place.kind == Kind::Stranger {
            record.custom_id = &stranger;
        }
        let start = out.len();
        let found = self
            .cache
            .found(place.index, record.cache, record.input_tokens);
        let reply = Reply {
            draw,
            misindexed: self.luck.is_misindexed(place.index, &record),
            record,
            outcome,
            text,
            stop,
            output_tokens,
            found,
        };
        let id = quoted(reply.record.custom_id);
        (self.write)(&self.batch, &reply, out);
        if place.kind == Kind::Anonymous {
            let line = out.split_off(start).replacen(&id, "null", 1);
            out.push_str(&line);
        }
        if place.kind == Kind::Garbage {
            answer::cut(out, start + (out.len() - start) / 2);
        }
        out.push('\n');
        Ok(())
    }
}

/// An id as it stands in a line.
fn quoted(id: &str) -> String {
    let mut text = String::new();
    super::answer::quoted(id, &mut text);
    text
}

/// The lines that a request gets: usually one.
fn kinds(luck: &Luck, index: u64) -> impl Iterator<Item = Kind> {
    let own = match () {
        () if luck.hits(Fault::Missing, index) => None,
        () if luck.hits(Fault::Garbage, index) => Some(Kind::Garbage),
        () if luck.hits(Fault::Anonymous, index) => Some(Kind::Anonymous),
        () => Some(Kind::Line),
    };
    let again = own.filter(|_| luck.hits(Fault::Duplicate, index));
    let stranger = luck.hits(Fault::Stranger, index).then_some(Kind::Stranger);
    [own, again, stranger].into_iter().flatten()
}
