//! `check`: a job validated, and its first rows rendered.

use std::sync::Arc;

use futures::StreamExt;

use super::preflight::{Inspected, reask_notes, unknown_model};
use crate::base::{Error, Result};
use crate::engine::attachments::attacher::{Found, found};
use crate::engine::context::job_parts::JobParts;
use crate::engine::context::publish_spec::meta_columns;
use crate::engine::context::setup::Setup;
use crate::engine::context::source::compile;
use crate::engine::plan::planner::TOO_LONG;
use crate::prompt::{Prompt, Prompts};
use crate::provider::Provider;
use crate::source::{Predicate, Scan, Source, TextNotes};
use crate::spec::Job;
use crate::work::answer::Kind;
use crate::work::sql_type::name_of;
use crate::work::{AnswerType, Attachment, InputFit, InputRule, Precision};

/// A row as `check` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRow {
    /// Its position.
    pub row: u64,
    /// How its prompt begins, or why there is none.
    pub prompt: std::result::Result<String, String>,
    /// What is attached to it, in words.
    pub attached: Vec<String>,
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
    /// The columns that the answer adds, with their types.
    pub added: Vec<(String, String)>,
    /// Those that say how each answer came about, with theirs.
    pub beside: Vec<(String, String)>,
    /// The JSON Schema that the provider is asked for, or that stands in the prompt, where the answer is no free text.
    pub schema: Option<String>,
    /// The columns that the prompt names: what leaves this machine.
    pub sent: Vec<String>,
    /// The first rows.
    pub first: Vec<CheckedRow>,
    /// What a person should know before running it.
    pub notes: Vec<String>,
}

/// Characters of a prompt that `check` shows.
const SHOWN_MAX: usize = 2000;

/// Has every row chosen or not, for what cannot be told of one of them stops a run as well.
async fn choose_all(source: &Source, filter: &Predicate) -> Result<()> {
    let scan = Scan::of::<String>([]).filter(filter.clone());
    let mut slices = source.scan(scan).await?;
    while let Some(slice) = slices.next().await {
        slice?;
    }
    Ok(())
}

/// Validates the job against its source, its ledger and its output, and renders the first `rows` rows. Asks
/// no provider.
///
/// # Errors
/// As for [`super::plan::plan`].
pub async fn check(setup: Setup, provider: Arc<dyn Provider>, rows: u64) -> Result<Checked> {
    let job = &setup.job;
    let Inspected {
        // A snapshot lies in its scratch folder.
        files: _files,
        source,
        parts,
        text,
        mut notes,
        ..
    } = Box::pin(Inspected::of(&setup, &*provider)).await?;
    notes.extend(unknown_model(job, &parts.shape.service));
    notes.extend(reask_notes(job, &parts.shape.service));
    if let Some(filter) = &parts.filter {
        choose_all(&source, filter).await?;
    }
    let schema = provider.schema(&job.answer.answer)?;
    notes.extend(answer_notes(&job.answer.answer)?);
    let first = first_rows(job, &source, &parts, rows).await?;
    let fields = source.schema().fields().iter();
    Ok(Checked {
        columns: fields
            .map(|f| (f.name().clone(), f.data_type().to_string()))
            .collect(),
        added: added(job)?,
        beside: beside(job),
        schema: schema
            .or_else(|| job.answer.answer.told())
            .map(|schema| schema.to_string()),
        text,
        rows: source.rows(),
        sent: parts.columns.clone(),
        first,
        notes,
    })
}

/// The first `rows` rows that are chosen, rendered.
async fn first_rows(
    job: &Job,
    source: &Source,
    parts: &JobParts,
    rows: u64,
) -> Result<Vec<CheckedRow>> {
    let mut template = compile(job, source)?;
    let mut scan = Scan::of(parts.columns.iter().cloned()).limit(rows);
    if let Some(filter) = &parts.filter {
        scan = scan.filter(filter.clone());
    }
    let mut slices = source.scan(scan).await?;
    let (mut first, mut prompts) = (Vec::new(), Prompts::default());
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        template.render(&slice.batch, &mut prompts)?;
        let attacher = parts.attacher.as_deref();
        let found = found(attacher, &slice.batch, template.columns(), &prompts).await?;
        for (at, prompt) in prompts.iter().enumerate() {
            let lost = || Error::internal("a row without a position");
            let row = slice.rows.get(at).ok_or_else(lost)?;
            let prompt = match prompt {
                Prompt::Text(text) if is_too_long(parts.inputs, text) => Prompt::Failed(TOO_LONG),
                prompt => prompt,
            };
            first.push(checked(row, prompt, found.get(at)));
        }
    }
    Ok(first)
}

/// A row in words.
fn checked(row: u64, prompt: Prompt<'_>, found: Option<&Found>) -> CheckedRow {
    let mut more = 0;
    let mut prompt = match prompt {
        Prompt::Text(text) => {
            let end = text.char_indices().nth(SHOWN_MAX);
            let end = end.map_or(text.len(), |(end, _)| end);
            more = text[end..].chars().count() as u64;
            Ok(text[..end].to_owned())
        }
        Prompt::Skipped(why) => Err(format!("skipped: {why}")),
        Prompt::Failed(why) => Err(format!("failed: {why}")),
    };
    let words =
        |one: &Attachment| format!("{} at byte {}: {}", one.kind.as_str(), one.at, one.source);
    let attached = match found {
        Some(Ok(found)) => found.iter().map(words).collect(),
        Some(Err(why)) => {
            prompt = Err(format!("failed: {why}"));
            Vec::new()
        }
        None => Vec::new(),
    };
    CheckedRow {
        row,
        prompt,
        attached,
        more,
    }
}

/// What a person should know of how the answer is asked for and kept.
fn answer_notes(answer: &AnswerType) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    if answer.instructions().is_some() {
        let note = "the schema stands at the end of the system prompt, and nothing of it goes to the server \
                    besides (`model.structured_output = \"prompt\"`)";
        notes.push(note.to_owned());
    }
    if let AnswerType::Json(answer) = answer {
        let kept = answer.types()?.notes.into_iter();
        notes.extend(kept.map(|(place, why)| format!("{place} is kept as JSON text: {why}")));
    }
    Ok(notes)
}

/// Whether a text is too long to be embedded.
fn is_too_long(inputs: Option<InputRule>, text: &str) -> bool {
    inputs.is_some_and(|rule| rule.fit(text) == InputFit::TooLong)
}

/// The columns beside the answer's own, and what SQL calls their types.
fn beside(job: &Job) -> Vec<(String, String)> {
    let fields = meta_columns(job).fields(&job.answer.column).into_iter();
    fields
        .map(|field| (field.name().clone(), name_of(field.data_type())))
        .collect()
}

/// The answer's own columns, and what SQL calls their types.
fn added(job: &Job) -> Result<Vec<(String, String)>> {
    if let Some((dimensions, precision)) = job.answer.vector() {
        let number = match precision {
            Precision::Single => "Float32",
            Precision::Half => "Float16",
        };
        let list = format!("FixedSizeList<{number}, {dimensions}>");
        return Ok(vec![(job.answer.column.clone(), list)]);
    }
    let value = job.answer.answer.value()?;
    let Some(value) = value else {
        return Ok(vec![(job.answer.column.clone(), "VARCHAR".into())]);
    };
    Ok(match (&value.kind, &job.answer.flatten) {
        (Kind::Struct(fields), Some(prefix)) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (format!("{prefix}{name}"), value.to_string()))
                .collect()
        }
        _ => vec![(job.answer.column.clone(), value.to_string())],
    })
}
