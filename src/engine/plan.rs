//! `plan` and `check`: what a run would do, without doing it.

use std::sync::Arc;

use futures::StreamExt;

use crate::base::{Error, Result};
use crate::ledger::action::PlanCounts;
use crate::ledger::state::State;
use crate::prompt::{Prompt, Prompts};
use crate::provider::Provider;
use crate::source::{Scan, Source, TextNotes};
use crate::spec::Job;
use crate::work::price::{Pricing, Tariff, micro_usd};
use crate::work::{Frame, KeyRule, Usage};

use super::Setup;
use super::book::Book;
use super::draw_up::{Desk, publication};
use super::files::Files;
use super::open::check_ours;
use super::prepare::{Planning, Sink, Tally};
use super::prior::{Asks, Prior};
use super::sources::{check_key, compile, draw, needs_snapshot, open_source};

/// What a run would do.
#[derive(Clone, Debug, PartialEq)]
pub struct PlanReport {
    /// The job's name.
    pub job: String,
    /// Rows of the source.
    pub rows: u64,
    /// Rows by what the plan makes of them.
    pub counts: PlanCounts,
    /// Requests that would be sent.
    pub requests: u64,
    /// Batches that they would go in.
    pub chunks: u64,
    /// Estimated input tokens.
    pub input_tokens: u64,
    /// The most output tokens that they can have.
    pub output_tokens_max: u64,
    /// Estimated cost by batch, half of the output being used, in millionths of a US dollar.
    pub expected_micros: Option<u64>,
    /// The most that it can cost by batch.
    pub worst_micros: Option<u64>,
    /// The most that it could cost online.
    pub online_worst_micros: Option<u64>,
    /// What a person should know before running it.
    pub notes: Vec<String>,
}

/// A row as `check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRow {
    /// Its position.
    pub row: u64,
    /// Its prompt, or why there is none.
    pub prompt: std::result::Result<String, String>,
}

/// What `check` found to be in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The source's columns, with their types.
    pub columns: Vec<(String, String)>,
    /// The tables of text that it reads, with the types that their columns got.
    pub text: Vec<TextNotes>,
    /// The source's rows, where that is known without reading them.
    pub rows: Option<u64>,
    /// The columns that the prompt names: what leaves this machine.
    pub sent: Vec<String>,
    /// What a person should know of the source.
    pub notes: Vec<String>,
    /// The first rows.
    pub first: Vec<CheckedRow>,
}

/// Batches smaller than this wait as long as large ones, for little.
const TINY: u64 = 100;

/// What a run would do. Reads everything and sends nothing.
///
/// # Errors
/// Whatever is wrong with the job, its source or its key, or keeps the ledger from being read. What a
/// run looks at besides is left to it: whether the output may be written, who holds the job, and what
/// the provider says to a trial.
pub async fn plan(setup: Setup, provider: Arc<dyn Provider>) -> Result<PlanReport> {
    let job = &setup.job;
    let components = &setup.components;
    let root = components.stores.locate(&job.ledger.path)?.private();
    let book = Book::read(components, &root, "plan").await?;
    check_ours(book.state(), job)?;
    let files = Files::aside(&root)?;
    let mut source = open_source(job, &setup, &files).await?;
    let desk = Desk::check(job, &source, &*provider)?;
    let mut notes = source.notes().to_vec();
    notes.extend(dropped(&setup, &source, &desk).await?);
    if needs_snapshot(job, &source) {
        let folder = components
            .stores
            .locate(&files.draft("snapshot").display().to_string())?;
        source = source
            .snapshot(&folder, &components.stores, files.scratch())
            .await?;
    }
    check_key(job, &source, &files, setup.memory).await?;
    let number = book.state().next_plan();
    let asks = Asks {
        plan: number,
        shape: &desk.shape,
        rule: KeyRule::NEWEST,
    };
    let mut prior = Prior::read(book.state(), &asks, &files, setup.memory).await?;
    prior.expect(book.state(), &asks, &files).await?;
    let planning = Planning {
        source: &source,
        key: &job.source.key,
        filter: desk.filter.as_ref(),
        limit: job.source.limit,
        draw: draw(job, &source, desk.filter.as_ref()).await?,
        columns: &desk.columns,
        dedupe: job.prompt.dedupe,
        defer: false,
        keyer: desk.shape.keyer(KeyRule::NEWEST),
        frame: &desk.frame,
        limits: desk.limits,
        trial: 0,
    };
    let (tally, _) = planning
        .carry_out(number, compile(job, &source)?, prior, Sink::Count, |_| ())
        .await?;
    let mut report = report(job, &source, &desk, &tally, book.state());
    notes.append(&mut report.notes);
    Ok(PlanReport { notes, ..report })
}

/// Tries what publishing needs of the source; what of it will not come along, a sentence each.
async fn dropped(setup: &Setup, source: &Source, desk: &Desk) -> Result<Vec<String>> {
    if needs_snapshot(&setup.job, source) {
        return Ok(Vec::new());
    }
    let stores = &setup.components.stores;
    let publication = publication(&setup.job, desk, stores, ("", ""))?;
    publication.prepare(source).await
}

fn report(job: &Job, source: &Source, desk: &Desk, tally: &Tally, state: &State) -> PlanReport {
    let bytes = tally.prompt_bytes + tally.requests * overhead(&desk.frame);
    let by_count = tally.requests.div_ceil(desk.limits.requests_max.max(1));
    let by_bytes = bytes.div_ceil(desk.limits.bytes_max.max(1));
    let chunks = by_count.max(by_bytes);
    let pricing = Pricing::of(&desk.shape.service, &desk.shape.model);
    let each = |prompt_bytes: u64, output| Usage {
        input: prompt_bytes / BYTES_PER_TOKEN,
        output,
        ..Usage::default()
    };
    let system = desk.shape.system.as_ref().map_or(0, String::len) as u64;
    let input_tokens = each(tally.prompt_bytes + tally.requests * system, 0).input;
    let output_tokens_max = tally.requests * u64::from(job.model.max_output_tokens);
    let cost = |tariff, output| {
        let usage = Usage {
            input: input_tokens,
            output,
            ..Usage::default()
        };
        pricing
            .is_known()
            .then(|| micro_usd(pricing.cost(tariff, &usage)))
    };
    PlanReport {
        job: job.name.clone(),
        rows: source.rows().unwrap_or_default(),
        counts: tally.rows,
        requests: tally.requests,
        chunks,
        input_tokens,
        output_tokens_max,
        expected_micros: cost(Tariff::Batch, output_tokens_max / 2),
        worst_micros: cost(Tariff::Batch, output_tokens_max),
        online_worst_micros: cost(Tariff::Online, output_tokens_max),
        notes: notes(desk, tally, chunks, state, pricing),
    }
}

/// Bytes of text that make a token, roughly, in the languages of most tables.
const BYTES_PER_TOKEN: u64 = 4;

fn overhead(frame: &Frame) -> u64 {
    frame.added_len("")
}

fn notes(desk: &Desk, tally: &Tally, chunks: u64, state: &State, pricing: Pricing) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(last) = state.plan() {
        if last.started.fingerprint != desk.shape.fingerprint() {
            notes.push(format!(
                "the model, the system prompt, the parameters or the answer's type changed since \
                 plan {}: every answer is stale",
                last.started.plan
            ));
        }
        let open = state.open_attempts().filter(|open| !open.cancel_sent);
        let open: u64 = open.map(|open| open.promised.requests).sum();
        if open > 0 {
            notes.push(format!(
                "batches with {open} requests are open; a run harvests them first, and the rows that \
                 ask the same are among the answered"
            ));
        }
    }
    if tally.requests > 0 && tally.requests / chunks.max(1) < TINY {
        notes.push(format!(
            "tiny batches: {} requests in {chunks}; a batch of a few takes as long as one of many",
            tally.requests
        ));
    }
    if pricing == Pricing::Unknown {
        notes.push("the price of this model is not known: no cost can be given".to_owned());
    }
    notes
}

/// Validates the job against its source, and renders the first `rows` rows. Asks no provider.
///
/// # Errors
/// Whatever is wrong with the job or its source.
pub async fn check(setup: Setup, provider: Arc<dyn Provider>, rows: u64) -> Result<Checked> {
    let job = &setup.job;
    let root = setup.components.stores.locate(&job.ledger.path)?;
    let files = Files::aside(&root)?;
    let source = open_source(job, &setup, &files).await?;
    let desk = Desk::check(job, &source, &*provider)?;
    let mut notes = source.notes().to_vec();
    notes.extend(dropped(&setup, &source, &desk).await?);
    let mut template = compile(job, &source)?;
    let columns = desk.columns;
    let mut scan = Scan::of(columns.iter().cloned()).limit(rows);
    if let Some(filter) = &desk.filter {
        scan = scan.filter(filter.clone());
    }
    let mut slices = source.scan(scan).await?;
    let (mut first, mut prompts) = (Vec::new(), Prompts::default());
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        template.render(&slice.batch, &mut prompts)?;
        for (at, prompt) in prompts.iter().enumerate() {
            let lost = || Error::internal("a row without a position");
            let prompt = match prompt {
                Prompt::Text(text) => Ok(text.to_owned()),
                Prompt::Skipped(why) => Err(format!("skipped: {why}")),
                Prompt::Failed(why) => Err(format!("failed: {why}")),
            };
            first.push(CheckedRow {
                row: slice.rows.get(at).ok_or_else(lost)?,
                prompt,
            });
        }
    }
    let fields = source.schema().fields().iter();
    Ok(Checked {
        columns: fields
            .map(|f| (f.name().clone(), f.data_type().to_string()))
            .collect(),
        text: source.text_notes().to_vec(),
        rows: source.rows(),
        sent: columns,
        first,
        notes,
    })
}
