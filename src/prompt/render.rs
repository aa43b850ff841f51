//! From a batch of rows to their prompts, in one buffer.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef};
use minijinja::machinery::{CompiledTemplate, eval, get_compiled_template, make_string_output};
use minijinja::value::{Enumerator, Object};
use minijinja::{AutoEscape, Environment, ErrorKind, Value};

use crate::base::{Error, Result, ResultExt};

use super::attachments::{Mark, take_marks, with_nulls};
use super::cell::{Cells, holds_decimals, plain};
use super::engine::with_decimals;
use super::missing::Notes;
use super::operators;
use super::print::{UNPRINTABLE, print};
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
    /// What is attached to the rows, in order: the row, the byte of its text, and the column.
    attached: Vec<(usize, usize, usize)>,
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

    /// What is attached to the batch's row `index`, by place: the byte of its text before which it stands,
    /// and the column, by its place in the template's.
    pub fn attached(&self, index: usize) -> impl Iterator<Item = (usize, usize)> {
        let start = self.attached.partition_point(|(row, ..)| *row < index);
        let own = self.attached[start..].iter();
        own.take_while(move |(row, ..)| *row == index)
            .map(|(_, at, column)| (*at, *column))
    }

    /// All rows, in order.
    pub fn iter(&self) -> impl Iterator<Item = Prompt<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    fn clear(&mut self) {
        self.text.clear();
        self.rows.clear();
        self.attached.clear();
    }

    /// Attaches a column to the row that is being rendered.
    fn attach(&mut self, at: usize, column: usize) {
        self.attached.push((self.rows.len(), at, column));
    }

    /// Ends the row that began at `start`.
    fn end(&mut self, start: usize, without: Option<Without>) {
        let row = self.rows.len();
        let has_attached = self.attached.last().is_some_and(|last| last.0 == row);
        let blank = || !has_attached && self.text[start..].trim().is_empty();
        let without = without.or_else(|| blank().then_some(Without::Skipped(SkipReason::Blank)));
        if without.is_some() {
            self.text.truncate(start);
            if has_attached {
                self.attached.retain(|attached| attached.0 != row);
            }
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
        let columns = self.read(batch)?;
        if let Some(pieces) = &self.plain {
            self.render_plain(pieces, &columns, batch.num_rows(), prompts);
            return Ok(());
        }
        let has_decimals = |column: &Column| holds_decimals(column.array.data_type());
        if columns.iter().any(has_decimals) {
            self.render_decimals(columns, batch.num_rows(), prompts);
            return Ok(());
        }
        let template = self
            .engine
            .get_template(NAME)
            .or_err(crate::base::ErrorKind::Internal, "the template is gone")?;
        let compiled = get_compiled_template(&template);
        self.render_with(&self.engine, compiled, columns, batch.num_rows(), prompts);
        Ok(())
    }

    fn read(&self, batch: &RecordBatch) -> Result<Vec<Column>> {
        let is_attached = |column| self.attached.iter().any(|known| known.column == column);
        self.columns
            .iter()
            .enumerate()
            .map(|(column, name)| {
                let (at, field) = batch.schema_ref().fields().find(name).ok_or_else(|| {
                    Error::internal("a column of the template was not read").with("column", name)
                })?;
                let mut array = plain(batch.column(at));
                if is_attached(column) {
                    array = array.and_then(with_nulls);
                }
                let array = array
                    .or_err(crate::base::ErrorKind::Invalid, "cannot decode a column")
                    .map_err(|error| error.with("column", name))?;
                let field = Arc::clone(field);
                Ok(Column { field, array })
            })
            .collect()
    }

    /// Text and strings are copied; anything else is printed as the engine prints it.
    fn render_plain(
        &self,
        pieces: &[Plain],
        columns: &[Column],
        rows: usize,
        prompts: &mut Prompts,
    ) {
        let cells = columns.iter().zip(&self.nulls);
        let cells: Vec<Cells<'_>> = cells.map(|(column, null)| column.cells(null)).collect();
        for row in 0..rows {
            let start = prompts.text.len();
            let mut without = self.attach_unplaced(columns, row, prompts);
            for piece in pieces {
                if without.is_some() {
                    break;
                }
                without = match piece {
                    Plain::Text(text) => {
                        prompts.text.push_str(text);
                        None
                    }
                    Plain::Column(column) => {
                        print_cell(&cells[*column], row, &self.notes, &mut prompts.text)
                    }
                    Plain::Attachment(column) if columns[*column].array.is_null(row) => {
                        Some(self.null(*column))
                    }
                    Plain::Attachment(column) => {
                        prompts.attach(prompts.text.len() - start, *column);
                        None
                    }
                };
            }
            prompts.end(start, without);
        }
    }

    /// Attaches what the template says no place of, before the text; or says what the row has instead of
    /// a prompt. A null that the template tests is its own affair.
    fn attach_unplaced(
        &self,
        columns: &[Column],
        row: usize,
        prompts: &mut Prompts,
    ) -> Option<Without> {
        for attached in self.attached.iter().filter(|attached| !attached.is_placed) {
            let is_null = columns[attached.column].array.is_null(row);
            if is_null && !attached.is_named {
                return Some(self.null(attached.column));
            }
            if !is_null {
                prompts.attach(0, attached.column);
            }
        }
        None
    }

    fn null(&self, column: usize) -> Without {
        let name = self.columns.get(column).map_or("none", String::as_str);
        Without::Skipped(SkipReason::Null(name.to_owned()))
    }

    /// Attaches what the template placed in the text that begins at `start`.
    fn attach_placed(&self, start: usize, prompts: &mut Prompts) -> Option<Without> {
        let marks = take_marks(&mut prompts.text, start);
        let is_known = |column| self.attached.iter().any(|known| known.column == column);
        let are_ours = marks.iter().all(|(_, column)| is_known(*column));
        if !are_ours || marks.len() != self.notes.marks() {
            let why = "the text of this row cannot be told from what stands for attachments; print them plainly, as in `{{ photo }}`";
            return Some(Without::Failed(why.to_owned()));
        }
        for (at, column) in marks {
            prompts.attach(at, column);
        }
        None
    }

    /// Decimals take another engine, and the template compiled for it.
    fn render_decimals(&self, columns: Vec<Column>, rows: usize, prompts: &mut Prompts) {
        let engine = self.exact.get_or_init(|| with_decimals(&self.engine));
        match operators::compile(NAME, &self.text) {
            Ok(compiled) => self.render_with(engine, &compiled, columns, rows, prompts),
            Err(error) => (0..rows).for_each(|_| {
                prompts.end(prompts.text.len(), Some(Without::Failed(explain(&error))));
            }),
        }
    }

    fn render_with<'e>(
        &self,
        engine: &'e Environment<'e>,
        template: &CompiledTemplate<'e>,
        columns: Vec<Column>,
        rows: usize,
        prompts: &mut Prompts,
    ) {
        let row = Arc::new(Row {
            columns,
            nulls: self.nulls.clone(),
            attached: self
                .attached
                .iter()
                .map(|attached| attached.column)
                .collect(),
            notes: Arc::clone(&self.notes),
            at: AtomicUsize::new(0),
        });
        let context = Value::from_object(RowScope {
            row: Value::from_dyn_object(Arc::clone(&row)),
            vars: self.vars.clone(),
            cells: Arc::clone(&row),
        });
        for at in 0..rows {
            row.at.store(at, Ordering::Relaxed);
            self.notes.clear();
            let start = prompts.text.len();
            let outcome = eval(
                engine,
                &template.instructions,
                context.clone(),
                &template.blocks,
                &mut make_string_output(&mut prompts.text),
                AutoEscape::None,
            );
            let mut without = self.judge(outcome.err().as_ref(), &row, at);
            if !self.attached.is_empty() && without.is_none() {
                without = self.attach_unplaced(&row.columns, at, prompts);
                without = without.or_else(|| self.attach_placed(start, prompts));
            }
            prompts.end(start, without);
        }
    }

    /// What a row has instead of a prompt, if anything.
    fn judge(&self, error: Option<&minijinja::Error>, row: &Row, at: usize) -> Option<Without> {
        let is_spent = error.is_some_and(|error| error.kind() == ErrorKind::OutOfFuel);
        let compared = self
            .compared
            .iter()
            .copied()
            .find(|column| row.columns[*column].array.is_null(at));
        let null = self.notes.printed().or(compared).or_else(|| {
            // Most likely what a filter or an operator could not take.
            let of_null = error.filter(|error| error.kind() != UNPRINTABLE);
            of_null.and_then(|_| self.notes.touched())
        });
        match (null, error) {
            (Some(column), _) if !is_spent => Some(self.null(column)),
            (_, Some(error)) => Some(Without::Failed(explain(error))),
            (_, None) => None,
        }
    }
}

/// Prints one cell; or says what the row has instead of a prompt.
fn print_cell(cells: &Cells<'_>, row: usize, notes: &Notes, out: &mut String) -> Option<Without> {
    let array = cells.array;
    if array.is_null(row) || array.data_type() == &DataType::Null {
        let name = cells.field.name().clone();
        return Some(Without::Skipped(SkipReason::Null(name)));
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

/// Whether a cell that is not null is an empty list, an empty text or no bytes.
fn is_empty(array: &ArrayRef, row: usize) -> bool {
    match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value_length(row) == 0,
        DataType::LargeList(_) => array.as_list::<i64>().value_length(row) == 0,
        DataType::Utf8 => array.as_string::<i32>().value(row).is_empty(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).is_empty(),
        DataType::Utf8View => array.as_string_view().value(row).is_empty(),
        _ => false,
    }
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

/// A column of the batch.
#[derive(Debug)]
struct Column {
    field: FieldRef,
    array: ArrayRef,
}

impl Column {
    fn cells<'c>(&'c self, null: &'c Value) -> Cells<'c> {
        Cells {
            field: &self.field,
            array: &self.array,
            null,
        }
    }
}

/// The row that is being rendered: cells are looked up when the template asks for them.
#[derive(Debug)]
struct Row {
    columns: Vec<Column>,
    nulls: Vec<Value>,
    /// The columns that are no text.
    attached: Vec<usize>,
    notes: Arc<Notes>,
    at: AtomicUsize,
}

impl Row {
    fn column(&self, name: &str) -> Option<Value> {
        let mut columns = self.columns.iter();
        let column = columns.position(|known| known.field.name() == name)?;
        let at = self.at.load(Ordering::Relaxed);
        if self.columns[column].array.is_null(at) {
            self.notes.touch(column);
        } else if self.attached.contains(&column) {
            return Some(Value::from_object(Mark {
                column,
                is_empty: is_empty(&self.columns[column].array, at),
                notes: Arc::clone(&self.notes),
            }));
        }
        let cells = self.columns[column].cells(&self.nulls[column]);
        Some(cells.value(at))
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
            self.columns
                .iter()
                .map(|column| Value::from(column.field.name().as_str()))
                .collect(),
        )
    }
}

/// What a template sees: the columns by name, `row`, and `vars`.
#[derive(Debug)]
struct RowScope {
    cells: Arc<Row>,
    row: Value,
    vars: Value,
}

impl Object for RowScope {
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
