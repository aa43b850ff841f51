//! `plan` and `check`: what a run would do, without doing it.

use std::sync::Arc;

use futures::StreamExt;

use crate::base::{Error, Result, nearest};
use crate::ledger::action::PlanCounts;
use crate::ledger::state::State;
use crate::prompt::{Prompt, Prompts};
use crate::provider::Provider;
use crate::source::{Scan, Source, TextNotes};
use crate::spec::Job;
use crate::work::price::{Price, Pricing, Tariff, micro_usd};
use crate::work::{Frame, KeyRule, Usage};

use super::book::Book;
use super::changes::{self, Change};
use super::draw_up::{Desk, publication};
use super::files::Files;
use super::open::check_ours;
use super::prepare::{Planning, Sink, Tally};
use super::prior::{Asks, Prior};
use super::publish::Publication;
use super::sources::{check_key, compile, draw, needs_snapshot, open_source};
use super::{Setup, target};

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
    /// The plan that this one is held against, if there is one.
    pub since: Option<u64>,
    /// What of the job is another than in that plan: why rows are stale.
    pub changes: Vec<Change>,
    /// Rows of that plan that are gone, or not chosen any more; where rows have a key.
    pub gone: Option<u64>,
    /// Why rows are skipped, and how many for each reason.
    pub skipped: Vec<(String, u64)>,
    /// What a person should know before running it.
    pub notes: Vec<String>,
}

/// A row as `check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRow {
    /// Its position.
    pub row: u64,
    /// How its prompt begins, or why there is none.
    pub prompt: std::result::Result<String, String>,
    /// Characters of the prompt that are not shown.
    pub more: u64,
}

/// What `check` found to be in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The source's columns, with their types.
    pub columns: Vec<(String, String)>,
    /// How the columns of CSV and NDJSON tables got their types, a table each.
    pub text: Vec<TextNotes>,
    /// The source's rows, where that is known without reading them.
    pub rows: Option<u64>,
    /// The columns that the prompt names: what leaves this machine.
    pub sent: Vec<String>,
    /// The first rows.
    pub first: Vec<CheckedRow>,
    /// What a person should know before running it.
    pub notes: Vec<String>,
}

/// Characters of a prompt that `check` shows.
const SHOWN_MAX: usize = 2000;

/// Batches smaller than this wait as long as large ones, for little.
const TINY: u64 = 100;

/// A job as it is looked at before it is run: whatever a run would refuse is refused here.
struct Inspected {
    book: Book,
    files: Files,
    source: Source,
    desk: Desk,
    /// What a person should know of the source, and of what will not come along to the output.
    notes: Vec<String>,
}

impl Inspected {
    /// Looks at the job, its source, its ledger and its output. The result of a query is taken whole
    /// where `whole` says so, or where its key has to be unique.
    async fn of(setup: &Setup, provider: &dyn Provider, whole: bool) -> Result<Inspected> {
        let (job, components) = (&setup.job, &setup.components);
        let root = components.stores.locate(&job.ledger.path)?.private();
        target::check_ledger(&root, components).await?;
        let book = Book::read(components, &root, setup.command).await?;
        check_ours(book.state(), job)?;
        let files = Files::aside(&root)?;
        let mut source = open_source(job, setup, &files).await?;
        let desk = Desk::check(job, &source, provider)?;
        desk.check_question(job, &source)?;
        let ledger = book.state().made.as_ref();
        let ledger = ledger.map(|made| made.ledger.clone()).unwrap_or_default();
        let publication = publication(job, &desk, &components.stores, ("", &ledger))?;
        target::check(&publication, &ledger, components).await?;
        let mut notes = source.notes().to_vec();
        notes.extend(dropped(job, &source, &publication).await?);
        if needs_snapshot(job, &source) && (whole || !job.source.key.is_empty()) {
            let draft = files.draft("snapshot").display().to_string();
            let folder = components.stores.locate(&draft)?;
            source = source
                .snapshot(&folder, &components.stores, files.scratch())
                .await?;
        }
        check_key(job, &source, &files, setup.memory).await?;
        Ok(Inspected {
            book,
            files,
            source,
            desk,
            notes,
        })
    }
}

/// Tries what publishing needs of the source; what of it will not come along, a sentence each.
async fn dropped(job: &Job, source: &Source, publication: &Publication) -> Result<Vec<String>> {
    if needs_snapshot(job, source) {
        return Ok(Vec::new());
    }
    publication.prepare(source).await
}

/// What a run would do. Reads everything and sends nothing.
///
/// # Errors
/// Whatever is wrong with the job, its source, its key, its ledger's place or its output's. What a
/// run looks at besides is left to it: who holds the job, and what the provider says to a trial.
pub async fn plan(setup: Setup, provider: Arc<dyn Provider>) -> Result<PlanReport> {
    let job = &setup.job;
    let Inspected {
        book,
        files,
        source,
        desk,
        mut notes,
    } = Box::pin(Inspected::of(&setup, &*provider, true)).await?;
    let state = book.state();
    let number = state.next_plan();
    let asks = Asks {
        plan: number,
        shape: &desk.shape,
        rule: KeyRule::NEWEST,
    };
    let mut prior = Prior::read(state, &asks, &files, setup.memory).await?;
    prior.expect(state, &asks, &files).await?;
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
    let template = compile(job, &source)?;
    let (tally, _) = planning
        .carry_out(number, template, prior, Sink::Count, |_| ())
        .await?;
    let report = report(job, &source, &desk, &tally, state);
    notes.extend(notes_of(job, &desk, &tally, report.chunks, state));
    Ok(PlanReport { notes, ..report })
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
        if tally.requests == 0 {
            return Some(0);
        }
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
        since: state.plan().map(|last| last.started.plan),
        changes: last_job(state).map_or_else(Vec::new, |last| changes::between(&last, job)),
        gone: tally.gone,
        skipped: tally.reasons.skipped.clone().into_iter().collect(),
        notes: Vec::new(),
    }
}

/// The job as the last plan has it.
fn last_job(state: &State) -> Option<Job> {
    serde_json::from_value(state.plan()?.started.job.clone()).ok()
}

/// Bytes of text that make a token, roughly, in the languages of most tables.
const BYTES_PER_TOKEN: u64 = 4;

fn overhead(frame: &Frame) -> u64 {
    frame.added_len("")
}

fn notes_of(job: &Job, desk: &Desk, tally: &Tally, chunks: u64, state: &State) -> Vec<String> {
    let mut notes = Vec::new();
    let open = state.open_attempts().filter(|open| !open.cancel_sent);
    let open: u64 = open.map(|open| open.promised.requests).sum();
    if open > 0 {
        notes.push(format!(
            "batches with {open} requests are open; a run harvests them first, and the rows that \
             ask the same are among the answered"
        ));
    }
    if tally.requests > 0 && tally.requests / chunks.max(1) < TINY {
        notes.push(format!(
            "tiny batches: {} requests in {chunks}; a batch of a few takes as long as one of many",
            tally.requests
        ));
    }
    if let Some(why) = &tally.reasons.failed {
        notes.push(format!("the first row that cannot be asked: {why}"));
    }
    notes.extend(unknown_model(job, &desk.shape.service));
    notes
}

/// What to say of a model that this version does not know, at the vendor's own service. A new one is as
/// good as any: it is no mistake, and most likely a slip.
#[must_use]
pub fn unknown_model(job: &Job, service: &str) -> Option<String> {
    let (provider, model) = (&job.model.provider, &job.model.model);
    if service != provider
        || Pricing::of(service, model).is_known()
        || Price::listed(provider).next().is_none()
    {
        return None;
    }
    let advice = match nearest(model, Price::listed(provider)) {
        Some(near) => format!("did you mean `{provider}/{near}`? A newer model works"),
        None => "a newer model works".to_owned(),
    };
    Some(format!(
        "this version knows no model `{model}` of {provider}: {advice}, and its cost cannot be told"
    ))
}

/// Validates the job against its source, its ledger and its output, and renders the first `rows` rows. Asks
/// no provider.
///
/// # Errors
/// As for [`plan()`].
pub async fn check(setup: Setup, provider: Arc<dyn Provider>, rows: u64) -> Result<Checked> {
    let job = &setup.job;
    let Inspected {
        // A snapshot lies in its scratch folder.
        files: _files,
        source,
        desk,
        mut notes,
        ..
    } = Box::pin(Inspected::of(&setup, &*provider, false)).await?;
    notes.extend(unknown_model(job, &desk.shape.service));
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
            let mut more = 0;
            let prompt = match prompt {
                Prompt::Text(text) => {
                    let end = text.char_indices().nth(SHOWN_MAX);
                    let end = end.map_or(text.len(), |(end, _)| end);
                    more = text[end..].chars().count() as u64;
                    Ok(text[..end].to_owned())
                }
                Prompt::Skipped(why) => Err(format!("skipped: {why}")),
                Prompt::Failed(why) => Err(format!("failed: {why}")),
            };
            first.push(CheckedRow {
                row: slice.rows.get(at).ok_or_else(lost)?,
                prompt,
                more,
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
