//! What a job reads: opened, pinned, and looked at before anything is sent.

use futures::StreamExt;

use crate::base::{KeyIndex, Result};
use crate::prompt::{Prompt, Prompts, Template};
use crate::source::{Input, Predicate, RowIds, Sample, Scan, Source, TextOptions, check_unique};
use crate::spec::{Job, LayoutSpec, SourceInput};

use super::files::Files;
use super::setup::Setup;

/// What the job reads, in the words of its source.
#[must_use]
pub fn source_input(job: &Job) -> Input {
    let text = TextOptions {
        types: job.source.column_types(),
        delimiter: job.source.delimiter,
    };
    match &job.source.input {
        SourceInput::Table(address) => Input::Table {
            address: address.clone(),
            text,
        },
        SourceInput::Query { sql, tables, .. } => Input::Query {
            sql: sql.clone(),
            tables: tables.clone(),
            vars: job.vars.clone(),
            text,
        },
    }
}

/// Opens what the job reads.
pub(crate) async fn open_source(job: &Job, setup: &Setup, files: &Files) -> Result<Source> {
    Source::open(
        &source_input(job),
        &setup.components.stores,
        files.scratch(),
    )
    .await
}

/// Whether the rows are first written down as Parquet of our own: those that are not Parquet as they stand,
/// and files that differ in their columns where one file is to be made of them.
pub(crate) fn needs_snapshot(job: &Job, source: &Source) -> bool {
    let one_file = matches!(job.output.layout, Some(layout) if layout != LayoutSpec::Mirror);
    !source.is_table() || (one_file && !source.is_uniform())
}

/// The rows that are drawn, where the job draws some of those that `filter` chooses.
pub(crate) async fn sample(
    job: &Job,
    source: &Source,
    filter: Option<&Predicate>,
) -> Result<Option<Sample>> {
    match job.source.sample {
        None => Ok(None),
        Some(sample) => {
            let drawn = (sample.rows, sample.seed);
            source.sample(filter, drawn).await.map(Some)
        }
    }
}

/// Opens the snapshot that a plan made of its source.
pub(crate) async fn open_snapshot(setup: &Setup, files: &Files, plan: u64) -> Result<Source> {
    let folder = files.snapshot(plan);
    let local = folder.local.as_ref().and_then(|local| local.to_str());
    let address = local.map_or_else(
        || format!("{}/", folder.url.as_str().trim_end_matches('/')),
        str::to_owned,
    );
    Source::open(
        &Input::table(address),
        &setup.components.stores,
        files.scratch(),
    )
    .await
}

/// The part of the memory setting that the index of a plan's keys may use. Those that are there beside it
/// have half as much.
pub(crate) fn index_memory(memory: usize) -> usize {
    memory / 8 * 5
}

/// The key is there, not null, and unique over the whole table.
pub(crate) async fn check_key(
    job: &Job,
    source: &Source,
    files: &Files,
    memory: usize,
) -> Result<()> {
    if job.source.key.is_empty() {
        return Ok(());
    }
    let ids = RowIds::new(source.schema(), &job.source.key)?;
    let mut index = KeyIndex::new(files.scratch(), index_memory(memory))?;
    check_unique(source, &ids, |key, row| index.insert(key, row)).await
}

/// The prompt of the first row that has one.
pub(crate) async fn first_prompt(job: &Job, source: &Source) -> Result<Option<String>> {
    let mut template = compile(job, source)?;
    let mut scan = Scan::of(template.columns().iter().cloned()).batch_rows(64);
    if let Some(filter) = &job.source.filter {
        scan = scan.filter(Predicate::compile(filter, source.schema(), &job.vars)?);
    }
    // What is not drawn is never sent, not even for a trial.
    scan.sample = sample(job, source, scan.filter.as_ref()).await?;
    let mut slices = source.scan(scan).await?;
    let mut prompts = Prompts::default();
    while let Some(slice) = slices.next().await {
        template.render(&slice?.batch, &mut prompts)?;
        let text = prompts.iter().find_map(|prompt| match prompt {
            Prompt::Text(text) => Some(text.to_owned()),
            _ => None,
        });
        if text.is_some() {
            return Ok(text);
        }
    }
    Ok(None)
}

/// The prompt's template, compiled for the source's columns. A template keeps notes while it renders,
/// so that each reader of rows has one of its own.
pub(crate) fn compile(job: &Job, source: &Source) -> Result<Template> {
    let template = Template::compile(
        &job.prompt.user,
        "prompt.user",
        &column_names(source),
        &job.vars,
    )?;
    Ok(template.with_attachments(job.prompt.attached()))
}

pub(crate) fn column_names(source: &Source) -> Vec<&str> {
    source
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect()
}
