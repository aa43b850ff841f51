//! Answers that have types: at every vendor, through faults and crashes, into columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Int16Type, Int32Type};
use columnist::base::Json;
use columnist::emulator::Sandbox;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::world::{VENDORS, World, hash, write_table};

const SCHEMA: &str = r#"{"type":"object","properties":{"label":{"type":"string","enum":["billing","bug","other"]},"urgency":{"type":"integer"},"total":{"type":["number","null"]},"due":{"type":"string","format":"date"},"tags":{"type":"array","items":{"type":"string"}},"lines":{"type":"array","items":{"type":"object","properties":{"sku":{"type":"string"},"qty":{"type":"integer"}},"required":["sku","qty"],"additionalProperties":false}}},"required":["label","urgency","total","due","tags","lines"],"additionalProperties":false}"#;

/// A world of forty tickets in small chunks, whose answers are structs.
fn world(vendor: &'static str, faults: &str) -> World {
    let mut world = World::new(vendor, faults);
    let bodies: Vec<_> = (0..40).map(|n| Some(format!("ticket {n}"))).collect();
    write_table(&world.path("in.parquet"), &bodies, 16);
    world.job["model"]["max_requests_per_batch"] = 9.into();
    world.job["model"]["max_output_tokens"] = 4000.into();
    world.job["answer"]["answer"] = json!({
        "type": "json",
        "schema": SCHEMA,
        "types": { "urgency": "SMALLINT", "total": "DECIMAL(9,2)", "lines[].qty": "INT" },
    });
    world
}

fn read(world: &World) -> RecordBatch {
    let file = std::fs::File::open(world.path("out.parquet")).expect("an output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let schema = Arc::clone(reader.schema());
    let batches: Vec<_> = reader
        .build()
        .expect("a reader")
        .map(|b| b.expect("rows"))
        .collect();
    concat_batches(&schema, &batches).expect("one table")
}

/// What the sandbox answers to a row, by its rule. The vendor is asked in words of its own, which say the same.
fn answer(world: &World, body: &str) -> Value {
    let draw = hash(&format!("Label this: {body}"));
    let asked = if world.vendor == "anthropic" {
        SCHEMA.replace(r#""type":"string","enum""#, r#""enum""#)
    } else {
        SCHEMA.to_owned()
    };
    assert!(Json::parse(&asked).is_some());
    serde_json::from_str(&Sandbox::instance(&asked, draw)).expect("JSON")
}

fn column(batch: &RecordBatch, name: &str) -> ArrayRef {
    let column = batch.column_by_name(name);
    Arc::clone(column.unwrap_or_else(|| panic!("no column {name}")))
}

/// Checks each field of each row against the answer to its prompt.
fn check_rows(world: &World, batch: &RecordBatch, field: impl Fn(&str) -> ArrayRef) {
    let bodies = column(batch, "body");
    let bodies = bodies.as_string::<i32>();
    assert_eq!(batch.num_rows(), 40);
    let (label, urgency, total) = (field("label"), field("urgency"), field("total"));
    let (due, tags, lines) = (field("due"), field("tags"), field("lines"));
    for row in 0..batch.num_rows() {
        let answer = answer(world, bodies.value(row));
        assert_eq!(label.as_string::<i32>().value(row), answer["label"]);
        assert_eq!(
            urgency.as_primitive::<Int16Type>().value(row),
            answer["urgency"]
        );
        let cents = total.as_primitive::<Decimal128Type>().value(row);
        let asked = answer["total"].as_f64().expect("a number");
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the sandbox's numbers are small"
        )]
        let asked = (asked * 100.0).round() as i128;
        assert_eq!(cents, asked);
        let day = due
            .as_primitive::<Date32Type>()
            .value_as_date(row)
            .expect("a day");
        assert_eq!(day.to_string(), answer["due"]);
        let own = tags.as_list::<i32>().value(row);
        let own: Vec<_> = own.as_string::<i32>().iter().flatten().collect();
        assert_eq!(json!(own), answer["tags"]);
        let own = lines.as_list::<i32>().value(row);
        let own = own.as_struct();
        let own: Vec<_> = (0..own.len())
            .map(|at| {
                let sku = own.column(0).as_string::<i32>().value(at);
                let qty = own.column(1).as_primitive::<Int32Type>().value(at);
                json!({ "sku": sku, "qty": qty })
            })
            .collect();
        assert_eq!(json!(own), answer["lines"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extraction_is_a_struct_in_which_each_row_has_its_own_answer() {
    for vendor in VENDORS {
        let world = world(vendor, "");
        world.run().await.expect("a run");
        let batch = read(&world);
        let label = column(&batch, "label");
        let label = label.as_struct().clone();
        assert_eq!(label.null_count(), 0);
        check_rows(&world, &batch, |name| {
            Arc::clone(label.column_by_name(name).expect("a field"))
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flattened_each_field_is_a_column_and_a_second_run_asks_nothing() {
    for vendor in VENDORS {
        let mut world = world(vendor, "");
        world.run().await.expect("a run");
        let billed = world.sandbox.bill().expect("a bill").distinct_billed;
        // How answers are laid out is no part of what is asked.
        world.job["answer"]["flatten"] = "label_".into();
        world.run().await.expect("a second run");
        assert_eq!(
            world.sandbox.bill().expect("a bill").distinct_billed,
            billed
        );
        let batch = read(&world);
        check_rows(&world, &batch, |name| {
            column(&batch, &format!("label_{name}"))
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn through_faults_every_row_has_its_own_answer_or_a_reason() {
    for vendor in VENDORS {
        let faults = "errored=0.1,expire=0.1,missing=0.1,duplicate=0.1,stranger=0.1,truncate=0.2";
        let mut world = world(vendor, faults);
        world.job["budget"]["max_failed"] = json!({ "rows": 40 });
        world.run().await.expect("a run");
        let batch = read(&world);
        let (labels, status) = (column(&batch, "label"), column(&batch, "label_status"));
        let (bodies, errors) = (column(&batch, "body"), column(&batch, "label_error"));
        let mut answered = 0;
        for row in 0..batch.num_rows() {
            let has_answer = labels.is_valid(row);
            assert_eq!(
                has_answer,
                status.as_string::<i32>().value(row) == "succeeded"
            );
            assert_eq!(has_answer, errors.is_null(row));
            if has_answer {
                answered += 1;
                let urgency = labels
                    .as_struct()
                    .column_by_name("urgency")
                    .expect("a field");
                let urgency = urgency.as_primitive::<Int16Type>().value(row);
                let body = bodies.as_string::<i32>().value(row);
                assert_eq!(urgency, answer(&world, body)["urgency"]);
            }
        }
        assert!(answered > 20, "{answered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_its_type_is_invalid_kept_and_said() {
    let mut world = world("openai", "");
    // The sandbox's whole numbers go beyond what this holds.
    world.job["answer"]["answer"]["types"] = json!({ "urgency": "DECIMAL(1,0)" });
    world.job["budget"]["max_failed"] = json!({ "rows": 40 });
    world.run().await.expect("a run");
    let batch = read(&world);
    let (labels, status) = (column(&batch, "label"), column(&batch, "label_status"));
    let (bodies, errors) = (column(&batch, "body"), column(&batch, "label_error"));
    let mut invalid = 0;
    for row in 0..batch.num_rows() {
        let urgency = answer(&world, bodies.as_string::<i32>().value(row))["urgency"].clone();
        let fits = urgency.as_i64().expect("whole").abs() < 10;
        assert_eq!(labels.is_valid(row), fits);
        if !fits {
            invalid += 1;
            assert_eq!(status.as_string::<i32>().value(row), "invalid");
            let why = format!("urgency: {urgency} has more than one digit before the point");
            assert_eq!(errors.as_string::<i32>().value(row), why);
        }
    }
    assert!(invalid > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_value_is_a_column_of_its_type() {
    for (schema, data_type) in [
        (r#"{"type":"number"}"#, DataType::Float64),
        (r#"{"type":"boolean"}"#, DataType::Boolean),
        (r#"{"type":"string","format":"date"}"#, DataType::Date32),
        (r#"{"type":["string","null"]}"#, DataType::Utf8),
    ] {
        for vendor in VENDORS {
            let mut world = world(vendor, "");
            world.job["answer"]["answer"] = json!({ "type": "json", "schema": schema });
            world.run().await.expect("a run");
            let label = column(&read(&world), "label");
            assert_eq!((label.data_type(), label.null_count()), (&data_type, 0));
        }
    }
}

/// The word that the sandbox draws for a row.
fn drawn<'w>(words: &[&'w str], body: &str) -> &'w str {
    let at = hash(&format!("Label this: {body}")) % words.len() as u64;
    words[usize::try_from(at).expect("small")]
}

#[tokio::test(flavor = "multi_thread")]
async fn several_choices_are_a_list_however_they_are_asked_for() {
    let words = ["bug", "Billing", "other"];
    for vendor in VENDORS {
        for asked in ["schema", "prompt"] {
            let mut world = world(vendor, "");
            world.job["answer"]["answer"] = json!({
                "type": "choice", "choices": words, "descriptions": { "bug": "it fails" },
                "multiple": { "min": 1, "max": 2 }, "asked": asked,
            });
            world.run().await.expect("a run");
            let batch = read(&world);
            let (labels, bodies) = (column(&batch, "label"), column(&batch, "body"));
            let item = match labels.data_type() {
                DataType::List(item) => Arc::clone(item),
                other => panic!("{other}"),
            };
            assert_eq!(
                (item.data_type(), item.is_nullable()),
                (&DataType::Utf8, false)
            );
            for row in 0..batch.num_rows() {
                let own = labels.as_list::<i32>().value(row);
                let own: Vec<_> = own.as_string::<i32>().iter().flatten().collect();
                let body = bodies.as_string::<i32>().value(row);
                assert_eq!(own, [drawn(&words, body)], "{vendor} {asked}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_in_the_prompt_is_another_question_and_found_again() {
    for vendor in VENDORS {
        let mut world = world(vendor, "");
        world.run().await.expect("a run");
        let billed = world.bill().distinct_billed;
        let first = read(&world);
        world.job["answer"]["answer"]["asked"] = "prompt".into();
        world.run().await.expect("a second run");
        assert_eq!(world.bill().distinct_billed, 2 * billed);
        // The sandbox says the same to both, with words around.
        let second = read(&world);
        let of = |batch: &RecordBatch| column(batch, "label");
        assert_eq!(&of(&first), &of(&second));
        check_rows(&world, &second, |name| {
            let label = column(&second, "label");
            Arc::clone(label.as_struct().column_by_name(name).expect("a field"))
        });
        // And neither is asked again.
        world.run().await.expect("a third run");
        assert_eq!(world.bill().distinct_billed, 2 * billed);
    }
}
