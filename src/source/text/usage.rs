//! Whether what the job says of text files found its columns.

use std::collections::BTreeSet;

use crate::base::{Error, Result, nearest};

use super::{TextOptions, TextTable};

/// A table of text files, and the columns that were found in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextNotes {
    /// Its name in a query; empty for a job's one table.
    pub table: String,
    /// Its columns with their types, in a few words.
    pub columns: Vec<String>,
}

/// The tables that were opened.
#[derive(Debug, Default)]
pub(crate) struct TextUse {
    notes: Vec<TextNotes>,
    columns: BTreeSet<String>,
}

impl TextUse {
    /// Takes the table `name` into account, if it is text.
    pub(crate) fn note(&mut self, name: &str, table: Option<&TextTable>) {
        let Some(table) = table else { return };
        let columns = table.columns.iter();
        self.columns
            .extend(columns.clone().map(|column| column.field.name().clone()));
        self.notes.push(TextNotes {
            table: name.to_owned(),
            columns: columns.map(|column| column.note.clone()).collect(),
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
