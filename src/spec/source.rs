//! The `[source]` section: a table or a query, its key, and which rows get a prompt.

use std::collections::BTreeMap;

use super::address;
use super::file::Value;
use super::job::{SourceInput, SourceSpec};
use super::reader::Reader;

impl Reader<'_> {
    pub(super) fn source(&mut self) -> Option<SourceSpec> {
        let input = self.input();
        let key = self.key();
        let filter = self.plain_text("source.where");
        let limit = self.count("source.limit", 1, u64::MAX);
        Some(SourceSpec {
            input: input?,
            key,
            filter,
            limit,
        })
    }

    fn input(&mut self) -> Option<SourceInput> {
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
            return self.query();
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
        self.address("source.table", false)
            .map(|address| SourceInput::Table(address.text))
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
                    if let Some(address) = self.address_of(&node.at, text, false) {
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
