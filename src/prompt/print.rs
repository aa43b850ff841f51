//! How a value is written: the one place for what a template prints and what the fast path prints.

use std::fmt::Write;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use super::decimal::is_decimal;
use super::missing::{Notes, is_null};

/// Writes `value` as `{{ value }}` does.
pub(super) fn print(value: &Value, notes: &Notes, out: &mut impl Write) -> Result<(), Error> {
    match value.kind() {
        ValueKind::None => {
            notes.print(NO_COLUMN);
            Ok(())
        }
        ValueKind::Map | ValueKind::Seq | ValueKind::Iterable => json(value, None, 0, out),
        ValueKind::Invalid => Err(Error::new(UNPRINTABLE, reason(value))),
        _ => written(write!(out, "{value}")),
    }
}

/// The kind of error of a value that has no text, whatever else the template does with it.
pub(super) const UNPRINTABLE: ErrorKind = ErrorKind::BadSerialization;

/// A `none` that stems from no column of its own.
pub(super) const NO_COLUMN: usize = usize::MAX - 1;

/// What an invalid value says of itself, without the engine's brackets.
fn reason(value: &Value) -> String {
    let text = value.to_string();
    let inner = text
        .strip_prefix("<invalid value: ")
        .and_then(|text| text.strip_suffix('>'));
    let inner = inner.unwrap_or(&text);
    inner
        .strip_prefix(&format!("{UNPRINTABLE}: "))
        .unwrap_or(inner)
        .to_owned()
}

/// Writes `value` as JSON; with `indent`, over several lines. Nulls are `null`, and fields stand in
/// their own order.
pub(super) fn json(
    value: &Value,
    indent: Option<usize>,
    depth: usize,
    out: &mut impl Write,
) -> Result<(), Error> {
    match value.kind() {
        _ if is_null(value) => written(out.write_str("null")),
        _ if is_decimal(value) => written(write!(out, "{value}")),
        ValueKind::Undefined => Err(Error::new(
            ErrorKind::UndefinedError,
            "an undefined value has no JSON",
        )),
        ValueKind::Bool => written(out.write_str(if value.is_true() { "true" } else { "false" })),
        ValueKind::Number => match f64::try_from(value.clone()) {
            Ok(float) if !value.is_integer() && !float.is_finite() => {
                written(out.write_str("null"))
            }
            _ => written(write!(out, "{value}")),
        },
        ValueKind::Map => {
            let entries = value.try_iter()?.map(|key| {
                let item = value.get_item(&key)?;
                Ok((Some(key), item))
            });
            container(entries, ['{', '}'], indent, depth, out)
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?.map(|item| Ok((None, item)));
            container(items, ['[', ']'], indent, depth, out)
        }
        ValueKind::Invalid => Err(Error::new(UNPRINTABLE, reason(value))),
        _ => string(&value.to_string(), out),
    }
}

type Entry = (Option<Value>, Value);

fn container(
    entries: impl Iterator<Item = Result<Entry, Error>>,
    brackets: [char; 2],
    indent: Option<usize>,
    depth: usize,
    out: &mut impl Write,
) -> Result<(), Error> {
    written(out.write_char(brackets[0]))?;
    let mut is_empty = true;
    for entry in entries {
        let (key, item) = entry?;
        if !is_empty {
            written(out.write_str(if indent.is_some() { "," } else { ", " }))?;
        }
        is_empty = false;
        line(indent, depth + 1, out)?;
        if let Some(key) = key {
            string(&key.to_string(), out)?;
            written(out.write_str(": "))?;
        }
        json(&item, indent, depth + 1, out)?;
    }
    if !is_empty {
        line(indent, depth, out)?;
    }
    written(out.write_char(brackets[1]))
}

fn line(indent: Option<usize>, depth: usize, out: &mut impl Write) -> Result<(), Error> {
    match indent {
        Some(indent) => written(write!(out, "\n{:width$}", "", width = indent * depth)),
        None => Ok(()),
    }
}

fn string(text: &str, out: &mut impl Write) -> Result<(), Error> {
    let quoted = serde_json::to_string(text)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    written(out.write_str(&quoted))
}

fn written(outcome: std::fmt::Result) -> Result<(), Error> {
    outcome.map_err(Error::from)
}
