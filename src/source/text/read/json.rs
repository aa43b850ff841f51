//! JSON, record by record: one object a line, objects one behind the other, or a list of objects.
//!
//! Where the first line is a whole object, every line is one, and a broken record names its line. The
//! values stay as they were written until their column's type is known.

use std::collections::HashMap;
use std::fmt;

use memchr::{memchr, memchr_iter};
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base::{Error, Result};

use super::input::BufferedInput;
use super::row::{CellKind, Row};

/// The most different keys: more are values that stand where keys should.
const KEYS_MAX: usize = 10_000;

/// The records of a JSON file.
pub(crate) struct JsonReader {
    input: BufferedInput,
    layout: Layout,
    /// The line that comes next.
    line: u64,
    names: Keys,
}

/// How the records lie in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// One object a line.
    Lines,
    /// Objects, whatever stands between them being blank.
    Objects,
    /// A list of objects; whether one of them was read.
    List(bool),
    /// Behind the end of a list.
    Ended,
}

/// The keys that were met, in the order in which they were.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) list: Vec<String>,
    places: HashMap<String, usize>,
    /// Whether other keys than these are passed over.
    fixed: bool,
    /// The number of the record that is being read, and by place the last one that had the key.
    record: u64,
    met: Vec<u64>,
}

impl Keys {
    /// These names, and no others.
    pub(crate) fn fixed(list: Vec<String>) -> Keys {
        let places = list.iter().cloned().zip(0..).collect();
        Keys {
            list,
            places,
            fixed: true,
            ..Keys::default()
        }
    }

    /// Whether the record that is being read has this key for the first time.
    fn is_first(&mut self, place: usize) -> bool {
        if self.met.len() <= place {
            self.met.resize(place + 1, 0);
        }
        std::mem::replace(&mut self.met[place], self.record) != self.record
    }

    fn place(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.places.get(name) {
            return Some(*place);
        }
        if self.fixed {
            return None;
        }
        self.list.push(name.to_owned());
        self.places.insert(name.to_owned(), self.list.len() - 1);
        Some(self.list.len() - 1)
    }
}

impl JsonReader {
    /// Finds out how the records lie.
    pub(crate) fn open(input: BufferedInput, names: Keys) -> Result<JsonReader> {
        let mut rows = JsonReader {
            input,
            layout: Layout::Objects,
            line: 1,
            names,
        };
        match rows.skip_blanks()? {
            Some(b'[') => {
                rows.input.consume(1);
                rows.layout = Layout::List(false);
            }
            Some(_) => {
                let line = rows.line_length()?;
                let first = &rows.input.held()[..line];
                if serde_json::from_slice::<IgnoredAny>(first).is_ok() {
                    rows.layout = Layout::Lines;
                }
            }
            None => {}
        }
        Ok(rows)
    }

    /// The keys that were met so far.
    pub(crate) fn names(&self) -> &[String] {
        &self.names.list
    }

    /// The next record; `false` behind the last one.
    pub(crate) fn next(&mut self, row: &mut Row) -> Result<bool> {
        let Some(first) = self.skip_blanks()? else {
            return match self.layout {
                Layout::List(_) => Err(self
                    .input
                    .line_error(self.line, "the list of records does not end")
                    .hint("the file was cut; write it to its end, with a `]`")),
                _ => Ok(false),
            };
        };
        if !self.step_into(first)? {
            return self.next(row);
        }
        let begun = self.line;
        let length = match self.layout {
            Layout::Lines => self.line_length()?,
            _ => self.object_length()?,
        };
        row.clear(begun);
        let held = &self.input.held()[..length];
        let breaks = memchr_iter(b'\n', held).count() as u64;
        match std::str::from_utf8(held) {
            Ok(text) => {
                if let Err(error) = parse(text, &mut self.names, row) {
                    return Err(self.broken(&error, begun));
                }
            }
            Err(error) => {
                let before = &held[..error.valid_up_to()];
                let line = begun + memchr_iter(b'\n', before).count() as u64;
                return Err(self.input.not_utf8(line));
            }
        }
        self.input.consume(length);
        self.line += breaks;
        Ok(true)
    }

    /// Goes on to the next record of a list; `false` where the list ends.
    fn step_into(&mut self, first: u8) -> Result<bool> {
        let next = match (self.layout, first) {
            (Layout::Ended, _) => {
                return Err(self.misplaced("something stands behind the list of records"));
            }
            (Layout::List(_), b']') => {
                self.input.consume(1);
                self.layout = Layout::Ended;
                return Ok(false);
            }
            (Layout::List(true), b',') => {
                self.input.consume(1);
                self.skip_blanks()?
            }
            (Layout::List(true), _) => {
                return Err(self.misplaced("no comma stands between two records of the list"));
            }
            (_, first) => Some(first),
        };
        if let Layout::List(_) = self.layout {
            self.layout = Layout::List(true);
        }
        match next {
            Some(b'{') => Ok(true),
            _ => Err(self.misplaced("a record is not an object")),
        }
    }

    fn misplaced(&self, message: &str) -> Error {
        self.input.line_error(self.line, message).hint(
            "write one object a line, such as {\"id\": 1, \"body\": \"...\"}, or a list of such objects",
        )
    }

    /// That a record which began on `begun` is no JSON.
    fn broken(&self, error: &serde_json::Error, begun: u64) -> Error {
        let said = error.to_string();
        let said = said
            .rsplit_once(" at line ")
            .map_or(&*said, |(what, _)| what);
        let line = begun + (error.line() as u64).saturating_sub(1);
        let wrong = self.input.line_error(line, "a record is not whole JSON");
        wrong
            .with("character", error.column())
            .with("said", said)
            .hint("mend that record, or leave it out; its line breaks are written as \\n")
    }

    /// Passes over blanks; what stands behind them, or `None` at the end of the file.
    fn skip_blanks(&mut self) -> Result<Option<u8>> {
        loop {
            let held = self.input.fill()?;
            if held.is_empty() {
                return Ok(None);
            }
            let blanks = held
                .iter()
                .position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
            let passed = blanks.unwrap_or(held.len());
            self.line += memchr_iter(b'\n', &held[..passed]).count() as u64;
            let next = blanks.map(|at| held[at]);
            self.input.consume(passed);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// The length of the rest of the line, which is then at hand.
    fn line_length(&mut self) -> Result<usize> {
        let mut looked_at = 0;
        loop {
            let held = self.input.held();
            if let Some(at) = memchr(b'\n', &held[looked_at..]) {
                return Ok(looked_at + at);
            }
            looked_at = held.len();
            self.input.bound(looked_at, self.line)?;
            if !self.input.more()? {
                return Ok(self.input.held().len());
            }
        }
    }

    /// The length of the object that begins here, which is then at hand; of all that is left, if it
    /// does not end.
    fn object_length(&mut self) -> Result<usize> {
        let (mut at, mut depth, mut quoted, mut escaped) = (0, 0_usize, false, false);
        loop {
            let held = self.input.held();
            while let Some(byte) = held.get(at) {
                at += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    b'{' | b'[' if !quoted => depth += 1,
                    b'}' | b']' if !quoted => {
                        depth -= 1;
                        if depth == 0 {
                            return Ok(at);
                        }
                    }
                    _ => {}
                }
            }
            self.input.bound(at, self.line)?;
            if !self.input.more()? {
                return Ok(self.input.held().len());
            }
        }
    }
}

/// Puts the values of an object into `row`.
fn parse(text: &str, names: &mut Keys, row: &mut Row) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(text);
    Record { names, row }.deserialize(&mut json)?;
    json.end()
}

struct Record<'n> {
    names: &'n mut Keys,
    row: &'n mut Row,
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        self.names.record += 1;
        while let Some(place) = map.next_key_seed(Key(self.names))? {
            let value: &RawValue = map.next_value()?;
            let Some(place) = place else { continue };
            if !self.names.is_first(place) {
                return Err(M::Error::custom("a key stands twice in one object"));
            }
            put(self.row, place, value.get()).map_err(M::Error::custom)?;
        }
        Ok(())
    }
}

/// A key, as the place of its column.
struct Key<'n>(&'n mut Keys);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<usize>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Option<usize>, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        let place = self.0.place(name);
        if place.is_some_and(|place| place >= KEYS_MAX) {
            return Err(E::custom("the records have more than 10000 different keys"));
        }
        Ok(place)
    }
}

/// Puts a value into its cell: a string as what it says, anything else as it was written.
fn put(row: &mut Row, place: usize, raw: &str) -> serde_json::Result<()> {
    let from = row.text.len();
    let kind = CellKind::of_json(raw);
    match kind {
        CellKind::Null => {}
        CellKind::Text if raw.contains('\\') => {
            row.text.push_str(&serde_json::from_str::<String>(raw)?);
        }
        CellKind::Text => row.text.push_str(&raw[1..raw.len() - 1]),
        _ => row.text.push_str(raw),
    }
    row.set(place, kind, from..row.text.len());
    Ok(())
}
