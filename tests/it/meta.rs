//! `meta = "full"`: how each answer came about, row by row, and what all of them cost.

use std::fs::File;
use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{
    DataType, Decimal128Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
};
use columnist::engine::{self, Report};
use columnist::work::meta;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::json;

use crate::world::{VENDORS, World, write_table};

/// Millionths of a millionth of a dollar for a token of input and of output, in a batch, as the vendors'
/// price lists have it: claude-haiku-4-5 and gpt-6-luna.
fn rates(vendor: &str) -> (i128, i128) {
    match vendor {
        "anthropic" => (500_000, 2_500_000),
        _ => (50_000, 250_000),
    }
}

fn world(vendor: &'static str, faults: &str) -> World {
    let mut world = World::new(vendor, faults);
    world.job["answer"]["meta"] = "full".into();
    world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
    world
}

/// Runs the job at the vendor's own prices.
async fn run(world: &World) -> Report {
    let provider = world.provider_as(world.vendor, "sk-test", Some(world.vendor));
    let report = engine::run(world.setup("run"), provider).await;
    report.expect("a run")
}

/// A table with typed columns.
struct Table(RecordBatch);

impl Table {
    fn read(path: &Path) -> Table {
        let file = File::open(path).expect("an output");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        let reader = reader.build().expect("a reader");
        let batches: Vec<_> = reader.map(|batch| batch.expect("readable")).collect();
        Table(concat_batches(&batches[0].schema(), &batches).expect("one schema"))
    }

    fn column(&self, ending: &str) -> &dyn Array {
        let name = meta::name("label", ending);
        self.0.column_by_name(&name).expect("a column")
    }

    fn texts(&self, ending: &str) -> Vec<Option<String>> {
        let texts = self.column(ending).as_string::<i32>().iter();
        texts.map(|text| text.map(str::to_owned)).collect()
    }

    fn numbers(&self, ending: &str) -> Vec<Option<i64>> {
        self.column(ending)
            .as_primitive::<Int64Type>()
            .iter()
            .collect()
    }

    fn costs(&self) -> Vec<Option<i128>> {
        let costs = self.column("cost_usd").as_primitive::<Decimal128Type>();
        costs.iter().collect()
    }

    fn cost(&self) -> i128 {
        self.costs().into_iter().flatten().sum()
    }

    fn answers(&self) -> Vec<Option<String>> {
        let answers = self.0.column_by_name("label").expect("answers");
        let answers = answers.as_string::<i32>().iter();
        answers.map(|text| text.map(str::to_owned)).collect()
    }
}

/// What the sandbox has billed.
fn billed(world: &World) -> i128 {
    let (bill, (input, output)) = (world.bill(), rates(world.vendor));
    let thousandths = i128::from(bill.total.input_cost_thousandths);
    thousandths * input / 1000 + i128::from(bill.total.output_tokens) * output
}

fn bodies(count: usize) -> Vec<Option<String>> {
    (0..count).map(|n| Some(format!("ticket {n}"))).collect()
}

/// Checks what `table` says of a row; whether its request was sent more than once.
fn check_row(table: &Table, vendor: &str, row: usize) -> bool {
    if row == 5 {
        for ending in meta::FULL {
            assert!(table.column(ending).is_null(row), "{ending}");
        }
        return false;
    }
    let text = |ending: &str| table.texts(ending).remove(row);
    let number = |ending: &str| table.numbers(ending)[row].expect("tokens");
    let key = text("key").expect("a key");
    assert!(
        key.len() == 48 && key.bytes().all(|b| b.is_ascii_hexdigit()),
        "{key}"
    );
    assert!(text("batch").is_some_and(|id| id.contains("batch")));
    assert!(table.column("answered_at").is_valid(row));
    let (input, output) = (number("input_tokens"), number("output_tokens"));
    let (per_input, per_output) = rates(vendor);
    let own = i128::from(input) * per_input + i128::from(output) * per_output;
    let is_repeat = [20, 30].contains(&row);
    let cost = if is_repeat { 0 } else { own };
    assert_eq!(table.costs()[row], Some(cost), "{vendor} {row}");
    let answer = table.answers().remove(row);
    match text("status").as_deref() {
        Some("succeeded") => assert_eq!(text("raw"), answer),
        Some("refused" | "truncated") => assert!(output > 0 && answer.is_none()),
        _ => assert_eq!(answer, None),
    }
    let attempts = table
        .column("attempts")
        .as_primitive::<Int32Type>()
        .value(row);
    assert!(attempts >= 1);
    attempts > 1
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_model_said_stands_beside_what_it_was_read_as() {
    for vendor in VENDORS {
        let mut world = world(vendor, "");
        world.job["answer"]["answer"] = json!({ "type": "choice", "choices": ["bug", "billing"] });
        write_table(&world.path("in.parquet"), &bodies(6), 4);
        run(&world).await;
        let table = Table::read(&world.path("out.parquet"));
        let labels = table.answers().into_iter().flatten();
        let said: Vec<_> = labels
            .map(|label| Some(format!("{{\"answer\":\"{label}\"}}")))
            .collect();
        assert_eq!(said.len(), 6);
        assert_eq!(table.texts("raw"), said, "{vendor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_says_how_it_came_about_and_all_together_what_was_billed() {
    for vendor in VENDORS {
        let world = world(
            vendor,
            "refusal=0.2,max_tokens=0.1,errored=0.2,duplicate=0.1",
        );
        let mut rows = bodies(60);
        // A row that asks nothing, and two that ask what others do.
        rows[5] = None;
        rows[20] = rows[10].clone();
        rows[30] = rows[10].clone();
        write_table(&world.path("in.parquet"), &rows, 16);
        let report = run(&world).await;
        assert!(report.published, "{report:?}");
        let table = Table::read(&world.path("out.parquet"));
        assert_eq!(table.cost(), billed(&world), "{vendor}");
        let again = (0..rows.len())
            .filter(|row| check_row(&table, vendor, *row))
            .count();
        assert!(again > 0, "nothing was sent again");
        for ending in meta::FULL.iter().filter(|ending| **ending != "cost_usd") {
            let column = table.column(ending).slice(10, 1);
            assert_eq!(&column, &table.column(ending).slice(20, 1), "{ending}");
        }
    }
}

/// What was answered in earlier runs, and in an earlier plan of a row that is retried, is in the sum once;
/// and the same table says the same again.
#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_runs_paid_for_the_table_is_in_its_sum_once() {
    for vendor in VENDORS {
        let world = world(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(20), 16);
        run(&world).await;
        let first = Table::read(&world.path("out.parquet"));
        assert_eq!(first.cost(), billed(&world));
        // Ten more rows, and two that ask what the first ones do.
        let mut more = bodies(30);
        more.extend([more[3].clone(), more[25].clone()]);
        write_table(&world.path("in.parquet"), &more, 16);
        let report = run(&world).await;
        assert_eq!(report.requests, 10, "{report:?}");
        let table = Table::read(&world.path("out.parquet"));
        assert_eq!(table.cost(), billed(&world), "{vendor}");
        let (before, costs) = (first.costs(), table.costs());
        assert_eq!(before[..20], costs[..20]);
        assert_eq!((costs[30], costs[31]), (Some(0), Some(0)));
        let (old, new) = (first.texts("batch"), table.texts("batch"));
        assert_eq!(old[..20], new[..20], "an answer keeps its batch");
        assert!(new[..20].iter().all(|batch| *batch != new[20]));
        assert_eq!(new[30], new[3]);
        let at = |table: &Table| {
            let at = table
                .column("answered_at")
                .as_primitive::<TimestampMicrosecondType>();
            at.iter().collect::<Vec<_>>()
        };
        assert_eq!(at(&first)[..20], at(&table)[..20]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_columns_have_their_types_in_every_layout_also_where_nothing_is_answered() {
    let number = DataType::Int64;
    let expect = |ending: &str| match ending {
        "cost_usd" => DataType::Decimal128(38, 12),
        "attempts" => DataType::Int32,
        "answered_at" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        ending if ending.ends_with("_tokens") => number.clone(),
        _ => DataType::Utf8,
    };
    for layout in ["mirror", "single", "keyed"] {
        for rows in [vec![None, None], bodies(9)] {
            let mut world = world("openai", "");
            world.job["output"]["layout"] = layout.into();
            write_table(&world.path("in.parquet"), &rows, 4);
            let report = run(&world).await;
            assert!(report.published, "{layout}: {report:?}");
            let table = Table::read(&world.path("out.parquet"));
            assert_eq!(table.0.num_rows(), rows.len());
            let schema = table.0.schema();
            for ending in meta::FULL {
                let field = schema
                    .field_with_name(&meta::name("label", ending))
                    .expect("there");
                assert_eq!(
                    (field.data_type(), field.is_nullable()),
                    (&expect(ending), true)
                );
            }
            let answered = rows.iter().flatten().count();
            assert_eq!(table.costs().iter().flatten().count(), answered, "{layout}");
            assert_eq!(table.cost(), billed(&world), "{layout}");
        }
    }
}

/// A model that no price is known of has no cost, which is not a cost of nothing.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_price_is_known_there_is_no_cost() {
    let mut world = world("openai", "");
    world.job["model"]["model"] = "gpt-of-tomorrow".into();
    write_table(&world.path("in.parquet"), &bodies(3), 4);
    run(&world).await;
    let table = Table::read(&world.path("out.parquet"));
    assert_eq!(table.costs(), [None, None, None]);
    assert!(table.numbers("output_tokens").iter().all(Option::is_some));
}

#[tokio::test]
async fn a_column_of_the_source_that_is_called_like_one_of_them_is_told_before_any_spend() {
    let mut world = world("openai", "");
    world.job["answer"]["column"] = "x".into();
    let path = world.path("in.parquet");
    for taken in ["x_cost_USD", "X_raw"] {
        let batch = RecordBatch::try_from_iter([
            ("id", two_numbers()),
            ("body", two_numbers()),
            (taken, two_numbers()),
        ]);
        let batch = batch.expect("a batch");
        let file = File::create(&path).expect("a file");
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.close().expect("closed");
        let refused = world.run().await.expect_err("refused");
        assert_eq!(
            refused.kind(),
            columnist::base::ErrorKind::Invalid,
            "{refused:?}"
        );
        assert!(
            refused.to_string().contains("already has a column"),
            "{refused}"
        );
    }
    assert_eq!(world.bill().total.batches_created, 0);
}

fn two_numbers() -> arrow::array::ArrayRef {
    std::sync::Arc::new(arrow::array::Int64Array::from(vec![1, 2]))
}
