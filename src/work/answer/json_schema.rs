//! JSON Schema as people have it, from Pydantic, Zod and by hand: which type its values have.
//!
//! | schema | type |
//! |---|---|
//! | `string` | VARCHAR; by `format`: `date` DATE, `date-time` TIMESTAMP WITH TIME ZONE, `time` TIME |
//! | `integer`, `number`, `boolean` | BIGINT, DOUBLE, BOOLEAN |
//! | `enum`, `const` of strings, of whole numbers, of booleans | VARCHAR of these words, BIGINT, BOOLEAN |
//! | `array` with `items` | a list |
//! | `object` with `properties` | a struct; what is not `required` may be null |
//! | `object` with `additionalProperties` alone | a map |
//! | `null` beside another, in `type`, `anyOf`, `oneOf` or `enum` | the other, which may be null |
//! | `$ref` to `#/...`; `allOf` of one | what it names |
//! | anything else: unions, free forms, what contains itself | JSON text |

use std::collections::HashMap;

use crate::base::Json;

use super::subschemas::with_each;
use super::value_type::{Kind, ValueType};

/// What a schema says of its values.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaTypes {
    /// The type of a whole value.
    pub value: ValueType,
    /// Which places are kept as JSON text, and why: a path and a reason each.
    pub notes: Vec<(String, String)>,
}

/// References that are followed within each other.
const DEPTH_MAX: usize = 64;

/// Values that a schema comes to, each with all that is within it: far above what models are asked for.
const VALUES_MAX: usize = 20_000;

/// The type of the values of `schema`.
///
/// # Errors
/// What is wrong with the schema, in a sentence, with the place.
pub(super) fn read(schema: &Json) -> Result<SchemaTypes, String> {
    if let Some(key) = schema.repeated_key() {
        return Err(format!(
            "the key `{key}` stands twice in one object of the schema"
        ));
    }
    let mut reader = Reader {
        root: schema,
        open: Vec::new(),
        values: 0,
        notes: Vec::new(),
    };
    let value = reader.value(schema, "")?;
    Ok(SchemaTypes {
        value,
        notes: reader.notes,
    })
}

/// `schema` without titles: no model is told them, and a class that has another name asks nothing else.
#[must_use]
pub fn without_titles(schema: &Json) -> Json {
    match with_each(schema, &without_titles) {
        Json::Map(mut pairs) => {
            pairs.retain(|(key, _)| key != "title");
            Json::Map(pairs)
        }
        other => other,
    }
}

/// The keys under which a schema keeps what its references name.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// `schema` with what its root refers to in its place: what is asked for has to say itself what it is.
pub(super) fn at_root(mut schema: Json) -> Json {
    for _ in 0..DEPTH_MAX {
        let target = match (schema.get("$ref"), schema.get("allOf").map(Json::list)) {
            (Some(reference), _) => reference.text().and_then(|name| schema.at(name)),
            (None, Some([one])) => Some(one),
            _ => return schema,
        };
        let Some(Json::Map(target)) = target else {
            return schema;
        };
        // What stands beside the link is said of this place, and wins.
        let beside = schema.map().iter();
        let beside = beside.filter(|(key, _)| !["$ref", "allOf"].contains(&&**key));
        let is_unsaid = |key: &str| schema.get(key).is_none() || ["$ref", "allOf"].contains(&key);
        let own = target.iter().filter(|(key, _)| is_unsaid(key));
        schema = Json::Map(own.chain(beside).cloned().collect());
    }
    schema
}

/// `schema` in which every reference to the whole, or to a place of it, names it beneath `place`. Definitions
/// are not moved.
pub(super) fn moved(schema: &Json, place: &str) -> Json {
    let mut schema = with_each(schema, &|one| moved(one, place));
    if let Some(Json::Text(name)) = schema.get("$ref") {
        let name = moved_name(name, place);
        schema.put(&["$ref"], Json::Text(name));
    }
    schema
}

fn moved_name(name: &str, place: &str) -> String {
    let Some(path) = name.strip_prefix('#') else {
        return name.to_owned();
    };
    let first = path.split('/').nth(1).unwrap_or_default();
    if DEFINITIONS.contains(&first) {
        name.to_owned()
    } else {
        format!("{place}{path}")
    }
}

struct Reader<'a> {
    root: &'a Json,
    /// The references that are being followed: one that stands here again contains itself.
    open: Vec<&'a str>,
    /// Values that were read: what is named twice is read twice, and that can double with each step.
    values: usize,
    notes: Vec<(String, String)>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, schema: &'a Json, path: &str) -> Result<ValueType, String> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(format!(
                "the schema has more than {VALUES_MAX} values, with all that its references name"
            ));
        }
        match schema {
            Json::Map(_) => {}
            Json::Bool(true) => return Ok(self.json(path, "it may be anything").or_null()),
            _ => return Err(format!("{} is no schema", place(path))),
        }
        if let Some(reference) = schema.get("$ref") {
            return self.referred(reference, path);
        }
        if let Some(alternatives) = alternatives(schema, path)? {
            return self.union(alternatives, path);
        }
        if let Some(all) = schema.get("allOf") {
            return match all.list() {
                [one] => self.value(one, path),
                _ => Ok(self.json(path, "`allOf` joins several schemas")),
            };
        }
        if let Some(values) = enumerated(schema, path)? {
            return Ok(self.enumeration(&values, path));
        }
        self.by_type(schema, path)
    }

    fn referred(&mut self, reference: &'a Json, path: &str) -> Result<ValueType, String> {
        let Some(name) = reference.text() else {
            return Err(format!("`$ref` of {} is no text", place(path)));
        };
        let target = self.root.at(name).ok_or_else(|| {
            let place = place(path);
            format!("{place} refers to `{name}`, which is not in the schema")
        })?;
        if self.open.contains(&name) || self.open.len() >= DEPTH_MAX {
            return Ok(self.json(path, "it contains itself"));
        }
        self.open.push(name);
        let value = self.value(target, path);
        self.open.pop();
        value
    }

    /// One of several schemas: the only one beside null, or JSON text.
    fn union(&mut self, all: &'a [Json], path: &str) -> Result<ValueType, String> {
        let (nulls, others): (Vec<_>, Vec<_>) = all.iter().partition(|schema| is_null(schema));
        let value = match others[..] {
            [one] => self.value(one, path)?,
            _ => self.union_of(&others, path)?,
        };
        Ok(ValueType {
            nullable: value.nullable || !nulls.is_empty(),
            ..value
        })
    }

    /// Several that come to one type are of that type, such as words that are listed one by one.
    fn union_of(&mut self, others: &[&'a Json], path: &str) -> Result<ValueType, String> {
        let noted = self.notes.len();
        let mut values = Vec::new();
        for other in others {
            values.push(self.value(other, path)?);
        }
        self.notes.truncate(noted);
        let nullable = values.iter().any(|value| value.nullable);
        let kinds = values.into_iter().map(|value| Some(value.kind));
        let value = match kinds.reduce(|a, b| joined(a?, b?)).flatten() {
            Some(Kind::Json) | None => self.json(path, "it is of several types"),
            Some(kind) => ValueType::of(kind),
        };
        Ok(ValueType { nullable, ..value })
    }

    fn enumeration(&mut self, values: &[&Json], path: &str) -> ValueType {
        let (nulls, others): (Vec<&Json>, Vec<&Json>) =
            values.iter().partition(|value| ***value == Json::Null);
        let value = match kind_of_all(&others) {
            Some(kind) => ValueType::of(kind),
            None if others.is_empty() => self.json(path, "it is always null"),
            None => self.json(path, "its values are of several types"),
        };
        ValueType {
            nullable: !nulls.is_empty(),
            ..value
        }
    }

    fn by_type(&mut self, schema: &'a Json, path: &str) -> Result<ValueType, String> {
        let names = type_names(schema, path)?;
        let nullable = names.contains(&"null");
        let others: Vec<_> = names.into_iter().filter(|name| *name != "null").collect();
        let value = match others[..] {
            ["string"] => ValueType::of(text_kind(schema)),
            ["integer"] => ValueType::of(Kind::Integer(64)),
            ["number"] | ["integer", "number"] | ["number", "integer"] => {
                ValueType::of(Kind::Float(64))
            }
            ["boolean"] => ValueType::of(Kind::Boolean),
            ["array"] => self.list(schema, path)?,
            ["object"] => self.object(schema, path)?,
            [] if nullable => self.json(path, "it is always null"),
            [] => self.json(path, "it may be anything").or_null(),
            _ => self.json(path, "it is of several types"),
        };
        Ok(ValueType {
            nullable: value.nullable || nullable,
            ..value
        })
    }

    fn list(&mut self, schema: &'a Json, path: &str) -> Result<ValueType, String> {
        let items = schema.get("items");
        if schema.get("prefixItems").is_some() || matches!(items, Some(Json::List(_))) {
            return Ok(self.json(path, "its items have a schema each"));
        }
        Ok(match items {
            None | Some(Json::Bool(true)) => self.json(path, "its items may be anything"),
            Some(items) => {
                let item = self.value(items, &format!("{path}[]"))?;
                ValueType::of(Kind::List(Box::new(item)))
            }
        })
    }

    fn object(&mut self, schema: &'a Json, path: &str) -> Result<ValueType, String> {
        if schema.get("patternProperties").is_some() {
            return Ok(self.json(path, "its names follow patterns"));
        }
        let properties = match schema.get("properties") {
            None => return self.map(schema, path),
            Some(Json::Map(properties)) => properties,
            Some(_) => return Err(format!("`properties` of {} is no object", place(path))),
        };
        let required = required(schema, path)?;
        let is_known = |name: &&str| properties.iter().any(|(there, _)| there == name);
        if let Some(lost) = required.iter().find(|name| !is_known(name)) {
            let place = place(path);
            return Err(format!(
                "{place} requires `{lost}`, which is none of its properties"
            ));
        }
        if properties.is_empty() {
            return Ok(self.json(path, "it names no properties"));
        }
        let mut fields: Vec<(String, ValueType)> = Vec::new();
        let mut known: HashMap<String, &str> = HashMap::new();
        for (name, schema) in properties {
            let value = self.value(schema, &below(path, name))?;
            let nullable = value.nullable || !required.contains(&name.as_str());
            if let Some(twin) = known.insert(name.to_lowercase(), name) {
                return Err(format!(
                    "{} has the properties `{twin}` and `{name}`, which are one name to most readers of a table",
                    place(path)
                ));
            }
            fields.push((name.clone(), ValueType { nullable, ..value }));
        }
        Ok(ValueType::of(Kind::Struct(fields)))
    }

    fn map(&mut self, schema: &'a Json, path: &str) -> Result<ValueType, String> {
        Ok(match schema.get("additionalProperties") {
            Some(value) if !value.map().is_empty() => {
                let value = self.value(value, &format!("{path}.*"))?;
                ValueType::of(Kind::Map(Box::new(value)))
            }
            _ => self.json(path, "it names no properties"),
        })
    }

    fn json(&mut self, path: &str, why: &str) -> ValueType {
        let place = if path.is_empty() { "the answer" } else { path };
        self.notes.push((place.to_owned(), why.to_owned()));
        ValueType::of(Kind::Json)
    }
}

/// The path of the property `name` beneath `path`.
pub(super) fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn place(path: &str) -> String {
    if path.is_empty() {
        "the schema".to_owned()
    } else {
        format!("`{path}`")
    }
}

fn is_null(schema: &Json) -> bool {
    let listed = schema.get("enum").map(Json::list).unwrap_or_default();
    schema.get("type").and_then(Json::text) == Some("null")
        || schema.get("const") == Some(&Json::Null)
        || matches!(listed, [Json::Null])
}

/// The schemas of which one holds, where there are several to choose from.
fn alternatives<'a>(schema: &'a Json, path: &str) -> Result<Option<&'a [Json]>, String> {
    let all = |key| schema.get(key).map(|all| (key, all));
    match all("anyOf").or_else(|| all("oneOf")) {
        None => Ok(None),
        Some((_, Json::List(all))) if !all.is_empty() => Ok(Some(all)),
        Some((key, _)) => Err(format!("`{key}` of {} is no list of schemas", place(path))),
    }
}

/// The values that are listed one by one.
fn enumerated<'a>(schema: &'a Json, path: &str) -> Result<Option<Vec<&'a Json>>, String> {
    if let Some(one) = schema.get("const") {
        return Ok(Some(vec![one]));
    }
    match schema.get("enum") {
        None => Ok(None),
        Some(Json::List(values)) if !values.is_empty() => Ok(Some(values.iter().collect())),
        Some(_) => Err(format!("`enum` of {} is no list of values", place(path))),
    }
}

/// The type that all of `values` have.
fn kind_of_all(values: &[&Json]) -> Option<Kind> {
    let kinds = values.iter().map(|value| match value {
        Json::Text(word) => Some(Kind::Text(Some(vec![word.clone()]))),
        Json::Bool(_) => Some(Kind::Boolean),
        Json::Number(number) if number.is_i64() => Some(Kind::Integer(64)),
        Json::Number(_) => Some(Kind::Float(64)),
        _ => None,
    });
    kinds.reduce(|a, b| joined(a?, b?)).flatten()
}

/// The names in `type`; where it is left out, what the other keywords are for.
fn type_names<'a>(schema: &'a Json, path: &str) -> Result<Vec<&'a str>, String> {
    const TYPES: [&str; 7] = [
        "string", "integer", "number", "boolean", "array", "object", "null",
    ];
    let names = match schema.get("type") {
        None if schema.get("properties").is_some() => vec!["object"],
        None if schema.get("items").is_some() => vec!["array"],
        None => Vec::new(),
        Some(Json::List(names)) => names.iter().map(|name| name.text().unwrap_or("")).collect(),
        Some(name) => vec![name.text().unwrap_or("")],
    };
    match names.iter().find(|name| !TYPES.contains(name)) {
        Some(name) => {
            let place = place(path);
            Err(format!("{place} has a type that does not exist: `{name}`"))
        }
        None => Ok(names),
    }
}

fn required<'a>(schema: &'a Json, path: &str) -> Result<Vec<&'a str>, String> {
    let wrong = || format!("`required` of {} is no list of names", place(path));
    match schema.get("required") {
        None => Ok(Vec::new()),
        Some(Json::List(names)) => {
            let names = names.iter().map(|name| name.text().ok_or_else(wrong));
            names.collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn text_kind(schema: &Json) -> Kind {
    match schema.get("format").and_then(Json::text) {
        Some("date") => Kind::Date,
        Some("date-time") => Kind::Timestamp { zoned: true },
        Some("time") => Kind::Time,
        _ => Kind::Text(None),
    }
}

/// The type of what is one or the other.
fn joined(a: Kind, b: Kind) -> Option<Kind> {
    match (a, b) {
        (Kind::Text(Some(mut words)), Kind::Text(Some(more))) => {
            words.extend(more);
            Some(Kind::Text(Some(words)))
        }
        (Kind::Text(_), Kind::Text(_)) => Some(Kind::Text(None)),
        (Kind::Integer(_) | Kind::Float(_), Kind::Float(_))
        | (Kind::Float(_), Kind::Integer(_)) => Some(Kind::Float(64)),
        (a, b) if a == b => Some(a),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The type of `schema` in SQL's words, with `NULL` after it where it may be null, and the places that
    /// are kept as JSON text.
    fn types(schema: &str) -> Result<(String, Vec<String>), String> {
        let schema = Json::parse(schema).expect("JSON");
        let SchemaTypes { value, notes } = read(&schema)?;
        let places = notes.into_iter().map(|(place, _)| place).collect();
        let null = if value.nullable { " NULL" } else { "" };
        Ok((format!("{value}{null}"), places))
    }

    #[test]
    fn every_row_of_the_table_holds() {
        for (schema, expect) in [
            (r#"{"type":"string"}"#, "VARCHAR"),
            (
                r#"{"type":"string","title":"T","default":"x","maxLength":3}"#,
                "VARCHAR",
            ),
            (r#"{"type":"string","format":"date"}"#, "DATE"),
            (
                r#"{"type":"string","format":"date-time"}"#,
                "TIMESTAMP WITH TIME ZONE",
            ),
            (r#"{"type":"string","format":"time"}"#, "TIME"),
            (r#"{"type":"string","format":"email"}"#, "VARCHAR"),
            (r#"{"type":"integer","minimum":0}"#, "BIGINT"),
            (r#"{"type":"number"}"#, "DOUBLE"),
            (r#"{"type":["integer","number"]}"#, "DOUBLE"),
            (r#"{"type":"boolean"}"#, "BOOLEAN"),
            (r#"{"type":["string","null"]}"#, "VARCHAR NULL"),
            (r#"{"type":["null","integer"]}"#, "BIGINT NULL"),
            (r#"{"enum":["a","b"]}"#, "VARCHAR"),
            (r#"{"type":"string","enum":["a",null]}"#, "VARCHAR NULL"),
            (r#"{"const":"a"}"#, "VARCHAR"),
            (r#"{"enum":[1,2]}"#, "BIGINT"),
            (r#"{"enum":[1,2.5]}"#, "DOUBLE"),
            (r#"{"enum":[true,false]}"#, "BOOLEAN"),
            (
                r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
                "VARCHAR NULL",
            ),
            (
                r#"{"oneOf":[{"type":"null"},{"type":"integer"}]}"#,
                "BIGINT NULL",
            ),
            (r#"{"anyOf":[{"const":"a"},{"const":"b"}]}"#, "VARCHAR"),
            (
                r#"{"anyOf":[{"type":"integer"},{"type":"number"},{"const":null}]}"#,
                "DOUBLE NULL",
            ),
            (
                r#"{"anyOf":[{"enum":["a"]},{"type":["string","null"],"enum":[null]}]}"#,
                "VARCHAR NULL",
            ),
            (
                r##"{"$defs":{"a b/c":{"type":"integer"}},"$ref":"#/$defs/a%20b~1c"}"##,
                "BIGINT",
            ),
            (r#"{"type":"array","items":{"type":"integer"}}"#, "BIGINT[]"),
            (r#"{"items":{"type":["string","null"]}}"#, "VARCHAR[]"),
            (
                r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"]}"#,
                "STRUCT(z VARCHAR NOT NULL, a BIGINT)",
            ),
            (
                r#"{"type":"object","additionalProperties":{"type":"number"}}"#,
                "MAP(VARCHAR, DOUBLE)",
            ),
            (
                r##"{"$defs":{"E":{"enum":["x"]}},"properties":{"e":{"$ref":"#/$defs/E"}},"required":["e"]}"##,
                "STRUCT(e VARCHAR NOT NULL)",
            ),
            (
                r##"{"definitions":{"A":{"type":"integer"}},"allOf":[{"$ref":"#/definitions/A"}]}"##,
                "BIGINT",
            ),
        ] {
            assert_eq!(types(schema), Ok((expect.into(), vec![])), "{schema}");
        }
    }

    #[test]
    fn what_has_no_type_of_its_own_is_json_text_and_is_noted() {
        for (schema, expect, place) in [
            ("true", "JSON NULL", "the answer"),
            ("{}", "JSON NULL", "the answer"),
            (r#"{"type":["string","integer"]}"#, "JSON", "the answer"),
            (r#"{"type":"null"}"#, "JSON NULL", "the answer"),
            (r#"{"enum":["a",1]}"#, "JSON", "the answer"),
            (r#"{"type":"object"}"#, "JSON", "the answer"),
            (
                r#"{"type":"object","additionalProperties":true}"#,
                "JSON",
                "the answer",
            ),
            (
                r#"{"type":"object","patternProperties":{"^a":{}}}"#,
                "JSON",
                "the answer",
            ),
            (r#"{"type":"array"}"#, "JSON", "the answer"),
            (
                r#"{"type":"array","prefixItems":[{"type":"integer"}]}"#,
                "JSON",
                "the answer",
            ),
            (
                r#"{"type":"array","items":[{"type":"integer"}]}"#,
                "JSON",
                "the answer",
            ),
            (
                r#"{"allOf":[{"type":"object"},{"type":"object"}]}"#,
                "JSON",
                "the answer",
            ),
            (
                r#"{"properties":{"a":{"anyOf":[{"type":"string"},{"type":"integer"},{"type":"null"}]}}}"#,
                "STRUCT(a JSON)",
                "a",
            ),
            (
                r##"{"$defs":{"N":{"properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/N"}}},"required":["kids"]}},"$ref":"#/$defs/N"}"##,
                "STRUCT(kids JSON[] NOT NULL)",
                "kids[]",
            ),
        ] {
            assert_eq!(
                types(schema),
                Ok((expect.into(), vec![place.to_owned()])),
                "{schema}"
            );
        }
    }

    #[test]
    fn what_is_no_schema_is_said_with_its_place() {
        for (schema, why) in [
            ("[]", "the schema is no schema"),
            ("false", "the schema is no schema"),
            (
                r#"{"type":"str"}"#,
                "the schema has a type that does not exist: `str`",
            ),
            (
                r#"{"type":1}"#,
                "the schema has a type that does not exist: ``",
            ),
            (
                r#"{"properties":{"a":{"type":"strng"}}}"#,
                "`a` has a type that does not exist: `strng`",
            ),
            (
                r#"{"properties":[]}"#,
                "`properties` of the schema is no object",
            ),
            (
                r#"{"properties":{"a":{}},"required":"a"}"#,
                "`required` of the schema is no list of names",
            ),
            (
                r#"{"properties":{"a":{}},"required":["b"]}"#,
                "the schema requires `b`, which is none of its properties",
            ),
            (
                r##"{"properties":{"a":{"$ref":"#/$defs/X"}}}"##,
                "`a` refers to `#/$defs/X`, which is not in the schema",
            ),
            (
                r#"{"$ref":"https://example.com/a.json"}"#,
                "the schema refers to `https://example.com/a.json`, which is not in the schema",
            ),
            (
                r#"{"anyOf":{}}"#,
                "`anyOf` of the schema is no list of schemas",
            ),
            (
                r#"{"enum":[]}"#,
                "`enum` of the schema is no list of values",
            ),
            (
                r#"{"type":"string","type":"integer"}"#,
                "the key `type` stands twice in one object of the schema",
            ),
            (
                r#"{"properties":{"Id":{},"id":{}}}"#,
                "the schema has the properties `Id` and `id`, which are one name to most readers of a table",
            ),
        ] {
            assert_eq!(types(schema), Err(why.to_owned()), "{schema}");
        }
    }

    #[test]
    fn a_schema_whose_references_multiply_is_refused_at_once() {
        let each = |n: usize| {
            let next = n + 1;
            format!(
                r##""D{n}":{{"properties":{{"l":{{"$ref":"#/$defs/D{next}"}},"r":{{"$ref":"#/$defs/D{next}"}}}}}}"##
            )
        };
        let steps: Vec<String> = (0..60).map(each).collect();
        let schema = format!(
            r##"{{"$defs":{{{},"D60":{{"type":"integer"}}}},"$ref":"#/$defs/D0"}}"##,
            steps.join(",")
        );
        let why = types(&schema).expect_err("2^60 values");
        assert!(why.contains("more than 20000 values"), "{why}");
    }

    #[test]
    fn a_schema_of_many_properties_is_read() {
        let property = |n: usize| format!(r#""p{n}":{{"type":"integer"}}"#);
        let all: Vec<String> = (0..9_000).map(property).collect();
        let schema = format!(r#"{{"properties":{{{}}}}}"#, all.join(","));
        assert!(types(&schema).is_ok());
    }
}
