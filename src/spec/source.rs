//! The `[source]` section: a table or a query, its key, and which rows get a prompt.

use std::collections::BTreeMap;

use super::address;
use super::defaults;
use super::file::Value;
use super::job::{SampleSpec, SourceInput, SourceSpec};
use super::reader::Reader;
use crate::work::sql_type;

/// The most rows of a sample: what is kept while they are drawn is eight bytes for each.
const SAMPLE_MAX: u64 = 1_000_000;

impl Reader<'_> {
    pub(super) fn source(&mut self) -> Option<SourceSpec> {
        let input = self.input();
        let key = self.key();
        let filter = self.plain_text("source.where");
        let limit = self.count("source.limit", 1, u64::MAX);
        let sample = self.sample();
        let (input, pattern) = input?;
        let types = self.types();
        let delimiter = self.delimiter();
        Some(SourceSpec {
            input,
            pattern,
            key,
            filter,
            limit,
            sample,
            types,
            delimiter,
        })
    }

    fn sample(&mut self) -> Option<SampleSpec> {
        let rows = self.count("source.sample", 1, SAMPLE_MAX);
        let seed = self.count("source.seed", 0, u64::MAX);
        let is_given = |reader: &Self, path| reader.node(path).is_some();
        if is_given(self, "source.seed") && !is_given(self, "source.sample") {
            let problem = "`source.seed` is given without `source.sample`".into();
            self.refuse(
                "source.seed",
                problem,
                "it says which rows are drawn; take it out",
            );
        }
        if is_given(self, "source.sample") && is_given(self, "source.limit") {
            let problem = "`source.limit` and `source.sample` are both given".into();
            let advice =
                "a limit takes the first rows, a sample draws from all; take one of them out";
            self.refuse("source.sample", problem, advice);
        }
        Some(SampleSpec {
            rows: rows?,
            seed: seed.unwrap_or(defaults::SEED),
        })
    }

    /// What is read; and its address with the variables by name, where it has some.
    fn input(&mut self) -> Option<(SourceInput, Option<String>)> {
        let has = |reader: &Self, path| reader.node(path).is_some();
        if has(self, "source.table") && has(self, "source.query") {
            self.refuse(
                "source.query",
                "`source.table` and `source.query` are both given".into(),
                "take one of them out",
            );
            return None;
        }
        if has(self, "source.query") {
            return self.query().map(|query| (query, None));
        }
        if has(self, "source.tables") {
            self.refuse(
                "source.tables",
                "`source.tables` is given without `source.query`".into(),
                "it names what a query reads; for a single table write `table = ...`",
            );
        }
        if !has(self, "source.table") {
            self.missing("source.table", "");
        }
        let address = self.address("source.table", true)?;
        let pattern = address.has_vars.then_some(address.pattern);
        Some((SourceInput::Table(address.text), pattern))
    }

    fn query(&mut self) -> Option<SourceInput> {
        let tables = self.tables();
        let (file, sql) = self.text_file("source.query")?;
        if sql.trim().is_empty() {
            let problem = format!("the SQL file is empty, file=`{file}`");
            self.refuse("source.query", problem, "write a `SELECT` in it");
            return None;
        }
        Some(SourceInput::Query { sql, file, tables })
    }

    fn tables(&mut self) -> BTreeMap<String, String> {
        let mut tables = BTreeMap::new();
        for (name, node) in self.table("source.tables").into_iter().flatten() {
            match &node.value {
                Value::Text(text) => {
                    if let Some(address) = self.address_of(&node.at, text, true) {
                        tables.insert(name.clone(), address.text);
                    }
                }
                other => {
                    let problem = format!(
                        "`source.tables.{name}` must be a path or a URL, found {}",
                        other.describe()
                    );
                    self.wrong(&node.at, problem, self.suggestion("source.tables"));
                }
            }
        }
        tables
    }

    fn types(&mut self) -> BTreeMap<String, String> {
        let mut types = BTreeMap::new();
        for (column, node) in self.table("source.types").into_iter().flatten() {
            let advice = "write an SQL type, such as VARCHAR, BIGINT, DOUBLE, DECIMAL(12, 2), BOOLEAN, DATE or TIMESTAMP";
            match &node.value {
                Value::Text(name) if sql_type::parse(name).is_some() => {
                    types.insert(column.clone(), name.clone());
                }
                Value::Text(name) => {
                    let problem = format!("`source.types.{column}` is no type, found `{name}`");
                    self.wrong(&node.at, problem, advice);
                }
                other => {
                    let problem = format!(
                        "`source.types.{column}` must be the name of a type, found {}",
                        other.describe()
                    );
                    self.wrong(&node.at, problem, advice);
                }
            }
        }
        types
    }

    fn delimiter(&mut self) -> Option<u8> {
        let text = self.text("source.delimiter")?;
        match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Some(*byte),
            _ => {
                let problem =
                    format!("`source.delimiter` must be one ASCII character, found `{text}`");
                self.refuse(
                    "source.delimiter",
                    problem,
                    self.suggestion("source.delimiter"),
                );
                None
            }
        }
    }

    /// Reads the local file that `path` names: its address and its text, byte for byte.
    pub(super) fn text_file(&mut self, path: &str) -> Option<(String, String)> {
        let written = self.text(path)?;
        let address = self.address(path, false)?.text;
        let Some(local) = address::local(&address) else {
            let problem = format!("`{path}` must be a file on this machine, found `{address}`");
            self.refuse(path, problem, self.suggestion(path));
            return None;
        };
        match self.around.read(local) {
            Ok(text) => Some((address, text)),
            Err(error) => {
                let sql = path == "source.query" && written.trim().contains(char::is_whitespace);
                let advice = if sql {
                    "put the SQL into a file, and name the file here"
                } else {
                    "paths are relative to the job file"
                };
                let problem = format!("cannot read `{path}`: {error}, file=`{address}`");
                self.refuse(path, problem, advice);
                None
            }
        }
    }

    fn key(&mut self) -> Vec<String> {
        let mut key: Vec<String> = Vec::new();
        for (node, column) in self.texts("source.key").unwrap_or_default() {
            if column.is_empty() {
                self.wrong(
                    &node.at,
                    "`source.key` has a column without a name".into(),
                    self.suggestion("source.key"),
                );
            } else if key.contains(&column) {
                let problem = format!("`source.key` names the column `{column}` twice");
                self.wrong(&node.at, problem, "take one of them out");
            } else {
                key.push(column);
            }
        }
        key
    }
}
