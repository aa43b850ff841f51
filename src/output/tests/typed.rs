//! Any value of any schema, from what a model says to a Parquet file and back: the same value.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::emulator::Sandbox;
use crate::output::AnswerSpec;
use crate::work::answer::{Asked, JsonAnswer};
use crate::work::{AnswerRef, AnswerType, Judge};

/// A schema, and how its values are drawn.
#[derive(Clone, Debug)]
enum Drawn {
    Text,
    Words(Vec<String>),
    Whole,
    Number,
    Boolean,
    Date,
    Moment,
    Time,
    /// Text or a whole number, which is kept as JSON text.
    Either,
    List(Box<Drawn>),
    /// Properties, and whether each is required.
    Object(Vec<(String, Drawn, bool)>),
    Map(Box<Drawn>),
    OrNull(Box<Drawn>),
}

/// What a model may say, and what a reader finds in the column.
type Pair = (Value, Value);

impl Drawn {
    fn schema(&self) -> Value {
        let text = |format: &str| json!({ "type": "string", "format": format });
        match self {
            Drawn::Text => json!({ "type": "string" }),
            Drawn::Words(words) => json!({ "enum": words }),
            Drawn::Whole => json!({ "type": "integer" }),
            Drawn::Number => json!({ "type": "number" }),
            Drawn::Boolean => json!({ "type": "boolean" }),
            Drawn::Date => text("date"),
            Drawn::Moment => text("date-time"),
            Drawn::Time => text("time"),
            Drawn::Either => json!({ "anyOf": [{ "type": "string" }, { "type": "integer" }] }),
            Drawn::List(item) => json!({ "type": "array", "items": item.schema() }),
            Drawn::Map(value) => {
                json!({ "type": "object", "additionalProperties": value.schema() })
            }
            Drawn::OrNull(value) => json!({ "anyOf": [value.schema(), { "type": "null" }] }),
            Drawn::Object(properties) => {
                let all = properties
                    .iter()
                    .map(|(name, one, _)| (name.clone(), one.schema()));
                let required = properties.iter().filter(|(_, _, required)| *required);
                let required: Vec<_> = required.map(|(name, ..)| name).collect();
                let all: Map<String, Value> = all.collect();
                json!({ "type": "object", "properties": all, "required": required, "additionalProperties": false })
            }
        }
    }

    fn values(&self) -> BoxedStrategy<Pair> {
        let same = |value: Value| (value.clone(), value);
        match self {
            Drawn::Text => text().prop_map(move |text| same(json!(text))).boxed(),
            Drawn::Words(words) => (prop::sample::select(words.clone()), any::<bool>())
                .prop_map(|(word, loud)| {
                    let said = if loud {
                        word.to_uppercase()
                    } else {
                        word.clone()
                    };
                    (json!(said), json!(word))
                })
                .boxed(),
            Drawn::Whole => any::<i64>().prop_map(move |n| same(json!(n))).boxed(),
            Drawn::Number => any::<f64>()
                .prop_filter("JSON has no others", |n| n.is_finite())
                .prop_map(move |n| same(json!(n)))
                .boxed(),
            Drawn::Boolean => any::<bool>().prop_map(move |yes| same(json!(yes))).boxed(),
            Drawn::Date => (1u32..10_000, 1u32..13, 1u32..29)
                .prop_map(move |(y, m, d)| same(json!(format!("{y:04}-{m:02}-{d:02}"))))
                .boxed(),
            Drawn::Time => (0u32..24, 0u32..60, 0u32..60, 0u32..1_000_000)
                .prop_map(move |(h, m, s, u)| same(json!(format!("{h:02}:{m:02}:{s:02}.{u:06}"))))
                .boxed(),
            Drawn::Moment => moment().boxed(),
            Drawn::Either => prop_oneof![
                text().prop_map(|text| json!(text)),
                any::<i64>().prop_map(|n| json!(n))
            ]
            .prop_map(|value| (value.clone(), json!(value.to_string())))
            .boxed(),
            Drawn::List(item) => prop::collection::vec(item.values(), 0..4)
                .prop_map(|pairs| {
                    let (said, kept): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
                    (json!(said), json!(kept))
                })
                .boxed(),
            Drawn::Map(value) => prop::collection::btree_map(text(), value.values(), 0..4)
                .prop_map(|pairs| parted(pairs.into_iter().map(|(name, pair)| (name, Some(pair)))))
                .boxed(),
            Drawn::OrNull(value) => {
                prop_oneof![Just((Value::Null, Value::Null)), value.values()].boxed()
            }
            Drawn::Object(properties) => {
                let values = properties.iter().map(|(name, value, required)| {
                    let value = value.values().prop_map(Some).boxed();
                    let value = if *required {
                        value
                    } else {
                        prop_oneof![Just(None), value].boxed()
                    };
                    (Just(name.clone()), value)
                });
                values.collect::<Vec<_>>().prop_map(parted).boxed()
            }
        }
    }
}

/// An object as it is said, without what is left out, and as it is kept, with null instead.
fn parted(pairs: impl IntoIterator<Item = (String, Option<Pair>)>) -> Pair {
    let (mut said, mut kept) = (Map::new(), Map::new());
    for (name, pair) in pairs {
        let (own, value) = pair.map_or((None, Value::Null), |(own, value)| (Some(own), value));
        said.extend(own.map(|own| (name.clone(), own)));
        kept.insert(name, value);
    }
    (said.into(), kept.into())
}

/// Any text: quotes, line ends, NUL, what lies beyond the first plane.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,8}",
        any::<String>(),
        Just("\0\u{1f600}\u{2028}\"\\".to_owned())
    ]
}

/// A moment said at any offset.
fn moment() -> impl Strategy<Value = Pair> {
    let seconds = -60_000_000_000i64..250_000_000_000;
    (seconds, 0u32..1_000_000, -1439i32..1440).prop_map(|(seconds, micros, minutes)| {
        let utc = chrono::DateTime::from_timestamp(seconds, micros * 1000).expect("in range");
        let offset = chrono::FixedOffset::east_opt(minutes * 60).expect("in range");
        let said = utc.with_timezone(&offset).to_rfc3339();
        (
            json!(said),
            json!(utc.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()),
        )
    })
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let words = prop::collection::btree_set("[a-z]{1,3}", 1..4);
    let leaf = prop_oneof![
        Just(Drawn::Text),
        words.prop_map(|words| Drawn::Words(words.into_iter().collect())),
        Just(Drawn::Whole),
        Just(Drawn::Number),
        Just(Drawn::Boolean),
        Just(Drawn::Date),
        Just(Drawn::Moment),
        Just(Drawn::Time),
        Just(Drawn::Either),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let property = (inner.clone(), any::<bool>());
        let properties = prop::collection::btree_map("[a-z_ .é]{1,4}", property, 1..4);
        let object = properties.prop_map(|all| {
            let all = all
                .into_iter()
                .map(|(name, (value, required))| (name, value, required));
            Drawn::Object(all.collect())
        });
        prop_oneof![
            3 => object,
            2 => inner.clone().prop_map(|item| Drawn::List(Box::new(item))),
            1 => inner.clone().prop_map(|value| Drawn::Map(Box::new(value))),
            1 => inner.prop_map(|value| Drawn::OrNull(Box::new(value))),
        ]
    })
}

/// What stands in a row of `array`, as a model would say it.
fn at(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Boolean => json!(array.as_boolean().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float64 => json!(array.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => {
            let day = array.as_primitive::<Date32Type>().value_as_date(row);
            json!(day.expect("a day").format("%Y-%m-%d").to_string())
        }
        DataType::Time64(_) => {
            let time = array
                .as_primitive::<Time64MicrosecondType>()
                .value_as_time(row);
            json!(time.expect("a time").format("%H:%M:%S%.6f").to_string())
        }
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"));
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            let moment = moments.value_as_datetime(row).expect("a moment");
            json!(moment.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            json!(
                (0..items.len())
                    .map(|row| at(&items, row))
                    .collect::<Vec<_>>()
            )
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns().iter();
            let pairs = fields.iter().zip(columns);
            let pairs = pairs.map(|(field, column)| (field.name().clone(), at(column, row)));
            Value::Object(pairs.collect())
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let (names, values) = (entries.column(0), entries.column(1));
            let pairs = (0..entries.len()).map(|row| {
                (
                    names.as_string::<i32>().value(row).to_owned(),
                    at(values, row),
                )
            });
            Value::Object(pairs.collect())
        }
        other => panic!("no answer has the type {other}"),
    }
}

fn answer_of(schema: &str) -> AnswerType {
    AnswerType::Json(JsonAnswer {
        schema: schema.to_owned(),
        types: BTreeMap::new(),
        asked: Asked::Schema,
    })
}

/// The answers in `said`, written to Parquet and read from there.
fn written(answer: &AnswerType, said: &[String]) -> ArrayRef {
    let value = answer.value().expect("a schema").expect("a type");
    let spec = AnswerSpec {
        vector: None,
        column: "a",
        value: Some(&value),
        flatten: None,
        trim: false,
        meta: MetaColumns::Off,
        about: &[],
    };
    let judge = Judge::new(answer).expect("a judge");
    let mut columns = AnswerColumns::new(&spec).expect("columns");
    for text in said {
        let read = judge
            .read(text)
            .unwrap_or_else(|why| panic!("{why}: {text}"));
        columns
            .push(RowStatus::Succeeded, Some(AnswerRef::Text(&read)), None)
            .unwrap();
    }
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, columns.schema(), None).expect("a writer");
    let batch = columns.finish().expect("a batch");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).expect("Parquet");
    let mut batches = reader.build().expect("a reader");
    let read = batches.next().expect("a batch").expect("readable");
    assert_eq!(read.schema().field(0), batch.schema().field(0));
    Arc::clone(read.column(0))
}

/// The same value where numbers are the same to the last bit.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            a.as_f64().map(f64::to_bits) == b.as_f64().map(f64::to_bits)
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            let twin = |(name, a)| b.get(name).is_some_and(|b| is_same(a, b));
            a.len() == b.len() && a.iter().all(twin)
        }
        _ => a == b,
    }
}

proptest! {
    #[test]
    fn any_value_of_a_schema_comes_back_the_same(
        (drawn, pairs, pretty) in drawn().prop_flat_map(|drawn| {
            let pairs = prop::collection::vec(drawn.values(), 1..4);
            (Just(drawn), pairs, any::<bool>())
        })
    ) {
        let schema = drawn.schema().to_string();
        let answer = answer_of(&schema);
        let is_object = matches!(drawn, Drawn::Object(_) | Drawn::Map(_));
        let said = pairs.iter().map(|(said, _)| {
            let said = if is_object { said.clone() } else { json!({ "answer": said }) };
            if pretty { format!("\n{said:#}\n") } else { said.to_string() }
        });
        let column = written(&answer, &said.collect::<Vec<_>>());
        prop_assert_eq!(column.len(), pairs.len());
        for (row, (_, kept)) in pairs.iter().enumerate() {
            let found = at(&column, row);
            prop_assert!(is_same(&found, kept), "{} is {}, of {}", found, kept, schema);
        }
    }

    /// What the sandbox says to a schema is a value of it.
    #[test]
    fn any_schema_has_an_instance_that_fits(drawn in drawn(), draw in any::<u64>()) {
        let answer = answer_of(&drawn.schema().to_string());
        let asked = answer.told().expect("a schema").to_string();
        let said = Sandbox::instance(&asked, draw);
        let column = written(&answer, &[said]);
        prop_assert_eq!(column.len(), 1);
    }
}
