//! What the user wrote, before anything is believed: a job file, `--set`, flags and `--var`.
//!
//! A flag of its own wins over `--set`, and `--set` over the file. A path in the file or in
//! `--set` is relative to the job file; a path in a flag, to the folder that the command runs in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::{Error, ErrorKind, Result, ResultExt};

use super::file::{self, At, Node, Table, Value};
use super::fill::is_identifier;
use super::keys;
use super::mistake::{Excerpt, Mistake, MistakeAt, Mistakes};
use super::surroundings::Surroundings;

/// What the user wrote. Grows by [`set`](Draft::set), [`flag`](Draft::flag) and
/// [`var`](Draft::var), in any order; what is wrong with it is said by
/// [`resolve`](Draft::resolve), all at once.
#[derive(Debug, Default)]
pub struct Draft {
    pub(super) file: Option<PathBuf>,
    pub(super) text: String,
    pub(super) tree: Table,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) mistakes: Vec<Mistake>,
    /// The output that the file names, where the command line names another.
    pub(super) own_output: Option<Node>,
    /// Lines of the file that are no TOML. Nothing else on them is complained about.
    pub(super) broken: Vec<usize>,
}

/// The value of a flag.
#[derive(Clone, Debug, PartialEq)]
pub enum FlagValue {
    /// Words.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number.
    Number(f64),
    /// Yes or no.
    Bool(bool),
    /// Several words.
    List(Vec<String>),
    /// Several names, each with its words.
    Pairs(Vec<(String, String)>),
}

/// Endings of tables, which are no job files.
const TABLES: [&str; 5] = ["parquet", "csv", "ndjson", "jsonl", "arrow"];

/// Keys that take the place of others: who gives the one on the command line does not mean the
/// other ones in the file any more.
const RIVALS: [(&str, &[&str]); 7] = [
    ("source.table", &["source.query", "source.tables"]),
    ("source.query", &["source.table"]),
    ("source.limit", &["source.sample", "source.seed"]),
    ("source.sample", &["source.limit"]),
    ("prompt.system", &["prompt.system_file"]),
    ("prompt.system_file", &["prompt.system"]),
    ("answer.choices", &["answer.type"]),
];

impl Draft {
    /// A job without a file: flags say everything.
    #[must_use]
    pub fn one_liner() -> Self {
        Draft::default()
    }

    /// Reads the job file at `path`.
    ///
    /// # Errors
    /// `Invalid` if it is not there, or is not text. What is wrong inside is said later.
    pub fn read(path: &Path, around: &Surroundings) -> Result<Self> {
        let path = around.folder.join(path);
        let text = around
            .read(&path)
            .or_err(ErrorKind::Invalid, "cannot read the job file")
            .map_err(|error| {
                let ending = path.extension().unwrap_or_default().to_string_lossy();
                let is_table = TABLES.contains(&&*ending.to_lowercase());
                error.with("file", path.display()).hint(if is_table {
                    "a job file is TOML; a table is named by `--table`, with --prompt, --column, --model and \
                     --output beside it"
                } else {
                    "name a job file, or describe the job by flags: `columnist run --help`"
                })
            })?;
        Ok(Self::of_file(path, text))
    }

    /// The job file `text`, which stands at the absolute path `path`.
    #[must_use]
    pub fn of_file(path: PathBuf, text: String) -> Self {
        let (tree, errors) = file::parse(&text);
        let mut draft = Draft {
            file: Some(path),
            tree,
            ..Draft::default()
        };
        for (span, message) in errors {
            let at = Excerpt::of(&text, &span);
            // One slip of the pen can break a line in several ways: the first says enough.
            if draft.broken.contains(&at.line) {
                continue;
            }
            draft.broken.push(at.line);
            draft.mistakes.push(Mistake {
                advice: unquoted(&at.text).unwrap_or_default(),
                place: MistakeAt::Line(at),
                problem: format!("not TOML: {message}"),
            });
        }
        draft.text = text;
        draft
    }

    /// Takes one `--set section.key=value`.
    pub fn set(&mut self, assignment: &str) {
        match assignment.split_once('=') {
            Some((path, words)) if !path.trim().is_empty() => {
                let path = path.trim();
                self.put(path, file::parse_words(path, words));
            }
            _ => self.complain(
                "--set",
                format!("`{assignment}` is no assignment"),
                "write `--set section.key=value`",
            ),
        }
    }

    /// Takes one `--var name=value`. The last one of a name counts.
    pub fn var(&mut self, assignment: &str) {
        match assignment.split_once('=') {
            Some((name, value)) if is_identifier(name) => {
                self.vars.insert(name.to_owned(), value.to_owned());
            }
            Some((name, _)) => self.complain(
                "--var",
                format!("`{name}` is not a name"),
                "a name is made of letters, digits and `_`, and starts with no digit",
            ),
            None => self.complain(
                "--var",
                format!("`{assignment}` is no assignment"),
                "write `--var name=value`",
            ),
        }
    }

    /// Takes the flag that stands for the key at `path`, such as `--limit` for `source.limit`.
    ///
    /// # Errors
    /// `Internal` if there is no such key, or it has no flag.
    pub fn flag(&mut self, path: &str, value: FlagValue) -> Result<()> {
        let flag = keys::find_path(path)
            .and_then(|key| key.flag)
            .ok_or_else(|| Error::internal("no flag for this key").with("key", path))?;
        let node = |value| Node {
            key: At::Flag(flag),
            at: At::Flag(flag),
            value,
            words: None,
        };
        let value = match value {
            FlagValue::Text(text) => Value::Text(text),
            FlagValue::Count(count) => Value::Integer(count.into()),
            FlagValue::Number(number) => Value::Float(number),
            FlagValue::Bool(yes) => Value::Bool(yes),
            FlagValue::List(list) => {
                Value::List(list.into_iter().map(|t| node(Value::Text(t))).collect())
            }
            FlagValue::Pairs(pairs) => Value::Table(
                pairs
                    .into_iter()
                    .map(|(name, text)| (name, node(Value::Text(text))))
                    .collect(),
            ),
        };
        self.put(path, node(value));
        Ok(())
    }

    /// Puts `node` where `path` leads, and takes away what it replaces in the file.
    fn put(&mut self, path: &str, node: Node) {
        if path == "output.path"
            && let Some(own) = self.take_from_file(path)
        {
            self.own_output = Some(own);
        }
        let rivals = RIVALS.iter().filter(|(key, _)| *key == path);
        for rival in rivals.flat_map(|(_, rivals)| *rivals) {
            self.take_from_file(rival);
        }
        let mut parts: Vec<&str> = path.split('.').map(str::trim).collect();
        let last = parts.pop().unwrap_or_default().to_owned();
        let mut table = &mut self.tree;
        for part in parts {
            let inner = table.entry(part.to_owned()).or_insert_with(|| Node {
                value: Value::Table(Table::new()),
                ..node.clone()
            });
            if !matches!(inner.value, Value::Table(_)) {
                inner.value = Value::Table(Table::new());
            }
            let Value::Table(inner) = &mut inner.value else {
                return;
            };
            table = inner;
        }
        // What takes another's place takes its place among the keys as well: a model answers in that order.
        let key = table.get(&last).map_or(&node.key, |known| &known.key);
        let key = key.clone();
        table.insert(last, Node { key, ..node });
    }

    /// Takes the value at `path` out of what the file says.
    fn take_from_file(&mut self, path: &str) -> Option<Node> {
        let (section, name) = path.split_once('.')?;
        let Value::Table(table) = &mut self.tree.get_mut(section)?.value else {
            return None;
        };
        let in_file = matches!(table.get(name)?.at, At::File(_));
        if in_file { table.remove(name) } else { None }
    }

    fn complain(&mut self, flag: &str, problem: String, advice: &str) {
        self.mistakes.push(Mistake {
            place: MistakeAt::Flag(flag.to_owned()),
            problem,
            advice: advice.to_owned(),
        });
    }

    /// One error for all of `mistakes`.
    pub(super) fn error(&self, mistakes: Vec<Mistake>) -> Error {
        let mistakes = Mistakes::new(mistakes);
        let what = if self.file.is_some() {
            "the job file"
        } else {
            "the command"
        };
        let count = match mistakes.count() {
            1 => "a mistake".to_owned(),
            count => format!("{count} mistakes"),
        };
        let error = Error::invalid(format!("{what} has {count}"));
        let error = match &self.file {
            Some(file) => error.with("file", file.display()),
            None => error,
        };
        error.because(mistakes)
    }

    /// Whether the file is so broken that what was read of it may stand in the wrong section.
    pub(super) fn is_unreadable(&self) -> bool {
        self.broken.iter().any(|line| {
            let text = self.text.lines().nth(line - 1).unwrap_or_default();
            let end = *line >= self.text.lines().count();
            let several_lines = ["\"\"\"", "'''"].iter().any(|q| self.text.contains(q));
            text.trim_start().starts_with(['[', ']']) || several_lines || end
        })
    }
}

/// What to do about a line whose value is a text without quotes, which is no TOML.
fn unquoted(line: &str) -> Option<String> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_bare = value.starts_with(|c: char| c.is_alphabetic() || "/.{".contains(c));
    let is_plain = !value.contains(['"', '\'', '#', '=']);
    (is_bare && is_plain && is_identifier(name))
        .then(|| format!("a text stands in quotes: `{name} = \"{value}\"`"))
}
