//! Templates that are text and plain prints of columns, which most are: no engine is needed.
//!
//! The text that comes out is the engine's, byte for byte; a property test holds the two together.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow::array::{Array, ArrayRef, RecordBatch};

use super::render::{Prompts, column};
use super::template::subscript;
use super::value;
use crate::base::Result;

/// A template as a list of pieces.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    pieces: Vec<Piece>,
    columns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// The column of this number.
    Column(usize),
}

impl Pieces {
    /// The pieces of `text`, if it has nothing but text and prints of `columns` and `vars`.
    pub(super) fn read(
        text: &str,
        columns: &[String],
        vars: &BTreeMap<String, String>,
    ) -> Option<Pieces> {
        if text.contains("{%") || text.contains("{#") {
            return None;
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            pieces.push(Piece::Text(rest[..at].to_owned()));
            let (inside, after) = rest[at + 2..].split_once("}}")?;
            pieces.push(Piece::read(inside.trim(), columns, vars)?);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Some(Pieces {
            pieces,
            columns: columns.to_vec(),
        })
    }

    /// Renders each row of `batch`.
    pub(super) fn render(&self, batch: &RecordBatch, prompts: &mut Prompts) -> Result<()> {
        let columns = self.columns.iter().map(|name| column(batch, name));
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        for at in 0..batch.num_rows() {
            self.row(&columns, at, prompts);
        }
        Ok(())
    }

    fn row(&self, columns: &[ArrayRef], at: usize, prompts: &mut Prompts) {
        let start = prompts.text().len();
        for piece in &self.pieces {
            let column = match piece {
                Piece::Text(text) => {
                    prompts.text().push_str(text);
                    continue;
                }
                Piece::Column(column) => *column,
            };
            let array = &columns[column];
            if array.is_null(at) {
                let name = &self.columns[column];
                return prompts.skip(start, format!("a column of the prompt is null: {name}"));
            }
            if let Some(text) = value::text(array, at) {
                prompts.text().push_str(text);
                continue;
            }
            match value::read(array, at) {
                None => {
                    let name = &self.columns[column];
                    return prompts.skip(start, format!("a column of the prompt is null: {name}"));
                }
                Some(value) => {
                    if let Err(why) = print(&value, prompts.text()) {
                        return prompts
                            .fail(start, format!("the template cannot be rendered: {why}"));
                    }
                }
            }
        }
        prompts.end(start);
    }
}

/// Prints a value as the engine does; why it cannot be printed, if so.
fn print(value: &minijinja::Value, out: &mut String) -> Result<(), String> {
    if value.kind() == minijinja::value::ValueKind::Invalid {
        return Err(value.to_string());
    }
    write!(out, "{value}").map_err(|error| error.to_string())
}

impl Piece {
    fn read(inside: &str, columns: &[String], vars: &BTreeMap<String, String>) -> Option<Piece> {
        let column = |name: &str| columns.iter().position(|c| c == name).map(Piece::Column);
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !inside.is_empty() && inside.chars().all(is_word) {
            return column(inside);
        }
        if let Some(var) = inside
            .strip_prefix("vars.")
            .filter(|var| var.chars().all(is_word))
        {
            return vars.get(var).cloned().map(Piece::Text);
        }
        let name = inside.strip_prefix("row").and_then(subscript)?;
        let quoted = [
            format!("row['{name}']"),
            format!("row[\"{name}\"]"),
            format!("row.{name}"),
        ];
        quoted
            .contains(&inside.to_owned())
            .then(|| column(&name))
            .flatten()
    }
}
