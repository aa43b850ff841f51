//! `show`: one row's story, from the ledger.

use std::sync::Arc;

use crate::base::{Error, Result};
use crate::ledger::outcomes::{OutcomeColumns, OutcomesReader};
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::row_map::{Place, RowPlan, read_keys};
use crate::ledger::state::{Attempt, ChunkState, State};
use crate::provider::Provider;
use crate::spec::Job;
use crate::work::answer::floats;
use crate::work::price::{Pricing, Tariff, micro_usd, saved};
use crate::work::{Attachment, Content, Correction, CustomId, RowStatus, Shape, Usage};

use super::locate::{Located, find, read_row};
use crate::engine::context::files::Files;
use crate::engine::context::ledger::JobLedger;
use crate::engine::context::owner::{check_job, stored_job};
use crate::engine::context::setup::Setup;

/// One row's story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// Its position in the source as it was planned; in the present one, if it was not planned.
    pub row: u64,
    /// What the plan made of it, in words.
    pub plan: String,
    /// The values of the key columns, as far as they are known.
    pub row_key: Vec<(String, Option<String>)>,
    /// The request key, in hexadecimal.
    pub key: Option<String>,
    /// The system prompt.
    pub system: Option<String>,
    /// The prompt as it was sent, if it was kept.
    pub prompt: Option<String>,
    /// What stands in it.
    pub attachments: Vec<Attachment>,
    /// Whether the prompt was deleted by `gc`.
    pub prompt_gone: bool,
    /// The attempts, in order.
    pub attempts: Vec<Told>,
    /// Whether the source is not what was planned any more, or gone.
    pub changed: bool,
}

/// What an attempt said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The provider's batch, once it is known.
    pub batch: Option<String>,
    /// The request as it was sent, whole, in JSON; if its prompt was kept.
    pub request: Option<String>,
    /// The status, once it has landed.
    pub status: Option<RowStatus>,
    /// The answer.
    pub answer: Option<String>,
    /// What the model said where that is not the answer.
    pub raw: Option<String>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// What was used.
    pub usage: Usage,
    /// What that cost, in millionths of a US dollar; `None` where no price is known.
    pub cost_micros: Option<u64>,
    /// What the provider's cache saved of it; less than nothing, where it cost more.
    pub cache_saved_micros: i64,
}

/// The story of the row whose key has the values `key`, one for each key column; without a key, of
/// the row at that position. Takes no lease.
///
/// # Errors
/// `Invalid` if there is no such row, or no plan yet.
pub async fn show(mut setup: Setup, key: &[String]) -> Result<Story> {
    let components = &setup.components;
    let root = components.stores.locate(&setup.job.ledger.path)?.private();
    let ledger = JobLedger::read(components, &root, "show").await?;
    let files = Files::aside(&root)?;
    let state = ledger.state();
    check_job(state, &setup.job)?;
    let plan = state.plans.values().rfind(|plan| plan.completed.is_some());
    let plan = plan.ok_or_else(|| {
        Error::invalid("no plan of this job is complete yet").hint("`columnist run` makes one")
    })?;
    // A row is what it was when it was planned, whatever the job file says now.
    setup.job = Job {
        ledger: setup.job.ledger,
        ..stored_job(plan)?
    };
    let Located {
        row,
        planned,
        changed,
    } = find(&setup, plan, &files, key).await?;
    let mut story = Story {
        row,
        changed,
        system: plan.started.shape.system.clone(),
        row_key: row_key(&setup.job.source.key, key),
        plan: UNPLANNED.to_owned(),
        ..Story::default()
    };
    if planned {
        let stored = files.open(&files.rows(plan.started.plan)).await?;
        let stored = read_keys(stored, row)?;
        // Where the row map has none, what was asked for is all there is.
        if stored.iter().any(|(_, value)| value.is_some()) {
            story.row_key = stored;
        }
    }
    let place = if planned {
        let number = plan.started.plan;
        let (words, place) = read_row(number, row, &files, |row| words(number, &row)).await?;
        story.plan = words;
        place
    } else {
        None
    };
    if let Some(place) = place {
        let frames = Frames::of(&setup);
        tell(state, place, (&files, &frames), &mut story).await?;
    }
    Ok(story)
}

/// The key that a person named a row by.
fn row_key(columns: &[String], values: &[String]) -> Vec<(String, Option<String>)> {
    let named = columns
        .iter()
        .cloned()
        .zip(values.iter().cloned().map(Some));
    named.collect()
}

/// Where in its body a request was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    /// Its number.
    n: u64,
    /// Its line, where lines carry several; and bytes of the inputs that it was sent as.
    line: Option<(u32, Vec<u32>)>,
    /// What followed its text, where it was asked again for an invalid answer.
    correction: Option<(String, String)>,
}

/// Makes requests as they were sent, where the job's provider can be opened.
struct Frames(Option<Arc<dyn Provider>>);

impl Frames {
    fn of(setup: &Setup) -> Frames {
        let vendors = setup.vendors.as_ref();
        Frames(vendors.and_then(|vendors| vendors.open(&setup.job).ok()))
    }

    /// The request of `attempt` that was number `n` of its chunk.
    fn request(
        &self,
        shape: &Shape,
        attempt: &Attempt,
        (sent, content): (&Sent, Content<'_>),
    ) -> Option<String> {
        let provider = self.0.as_ref()?;
        let is_same = provider.capability().name == attempt.promised.provider;
        let frame = provider.frame(shape, attempt.promised.cache);
        let frame = frame.ok().filter(|_| is_same)?;
        let ids = CustomId::new(&attempt.promised.nonce, attempt.promised.chunk);
        let mut bytes = Vec::new();
        let data = |attached: &Attachment, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("<{}>", attached.source).as_bytes());
            Ok(())
        };
        let start = if let Some((line, inputs)) = &sent.line {
            // The other texts of the line are other rows'.
            frame.begin_line(&ids, u64::from(*line), &mut bytes);
            frame.write_inputs(content.text, inputs, &mut bytes);
            bytes.extend_from_slice(&frame.after_text);
            let before = frame.after_text.len() + frame.between.len();
            if *line > 0 { before } else { 0 }
        } else {
            let n = sent.n;
            frame
                .write_content(&ids, n, content, data, &mut bytes)
                .ok()?;
            if n > 0 { frame.between.len() } else { 0 }
        };
        String::from_utf8(bytes.split_off(start)).ok()
    }
}

const UNPLANNED: &str = "not planned: the source has changed since";

/// What the plan made of a row, in words; the place of its request, if it asks one.
fn words(plan: u64, row: &RowPlan<'_>) -> (String, Option<Place>) {
    match row {
        RowPlan::Asks(place) if u64::from(place.plan) == plan => (
            format!("asks request {} of plan {plan}", place.ordinal),
            Some(*place),
        ),
        RowPlan::Asks(place) => (
            format!(
                "asks what request {} of plan {} asked",
                place.ordinal, place.plan
            ),
            Some(*place),
        ),
        RowPlan::Skipped(Some(why)) => (format!("skipped: {why}"), None),
        RowPlan::Skipped(None) => ("skipped: not selected".to_owned(), None),
        RowPlan::Failed(why) => (format!("failed: {why}"), None),
        RowPlan::Deferred => ("deferred".to_owned(), None),
    }
}

/// The request at `place`, and every attempt at it.
async fn tell(
    state: &State,
    place: Place,
    (files, frames): (&Files, &Frames),
    story: &mut Story,
) -> Result<()> {
    let plan = u64::from(place.plan);
    let Some(planned) = state.plans.get(&plan) else {
        return Ok(());
    };
    let shape = &planned.started.shape;
    story.prompt_gone = planned.prompts_gone;
    story.system.clone_from(&shape.system);
    for chunk in planned.chunks.values() {
        let last = chunk.stored.first + chunk.stored.requests;
        let may_hold =
            chunk.stored.first <= place.ordinal && (chunk.stored.listed || place.ordinal < last);
        if !may_hold {
            continue;
        }
        let number = if story.prompt_gone {
            None
        } else {
            match read_request(plan, chunk.stored.chunk, place, files, story).await? {
                None => continue,
                number => number,
            }
        };
        let before = story.attempts.len();
        let shape = &shape.varied(&chunk.stored.variant);
        tell_attempts(state, chunk, place, (files, shape), story).await?;
        let Some((sent, prompt)) = number.zip(story.prompt.clone()) else {
            continue;
        };
        let told = story.attempts[before..].iter_mut();
        for (told, attempt) in told.zip(state.attempts_of(chunk)) {
            let content = Content {
                correction: Correction::borrow(sent.correction.as_ref()),
                ..Content::of(&prompt, &story.attachments)
            };
            told.request = frames.request(shape, attempt, (&sent, content));
        }
    }
    Ok(())
}

/// What every attempt at the chunk says of the request.
async fn tell_attempts(
    state: &State,
    chunk: &ChunkState,
    place: Place,
    (files, shape): (&Files, &Shape),
    story: &mut Story,
) -> Result<()> {
    let mut attempts = Vec::new();
    // Whether a chunk that lists its requests holds this one, only its outcomes tell without the file.
    let mut found = !(story.prompt_gone && chunk.stored.listed);
    for attempt in state.attempts_of(chunk) {
        let (told, key) = told(attempt, place, (files, shape)).await?;
        attempts.push(told);
        found |= key.is_some();
        story.key = story.key.take().or(key);
    }
    if found {
        story.attempts.extend(attempts);
    }
    Ok(())
}

/// Reads the request at `place`, if it is in the chunk: where it was sent.
async fn read_request(
    plan: u64,
    chunk: u64,
    place: Place,
    files: &Files,
    story: &mut Story,
) -> Result<Option<Sent>> {
    let mut before = 0;
    let file = files.open(&files.requests(plan, chunk)).await?;
    for some in RequestsReader::open(file, RequestColumns::All)? {
        let some = some?;
        if let Some(at) = (0..some.len()).find(|at| some.ordinals.value(*at) == place.ordinal) {
            story.key = Some(some.key(at).to_string());
            story.prompt = some.prompt(at).map(str::to_owned);
            story.attachments = some.attachments(at)?;
            let place = some.place(at);
            return Ok(Some(Sent {
                n: before + at as u64,
                correction: some.correction(at).map(Correction::to_owned),
                line: place.map(|place| (place.line, place.inputs.to_vec())),
            }));
        }
        before += some.len() as u64;
    }
    Ok(None)
}

/// A vector for a person: how long it is, and its first numbers.
fn in_short(vector: &[u8]) -> String {
    let numbers = floats(vector);
    let (count, first) = (numbers.len(), numbers.take(SHOWN_NUMBERS));
    let first: Vec<String> = first.map(|number| number.to_string()).collect();
    let more = if count > SHOWN_NUMBERS { ", ..." } else { "" };
    format!("[{}{more}] ({count} numbers)", first.join(", "))
}

/// Numbers of a vector that are shown.
const SHOWN_NUMBERS: usize = 4;

/// What an attempt says of the request, and the request's key, if its outcomes have it.
async fn told(
    attempt: &Attempt,
    place: Place,
    (files, shape): (&Files, &Shape),
) -> Result<(Told, Option<String>)> {
    let batch = attempt
        .accepted
        .as_ref()
        .map(|accepted| accepted.batch.to_string());
    let mut told = Told {
        batch,
        request: None,
        status: None,
        answer: None,
        raw: None,
        error: None,
        model: None,
        usage: Usage::default(),
        cost_micros: None,
        cache_saved_micros: 0,
    };
    let mut key = None;
    if attempt.landed.is_none() {
        return Ok((told, key));
    }
    let file = files.open(&files.outcomes(attempt)).await?;
    for some in OutcomesReader::open(file, OutcomeColumns::All)? {
        let some = some?;
        let Some(at) = (0..some.len()).find(|at| some.ordinal(*at) == place.ordinal) else {
            continue;
        };
        key = Some(some.key(at).to_string());
        told.status = Some(some.status(at));
        told.answer = some.answer(at).map(str::to_owned);
        told.answer = told.answer.or_else(|| some.vector(at).map(in_short));
        told.raw = some.text("raw", at).map(str::to_owned);
        told.error = some.error(at).map(str::to_owned);
        told.model = some.text("model", at).map(str::to_owned);
        told.usage = some.usage(at);
        let pricing = Pricing::of(&shape.service, &shape.model);
        let cost = pricing.cost(Tariff::Batch, &told.usage);
        told.cost_micros = pricing.is_known().then(|| micro_usd(cost));
        let uncached = pricing.cost(Tariff::Batch, &told.usage.uncached());
        told.cache_saved_micros = saved(uncached, cost);
    }
    Ok((told, key))
}
