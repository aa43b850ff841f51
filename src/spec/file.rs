//! The job file as written: TOML, in which every key and value knows where it stands.
//!
//! Nothing is judged here but the syntax. Reading into a tree of our own, instead of straight into
//! a struct, is what lets [`resolve`](super::Draft::resolve) report every mistake at once.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, de};

/// Where a key or value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// At these bytes of the job file.
    File(Range<usize>),
    /// In `--set`, for this key, from this byte of its words on. Counts as written in the job file.
    Set(String, usize),
    /// In a flag of its own.
    Flag(&'static str),
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    /// Where its key stands.
    pub(super) key: At,
    /// Where it stands itself.
    pub(super) at: At,
    /// What it is.
    pub(super) value: Value,
    /// The words of `--set` that it was read from, where they may also be meant as they are.
    pub(super) words: Option<String>,
}

/// A TOML value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// `"text"`
    Text(String),
    /// `7`; what does not fit is as large as can be.
    Integer(i128),
    /// `0.5`
    Float(f64),
    /// `true`
    Bool(bool),
    /// `2026-08-01`
    Date(String),
    /// `[1, 2]`
    List(Vec<Node>),
    /// `{ a = 1 }`, or a section.
    Table(Table),
}

/// Keys and what they hold.
pub(super) type Table = BTreeMap<String, Node>;

/// The keys of a table as they were written: a model answers in this order. Those of the command line
/// come last.
pub(super) fn in_order(table: &Table) -> Vec<(&String, &Node)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(_, node)| match &node.key {
        At::File(range) => (false, range.start),
        At::Set(_, start) => (true, *start),
        At::Flag(_) => (true, 0),
    });
    pairs
}

impl Value {
    /// What it is, in words that fit after "found".
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "true or false",
            Value::Date(_) => "a date",
            Value::List(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Reads a whole file. What can be read is returned beside what is wrong with the rest.
pub(super) fn parse(text: &str) -> (Table, Vec<(Range<usize>, String)>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let errors = errors.iter().map(|error| describe(text, error)).collect();
    (self::table(table.into_inner(), &At::File), errors)
}

/// Reads the value of `--set key=words`: as TOML where it is TOML, else as the text that it is.
pub(super) fn parse_words(key: &str, words: &str) -> Node {
    let at = |start| At::Set(key.to_owned(), start);
    let text = || Node {
        key: at(0),
        at: at(0),
        value: Value::Text(words.to_owned()),
        words: None,
    };
    match DeValue::parse(words.trim()) {
        Ok(value) => Node {
            words: Some(words.to_owned()),
            value: convert(value.into_inner(), &|span| at(span.start)),
            ..text()
        },
        Err(_) => text(),
    }
}

fn describe(text: &str, error: &de::Error) -> (Range<usize>, String) {
    let span = error.span().unwrap_or(text.len()..text.len());
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    (span, message)
}

fn table(table: DeTable<'_>, at: &dyn Fn(Range<usize>) -> At) -> Table {
    table
        .into_iter()
        .map(|(key, value)| {
            let key_at = at(key.span());
            (
                key.into_inner().into_owned(),
                Node {
                    key: key_at,
                    ..node(value, at)
                },
            )
        })
        .collect()
}

fn node(value: Spanned<DeValue<'_>>, at: &dyn Fn(Range<usize>) -> At) -> Node {
    let span = value.span();
    Node {
        key: at(span.clone()),
        at: at(span),
        value: convert(value.into_inner(), at),
        words: None,
    }
}

fn convert(value: DeValue<'_>, at: &dyn Fn(Range<usize>) -> At) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(number) => Value::Integer(
            i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX),
        ),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(yes) => Value::Bool(yes),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(list) => Value::List(list.into_iter().map(|v| node(v, at)).collect()),
        DeValue::Table(inner) => Value::Table(table(inner, at)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Value {
        parse_words("a.b", text).value
    }

    #[test]
    fn numbers_are_read_as_toml_writes_them() {
        let (table, errors) = parse("a = 50_000\nb = 0x1F\nc = 1_0.5\nd = -3\ne = inf");
        assert_eq!(errors, []);
        let value = |key: &str| table[key].value.clone();
        assert_eq!(value("a"), Value::Integer(50_000));
        assert_eq!(value("b"), Value::Integer(31));
        assert_eq!(value("c"), Value::Float(10.5));
        assert_eq!(value("d"), Value::Integer(-3));
        assert_eq!(value("e"), Value::Float(f64::INFINITY));
    }

    #[test]
    fn words_are_toml_where_they_can_be() {
        assert_eq!(words("7"), Value::Integer(7));
        assert_eq!(words("true"), Value::Bool(true));
        assert_eq!(words("\"7\""), Value::Text("7".into()));
        assert_eq!(words("lang = 'en'"), Value::Text("lang = 'en'".into()));
        assert_eq!(words("1%"), Value::Text("1%".into()));
        assert_eq!(words(""), Value::Text(String::new()));
        assert_eq!(words("a\nb = 1"), Value::Text("a\nb = 1".into()));
    }

    #[test]
    fn a_broken_file_still_gives_what_can_be_read() {
        let text = "name = \"x\"\nbad = = 1\n[prompt]\nuser = \"hi\"\n";
        let (table, errors) = parse(text);
        assert_eq!(table["name"].value, Value::Text("x".into()));
        let line_2 = 10..20;
        assert!(errors.iter().any(|(span, _)| line_2.contains(&span.start)));
        assert!(errors.iter().all(|(span, _)| line_2.contains(&span.start)));
        assert!(table.contains_key("prompt"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
            let _ = parse(&text);
            let _ = parse_words("a.b", &text);
        }

        #[test]
        fn nothing_like_toml_makes_the_reader_panic(text in "[\\[\\]{}=.\"'#a-c0-9_\\-+:\n \\\\$é]{0,80}") {
            let _ = parse(&text);
        }
    }
}
