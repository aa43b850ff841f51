//! A prompt's template: compiled once, checked against the table's columns before anything is read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use minijinja::machinery::{Instruction, Instructions, get_compiled_template};
use minijinja::{Environment, ErrorKind, Value};

use crate::base::{Error, Result, nearest};

use super::ambiguous::check_expressions;
use super::engine::engine;
use super::expression::column_expression;
use super::filters;
use super::missing::{Notes, Null};
use super::syntax::{Piece, Pieces, Tag, Token, cut, member};

/// What the engine calls the template.
pub(super) const NAME: &str = "prompt";

/// A compiled template.
#[derive(Debug)]
pub struct Template {
    pub(super) text: String,
    pub(super) engine: Environment<'static>,
    /// The engine for rows that hold decimals, once there are some.
    pub(super) exact: OnceLock<Environment<'static>>,
    pub(super) notes: Arc<Notes>,
    pub(super) columns: Vec<String>,
    pub(super) nulls: Vec<Value>,
    pub(super) vars: Value,
    /// The template as text and plain prints, if it is nothing else.
    pub(super) plain: Option<Vec<Plain>>,
    /// Columns that are compared by order and never tested: places in `columns`.
    pub(super) compared: Vec<usize>,
    /// Columns that are no text.
    pub(super) attached: Vec<Attached>,
}

/// A piece of a template that needs no engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// The value of a column: its place in [`Template::columns`].
    Column(usize),
    /// Where a column that is no text is attached.
    Attachment(usize),
    /// Text.
    Text(String),
}

/// A column that is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    /// Its place in the template's columns.
    pub(super) column: usize,
    /// Whether the template says where it stands.
    pub(super) is_placed: bool,
    /// Whether the template names it at all, and so decides what a null means.
    pub(super) is_named: bool,
}

impl Template {
    /// Compiles the user prompt's template. `name` is what errors call it (`[prompt] user`, or a
    /// file); it may name the `columns` of the table, `row`, and `vars`.
    ///
    /// # Errors
    /// `Invalid`, with the line, if it is not a template, or names what does not exist.
    pub fn compile(
        text: &str,
        name: &str,
        columns: &[&str],
        vars: &BTreeMap<String, String>,
    ) -> Result<Template> {
        let notes: Arc<Notes> = Arc::default();
        let engine = parse(text, name, &notes)?;
        let pieces = cut(text);
        check_tags(&engine, &pieces, name)?;
        check_expressions(&pieces, name, columns)?;
        check_engine_words(&pieces, name, columns)?;
        check_vars(&engine, &pieces, name, columns, vars)?;
        let needed = needed(&engine, &pieces, name, columns)?;
        let nulls = (0..needed.len())
            .map(|column| {
                Value::from_object(Null {
                    column,
                    notes: Arc::clone(&notes),
                })
            })
            .collect();
        Ok(Template {
            plain: plain(&pieces, &needed),
            compared: compared(&pieces, &needed),
            text: text.to_owned(),
            engine,
            exact: OnceLock::new(),
            notes,
            nulls,
            columns: needed,
            attached: Vec::new(),
            vars: vars_value(vars),
        })
    }

    /// The columns that it needs, in the order of the table. No other column leaves the machine.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }
}

/// Renders a text that all rows share, such as the system prompt: it may name `vars` alone.
///
/// # Errors
/// `Invalid` if it is not a template, names a column, or cannot be rendered.
pub fn render_shared(
    text: &str,
    name: &str,
    columns: &[&str],
    vars: &BTreeMap<String, String>,
) -> Result<String> {
    let notes: Arc<Notes> = Arc::default();
    let engine = parse(text, name, &notes)?;
    let pieces = cut(text);
    check_tags(&engine, &pieces, name)?;
    check_vars(&engine, &pieces, name, columns, vars)?;
    for variable in variables(&engine, columns) {
        if variable == "vars" || is_global(&engine, &variable) {
            continue;
        }
        let error = at(name, pieces.line_of(&variable));
        return Err(
            if variable == "row" || columns.contains(&variable.as_str()) {
                error("what is the same for every row cannot name a column")
                    .with("column", &variable)
                    .hint("name it in `prompt.user`; the system prompt and the examples may name `vars` alone")
            } else {
                unknown(
                    error("the template names what does not exist"),
                    &variable,
                    &["vars"],
                )
            },
        );
    }
    let context = Value::from(BTreeMap::from([("vars".to_owned(), vars_value(vars))]));
    engine
        .get_template(NAME)
        .and_then(|template| template.render(context))
        .map_err(|error| wrong(&error, name, "cannot render it"))
}

fn parse(text: &str, name: &str, notes: &Arc<Notes>) -> Result<Environment<'static>> {
    let mut engine = engine(notes);
    engine
        .add_template_owned(NAME, text.to_owned())
        .map_err(|error| {
            wrong(&error, name, "not a template")
                .hint("a value is written `{{ body }}`, and a test `{% if body %}...{% endif %}`")
        })?;
    Ok(engine)
}

/// What the engine says, as our error.
pub(super) fn wrong(error: &minijinja::Error, name: &str, message: &str) -> Error {
    let reason = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    let ours = Error::invalid(message).with("template", name);
    match error.line() {
        Some(line) => ours.with("line", line),
        None => ours,
    }
    .with("reason", reason)
}

/// An error about a line of the template.
fn at(name: &str, line: usize) -> impl Fn(&str) -> Error {
    move |message| {
        Error::invalid(message)
            .with("template", name)
            .with("line", line)
    }
}

/// What the template needs from outside, in a stable order.
fn variables(engine: &Environment<'_>, columns: &[&str]) -> BTreeSet<String> {
    let Ok(template) = engine.get_template(NAME) else {
        return BTreeSet::new();
    };
    let mut variables: BTreeSet<String> =
        template.undeclared_variables(false).into_iter().collect();
    let compiled = get_compiled_template(&template);
    let blocks = std::iter::once(&compiled.instructions).chain(compiled.blocks.values());
    let names: Vec<Names<'_>> = blocks.map(Names::of).collect();
    if names.iter().any(|names| names.has_slices) {
        // The engine overlooks what is sliced: `body` in `body[:20]`. Where the template has a name of
        // its own as well, the column may be meant before it is set.
        let set = |name: &str| names.iter().any(|names| names.set.contains(name));
        let read = names.iter().flat_map(|names| &names.read);
        let outer = |name: &&&str| columns.contains(*name) || !set(name);
        let missed = read.filter(|name| outer(name) && !OF_THE_ENGINE.contains(*name));
        variables.extend(missed.map(|name| (*name).to_owned()));
    }
    variables
}

/// Names that the engine itself gives a meaning.
const OF_THE_ENGINE: [&str; 4] = ["caller", "loop", "self", "super"];

/// The names in a compiled template.
#[derive(Default)]
struct Names<'t> {
    read: BTreeSet<&'t str>,
    set: BTreeSet<&'t str>,
    has_slices: bool,
}

impl<'t> Names<'t> {
    fn of(instructions: &'t Instructions<'_>) -> Names<'t> {
        let mut names = Names::default();
        let mut at = 0;
        while let Some(instruction) = instructions.get(at) {
            match instruction {
                Instruction::Lookup(name) => drop(names.read.insert(name)),
                Instruction::StoreLocal(name) => drop(names.set.insert(name)),
                Instruction::Slice => names.has_slices = true,
                _ => {}
            }
            at += 1;
        }
        names
    }
}

fn is_global(engine: &Environment<'_>, name: &str) -> bool {
    engine.globals().any(|(global, _)| global == name)
}

fn vars_value(vars: &BTreeMap<String, String>) -> Value {
    let pairs = vars
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    Value::from(pairs.collect::<BTreeMap<String, Value>>())
}

/// Refuses what cannot work for any row, or would do something else than it says.
fn check_tags(engine: &Environment<'_>, pieces: &Pieces<'_>, name: &str) -> Result<()> {
    for tag in pieces.tags() {
        let error = at(name, tag.line);
        if let Some(filter) = unknown_filter(engine, tag) {
            let error = error("there is no such filter").with("filter", filter);
            return Err(match filters::refused(filter) {
                Some(why) => error.hint(why),
                None => error,
            });
        }
        if let Some(test) = unknown_test(engine, tag) {
            return Err(error("there is no such test").with("test", test));
        }
        if let Some(Token::Word(word @ ("include" | "import" | "from" | "extends"))) =
            tag.tokens.first()
        {
            return Err(
                error("a prompt's template is one text and cannot load another").with("tag", word),
            );
        }
        if tag.tokens.windows(2).any(is_compared_with_none) {
            return Err(error("a null is equal to nothing, not even to none")
                .hint("write `is none` or `is not none`"));
        }
    }
    Ok(())
}

/// The engine finds this out only when it renders a row.
fn unknown_filter<'s>(engine: &Environment<'_>, tag: &Tag<'s>) -> Option<&'s str> {
    tag.tokens.windows(2).find_map(|pair| match pair {
        [Token::Sign("|"), Token::Word(filter)] => {
            let error = engine.empty_state().apply_filter(filter, &[]).err()?;
            (error.kind() == ErrorKind::UnknownFilter).then_some(*filter)
        }
        _ => None,
    })
}

fn unknown_test<'s>(engine: &Environment<'_>, tag: &Tag<'s>) -> Option<&'s str> {
    let tests = tag.tokens.windows(3).filter_map(|three| match three {
        [Token::Word("is"), Token::Word("not"), Token::Word(test)]
        | [Token::Word("is"), Token::Word(test), _] => Some(*test),
        _ => None,
    });
    let last = match tag.tokens.as_slice() {
        [.., Token::Word("is"), Token::Word(test)] => Some(*test),
        _ => None,
    };
    tests
        .chain(last)
        .filter(|test| *test != "not")
        .find(|test| {
            let outcome = engine.empty_state().perform_test(test, &[]);
            outcome.is_err_and(|error| error.kind() == ErrorKind::UnknownTest)
        })
}

fn is_compared_with_none(pair: &[Token<'_>]) -> bool {
    let none = |token| matches!(token, Token::Word("none" | "None"));
    let sign = |token| matches!(token, Token::Sign("==" | "!="));
    (sign(pair[0]) && none(pair[1])) || (none(pair[0]) && sign(pair[1]))
}

fn check_vars(
    engine: &Environment<'_>,
    pieces: &Pieces<'_>,
    name: &str,
    columns: &[&str],
    vars: &BTreeMap<String, String>,
) -> Result<()> {
    if !variables(engine, columns).contains("vars") {
        return Ok(());
    }
    for (var, line) in pieces.uses_of("vars").names {
        if !vars.contains_key(&var) {
            return Err(at(name, line)("a variable of the template has no value")
                .with("variable", format!("vars.{var}"))
                .hint(format!("give it with `--var {var}=...`")));
        }
    }
    Ok(())
}

/// The columns that the template needs, in the order of the table.
fn needed(
    engine: &Environment<'_>,
    pieces: &Pieces<'_>,
    name: &str,
    columns: &[&str],
) -> Result<Vec<String>> {
    let mut wanted = BTreeSet::new();
    let mut all = false;
    for variable in variables(engine, columns) {
        if RESERVED.contains(&variable.as_str()) {
            check_reserved(&variable, pieces, name, columns)?;
        }
        match variable.as_str() {
            "row" => {
                let uses = pieces.uses_of("row");
                all |= uses.is_dynamic;
                for (column, line) in uses.names {
                    wanted.insert(known(column, columns, &at(name, line))?);
                }
            }
            "vars" => {}
            global if is_global(engine, global) && !columns.contains(&global) => {}
            _ => {
                let line = pieces.line_of(&variable);
                wanted.insert(known(variable, columns, &at(name, line))?);
            }
        }
    }
    let needed = columns
        .iter()
        .filter(|column| all || wanted.contains(**column));
    Ok(needed.map(|column| (*column).to_owned()).collect())
}

/// Words that a template knows beside the columns.
const RESERVED: [&str; 2] = ["row", "vars"];

/// A word of the template's own that a column has for its name: whoever writes it alone may mean either.
fn check_reserved(word: &str, pieces: &Pieces<'_>, name: &str, columns: &[&str]) -> Result<()> {
    if !columns.contains(&word) || !pieces.uses_of(word).is_dynamic {
        return Ok(());
    }
    Err(is_reserved(word, &at(name, pieces.line_of(word))))
}

fn is_reserved(word: &str, error: &impl Fn(&str) -> Error) -> Error {
    error("a column has the name of something that templates know")
        .with("column", word)
        .hint(format!("for the column write `row['{word}']`"))
}

/// Words that the engine itself has a meaning for, and so never reads as a column: `self`, and `loop` within
/// a loop. What it would make of them is found out by no other check.
fn check_engine_words(pieces: &Pieces<'_>, name: &str, columns: &[&str]) -> Result<()> {
    let has = |tag: &str| {
        pieces
            .tags()
            .any(|it| it.tokens.first() == Some(&Token::Word(tag)))
    };
    if has("for") {
        check_reserved("loop", pieces, name, columns)?;
    }
    let uses = pieces.uses_of("self");
    // Blocks have names, and are no columns: `self.title()`.
    if uses.is_dynamic || (!uses.names.is_empty() && !has("block")) {
        let error = at(name, pieces.line_of("self"));
        known("self".to_owned(), columns, &error)?;
        return Err(is_reserved("self", &error));
    }
    Ok(())
}

fn known(column: String, columns: &[&str], error: &impl Fn(&str) -> Error) -> Result<String> {
    if columns.contains(&column.as_str()) {
        return Ok(column);
    }
    Err(unknown(
        error("the template names a column that does not exist"),
        &column,
        columns,
    ))
}

fn unknown(error: Error, name: &str, known: &[&str]) -> Error {
    let error = error.with("column", name);
    match nearest(name, known.iter().copied()) {
        Some(near) => error.hint(format!("did you mean `{}`?", column_expression(near))),
        None => error.hint(format!("it may name {}", known.join(", "))),
    }
}

/// The template as text and plain prints of columns, if it is nothing else.
fn plain(pieces: &Pieces<'_>, columns: &[String]) -> Option<Vec<Plain>> {
    if !pieces.is_literal {
        return None;
    }
    pieces
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(Plain::Text((*text).to_owned())),
            Piece::Print(tag) => plain_print(tag, columns).map(Plain::Column),
            Piece::Block(_) => None,
        })
        .collect()
}

fn plain_print(tag: &Tag<'_>, columns: &[String]) -> Option<usize> {
    let (column, taken) = column_at(&tag.tokens, columns)?;
    (taken == tag.tokens.len()).then_some(column)
}

/// The column that the tokens begin with, and how many tokens name it.
fn column_at(tokens: &[Token<'_>], columns: &[String]) -> Option<(usize, usize)> {
    let (name, taken) = match tokens.first()? {
        Token::Word("row") => member(tokens)?,
        Token::Word(name) => (*name, 1),
        _ => return None,
    };
    let place = columns.iter().position(|column| column == name)?;
    Some((place, taken))
}

/// Columns that stand beside `<`, `>`, `<=` or `>=` and are nowhere tested for null. The engine has
/// an order for everything, so that a null would silently be more or less than any number.
fn compared(pieces: &Pieces<'_>, columns: &[String]) -> Vec<usize> {
    let mut compared = BTreeSet::new();
    let mut tested = BTreeSet::new();
    for tag in pieces.tags() {
        for start in 0..tag.tokens.len() {
            let Some((column, taken)) = column_at(&tag.tokens[start..], columns) else {
                continue;
            };
            let before = start.checked_sub(1).map(|at| tag.tokens[at]);
            if before == Some(Token::Sign(".")) {
                continue;
            }
            let after = tag.tokens.get(start + taken).copied();
            if is_order(before) || is_order(after) {
                compared.insert(column);
            }
            if after == Some(Token::Word("is")) || after == Some(Token::Sign("|")) {
                tested.insert(column);
            }
        }
    }
    compared.difference(&tested).copied().collect()
}

fn is_order(token: Option<Token<'_>>) -> bool {
    matches!(token, Some(Token::Sign("<" | ">" | "<=" | ">=")))
}
