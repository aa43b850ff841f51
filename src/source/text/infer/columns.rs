//! The columns of a table of text files: which there are, in all files together, and of which type,
//! by all their values.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};

use crate::base::{Error, Result};
use crate::source::text::column_builder::{ColumnBuilder, excerpt};
use crate::source::text::read::{CellKind, Row, RowReader, TextFile};
use crate::work::sql_type::name_of;

use super::csv::CsvCandidates;
use super::json::JsonType;

/// Values of a declared type that are checked at once.
const CHECKED: usize = 4096;

/// A column of a table.
#[derive(Debug)]
pub(crate) struct TextColumn {
    pub(crate) field: FieldRef,
    /// Its type, in a few words, and why it is that one.
    pub(crate) note: String,
}

/// The columns, as far as they are known.
#[derive(Default)]
pub(crate) struct ColumnInference<'t> {
    list: Vec<InferredColumn>,
    places: HashMap<String, usize>,
    types: Option<&'t BTreeMap<String, DataType>>,
    /// The bytes of the longest record.
    pub(crate) widest: u64,
}

struct InferredColumn {
    name: String,
    /// The first file that has it.
    file: usize,
    /// How many files have it.
    files: usize,
    values: Observed,
    /// The line and the value that made it text.
    text_for: Option<(u64, String)>,
    is_first: bool,
}

enum Observed {
    Csv(CsvCandidates),
    Json(JsonType),
    /// The job declares its type.
    Declared(DataType),
}

impl ColumnInference<'_> {
    pub(crate) fn new(types: &BTreeMap<String, DataType>) -> ColumnInference<'_> {
        ColumnInference {
            types: Some(types),
            ..ColumnInference::default()
        }
    }

    /// Takes all of a file into account.
    pub(crate) fn observe_file(
        &mut self,
        number: usize,
        files: &[TextFile],
        rows: &mut RowReader,
    ) -> Result<()> {
        let mut places = Vec::new();
        let mut row = Row::default();
        let is_csv = rows.is_csv();
        if is_csv {
            self.check_header(number, files, rows.names())?;
        }
        self.add_names(rows.names(), number, &mut places, is_csv);
        let mut checks = DeclaredTypeChecks::default();
        while rows.next(&mut row)? {
            self.add_names(rows.names(), number, &mut places, is_csv);
            for (at, place) in places.iter().enumerate() {
                let (kind, text) = row.get(at);
                self.list[*place]
                    .observe(kind, text, row.line)
                    .map_err(|error| rows.invalid_json(row.line, &error))?;
            }
            self.widest = self.widest.max(row.text.len() as u64);
            checks.push(&row, &places, &self.list, &files[number])?;
        }
        checks.finish(&files[number])
    }

    /// Adds the columns of a file that were not met before, and finds where each of them stands.
    fn add_names(&mut self, names: &[String], file: usize, places: &mut Vec<usize>, is_csv: bool) {
        for name in &names[places.len()..] {
            let place = self.places.get(name).copied().unwrap_or_else(|| {
                let declared = self.types.and_then(|types| types.get(name));
                self.list.push(InferredColumn {
                    name: name.clone(),
                    file,
                    files: 0,
                    values: match declared {
                        Some(declared) => Observed::Declared(declared.clone()),
                        None if is_csv => Observed::Csv(CsvCandidates::default()),
                        None => Observed::Json(JsonType::default()),
                    },
                    text_for: None,
                    is_first: true,
                });
                self.places.insert(name.clone(), self.list.len() - 1);
                self.list.len() - 1
            });
            self.list[place].files += 1;
            places.push(place);
        }
    }

    /// A header that shares no name with those before, or writes one otherwise, is not another part of
    /// the same table.
    fn check_header(&self, number: usize, files: &[TextFile], names: &[String]) -> Result<()> {
        if self.list.is_empty() || names.is_empty() {
            return Ok(());
        }
        let plain = |name: &str| name.trim().to_lowercase();
        let like = names.iter().find_map(|name| {
            let known = self.list.iter().find(|known| {
                known.name != *name
                    && plain(&known.name) == plain(name)
                    && !names.contains(&known.name)
            })?;
            (!self.places.contains_key(name)).then_some((known, name))
        });
        if let Some((known, name)) = like {
            return Err(
                Error::invalid("two files of the table write a column's name in two ways")
                    .with("file", &files[number].url)
                    .with("column", name)
                    .with("other_file", &files[known.file].url)
                    .with("other_column", &known.name)
                    .hint("write it alike in both header lines"),
            );
        }
        if names.iter().any(|name| self.places.contains_key(name)) {
            return Ok(());
        }
        let list = |names: Vec<&str>| excerpt(&names.join(","));
        Err(Error::invalid("two files of the table have no column in common")
            .with("file", &files[number].url)
            .with("header", list(names.iter().map(String::as_str).collect()))
            .with("other_header", list(self.list.iter().map(|known| &*known.name).collect()))
            .hint("each file begins with a line that names its columns; name files of one table alone, as with a glob"))
    }

    /// What was found, over `files` files.
    pub(crate) fn decide(self, files: usize) -> Vec<TextColumn> {
        self.list
            .into_iter()
            .map(|known| known.decide(files))
            .collect()
    }
}

impl InferredColumn {
    fn observe(&mut self, kind: CellKind, text: &str, line: u64) -> serde_json::Result<()> {
        if kind == CellKind::Null {
            return Ok(());
        }
        let first = std::mem::take(&mut self.is_first);
        let was_text = self.is_text();
        match &mut self.values {
            // It is an empty string if the column is text, else a null: it says nothing of the type.
            Observed::Csv(_) if kind == CellKind::Quoted && text.is_empty() => {}
            Observed::Csv(candidates) => candidates.observe(text),
            Observed::Json(json_type) => json_type.observe(kind, text)?,
            Observed::Declared(_) => {}
        }
        let looks_like_a_number =
            || text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
        if !was_text && self.is_text() && (!first || looks_like_a_number()) {
            self.text_for = Some((line, excerpt(text)));
        }
        Ok(())
    }

    fn is_text(&self) -> bool {
        match &self.values {
            Observed::Csv(candidates) => candidates.is_text(),
            Observed::Json(json_type) => json_type.is_mixed(),
            Observed::Declared(_) => false,
        }
    }

    fn decide(self, files: usize) -> TextColumn {
        let data_type = match &self.values {
            Observed::Csv(candidates) => candidates.data_type(),
            Observed::Json(json_type) => json_type.data_type().unwrap_or(DataType::Utf8),
            Observed::Declared(declared) => declared.clone(),
        };
        let why = match (&self.values, self.text_for) {
            (Observed::Declared(_), _) => " as the job says".to_owned(),
            (_, Some((line, value))) => format!(" for line {line} has `{value}`"),
            _ => String::new(),
        };
        let lacking = match files - self.files {
            0 => String::new(),
            some => format!(", null in {some} of {files} files"),
        };
        let note = format!("{} {}{why}{lacking}", self.name, name_of(&data_type));
        TextColumn {
            field: Arc::new(Field::new(self.name, data_type, true)),
            note,
        }
    }
}

/// The values of columns whose types the job declares, on their way to be checked.
#[derive(Default)]
struct DeclaredTypeChecks {
    columns: Vec<(usize, ColumnBuilder)>,
    lines: Vec<u64>,
    known: usize,
}

impl DeclaredTypeChecks {
    fn push(
        &mut self,
        row: &Row,
        places: &[usize],
        list: &[InferredColumn],
        file: &TextFile,
    ) -> Result<()> {
        if self.known < places.len() {
            self.finish(file)?;
            self.columns = declared_columns(places, list)?;
            self.known = places.len();
        }
        if self.columns.is_empty() {
            return Ok(());
        }
        for (at, column) in &mut self.columns {
            column.push(row, Some(*at))?;
        }
        self.lines.push(row.line);
        if self.lines.len() >= CHECKED {
            self.finish(file)?;
        }
        Ok(())
    }

    fn finish(&mut self, file: &TextFile) -> Result<()> {
        let lines = std::mem::take(&mut self.lines);
        for (_, column) in &mut self.columns {
            column.finish(|at| (&file.url, lines[at]))?;
        }
        Ok(())
    }
}

/// The columns of a file whose types the job declares, but for those declared as text: any value is.
fn declared_columns(
    places: &[usize],
    list: &[InferredColumn],
) -> Result<Vec<(usize, ColumnBuilder)>> {
    let of = |(at, place): (usize, &usize)| match &list[*place].values {
        Observed::Declared(declared) if *declared != DataType::Utf8 => {
            let field: FieldRef = Arc::new(Field::new(&list[*place].name, declared.clone(), true));
            Some(ColumnBuilder::new(field, CHECKED).map(|column| (at, column)))
        }
        _ => None,
    };
    places.iter().enumerate().filter_map(of).collect()
}
