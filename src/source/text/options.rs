//! What a job says of its text files, and whether it found its columns.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::DataType;

use crate::base::{Error, Result, nearest};
use crate::source::text::infer::TextColumn;

/// What a job says of its text files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextOptions {
    /// The types of columns, whatever their values look like.
    pub types: BTreeMap<String, DataType>,
    /// What separates the values of CSV.
    pub delimiter: Option<u8>,
}

/// A table of text files, and the columns that were found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextNotes {
    /// Its name in a query; empty for a job's one table.
    pub table: String,
    /// Its columns with their types, in a few words.
    pub columns: Vec<String>,
}

/// The tables that were opened, against which the options are checked.
#[derive(Debug, Default)]
pub(crate) struct OptionsCheck {
    notes: Vec<TextNotes>,
    columns: BTreeSet<String>,
}

impl OptionsCheck {
    /// Takes the columns of the table of text `name` into account.
    pub(crate) fn add(&mut self, name: &str, columns: &[TextColumn]) {
        let names = columns.iter().map(|column| column.field.name().clone());
        self.columns.extend(names);
        self.notes.push(TextNotes {
            table: name.to_owned(),
            columns: columns.iter().map(|column| column.note.clone()).collect(),
        });
    }

    /// What was found, unless `options` says something of nothing that is there.
    pub(crate) fn check(self, options: &TextOptions) -> Result<Vec<TextNotes>> {
        if self.notes.is_empty() {
            return match (options.types.is_empty(), options.delimiter) {
                (false, _) => Err(Error::invalid(
                    "`source.types` is for CSV and NDJSON, and the source is neither",
                )
                .hint("take `types` out: the files say the types themselves; another one is a `CAST` in a query")),
                (true, Some(_)) => Err(Error::invalid(
                    "`source.delimiter` is for CSV, and the source is none",
                )
                .hint("take `delimiter` out")),
                _ => Ok(self.notes),
            };
        }
        match options
            .types
            .keys()
            .find(|name| !self.columns.contains(*name))
        {
            None => Ok(self.notes),
            Some(name) => Err(unknown(name, &self.columns)),
        }
    }
}

fn unknown(name: &str, columns: &BTreeSet<String>) -> Error {
    let error =
        Error::invalid("`source.types` names a column that is not there").with("column", name);
    let names = || columns.iter().map(String::as_str);
    match nearest(name, names()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!(
            "there are {}",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}
