//! The type of a column of JSON, from all its values.
//!
//! A column whose values are not of one type is text, and holds each value as it was written. So does
//! one whose numbers a type would change: a whole number beyond 64 bits, or more digits than a double
//! keeps.

use std::fmt;

use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::source::text::read::CellKind;

use super::numbers::{is_whole, same_number};

/// How deep values may lie in each other to have a type.
const DEPTH_MAX: usize = 32;
/// How many fields an object may have to be one of a type, and not a map.
const FIELDS_MAX: usize = 1_000;
/// Whole numbers up to this one are doubles as well.
const DOUBLE_MAX: u64 = 1 << 53;

/// What all values so far have in common.
#[derive(Debug, Default)]
pub(super) enum JsonType {
    /// There was none.
    #[default]
    Nothing,
    Bool,
    Number(Number),
    Text,
    List(Box<JsonType>),
    Object(Vec<(String, JsonType)>),
    /// Nothing: it is text.
    Mixed,
}

/// What all numbers so far are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number {
    whole: bool,
    double: bool,
}

impl Number {
    fn of(text: &str) -> Number {
        let whole = is_whole(text);
        let double = match text.trim_start_matches('-').parse::<u64>() {
            Ok(number) => number <= DOUBLE_MAX,
            Err(_) => same_number(text),
        };
        Number { whole, double }
    }
}

impl JsonType {
    /// Takes a value into account.
    ///
    /// # Errors
    /// What is wrong with it, if it is an object that names a key twice.
    pub(super) fn observe(&mut self, kind: CellKind, text: &str) -> serde_json::Result<()> {
        self.observe_at(kind, text, 0)
    }

    fn observe_at(&mut self, kind: CellKind, text: &str, depth: usize) -> serde_json::Result<()> {
        if depth > DEPTH_MAX {
            *self = JsonType::Mixed;
        }
        match (&mut *self, kind) {
            (JsonType::Mixed, _) | (_, CellKind::Null) => {}
            (_, CellKind::Nested) => return self.observe_nested(text, depth),
            // An escaped half of a surrogate pair is no character: parsing says so.
            (_, CellKind::Text) if depth > 0 && text.contains("\\u") => {
                serde_json::from_str::<String>(text)?;
                *self = match self {
                    JsonType::Nothing | JsonType::Text => JsonType::Text,
                    _ => JsonType::Mixed,
                };
            }
            (JsonType::Nothing | JsonType::Text, CellKind::Text) => *self = JsonType::Text,
            (JsonType::Nothing | JsonType::Bool, CellKind::Bool) => *self = JsonType::Bool,
            (JsonType::Nothing, CellKind::Number) => *self = JsonType::Number(Number::of(text)),
            (JsonType::Number(so_far), CellKind::Number) => {
                let this = Number::of(text);
                so_far.whole &= this.whole;
                so_far.double &= this.double;
            }
            _ => *self = JsonType::Mixed,
        }
        if let JsonType::Number(Number {
            whole: false,
            double: false,
        }) = self
        {
            *self = JsonType::Mixed;
        }
        Ok(())
    }

    fn observe_nested(&mut self, text: &str, depth: usize) -> serde_json::Result<()> {
        if matches!(self, JsonType::Nothing) {
            *self = if text.starts_with('[') {
                JsonType::List(Box::default())
            } else {
                JsonType::Object(Vec::new())
            };
        }
        let mut json = serde_json::Deserializer::from_str(text);
        match self {
            JsonType::List(items) if text.starts_with('[') => {
                return serde::Deserializer::deserialize_seq(&mut json, Items(items, depth));
            }
            JsonType::Object(fields) if text.starts_with('{') => {
                serde::Deserializer::deserialize_map(&mut json, Members(fields, depth))?;
                if fields.len() <= FIELDS_MAX {
                    return Ok(());
                }
            }
            _ => {}
        }
        *self = JsonType::Mixed;
        Ok(())
    }

    /// Whether there is no type to be found any more.
    pub(super) fn is_mixed(&self) -> bool {
        matches!(self, JsonType::Mixed)
    }

    /// The type, if there is one that holds every value.
    pub(super) fn data_type(&self) -> Option<DataType> {
        Some(match self {
            JsonType::Nothing | JsonType::Text => DataType::Utf8,
            JsonType::Bool => DataType::Boolean,
            JsonType::Number(number) if number.whole => DataType::Int64,
            JsonType::Number(_) => DataType::Float64,
            JsonType::List(items) => {
                DataType::List(FieldRef::new(Field::new("item", items.data_type()?, true)))
            }
            // Parquet has no object without fields.
            JsonType::Object(fields) if fields.is_empty() => return None,
            JsonType::Object(fields) => {
                let typed = fields
                    .iter()
                    .map(|(name, json_type)| Some(Field::new(name, json_type.data_type()?, true)))
                    .collect::<Option<Fields>>()?;
                DataType::Struct(typed)
            }
            JsonType::Mixed => return None,
        })
    }
}

struct Items<'s>(&'s mut JsonType, usize);

impl<'de> Visitor<'de> for Items<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            let item = item.get();
            let seen = self.0.observe_at(CellKind::of_json(item), item, self.1 + 1);
            seen.map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

struct Members<'s>(&'s mut Vec<(String, JsonType)>, usize);

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut met = [false; FIELDS_MAX];
        while let Some(place) = map.next_key_seed(Member(self.0))? {
            let value = map.next_value::<&RawValue>()?.get();
            if place >= FIELDS_MAX {
                self.0.truncate(FIELDS_MAX + 1);
                continue;
            }
            if std::mem::replace(&mut met[place], true) {
                return Err(M::Error::custom("a key stands twice in one object"));
            }
            let seen = self.0[place]
                .1
                .observe_at(CellKind::of_json(value), value, self.1 + 1);
            seen.map_err(M::Error::custom)?;
        }
        Ok(())
    }
}

/// A key, as the place of its field.
struct Member<'s>(&'s mut Vec<(String, JsonType)>);

impl<'de> DeserializeSeed<'de> for Member<'_> {
    type Value = usize;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<usize, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Member<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<usize, E> {
        let known = self.0.iter().position(|(known, _)| known == name);
        if known.is_none() {
            self.0.push((name.to_owned(), JsonType::Nothing));
        }
        Ok(known.unwrap_or(self.0.len() - 1))
    }
}
