//! The fields of `[answer.fields]`, as a schema and its types.

use std::collections::BTreeMap;

use super::asked::Asked;
use super::choice::{Several, list_schema, word_schema};
use super::json_answer::JsonAnswer;
use super::type_name;
use super::value_type::{Kind, ValueType};
use crate::base::Json;

/// One field.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSpec {
    /// Its name.
    pub name: String,
    /// Its type, by SQL's name. Left out where there are choices.
    pub type_name: Option<String>,
    /// Its words, where it is one of some.
    pub choices: Vec<String>,
    /// What the model is told of some of them.
    pub descriptions: BTreeMap<String, String>,
    /// Whether it is a list of them.
    pub multiple: Option<Several>,
    /// Whether it may be null.
    pub nullable: bool,
    /// What the model is told of it.
    pub description: Option<String>,
}

/// An answer that has these fields, in this order.
///
/// # Errors
/// What is wrong with the field of that name.
pub fn of_fields(fields: &[FieldSpec]) -> Result<JsonAnswer, (String, String)> {
    let (mut properties, mut types) = (Vec::new(), BTreeMap::new());
    for field in fields {
        let wrong = |why| (field.name.clone(), why);
        let mut schema = match (&field.type_name, &field.choices[..]) {
            (None, []) => return Err(wrong("it has neither a type nor choices".into())),
            (None, _) => choices(field),
            (Some(name), words) => {
                let value = type_name::parse(name).map_err(wrong)?;
                note_types(&value, &field.name, &mut types);
                match (words, &value.kind) {
                    ([], _) => schema_of(&value),
                    (_, Kind::Text(_)) if field.multiple.is_none() => choices(field),
                    (_, Kind::List(item))
                        if item.kind == Kind::Text(None) && field.multiple.is_some() =>
                    {
                        choices(field)
                    }
                    _ if field.multiple.is_some() => {
                        return Err(wrong(
                            "several choices are words, and its type is not VARCHAR[]".into(),
                        ));
                    }
                    _ => {
                        return Err(wrong(
                            "choices are words, and its type is not VARCHAR".into(),
                        ));
                    }
                }
            }
        };
        if field.nullable {
            schema = nullable(schema);
        }
        if let Some(description) = &field.description {
            describe(&mut schema, description);
        }
        properties.push((field.name.clone(), Json::Map(schema)));
    }
    Ok(JsonAnswer {
        schema: Json::Map(object(properties)).to_string(),
        types,
        asked: Asked::default(),
    })
}

/// Puts what the model is told of a field before what it is told of the field's choices.
fn describe(schema: &mut Pairs, description: &str) {
    match schema.iter_mut().find(|(key, _)| key == "description") {
        Some((_, Json::Text(choices))) => *choices = format!("{description}\n\n{choices}"),
        _ => schema.push(("description".into(), text(description))),
    }
}

type Pairs = Vec<(String, Json)>;

fn text(text: &str) -> Json {
    Json::Text(text.to_owned())
}

fn of_type(name: &str) -> Pairs {
    vec![("type".into(), text(name))]
}

/// The schema of a field that has choices.
fn choices(field: &FieldSpec) -> Pairs {
    let word = word_schema(&field.choices, &field.descriptions);
    match field.multiple {
        None => word,
        Some(several) => list_schema(word, several),
    }
}

fn object(properties: Pairs) -> Pairs {
    let required = properties.iter().map(|(name, _)| text(name)).collect();
    let mut schema = of_type("object");
    schema.push(("properties".into(), Json::Map(properties)));
    schema.push(("required".into(), Json::List(required)));
    schema.push(("additionalProperties".into(), Json::Bool(false)));
    schema
}

fn formatted(format: &str) -> Pairs {
    let mut schema = of_type("string");
    schema.push(("format".into(), text(format)));
    schema
}

fn described(description: &str) -> Pairs {
    let mut schema = of_type("string");
    schema.push(("description".into(), text(description)));
    schema
}

/// An integer within bounds. Those of the larger types are left out: they are not met by chance.
fn bounded(least: i64, most: Option<i64>) -> Pairs {
    let mut schema = of_type("integer");
    schema.push(("minimum".into(), Json::Number(least.into())));
    schema.extend(most.map(|most| ("maximum".into(), Json::Number(most.into()))));
    schema
}

/// A number with so many digits after its point: nothing is rounded on arrival, and so the model is told.
fn decimal(scale: i8) -> Pairs {
    let told = match scale {
        ..=0 => "a whole number".to_owned(),
        1 => "a number with at most 1 digit after the point".to_owned(),
        _ => format!("a number with at most {scale} digits after the point"),
    };
    let mut schema = of_type("number");
    schema.push(("description".into(), text(&told)));
    schema
}

/// The schema of a value of this type.
fn schema_of(value: &ValueType) -> Pairs {
    let schema = match &value.kind {
        Kind::Text(None) => of_type("string"),
        Kind::Text(Some(words)) => word_schema(words, &BTreeMap::new()),
        Kind::Boolean => of_type("boolean"),
        Kind::Integer(bits @ ..=16) => {
            let most = (1i64 << (bits - 1)) - 1;
            bounded(-most - 1, Some(most))
        }
        Kind::Integer(_) => of_type("integer"),
        Kind::Unsigned(bits @ ..=16) => bounded(0, Some((1i64 << bits) - 1)),
        Kind::Unsigned(_) => bounded(0, None),
        Kind::Float(_) => of_type("number"),
        Kind::Decimal(_, scale) => decimal(*scale),
        Kind::Date => formatted("date"),
        Kind::Timestamp { zoned: true } => formatted("date-time"),
        // There is no format for a moment without a zone, and none for a time without one.
        Kind::Timestamp { zoned: false } => {
            described("a date and time such as 2026-02-28T12:30:00")
        }
        Kind::Time => described("a time such as 12:30:00"),
        Kind::List(item) => {
            let mut schema = of_type("array");
            schema.push(("items".into(), Json::Map(schema_of(item))));
            schema
        }
        Kind::Struct(fields) => {
            let fields = fields.iter();
            object(
                fields
                    .map(|(name, value)| (name.clone(), Json::Map(schema_of(value))))
                    .collect(),
            )
        }
        Kind::Map(value) => {
            let mut schema = of_type("object");
            schema.push(("additionalProperties".into(), Json::Map(schema_of(value))));
            schema
        }
        Kind::Json => Vec::new(),
    };
    if value.nullable {
        nullable(schema)
    } else {
        schema
    }
}

/// The same, or null.
fn nullable(mut schema: Pairs) -> Pairs {
    for (key, value) in &mut schema {
        match (key.as_str(), &mut *value) {
            ("type", Json::Text(name)) => *value = Json::List(vec![text(name), text("null")]),
            ("enum", Json::List(words)) => words.push(Json::Null),
            _ => {}
        }
    }
    schema
}

/// Notes the types that the schema alone does not say.
fn note_types(value: &ValueType, path: &str, types: &mut BTreeMap<String, String>) {
    match &value.kind {
        Kind::List(item) => note_types(item, &format!("{path}[]"), types),
        Kind::Map(value) => note_types(value, &format!("{path}.*"), types),
        Kind::Struct(fields) => {
            for (name, value) in fields {
                note_types(value, &format!("{path}.{name}"), types);
            }
        }
        Kind::Text(_)
        | Kind::Boolean
        | Kind::Integer(64)
        | Kind::Float(64)
        | Kind::Json
        | Kind::Date
        | Kind::Timestamp { zoned: true } => {}
        _ => {
            types.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::type_name;
    use super::*;

    #[track_caller]
    fn check(name: &str, schema: &str) {
        let value = type_name::parse(name).expect("a type");
        assert_eq!(Json::Map(schema_of(&value)).to_string(), schema, "{name}");
    }

    #[test]
    fn what_a_type_cannot_hold_is_told_to_the_model() {
        check(
            "TINYINT",
            r#"{"type":"integer","minimum":-128,"maximum":127}"#,
        );
        check(
            "SMALLINT",
            r#"{"type":"integer","minimum":-32768,"maximum":32767}"#,
        );
        check("INT", r#"{"type":"integer"}"#);
        check(
            "DECIMAL(12,2)",
            r#"{"type":"number","description":"a number with at most 2 digits after the point"}"#,
        );
        check(
            "DECIMAL(9,0)",
            r#"{"type":"number","description":"a whole number"}"#,
        );
    }
}
