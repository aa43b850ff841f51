//! One record of a text file: its values by column, as they were written.

use std::ops::Range;

/// What stands in a cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// Nothing: the column is not there, or null.
    #[default]
    Null,
    /// A CSV value without quotes.
    Bare,
    /// A CSV value in quotes.
    Quoted,
    /// A string of JSON.
    Text,
    /// A number of JSON.
    Number,
    /// `true` or `false` of JSON.
    Bool,
    /// An object or a list of JSON, as it was written.
    Nested,
}

impl CellKind {
    /// What a JSON value is, by its first character.
    pub(crate) fn of_json(raw: &str) -> CellKind {
        match raw.as_bytes().first() {
            Some(b'"') => CellKind::Text,
            Some(b'{' | b'[') => CellKind::Nested,
            Some(b't' | b'f') => CellKind::Bool,
            Some(b'n') | None => CellKind::Null,
            Some(_) => CellKind::Number,
        }
    }
}

/// A record. It is filled again and again, so that its buffers are allocated once.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// The line on which it begins.
    pub(crate) line: u64,
    /// What the cells hold, one behind the other.
    pub(crate) text: String,
    /// By the file's columns.
    cells: Vec<(CellKind, Range<usize>)>,
}

impl Row {
    /// Empties the record, which begins on `line`.
    pub(crate) fn clear(&mut self, line: u64) {
        self.line = line;
        self.text.clear();
        self.cells.clear();
    }

    /// How many cells there are.
    pub(crate) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Adds a cell behind the others.
    pub(crate) fn push(&mut self, kind: CellKind, range: Range<usize>) {
        self.cells.push((kind, range));
    }

    /// Takes the cells from `len` on away.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.cells.truncate(len);
    }

    /// Where the text of a cell lies.
    pub(crate) fn range(&self, column: usize) -> Range<usize> {
        self.cells[column].1.clone()
    }

    /// Puts a cell into a column.
    pub(crate) fn set(&mut self, column: usize, kind: CellKind, range: Range<usize>) {
        if self.cells.len() <= column {
            self.cells.resize(column + 1, (CellKind::Null, 0..0));
        }
        self.cells[column] = (kind, range);
    }

    /// What stands in a column.
    pub(crate) fn get(&self, column: usize) -> (CellKind, &str) {
        match self.cells.get(column) {
            Some((kind, range)) => (*kind, &self.text[range.clone()]),
            None => (CellKind::Null, ""),
        }
    }
}
