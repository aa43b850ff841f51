//! The examples that stand before each row's own prompt, read before anything is planned.

use std::collections::BTreeMap;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use futures::StreamExt;

use crate::base::{Error, ErrorKind, Result, ResultExt, nearest};
use crate::prompt::{Prompt, Prompts, Template, render_shared};
use crate::source::{Input, Scan, Source, TextOptions};
use crate::spec::{EXAMPLES_MAX, ExamplesTable, Job};
use crate::work::Example;

use super::setup::Setup;
use super::source::column_names;

/// What the table of examples is called in a query.
const TABLE: &str = "examples";

/// The examples of the job whose rows `source` holds, with their answers as the provider is asked for them.
///
/// # Errors
/// `Invalid` if one is no template, or its answer is none of the answer's type; whatever keeps the table of
/// examples from being read.
pub(crate) async fn examples(
    job: &Job,
    source: &Source,
    setup: &Setup,
    scratch: &Path,
) -> Result<Vec<Example>> {
    let written = if let Some(table) = &job.prompt.examples_table {
        read(job, table, setup, scratch).await?
    } else {
        rendered(job, source)?
    };
    let answered = written.into_iter().enumerate().map(|(at, example)| {
        let answer = job.answer.answer.example(&example.assistant);
        let wrong = |why| {
            Error::invalid("the answer of an example is none of the answer's type")
                .with("example", at + 1)
                .with("reason", why)
                .hint("write it as the model is to answer, or take the example out")
        };
        Ok(Example {
            assistant: answer.map_err(wrong)?,
            ..example
        })
    });
    answered.collect()
}

/// The examples of the job file.
fn rendered(job: &Job, source: &Source) -> Result<Vec<Example>> {
    let names = column_names(source);
    let render = |text: &str| render_shared(text, "prompt.examples", &names, &job.vars);
    let written = job.prompt.examples.iter();
    let rendered = written.map(|example| {
        Ok(Example {
            user: render(&example.user)?,
            assistant: render(&example.assistant)?,
        })
    });
    rendered.collect()
}

/// Reads a table of examples. What stands in it is data, and no template.
async fn read(
    job: &Job,
    from: &ExamplesTable,
    setup: &Setup,
    scratch: &Path,
) -> Result<Vec<Example>> {
    let input = match &from.query {
        None => Input::table(from.table.clone()),
        Some(sql) => Input::Query {
            sql: sql.clone(),
            tables: BTreeMap::from([(TABLE.to_owned(), from.table.clone())]),
            vars: job.vars.clone(),
            text: TextOptions::default(),
        },
    };
    let place = |error: Error| error.with("examples_table", &from.table);
    let stores = &setup.components.stores;
    let table = Source::open(&input, stores, scratch).await.map_err(place)?;
    for name in ["user", "assistant"] {
        if table.schema().field_with_name(name).is_err() {
            let known = column_names(&table);
            let near = nearest(name, known.iter().copied());
            let advice = match near {
                Some(near) => format!("is it `{near}`? "),
                None => String::new(),
            };
            return Err(place(
                Error::invalid("the table of examples has no such column").with("column", name),
            )
            .hint(format!(
                "{advice}name it in a query: `examples_query = \"SELECT ... AS \\\"user\\\", ... AS assistant FROM examples\"`"
            )));
        }
    }
    let mut slices = table.scan(Scan::of(["user", "assistant"])).await?;
    let mut examples = Vec::new();
    while let Some(slice) = slices.next().await {
        take(&slice?.batch, &mut examples).map_err(place)?;
        if examples.len() > EXAMPLES_MAX {
            return Err(place(
                Error::invalid("the table of examples has more rows than go with a request")
                    .with("most", EXAMPLES_MAX),
            )
            .hint("choose some by `examples_query`, with a `LIMIT`"));
        }
    }
    if examples.is_empty() {
        return Err(place(Error::invalid("the table of examples is empty"))
            .hint("take `examples_table` out, or give it rows"));
    }
    Ok(examples)
}

fn take(batch: &RecordBatch, examples: &mut Vec<Example>) -> Result<()> {
    let (users, answers) = (texts(batch, "user")?, texts(batch, "assistant")?);
    for at in 0..batch.num_rows() {
        let filled = |column: &StringArray| {
            let text = column.is_valid(at).then(|| column.value(at).to_owned());
            text.filter(|text| !text.trim().is_empty())
        };
        let (Some(user), Some(assistant)) = (filled(&users), filled(&answers)) else {
            return Err(
                Error::invalid("an example is null or blank").with("row", examples.len() + 1)
            );
        };
        examples.push(Example { user, assistant });
    }
    Ok(())
}

/// A column as text. Lists and structs are JSON, as in a prompt: so are the answers in a table that Columnist
/// wrote.
fn texts(batch: &RecordBatch, name: &str) -> Result<StringArray> {
    let lost = || Error::internal("a column was not read");
    let column = batch.column_by_name(name).ok_or_else(lost)?;
    if !column.data_type().is_nested() {
        let wrong = "a column of the table of examples is no text";
        let texts = cast(column, &DataType::Utf8).or_err(ErrorKind::Invalid, wrong)?;
        return Ok(texts.as_string().clone());
    }
    let print = format!("{{{{ {name} }}}}");
    let mut template = Template::compile(&print, "prompt.examples", &[name], &BTreeMap::new())?;
    let mut printed = Prompts::default();
    template.render(batch, &mut printed)?;
    let texts = printed.iter().map(|text| match text {
        Prompt::Text(text) => Ok(Some(text)),
        Prompt::Skipped(_) => Ok(None),
        Prompt::Failed(why) => {
            Err(Error::invalid("an example cannot be written as text").with("reason", why))
        }
    });
    texts.collect()
}
