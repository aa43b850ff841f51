//! A table of JSON Schemas: the Arrow type of each, what each provider is asked for, and that the sandbox, which is
//! as strict as the vendors' documentation, takes it and answers by it.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use columnist::base::Json;
use columnist::work::AnswerType;
use columnist::work::answer::{Asked, JsonAnswer};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Deserialize;
use serde_json::json;

use crate::world::{VENDORS, World, read_table, write_table};

#[derive(Debug, Deserialize)]
struct Table {
    case: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    value: Option<String>,
    schema: Option<String>,
    arrow: String,
    wire: Option<String>,
    openai: Option<String>,
    anthropic: Option<String>,
    refused: Option<String>,
    openai_refused: Option<String>,
    anthropic_refused: Option<String>,
    #[serde(default)]
    loose: bool,
    /// The model that prints the schema: `tests/services/test_answers.py` looks after that.
    #[expect(dead_code, reason = "another test's")]
    pydantic: Option<String>,
}

/// What is expected of one vendor: a schema, or a part of the reason of its refusal.
type Expected<'a> = Result<&'a str, &'a str>;

impl Case {
    fn expected(&self, vendor: &str) -> Expected<'_> {
        let (own, own_refused) = if vendor == "openai" {
            (&self.openai, &self.openai_refused)
        } else {
            (&self.anthropic, &self.anthropic_refused)
        };
        let said = [&self.wire, own]
            .into_iter()
            .flatten()
            .map(|wire| Ok(&**wire));
        let refused = [&self.refused, own_refused].into_iter().flatten();
        let mut all = said.chain(refused.map(|why| Err(&**why)));
        let one = all
            .next()
            .unwrap_or_else(|| panic!("{}: {vendor}?", self.name));
        assert!(all.next().is_none(), "{}: {vendor} twice", self.name);
        one
    }

    /// The schema of the whole answer, around that of a property.
    fn whole(&self) -> String {
        match (&self.schema, &self.value) {
            (Some(schema), None) => schema.clone(),
            (None, Some(value)) => of_property(value),
            _ => panic!("{}: a schema or a value", self.name),
        }
    }
}

fn of_property(value: &str) -> String {
    format!(
        r#"{{"type":"object","properties":{{"a":{value}}},"required":["a"],"additionalProperties":false}}"#
    )
}

fn cases() -> Vec<Case> {
    let text = include_str!("../../fixtures/schemas.toml");
    let table: Table = toml::from_str(text).expect("a table");
    assert!(table.case.len() >= 60, "{}", table.case.len());
    table.case
}

fn answer(schema: &str) -> AnswerType {
    AnswerType::Json(JsonAnswer {
        schema: schema.to_owned(),
        types: std::collections::BTreeMap::new(),
        asked: Asked::Schema,
    })
}

/// Arrow's type in the words of the table.
fn words(field: &Field) -> String {
    let is_json = field
        .metadata()
        .get("ARROW:extension:name")
        .is_some_and(|name| name == "arrow.json");
    let list = |fields: &[Arc<Field>], named: bool| {
        let mut out = String::new();
        for (at, field) in fields.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let name = if named {
                format!("{}: ", field.name())
            } else {
                String::new()
            };
            write!(out, "{comma}{name}{}", words(field)).expect("a string");
        }
        out
    };
    let kind = match field.data_type() {
        DataType::Utf8 if is_json => "json".to_owned(),
        DataType::Utf8 => "utf8".to_owned(),
        DataType::Boolean => "bool".to_owned(),
        DataType::Int64 => "int64".to_owned(),
        DataType::Float64 => "float64".to_owned(),
        DataType::Date32 => "date32".to_owned(),
        DataType::Time64(TimeUnit::Microsecond) => "time64(us)".to_owned(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => {
            "timestamp(us, UTC)".to_owned()
        }
        DataType::List(item) => format!("list<{}>", words(item)),
        DataType::Struct(fields) => format!("struct<{}>", list(fields, true)),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) => format!("map<{}>", list(pair, false)),
            other => other.to_string(),
        },
        other => other.to_string(),
    };
    let never_null = if field.is_nullable() { "" } else { "!" };
    format!("{kind}{never_null}")
}

/// The same schema however its keywords are ordered. The order of properties counts: a model answers in it.
fn keywords(schema: &Json, are_names: bool) -> Json {
    match schema {
        Json::Map(pairs) => {
            let pairs = pairs.iter().map(|(key, one)| {
                let are_names = !are_names && key == "properties";
                (key.clone(), keywords(one, are_names))
            });
            let mut pairs: Vec<_> = pairs.collect();
            if !are_names {
                pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
            }
            Json::Map(pairs)
        }
        Json::List(all) => Json::List(all.iter().map(|one| keywords(one, false)).collect()),
        other => other.clone(),
    }
}

fn same_schema(one: &str, other: &str) -> bool {
    let of = |text: &str| keywords(&Json::parse(text).expect("JSON"), false);
    of(one) == of(other)
}

#[test]
fn each_schema_has_its_type_and_its_form_at_each_provider() {
    let vendors = VENDORS.map(|vendor| (vendor, World::new(vendor, "").provider()));
    let mut wrong = String::new();
    for case in cases() {
        let answer = answer(&case.whole());
        let value = answer.value().expect("a schema").expect("a type");
        let field = value.field("answer");
        let field = match (field.data_type(), &case.value) {
            (DataType::Struct(fields), Some(_)) => (*fields[0]).clone(),
            _ => field,
        };
        if words(&field) != case.arrow {
            writeln!(wrong, "{}: {} is {}", case.name, words(&field), case.arrow)
                .expect("a string");
        }
        for (vendor, provider) in &vendors {
            let made = provider.schema(&answer);
            let right = match (case.expected(vendor), &made) {
                (Ok(wire), Ok(Some(made))) => {
                    let wire = if case.value.is_some() {
                        of_property(wire)
                    } else {
                        wire.to_owned()
                    };
                    same_schema(&wire, &made.to_string())
                }
                (Err(why), Err(error)) => {
                    error.hint_text().is_some() && error.to_string().contains(why)
                }
                _ => false,
            };
            if !right {
                let made = made.map(|made| made.map(|made| made.to_string()));
                writeln!(wrong, "{}, {vendor}: {made:?}", case.name).expect("a string");
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sandbox_takes_each_and_every_answer_lands_in_a_column_of_its_type() {
    for case in cases() {
        for vendor in VENDORS {
            if case.expected(vendor).is_err() {
                continue;
            }
            let mut world = World::new(vendor, "");
            let bodies: Vec<_> = (0..4).map(|n| Some(format!("row {n}"))).collect();
            write_table(&world.path("in.parquet"), &bodies, 4);
            world.job["model"]["max_output_tokens"] = 8000.into();
            world.job["budget"]["max_failed"] = json!({ "rows": 4 });
            world.job["answer"]["answer"] = json!({ "type": "json", "schema": case.whole() });
            world
                .run()
                .await
                .unwrap_or_else(|error| panic!("{}, {vendor}: {error}", case.name));
            let file = std::fs::File::open(world.path("out.parquet")).expect("an output");
            let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
            let label = reader
                .schema()
                .field_with_name("label")
                .expect("a column")
                .clone();
            let own = match (label.data_type(), &case.value) {
                (DataType::Struct(fields), Some(_)) => (*fields[0]).clone(),
                // A row may have no answer.
                _ => label.with_nullable(!case.arrow.ends_with('!')),
            };
            assert_eq!(words(&own), case.arrow, "{}, {vendor}", case.name);
            let table = read_table(&world.path("out.parquet"));
            for (status, error) in table["label_status"].iter().zip(&table["label_error"]) {
                let status = status.as_deref();
                let is_right =
                    status == Some("succeeded") || (case.loose && status == Some("invalid"));
                assert!(is_right, "{}, {vendor}: {status:?} {error:?}", case.name);
            }
        }
    }
}
