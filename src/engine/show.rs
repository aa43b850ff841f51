//! `show`: one row's story, from the ledger.

use futures::StreamExt;

use crate::base::{Error, Result};
use crate::ledger::outcomes::{OutcomeColumns, OutcomesReader};
use crate::ledger::requests::{RequestColumns, RequestsReader};
use crate::ledger::row_map::{Place, RowMapReader, RowPlan};
use crate::ledger::state::{Attempt, State};
use crate::source::{RowIds, Scan};
use crate::work::{RowStatus, Usage};

use super::Setup;
use super::book::Book;
use super::draw_up::open_source;
use super::files::Files;

/// One row's story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// Its position in the source.
    pub row: u64,
    /// What the plan made of it, in words.
    pub plan: String,
    /// The request key, in hexadecimal.
    pub key: Option<String>,
    /// The prompt as it was sent, if it was kept.
    pub prompt: Option<String>,
    /// The attempts, in order.
    pub attempts: Vec<Told>,
    /// Whether the source is not what was planned any more.
    pub changed: bool,
}

/// What an attempt said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// The provider's batch, once it is known.
    pub batch: Option<String>,
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
}

/// The story of the row whose key has the values `key`, one for each key column; without a key, of
/// the row at that position. Takes no lease.
///
/// # Errors
/// `Invalid` if there is no such row, or no plan yet.
pub async fn show(setup: Setup, key: &[String]) -> Result<Story> {
    let components = &setup.components;
    let root = components.stores.locate(&setup.job.ledger.path)?.private();
    let book = Book::read(components, &root, "show").await?;
    let files = Files::aside(&root)?;
    let state = book.state();
    let plan = state
        .plans
        .values()
        .rfind(|plan| plan.sealed.is_some() && !plan.gone);
    let plan = plan.ok_or_else(|| {
        Error::invalid("no plan of this job is complete yet").hint("`columnist run` makes one")
    })?;
    let number = plan.started.plan;
    let row = find_row(&setup, &files, key).await?;
    let changed = plan.started.rows <= row;
    let mut story = Story {
        row,
        changed,
        ..Story::default()
    };
    let place = read_row(number, row, &files, &mut story).await?;
    if let Some(place) = place {
        tell(state, place, &files, &mut story).await?;
    }
    Ok(story)
}

/// The position of the row with this key.
async fn find_row(setup: &Setup, files: &Files, key: &[String]) -> Result<u64> {
    let columns = &setup.job.source.key;
    let not_there = || Error::invalid("there is no such row").with("row", key.join(", "));
    if columns.is_empty() {
        let [position] = key else {
            return Err(Error::invalid(
                "the job has no key: give the row's position",
            ));
        };
        return position.parse().map_err(|_| {
            not_there().hint("the job has no key: a row is named by its position, from 0")
        });
    }
    if columns.len() != key.len() {
        return Err(Error::invalid("give one value for each key column")
            .with("columns", columns.join(", ")));
    }
    let source = open_source(&setup.job, setup, files).await?;
    RowIds::new(source.schema(), columns)?;
    let mut slices = source.scan(Scan::of(columns.iter().cloned())).await?;
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        let texts = slice.batch.columns().iter().map(|column| {
            arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8)
                .map_err(|error| Error::invalid("the key cannot be shown as text").because(error))
        });
        let texts = texts.collect::<Result<Vec<_>>>()?;
        for at in 0..slice.batch.num_rows() {
            let same = texts.iter().zip(key).all(|(column, value)| {
                arrow::array::AsArray::as_string::<i32>(column).value(at) == value
            });
            if same {
                return slice.rows.get(at).ok_or_else(not_there);
            }
        }
    }
    Err(not_there())
}

/// What the plan made of the row; the place of its request, if it asks one.
async fn read_row(plan: u64, row: u64, files: &Files, story: &mut Story) -> Result<Option<Place>> {
    let mut before = 0;
    for slice in RowMapReader::open(files.open(&files.rows(plan)).await?)? {
        let slice = slice?;
        let len = slice.len() as u64;
        if row < before + len {
            let at = usize::try_from(row - before).unwrap_or_default();
            let (words, place) = match slice.row(at)? {
                RowPlan::Asks(place) if u64::from(place.plan) == plan => (
                    format!("asks request {} of plan {plan}", place.ordinal),
                    Some(place),
                ),
                RowPlan::Asks(place) => (
                    format!(
                        "asks what request {} of plan {} asked",
                        place.ordinal, place.plan
                    ),
                    Some(place),
                ),
                RowPlan::Skipped(Some(why)) => (format!("skipped: {why}"), None),
                RowPlan::Skipped(None) => ("skipped: not selected".to_owned(), None),
                RowPlan::Failed(why) => (format!("failed: {why}"), None),
                RowPlan::Deferred => ("deferred".to_owned(), None),
            };
            story.plan = words;
            return Ok(place);
        }
        before += len;
    }
    "not planned: the source has grown since".clone_into(&mut story.plan);
    Ok(None)
}

/// The request at `place`, and every attempt at it.
async fn tell(state: &State, place: Place, files: &Files, story: &mut Story) -> Result<()> {
    let plan = u64::from(place.plan);
    let Some(planned) = state.plans.get(&plan) else {
        return Ok(());
    };
    for chunk in planned.chunks.values() {
        let last = chunk.stored.first + chunk.stored.requests;
        let may_hold =
            chunk.stored.first <= place.ordinal && (chunk.stored.listed || place.ordinal < last);
        if !may_hold || !read_request(plan, chunk.stored.chunk, place, files, story).await? {
            continue;
        }
        for attempt in state.attempts_of(chunk) {
            story.attempts.push(told(attempt, place, files).await?);
        }
    }
    Ok(())
}

async fn read_request(
    plan: u64,
    chunk: u64,
    place: Place,
    files: &Files,
    story: &mut Story,
) -> Result<bool> {
    let file = files.open(&files.requests(plan, chunk)).await?;
    for some in RequestsReader::open(file, RequestColumns::All)? {
        let some = some?;
        if let Some(at) = (0..some.len()).find(|at| some.ordinals.value(*at) == place.ordinal) {
            story.key = Some(some.key(at).to_string());
            story.prompt = some.prompt(at).map(str::to_owned);
            return Ok(true);
        }
    }
    Ok(false)
}

async fn told(attempt: &Attempt, place: Place, files: &Files) -> Result<Told> {
    let batch = attempt
        .accepted
        .as_ref()
        .map(|accepted| accepted.batch.to_string());
    let mut told = Told {
        batch,
        status: None,
        answer: None,
        raw: None,
        error: None,
        model: None,
        usage: Usage::default(),
    };
    if attempt.landed.is_none() {
        return Ok(told);
    }
    let file = files.open(&files.outcomes(attempt)).await?;
    for some in OutcomesReader::open(file, OutcomeColumns::All)? {
        let some = some?;
        let Some(at) = (0..some.len()).find(|at| some.ordinal(*at) == place.ordinal) else {
            continue;
        };
        told.status = Some(some.status(at));
        told.answer = some.answer(at).map(str::to_owned);
        told.raw = some.text("raw", at).map(str::to_owned);
        told.error = some.error(at).map(str::to_owned);
        told.model = some.text("model", at).map(str::to_owned);
        told.usage = some.usage(at);
    }
    Ok(told)
}
