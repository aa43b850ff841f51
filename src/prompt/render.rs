//! From a batch of rows to their prompts, in one buffer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fmt, io};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;
use minijinja::value::{Enumerator, Object};
use minijinja::{ErrorKind, Value};

use crate::base::{Error, Result, ResultExt};

use super::cell::{Cells, plain};
use super::missing::Notes;
use super::print::print;
use super::template::{NAME, Plain, Template};

/// Why a row has no prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The rendered prompt is blank.
    Blank,
    /// The template prints this column, and it is null here.
    Null(String),
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Blank => f.write_str("the prompt is blank"),
            SkipReason::Null(column) => write!(f, "column `{column}` is null"),
        }
    }
}

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompt<'p> {
    /// It cannot be rendered, for this reason. The other rows can.
    Failed(&'p str),
    /// There is nothing to send.
    Skipped(&'p SkipReason),
    /// What is sent, byte for byte.
    Text(&'p str),
}

#[derive(Clone, Debug)]
enum Without {
    Failed(String),
    Skipped(SkipReason),
}

/// The prompts of a batch. Made once and filled again and again.
#[derive(Debug, Default)]
pub struct Prompts {
    text: String,
    rows: Vec<(usize, Option<Without>)>,
}

impl Prompts {
    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What became of the batch's row `index`, if it has so many.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Prompt<'_>> {
        let (end, without) = self.rows.get(index)?;
        Some(match without {
            Some(Without::Failed(reason)) => Prompt::Failed(reason),
            Some(Without::Skipped(reason)) => Prompt::Skipped(reason),
            None => {
                let start = index.checked_sub(1).map_or(0, |before| self.rows[before].0);
                Prompt::Text(&self.text[start..*end])
            }
        })
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Prompt<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
    }

    /// Ends the row that began at `start`.
    fn end(&mut self, start: usize, without: Option<Without>) {
        let blank = || self.text[start..].trim().is_empty();
        let without = without.or_else(|| blank().then_some(Without::Skipped(SkipReason::Blank)));
        if without.is_some() {
            self.text.truncate(start);
        }
        self.rows.push((self.text.len(), without));
    }
}

impl Template {
    /// Renders each row of `batch`, which holds the template's columns by name, into `prompts`.
    ///
    /// # Errors
    /// `Internal` if a column is missing. A row that cannot be rendered is its own failure.
    pub fn render(&mut self, batch: &RecordBatch, prompts: &mut Prompts) -> Result<()> {
        prompts.clear();
        let arrays = self.arrays(batch)?;
        if let Some(pieces) = &self.plain {
            self.render_plain(pieces, &arrays, batch.num_rows(), prompts);
            return Ok(());
        }
        self.render_with_engine(arrays, batch.num_rows(), prompts)
    }

    fn arrays(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.columns
            .iter()
            .map(|name| {
                let array = batch.column_by_name(name).ok_or_else(|| {
                    Error::internal("a column of the template was not read").with("column", name)
                })?;
                plain(array)
                    .or_err(crate::base::ErrorKind::Invalid, "cannot decode a column")
                    .map_err(|error| error.with("column", name))
            })
            .collect()
    }

    fn cells<'c>(&'c self, arrays: &'c [ArrayRef]) -> Vec<Cells<'c>> {
        let parts = self.columns.iter().zip(arrays).zip(&self.nulls);
        parts
            .map(|((name, array), null)| Cells {
                name,
                array,
                null,
                notes: &self.notes,
            })
            .collect()
    }

    /// Text and strings are copied; anything else is printed as the engine prints it.
    fn render_plain(
        &self,
        pieces: &[Plain],
        arrays: &[ArrayRef],
        rows: usize,
        prompts: &mut Prompts,
    ) {
        let cells = self.cells(arrays);
        for row in 0..rows {
            let start = prompts.text.len();
            let mut without = None;
            for piece in pieces {
                without = match piece {
                    Plain::Text(text) => {
                        prompts.text.push_str(text);
                        None
                    }
                    Plain::Column(column) => {
                        print_cell(&cells[*column], row, &self.notes, &mut prompts.text)
                    }
                };
                if without.is_some() {
                    break;
                }
            }
            prompts.end(start, without);
        }
    }

    fn render_with_engine(
        &self,
        arrays: Vec<ArrayRef>,
        rows: usize,
        prompts: &mut Prompts,
    ) -> Result<()> {
        let template = self
            .engine
            .get_template(NAME)
            .or_err(crate::base::ErrorKind::Internal, "the template is gone")?;
        let row = Arc::new(Row {
            names: self.columns.clone(),
            arrays,
            nulls: self.nulls.clone(),
            notes: Arc::clone(&self.notes),
            at: AtomicUsize::new(0),
        });
        let context = Value::from_object(Context {
            row: Value::from_dyn_object(Arc::clone(&row)),
            vars: self.vars.clone(),
            cells: Arc::clone(&row),
        });
        for at in 0..rows {
            row.at.store(at, Ordering::Relaxed);
            self.notes.clear();
            let start = prompts.text.len();
            let outcome =
                template.render_captured_to(context.clone(), Appending(&mut prompts.text));
            let without = self.judge(outcome.err().as_ref(), &row, at);
            prompts.end(start, without);
        }
        Ok(())
    }

    /// What a row has instead of a prompt, if anything.
    fn judge(&self, error: Option<&minijinja::Error>, row: &Row, at: usize) -> Option<Without> {
        let is_spent = error.is_some_and(|error| error.kind() == ErrorKind::OutOfFuel);
        let compared = self
            .compared
            .iter()
            .copied()
            .find(|column| row.arrays[*column].is_null(at));
        let null = self.notes.printed().or(compared).or_else(|| {
            // Most likely what a filter or an operator could not take.
            error.and_then(|_| self.notes.touched())
        });
        match (null, error) {
            (Some(column), _) if !is_spent => {
                let name = self.columns.get(column).map_or("none", String::as_str);
                Some(Without::Skipped(SkipReason::Null(name.to_owned())))
            }
            (_, Some(error)) => Some(Without::Failed(explain(error))),
            (_, None) => None,
        }
    }
}

/// Prints one cell; or says what the row has instead of a prompt.
fn print_cell(cells: &Cells<'_>, row: usize, notes: &Notes, out: &mut String) -> Option<Without> {
    let array = cells.array;
    if array.is_null(row) || array.data_type() == &DataType::Null {
        return Some(Without::Skipped(SkipReason::Null(cells.name.to_owned())));
    }
    match array.data_type() {
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        _ => {
            notes.clear();
            if let Err(error) = print(&cells.value(row), notes, out) {
                return Some(Without::Failed(explain(&error)));
            }
        }
    }
    None
}

fn explain(error: &minijinja::Error) -> String {
    if error.kind() == ErrorKind::OutOfFuel {
        return "the template takes too many steps for this row; is there a loop in a loop?"
            .to_owned();
    }
    let reason = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.line() {
        Some(line) => format!("cannot render the prompt, line {line}: {reason}"),
        None => format!("cannot render the prompt: {reason}"),
    }
}

/// The row that is being rendered: cells are looked up when the template asks for them.
#[derive(Debug)]
struct Row {
    names: Vec<String>,
    arrays: Vec<ArrayRef>,
    nulls: Vec<Value>,
    notes: Arc<Notes>,
    at: AtomicUsize,
}

impl Row {
    fn column(&self, name: &str) -> Option<Value> {
        let column = self.names.iter().position(|known| known == name)?;
        let at = self.at.load(Ordering::Relaxed);
        let array = &self.arrays[column];
        if array.is_null(at) {
            self.notes.touch(column);
        }
        let null = &self.nulls[column];
        Some(
            Cells {
                name,
                array,
                null,
                notes: &self.notes,
            }
            .value(at),
        )
    }
}

impl Object for Row {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.column(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.column(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(
            self.names
                .iter()
                .map(|name| Value::from(name.as_str()))
                .collect(),
        )
    }
}

/// What a template sees: the columns by name, `row`, and `vars`.
#[derive(Debug)]
struct Context {
    cells: Arc<Row>,
    row: Value,
    vars: Value,
}

impl Object for Context {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match key {
            "row" => Some(self.row.clone()),
            "vars" => Some(self.vars.clone()),
            name => self.cells.column(name),
        }
    }
}

/// Writes to the end of a string. The engine writes whole strings, so each piece is UTF-8.
struct Appending<'s>(&'s mut String);

impl io::Write for Appending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.push_str(text);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
