//! Compiling a template: what it needs, and whether it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

use super::fast::Pieces;
use super::render::{Prompts, render_with_engine};
use crate::base::{Error, ErrorKind, Result, ResultExt};

/// A user prompt's template, checked against the columns of a table.
#[derive(Clone, Debug)]
pub struct Template {
    engine: Environment<'static>,
    /// The template as text and plain prints, if it is no more than that.
    pieces: Option<Pieces>,
    columns: Vec<String>,
    vars: Value,
}

/// The name under which the engine knows the template.
const NAME: &str = "prompt.user";
/// The name of the whole row.
const ROW: &str = "row";
/// The name of the values given by `--var`.
const VARS: &str = "vars";
/// Steps that one prompt may take: a loop over a long list ends, an endless one does too.
const FUEL: u64 = 1_000_000;

impl Template {
    /// Compiles `text` for rows of `schema`.
    ///
    /// # Errors
    /// `Invalid` for a syntax error, with its line; for a name that is no column, with the nearest
    /// one; for a variable that has no value.
    pub fn compile(text: &str, schema: &Schema, vars: &BTreeMap<String, String>) -> Result<Self> {
        let engine = engine(NAME, text)?;
        let names = names(&engine, NAME)?;
        check_vars(&names, vars)?;
        let columns = columns(text, &names, schema)?;
        Ok(Template {
            pieces: Pieces::read(text, &columns, vars),
            engine,
            columns,
            vars: Value::from_pairs(vars.clone()),
        })
    }

    /// The columns that it needs, in the table's order. Nothing else has to be read.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Renders every row of `batch` into `prompts`, which is cleared first. `batch` must have the
    /// template's columns, and may have others.
    ///
    /// # Errors
    /// `Internal` if a column is missing. What is wrong with a row is that row's own.
    pub fn render(&self, batch: &RecordBatch, prompts: &mut Prompts) -> Result<()> {
        prompts.clear();
        match &self.pieces {
            Some(pieces) => pieces.render(batch, prompts),
            None => render_with_engine(
                &self.engine,
                NAME,
                &self.columns,
                &self.vars,
                batch,
                prompts,
            ),
        }
    }

    /// The same through the engine alone, however simple the template is.
    #[cfg(test)]
    pub(super) fn render_slowly(&self, batch: &RecordBatch, prompts: &mut Prompts) -> Result<()> {
        prompts.clear();
        render_with_engine(
            &self.engine,
            NAME,
            &self.columns,
            &self.vars,
            batch,
            prompts,
        )
    }

    /// Whether rows go past the engine.
    #[cfg(test)]
    pub(super) fn is_fast(&self) -> bool {
        self.pieces.is_some()
    }
}

/// Renders a system prompt, which is the same for every row and so may name `vars` alone.
///
/// # Errors
/// `Invalid` for a syntax error, a column's name, or a variable that has no value.
pub fn compile_system(text: &str, vars: &BTreeMap<String, String>) -> Result<String> {
    const NAME: &str = "prompt.system";
    let engine = engine(NAME, text)?;
    let names = names(&engine, NAME)?;
    check_vars(&names, vars)?;
    if let Some(name) = names.iter().find(|name| first_part(name) != VARS) {
        return Err(
            Error::invalid("the system prompt names something that is not in `vars`")
                .with("name", name)
                .hint(
                    "the system prompt is the same for every row, so that providers can cache it; \
                 columns belong into `prompt.user`",
                ),
        );
    }
    let template = engine
        .get_template(NAME)
        .or_err(ErrorKind::Internal, "a lost template")?;
    let vars = Value::from_pairs([(VARS, Value::from_pairs(vars.clone()))]);
    template.render(vars).map_err(|error| wrong(&error, NAME))
}

fn engine(name: &'static str, text: &str) -> Result<Environment<'static>> {
    let mut engine = Environment::new();
    let syntax = SyntaxConfig::builder().keep_trailing_newline(true).build();
    engine.set_syntax(syntax.or_err(ErrorKind::Internal, "the template syntax is wrong")?);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    engine.set_fuel(Some(FUEL));
    // A null column is undefined; to whoever asks, it is none as well.
    engine.add_test("none", |value: &Value| {
        value.is_none() || value.is_undefined()
    });
    engine
        .add_template_owned(name, text.to_owned())
        .map_err(|error| wrong(&error, name))?;
    Ok(engine)
}

fn wrong(error: &minijinja::Error, name: &str) -> Error {
    let detail = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let line = error.line().unwrap_or(1);
    Error::invalid(format!("the template is wrong: {detail}"))
        .with("template", name)
        .with("line", line)
        .hint("templates are Jinja: {{ column }}, {% if column %}…{% endif %}")
}

/// The names that the template takes from outside, with their parts: `body`, `row.subject`.
fn names(engine: &Environment<'_>, name: &str) -> Result<BTreeSet<String>> {
    let template = engine
        .get_template(name)
        .or_err(ErrorKind::Internal, "a lost template")?;
    let globals: BTreeSet<String> = engine.globals().map(|(name, _)| name.to_owned()).collect();
    let names = template.undeclared_variables(true).into_iter();
    Ok(names
        .filter(|name| !globals.contains(first_part(name)))
        .collect())
}

fn first_part(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn check_vars(names: &BTreeSet<String>, vars: &BTreeMap<String, String>) -> Result<()> {
    for name in names {
        let Some(var) = name.strip_prefix("vars.") else {
            continue;
        };
        if !vars.contains_key(first_part(var)) {
            return Err(
                Error::invalid("the template names a variable that has no value")
                    .with("variable", name)
                    .hint(format!("give it one: --var {}=VALUE", first_part(var))),
            );
        }
    }
    Ok(())
}

/// The columns that the names stand for, in the table's order.
fn columns(text: &str, names: &BTreeSet<String>, schema: &Schema) -> Result<Vec<String>> {
    let mut needed = BTreeSet::new();
    for name in names {
        match first_part(name) {
            VARS => {}
            ROW if schema.column_with_name(ROW).is_none() => {
                row_columns(text, schema, &mut needed)?;
            }
            column => {
                find(column, schema)?;
                needed.insert(column.to_owned());
            }
        }
    }
    let fields = schema.fields().iter().map(|field| field.name());
    Ok(fields
        .filter(|name| needed.contains(*name))
        .cloned()
        .collect())
}

fn find(column: &str, schema: &Schema) -> Result<()> {
    if schema.column_with_name(column).is_some() {
        return Ok(());
    }
    let names = schema.fields().iter().map(|field| field.name());
    let nearest = names
        .clone()
        .max_by(|a, b| strsim::jaro_winkler(a, column).total_cmp(&strsim::jaro_winkler(b, column)));
    let all: Vec<&str> = names.map(String::as_str).collect();
    let hint = match nearest {
        Some(nearest) if strsim::jaro_winkler(nearest, column) > 0.7 => {
            format!("did you mean `{nearest}`?")
        }
        _ => format!("the columns are: {}", all.join(", ")),
    };
    Err(
        Error::invalid("the template names a column that does not exist")
            .with("column", column)
            .hint(hint),
    )
}

/// The columns named through `row`: those written out, or all of them if one is not.
fn row_columns(text: &str, schema: &Schema, needed: &mut BTreeSet<String>) -> Result<()> {
    for use_of_row in row_uses(text) {
        match use_of_row {
            Some(column) => {
                find(&column, schema)?;
                needed.insert(column);
            }
            None => needed.extend(schema.fields().iter().map(|field| field.name().clone())),
        }
    }
    Ok(())
}

/// Each `row` within the template's tags: the column that it names, or `None` where that is not
/// plain to see.
fn row_uses(text: &str) -> Vec<Option<String>> {
    let mut uses = Vec::new();
    for tag in tags(text) {
        let mut rest = tag;
        while let Some(at) = rest.find(ROW) {
            let before = rest[..at].chars().next_back();
            let after = &rest[at + ROW.len()..];
            let is_part = |c: char| c.is_alphanumeric() || c == '_';
            let alone = !before.is_some_and(|c| is_part(c) || c == '.')
                && !after.chars().next().is_some_and(is_part);
            if alone {
                uses.push(subscript(after));
            }
            rest = after;
        }
    }
    uses
}

/// What stands between the template's delimiters.
fn tags(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find('{')?;
            let (open, after) = (rest.get(at..at + 2)?, rest.get(at + 2..)?);
            let close = match open {
                "{{" => "}}",
                "{%" => "%}",
                _ => {
                    rest = rest.get(at + 1..)?;
                    continue;
                }
            };
            let end = after.find(close).unwrap_or(after.len());
            rest = &after[end..];
            return Some(&after[..end]);
        }
    })
}

/// The name in `.name`, `['name']` or `["name"]`.
pub(super) fn subscript(text: &str) -> Option<String> {
    let text = text.trim_start();
    if let Some(name) = text.strip_prefix('.') {
        let end = name
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(name.len());
        return (end > 0).then(|| name[..end].to_owned());
    }
    let inside = text.strip_prefix('[')?.trim_start();
    let quote = inside.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (name, after) = inside[1..].split_once(quote)?;
    let plain = !name.contains('\\') && after.trim_start().starts_with(']');
    plain.then(|| name.to_owned())
}

/// The row as the engine sees it.
#[derive(Debug)]
pub(super) struct Row {
    pub batch: Arc<RecordBatch>,
    pub columns: Arc<BTreeMap<String, usize>>,
    pub vars: Value,
    pub at: usize,
}

impl minijinja::value::Object for Row {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        match self.columns.get(key) {
            Some(column) => super::value::read(self.batch.column(*column), self.at),
            None if key == ROW => Some(Value::from_dyn_object(Arc::clone(self))),
            None if key == VARS => Some(self.vars.clone()),
            None => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> minijinja::value::Enumerator {
        let names = self.columns.keys().map(|name| Value::from(name.as_str()));
        minijinja::value::Enumerator::Values(names.collect())
    }
}
