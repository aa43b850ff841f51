//! An answer that has a JSON Schema.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::constraints::Constraints;
use super::json_schema::{self, SchemaTypes};
use super::type_name;
use super::value_type::{Kind, ValueType};
use super::wrapper::wrapped;
use crate::base::{Error, Json, Result};

/// A value of a JSON Schema, whose types may be narrower than the schema says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JsonAnswer {
    /// The schema, as text: a model answers in the order of the properties, so that the order counts.
    pub schema: String,
    /// The types of places, such as `lines[].qty`, by SQL's names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<String, String>,
    /// How the model is told of it.
    #[serde(default, skip_serializing_if = "Asked::is_schema")]
    pub asked: Asked,
}

impl JsonAnswer {
    /// The types of its values.
    ///
    /// # Errors
    /// `Invalid` if the schema is none, or a place of `types` has no such type.
    pub fn types(&self) -> Result<SchemaTypes> {
        let wrong = |why: String| {
            Error::invalid("the answer's schema cannot be used")
                .with("reason", why)
                .hint("a JSON Schema is what `model_json_schema()` of Pydantic prints")
        };
        let Some(schema) = Json::parse(&self.schema) else {
            return Err(wrong("it is not JSON".into()));
        };
        let mut types = json_schema::read(&schema).map_err(wrong)?;
        for (path, name) in &self.types {
            narrow(&mut types.value, path, name).map_err(|why| {
                Error::invalid("a type of the answer cannot be used")
                    .with("place", path)
                    .with("type", name)
                    .with("reason", why)
                    .hint("places are written as in `lines[].qty`, types as in SQL")
            })?;
            types.notes.retain(|(place, _)| place != path);
        }
        Ok(types)
    }

    /// What its schema says beyond types.
    ///
    /// # Errors
    /// `Invalid` if that cannot be checked.
    pub(super) fn constraints(&self) -> Result<Constraints> {
        let schema = Json::parse(&self.schema).unwrap_or(Json::Null);
        Constraints::of(&schema).map_err(|why| {
            Error::invalid("the answer's schema cannot be used")
                .with("reason", why)
                .hint("take that keyword out, or mend it")
        })
    }

    /// The schema to ask for: that of an object.
    pub(super) fn told(&self) -> Json {
        let schema = Json::parse(&self.schema).unwrap_or(Json::Null);
        let schema = json_schema::at_root(schema);
        if self.is_wrapped() {
            wrapped(&schema)
        } else {
            schema
        }
    }

    /// Whether the value is asked for within an object, for it is none itself, or not by its schema's own words.
    pub(super) fn is_wrapped(&self) -> bool {
        let schema = Json::parse(&self.schema).unwrap_or(Json::Null);
        let schema = json_schema::at_root(schema);
        let is_union = ["anyOf", "oneOf", "allOf"]
            .iter()
            .any(|key| schema.get(key).is_some());
        let value = self.types().map(|types| types.value);
        let is_object = |v: ValueType| {
            !v.nullable && matches!(v.kind, Kind::Struct(_) | Kind::Map(_)) && !is_union
        };
        !value.is_ok_and(is_object)
    }
}

/// Gives the place `path` of `value` the type that `name` names.
fn narrow(value: &mut ValueType, path: &str, name: &str) -> Result<(), String> {
    match &mut places(value, path)[..] {
        [] => Err("the schema has no such place".into()),
        [place] => take_kind(&mut place.kind, type_name::parse(name)?.kind),
        _ => Err("several places are written so: one of them needs another name".into()),
    }
}

/// What `path` leads to. A name may hold points and brackets itself, so that it may be several places.
fn places<'v>(value: &'v mut ValueType, path: &str) -> Vec<&'v mut ValueType> {
    if path.is_empty() {
        return vec![value];
    }
    let named = path.strip_prefix('.').unwrap_or(path);
    let (within, rest) = match &mut value.kind {
        Kind::List(item) => (item, path.strip_prefix("[]")),
        Kind::Map(value) => (value, named.strip_prefix('*')),
        Kind::Struct(fields) => {
            let fields = fields.iter_mut().filter_map(|(name, value)| {
                let rest = named.strip_prefix(&**name)?;
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some((value, rest))
            });
            let places = fields.flat_map(|(value, rest)| places(value, rest));
            return places.collect();
        }
        _ => return Vec::new(),
    };
    rest.map_or_else(Vec::new, |rest| places(within, rest))
}

/// Makes `kind` the narrower `to`, if every value of `to` is one of `kind` as JSON has them.
fn take_kind(kind: &mut Kind, to: Kind) -> Result<(), String> {
    let is_whole = |kind: &Kind| matches!(kind, Kind::Integer(_) | Kind::Unsigned(_));
    let is_number =
        |kind: &Kind| is_whole(kind) || matches!(kind, Kind::Float(_) | Kind::Decimal(..));
    let is_text = |kind: &Kind| {
        matches!(
            kind,
            Kind::Text(_) | Kind::Date | Kind::Time | Kind::Timestamp { .. }
        )
    };
    // A float of 32 bits would round it.
    let holds = !is_whole(kind) || to != Kind::Float(32);
    let fits = (is_number(kind) && is_number(&to) && holds)
        || (is_text(kind) && is_text(&to))
        || *kind == to
        || matches!(kind, Kind::Json);
    if !fits {
        return Err("the schema says another kind of value there".into());
    }
    // The words of a choice stay.
    if !(matches!(kind, Kind::Text(Some(_))) && to == Kind::Text(None)) {
        *kind = to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The types of `schema` with those of `types`, as SQL has them, or the reason why there are none.
    fn types(schema: &str, types: &[(&str, &str)]) -> std::result::Result<String, String> {
        let of = |(place, name): &(&str, &str)| ((*place).to_owned(), (*name).to_owned());
        let answer = JsonAnswer {
            schema: schema.to_owned(),
            types: types.iter().map(of).collect(),
            asked: Asked::default(),
        };
        let types = answer.types().map_err(|error| error.to_string())?;
        Ok(types.value.to_string())
    }

    #[test]
    fn a_place_is_found_whatever_stands_in_the_names() {
        let schema = r#"{"properties":{"a":{"properties":{"b":{"type":"integer"}}},"a.c":{"type":"integer"}}}"#;
        let expect = "STRUCT(a STRUCT(b TINYINT), \"a.c\" SMALLINT)";
        assert_eq!(
            types(schema, &[("a.b", "TINYINT"), ("a.c", "SMALLINT")]).as_deref(),
            Ok(expect)
        );
        let twins = r#"{"properties":{"a":{"properties":{"b":{"type":"integer"}}},"a.b":{"type":"integer"}}}"#;
        let list = r#"{"properties":{"a[]":{"type":"integer"},"a":{"type":"array","items":{"type":"integer"}}}}"#;
        for (schema, place) in [(twins, "a.b"), (list, "a[]")] {
            let why = types(schema, &[(place, "TINYINT")]).expect_err(schema);
            assert!(why.contains("several places are written so"), "{why}");
        }
        let why = types(schema, &[("a.d", "TINYINT")]).expect_err("no such place");
        assert!(why.contains("the schema has no such place"), "{why}");
    }
}
