//! Rows into prompts, through the template engine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use minijinja::{Environment, ErrorKind as Trouble, Value};

use super::template::Row;
use crate::base::{Error, ErrorKind, Result, ResultExt};

/// The prompts of some rows: one buffer of text, and where each ends.
#[derive(Debug, Default)]
pub struct Prompts {
    text: String,
    rows: Vec<Slot>,
    reasons: Vec<String>,
}

/// One row's share.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Text { start: usize, end: usize },
    Skipped(usize),
    Failed(usize),
}

/// What became of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendered<'a> {
    /// Its prompt.
    Text(&'a str),
    /// There is no prompt for it, and why.
    Skipped(Cow<'a, str>),
    /// Its prompt could not be made, and why.
    Failed(&'a str),
}

/// Why a row without anything to say is skipped.
pub(super) const BLANK: &str = "the prompt is blank";

impl Prompts {
    /// What became of row `at`.
    #[must_use]
    pub fn get(&self, at: usize) -> Rendered<'_> {
        match self.rows[at] {
            Slot::Text { start, end } => Rendered::Text(&self.text[start..end]),
            Slot::Skipped(reason) => Rendered::Skipped(Cow::Borrowed(&self.reasons[reason])),
            Slot::Failed(reason) => Rendered::Failed(&self.reasons[reason]),
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
        self.reasons.clear();
    }

    /// The buffer, to write the next prompt to.
    pub(super) fn text(&mut self) -> &mut String {
        &mut self.text
    }

    /// Ends the prompt that began at `start`.
    pub(super) fn end(&mut self, start: usize) {
        let end = self.text.len();
        if self.text[start..].chars().all(char::is_whitespace) {
            self.skip(start, BLANK.to_owned());
        } else {
            self.rows.push(Slot::Text { start, end });
        }
    }

    /// Gives up the prompt that began at `start`: there is none for this row.
    pub(super) fn skip(&mut self, start: usize, why: String) {
        self.text.truncate(start);
        self.rows.push(Slot::Skipped(self.reasons.len()));
        self.reasons.push(why);
    }

    /// Gives up the prompt that began at `start`: it cannot be made.
    pub(super) fn fail(&mut self, start: usize, why: String) {
        self.text.truncate(start);
        self.rows.push(Slot::Failed(self.reasons.len()));
        self.reasons.push(why);
    }
}

/// Renders each row of `batch` by the engine.
pub(super) fn render_with_engine(
    engine: &Environment<'static>,
    name: &str,
    columns: &[String],
    vars: &Value,
    batch: &RecordBatch,
    prompts: &mut Prompts,
) -> Result<()> {
    let template = engine
        .get_template(name)
        .or_err(ErrorKind::Internal, "a lost template")?;
    let (batch, columns) = plain(batch, columns)?;
    for at in 0..batch.num_rows() {
        let row = Row {
            batch: Arc::clone(&batch),
            columns: Arc::clone(&columns),
            vars: vars.clone(),
            at,
        };
        let start = prompts.text.len();
        match template.render(Value::from_object(row)) {
            Ok(text) => {
                prompts.text.push_str(&text);
                prompts.end(start);
            }
            Err(error) if error.kind() == Trouble::UndefinedError => {
                prompts.skip(start, null_reason(&error));
            }
            Err(error) => prompts.fail(
                start,
                format!("the template cannot be rendered: {}", sentence(&error)),
            ),
        }
    }
    Ok(())
}

fn null_reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("a column of the prompt is null: {detail}"),
        None => "a column of the prompt is null".to_owned(),
    }
}

fn sentence(error: &minijinja::Error) -> String {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("{detail} (line {line})"),
        None => detail,
    }
}

/// The batch with its encoded columns decoded, and where each of the template's columns is.
fn plain(
    batch: &RecordBatch,
    columns: &[String],
) -> Result<(Arc<RecordBatch>, Arc<BTreeMap<String, usize>>)> {
    let mut arrays = Vec::with_capacity(columns.len());
    for name in columns {
        arrays.push((name.clone(), column(batch, name)?));
    }
    let places = columns
        .iter()
        .enumerate()
        .map(|(at, name)| (name.clone(), at))
        .collect();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let fields: Vec<_> = arrays
        .iter()
        .map(|(name, array)| arrow::datatypes::Field::new(name, array.data_type().clone(), true))
        .collect();
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let arrays = arrays.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new_with_options(schema, arrays, &options).or_err(
        ErrorKind::Internal,
        "the template's columns do not fit together",
    )?;
    Ok((Arc::new(batch), Arc::new(places)))
}

/// A column, decoded if it is a dictionary or run-end encoded.
pub(super) fn column(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let array = batch.column_by_name(name).ok_or_else(|| {
        Error::internal("a column of the template was not read").with("column", name)
    })?;
    let values = match array.data_type() {
        DataType::Dictionary(_, values) => values.as_ref(),
        DataType::RunEndEncoded(_, values) => values.data_type(),
        _ => return Ok(Arc::clone(array)),
    };
    arrow::compute::cast(array, values)
        .or_err(ErrorKind::Internal, "an encoded column cannot be decoded")
}
