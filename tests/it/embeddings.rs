//! Embeddings: many texts in a line, each row its own vector, through faults and into columns.

use std::sync::Arc;

use arrow::array::{Array, AsArray, FixedSizeListArray, RecordBatch, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Float32Type};
use columnist::emulator::{Sandbox, SandboxConfig};
use columnist::engine::{self, Wanted};
use columnist::ledger::action::{Action, ChunkStored};
use columnist::work::RowStatus;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};

use crate::world::{DIMENSIONS, World, facts, hash, read_table, taking, write_table};

/// A job that embeds, in the world of the one vendor that does.
fn embedding(mut world: World) -> World {
    world.embed();
    world.job["prompt"]["user"] = "{{ body }}".into();
    world
}

fn world(faults: &str) -> World {
    embedding(World::new("openai", faults))
}

fn texts(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("text {n} \"é\"\n"))).collect()
}

/// What the sandbox makes of `text`.
fn vector(text: &str) -> Vec<f32> {
    Sandbox::vector(hash(text), DIMENSIONS)
}

/// The average of what it makes of pieces of a text, by their bytes, of the length one.
fn average(pieces: &[&str]) -> Vec<f32> {
    let mut sum = vec![0.0f64; DIMENSIONS as usize];
    for piece in pieces {
        let weight = f64::from(u32::try_from(piece.len()).expect("short"));
        for (sum, number) in sum.iter_mut().zip(vector(piece)) {
            *sum += f64::from(number) * weight;
        }
    }
    let length = sum.iter().map(|n| n * n).sum::<f64>().sqrt();
    #[expect(clippy::cast_possible_truncation, reason = "vectors are of 32 bits")]
    let single = |number: f64| (number / length) as f32;
    sum.into_iter().map(single).collect()
}

struct Output {
    bodies: StringArray,
    vectors: FixedSizeListArray,
    statuses: StringArray,
    errors: StringArray,
}

fn read(world: &World) -> Output {
    let file = std::fs::File::open(world.path("out.parquet")).expect("an output");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let schema = Arc::clone(reader.schema());
    let batches = reader.build().expect("a reader");
    let batches: Vec<RecordBatch> = batches.map(|batch| batch.expect("rows")).collect();
    let batch = concat_batches(&schema, &batches).expect("one table");
    let text = |name: &str| {
        let column = batch.column_by_name(name).expect("a column");
        column.as_string::<i32>().clone()
    };
    let vectors = batch.column_by_name("label").expect("the vectors");
    Output {
        bodies: text("body"),
        vectors: vectors.as_fixed_size_list().clone(),
        statuses: text("label_status"),
        errors: text("label_error"),
    }
}

impl Output {
    fn vector(&self, row: usize) -> Option<Vec<f32>> {
        let own = self
            .vectors
            .is_valid(row)
            .then(|| self.vectors.value(row))?;
        let own = cast(&own, &DataType::Float32).expect("numbers");
        Some(own.as_primitive::<Float32Type>().values().to_vec())
    }

    /// Checks that every row has the vector of its own text, or a reason why not; how many have one.
    #[track_caller]
    fn check(&self) -> usize {
        let mut answered = 0;
        for row in 0..self.bodies.len() {
            let succeeded = self.statuses.value(row) == "succeeded";
            let expect = succeeded.then(|| vector(self.bodies.value(row)));
            assert_eq!(
                self.vector(row),
                expect,
                "row {row}: {}",
                self.bodies.value(row)
            );
            let is_told = self.errors.is_valid(row) && !self.errors.value(row).is_empty();
            let is_skipped = self.statuses.value(row) == "skipped";
            assert_eq!(
                !is_skipped && !succeeded,
                is_told && !is_skipped,
                "row {row}"
            );
            answered += usize::from(succeeded);
        }
        answered
    }
}

/// Checks that no text was billed twice, in whatever line.
#[track_caller]
fn check_bill(world: &World) {
    let (all, distinct) = world.billed_texts();
    assert_eq!(all, distinct, "billed twice");
}

async fn chunks(world: &World) -> Vec<ChunkStored> {
    let facts = facts(world).await.into_iter();
    facts
        .filter_map(|fact| match fact {
            Action::ChunkStored(chunk) => Some(chunk),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_has_the_vector_of_its_own_text_and_a_second_run_asks_nothing() {
    let mut world = world("");
    let mut bodies = texts(0..300);
    bodies[17] = None;
    bodies[33] = Some(" \n".to_owned());
    for n in 100..150 {
        bodies[n] = bodies[n - 100].clone();
    }
    write_table(&world.path("in.parquet"), &bodies, 64);
    world.job["model"]["max_requests_per_batch"] = 100.into();
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Skipped), 4);
    let output = read(&world);
    let item = Arc::new(Field::new_list_field(DataType::Float32, false));
    assert_eq!(
        output.vectors.data_type(),
        &DataType::FixedSizeList(item, 8)
    );
    assert_eq!(output.check(), 296);
    let bill = world.bill();
    assert_eq!(world.billed_texts(), (report.requests, report.requests));
    // One trial of three lines, for a length is asked for; and the others many in a line.
    let chunks = chunks(&world).await;
    assert_eq!((chunks[0].requests, chunks[0].lines), (3, Some(3)));
    assert!(
        chunks[1..].iter().all(|chunk| chunk.lines == Some(1)),
        "{chunks:?}"
    );
    assert!(chunks.len() > 3, "{chunks:?}");
    let before = std::fs::read(world.path("out.parquet")).expect("an output");
    let again = world.run().await.expect("a second run");
    assert!(again.unchanged && again.published, "{again:?}");
    assert_eq!(world.bill(), bill);
    assert!(std::fs::read(world.path("out.parquet")).expect("an output") == before);
    assert_eq!(report.usage.output, 0);
    assert!(report.usage.input > 0, "tokens are divided, and sum up");
}

#[tokio::test(start_paused = true)]
async fn through_faults_every_row_has_its_own_vector_or_a_reason() {
    for (seed, keep) in [(1, true), (2, false), (3, true)] {
        let faults = "errored=0.2,expire=0.1,missing=0.15,duplicate=0.2,stranger=0.2,garbage=0.1,truncate=0.3,short=0.2";
        let config = SandboxConfig {
            faults: faults.parse().expect("faults"),
            ..taking(5, 9)
        };
        let mut world = embedding(World::paused("openai", (400, 37), config));
        world.components.ids = Arc::new(columnist::base::Ids::seeded(seed));
        write_table(&world.path("in.parquet"), &texts(0..400), 64);
        world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
        world.job["ledger"]["keep_prompts"] = keep.into();
        // What the sandbox counts, and does not show, is sent again on a person's word alone.
        world.job["ledger"]["on_ambiguous"] = "resubmit".into();
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        assert_eq!(report.counts.total(), 400);
        assert!(read(&world).check() > 300, "{report:?}");
        check_bill(&world);
        let chunks = chunks(&world).await;
        assert!(
            chunks.iter().any(|chunk| chunk.round > 0),
            "something was sent again"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_whose_indexes_do_not_match_is_asked_again_as_a_whole() {
    // Every other line of a batch: two of the trial's three are sound, and so is all that is sent again.
    let mut world = world("misindexed=1/2");
    write_table(&world.path("in.parquet"), &texts(0..3), 64);
    world.job["ledger"]["keep_prompts"] = false.into();
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    let output = read(&world);
    assert_eq!(output.check(), 3);
    let sent: Vec<_> = (chunks(&world).await.iter())
        .map(|chunk| (chunk.round, chunk.requests))
        .collect();
    assert_eq!(sent, [(0, 3), (1, 1)]);
    check_bill(&world);
    assert_eq!(world.billed_texts().0, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_gets_a_vector_whose_index_does_not_match() {
    let mut world = world("misindexed=0.6");
    write_table(&world.path("in.parquet"), &texts(0..400), 64);
    world.job["model"]["max_requests_per_batch"] = 10.into();
    world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
    let report = world.run().await.expect("a run");
    assert!(report.published, "{report:?}");
    let output = read(&world);
    let answered = output.check();
    // Three rounds of which four tenths come right leave a fifth without.
    assert!((200..400).contains(&answered), "{answered}");
    let failed = (0..400).filter(|row| output.statuses.value(*row) != "succeeded");
    for row in failed {
        assert_eq!(output.statuses.value(row), "missing");
        let why = "the answer does not have one vector for each of its inputs";
        assert_eq!(output.errors.value(row), why);
    }
    check_bill(&world);
    assert_eq!(world.billed_texts().0, answered as u64);
    let rounds: Vec<_> = chunks(&world)
        .await
        .iter()
        .map(|chunk| chunk.round)
        .collect();
    assert_eq!(
        rounds.iter().max(),
        Some(&2),
        "three times in all: {rounds:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_text_costs_its_neighbours_nothing() {
    let mut world = world("");
    // By our count it fits, and by the provider's it does not.
    world.job["answer"]["embedding"] = json!({ "max_input_tokens": 9000 });
    let mut bodies = texts(0..200);
    bodies[77] = Some("word".repeat(8500));
    write_table(&world.path("in.parquet"), &bodies, 64);
    world.job["budget"]["max_failed"] = json!({ "rows": 1 });
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Failed), 1, "{report:?}");
    let output = read(&world);
    assert_eq!(output.check(), 199);
    assert_eq!(output.statuses.value(77), "failed");
    assert!(
        output.errors.value(77).contains("maximum context length"),
        "{}",
        output.errors.value(77)
    );
    // All of its line, then 32 in a line, then each alone.
    let chunks = chunks(&world).await;
    let sizes: Vec<_> = chunks
        .iter()
        .map(|chunk| (chunk.round, chunk.requests, chunk.lines))
        .collect();
    assert_eq!(
        sizes,
        [
            (0, 3, Some(3)),
            (0, 197, Some(1)),
            (1, 197, Some(7)),
            (2, 32, Some(32))
        ]
    );
    check_bill(&world);
    let again = world.run().await.expect("a second run");
    assert_eq!(world.bill().total.requests_accepted, 3 + 1 + 7 + 32);
    assert!(
        again.unchanged,
        "what failed for good is not asked again: {again:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_too_long_fail_are_cut_or_are_averaged_as_the_job_says() {
    let numbers = |range: std::ops::Range<u32>, write: fn(u32) -> String| {
        range.map(write).collect::<Vec<_>>().concat()
    };
    let long = numbers(0..30, |n| format!("{n:04}"));
    let spaced = numbers(30..60, |n| format!("{n:03} "));
    let far = numbers(0..100_000, |n| format!("{n:08}"));
    let bodies = [
        Some("short".to_owned()),
        Some(long.clone()),
        Some(spaced.clone()),
        Some(far.clone()),
    ];
    // Twenty tokens are the limit, and fifteen of a piece.
    for (too_long, expect) in [
        ("fail", vec![Some(vector("short")), None, None, None]),
        (
            "truncate",
            vec![
                Some(vector("short")),
                Some(vector(&long[..60])),
                Some(vector(&spaced[..60])),
                Some(vector(&far[..60])),
            ],
        ),
        (
            "average",
            vec![
                Some(vector("short")),
                Some(average(&[&long[..60], &long[60..]])),
                Some(average(&[&spaced[..60], &spaced[60..]])),
                None,
            ],
        ),
    ] {
        for keep in [true, false] {
            // Every other line of a batch fails, so that something is always sent again.
            let mut world = world("errored=1/2");
            write_table(&world.path("in.parquet"), &bodies, 64);
            world.job["answer"]["embedding"] =
                json!({ "max_input_tokens": 20, "too_long": too_long });
            world.job["budget"]["max_failed"] = json!({ "rows": 3 });
            world.job["ledger"]["keep_prompts"] = keep.into();
            let plan = engine::plan(world.setup("plan"), world.provider())
                .await
                .expect("a plan");
            let fail = expect.iter().filter(|vector| vector.is_none()).count() as u64;
            assert_eq!(plan.counts.failed, fail, "{too_long}");
            world.run().await.expect("a run");
            let output = read(&world);
            for (row, expect) in expect.iter().enumerate() {
                assert_eq!(
                    &output.vector(row),
                    expect,
                    "{too_long} {row} {}",
                    output.errors.value(row)
                );
                let told = output
                    .errors
                    .is_valid(row)
                    .then(|| output.errors.value(row));
                let why = "the text is too long for the model's embeddings";
                assert_eq!(told, expect.is_none().then_some(why), "{too_long} {row}");
            }
            check_bill(&world);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_makes_the_same_line_of_a_text_that_is_too_long() {
    let numbers = |range: std::ops::Range<u32>, write: fn(u32) -> String| {
        range.map(write).collect::<Vec<_>>().concat()
    };
    let long = numbers(0..30, |n| format!("{n:04}"));
    let spaced = numbers(30..60, |n| format!("{n:03} "));
    let whole = "short enough";
    // Of the trial's three lines the second fails, and is sent again.
    for again in [&long, &spaced] {
        let (first, third) = if *again == long {
            (whole, &spaced)
        } else {
            (&*long, &whole.to_owned())
        };
        let bodies = [
            Some(first.to_owned()),
            Some(again.clone()),
            Some(third.clone()),
        ];
        for too_long in ["truncate", "average"] {
            for keep in [true, false] {
                let config = SandboxConfig {
                    faults: "errored=1/2".parse().expect("faults"),
                    ..taking(5, 9)
                };
                let mut world = embedding(World::paused("openai", (3, 100), config));
                write_table(&world.path("in.parquet"), &bodies, 64);
                world.job["answer"]["embedding"] =
                    json!({ "max_input_tokens": 20, "too_long": too_long });
                world.job["ledger"]["keep_prompts"] = keep.into();
                // What the first process set aside goes with it.
                engine::submit(world.setup("submit"), world.provider())
                    .await
                    .expect("a submission");
                assert_eq!(world.bill().total.requests_accepted, 3);
                world.components.ids = Arc::new(columnist::base::Ids::seeded(8));
                let report = world.run().await.expect("a run");
                assert!(report.published && report.exit_code() == 0, "{report:?}");
                let expect = |text: &str| match too_long {
                    _ if text.len() < 80 => vector(text),
                    "truncate" => vector(&text[..60]),
                    _ => average(&[&text[..60], &text[60..]]),
                };
                let output = read(&world);
                for (row, body) in bodies.iter().flatten().enumerate() {
                    assert_eq!(
                        output.vector(row),
                        Some(expect(body)),
                        "{too_long} {keep} {row}"
                    );
                }
                // The line went twice, with the same bytes.
                let bill = world.bill();
                assert_eq!(
                    (
                        bill.total.requests_accepted,
                        bill.distinct_accepted,
                        bill.accepted_more_than_once
                    ),
                    (4, 3, 1),
                    "{too_long} {keep}: {bill:?}"
                );
                check_bill(&world);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_embedded_before_is_not_embedded_again() {
    let mut world = world("");
    write_table(&world.path("in.parquet"), &texts(0..60), 16);
    world.run().await.expect("a run");
    let mut bodies = texts(0..70);
    bodies.rotate_left(11);
    bodies[5] = Some("another text".to_owned());
    write_table(&world.path("in.parquet"), &bodies, 16);
    let report = world.run().await.expect("a second run");
    assert_eq!((report.requests, report.answered), (11, 59), "{report:?}");
    assert_eq!(read(&world).check(), 70);
    check_bill(&world);
    // What becomes of long texts concerns long texts alone; and half the precision is of the output.
    let billed = world.bill();
    world.job["answer"]["embedding"] =
        json!({ "max_input_tokens": 4000, "too_long": "average", "precision": "half" });
    let report = world.run().await.expect("a third run");
    assert!(report.published && !report.unchanged, "{report:?}");
    assert_eq!(
        world.bill().total.requests_accepted,
        billed.total.requests_accepted
    );
    let output = read(&world);
    let item = Arc::new(Field::new_list_field(DataType::Float16, false));
    assert_eq!(
        output.vectors.data_type(),
        &DataType::FixedSizeList(item, 8)
    );
    for row in 0..70 {
        for (half, single) in output
            .vector(row)
            .expect("one")
            .iter()
            .zip(vector(output.bodies.value(row)))
        {
            assert!(
                (half - single).abs() <= single.abs() / 1024.0 + 1e-7,
                "{half} {single}"
            );
        }
    }
    // Another length is another question.
    world.job["answer"]["answer"]["dimensions"] = 16.into();
    let report = world.run().await.expect("a fourth run");
    assert_eq!(report.requests, 70, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_that_the_queue_does_not_hold_is_split_and_keeps_its_lines() {
    let mut config = SandboxConfig {
        batch_time: (
            std::time::Duration::from_millis(20),
            std::time::Duration::from_millis(60),
        ),
        ..SandboxConfig::default()
    };
    config.openai.enqueued_tokens_max = Some(150);
    let world = embedding(World::with("openai", config));
    write_table(&world.path("in.parquet"), &texts(0..120), 64);
    let report = world.run().await.expect("a run");
    assert!(report.published, "{report:?}");
    assert_eq!(read(&world).check(), 120);
    let split = facts(&world)
        .await
        .into_iter()
        .any(|fact| matches!(fact, Action::ChunkSplit { .. }));
    assert!(split, "a chunk was split");
    check_bill(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_in_numbers_is_understood() {
    let mut world = world("");
    write_table(&world.path("in.parquet"), &texts(0..40), 64);
    world.job["model"]["params"] = json!({ "encoding_format": "float" });
    world.run().await.expect("a run");
    assert_eq!(read(&world).check(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_of_another_length_stop_the_job_after_three() {
    let mut world = world("");
    write_table(&world.path("in.parquet"), &texts(0..40), 64);
    // A model that this version does not know, of which the job says something wrong.
    world.job["model"]["model"] = "bge-m3".into();
    world.job["answer"]["answer"] =
        json!({ "type": "embedding", "dimensions": 1024, "shortened": false });
    let error = world.run().await.expect_err("no vector is of that length");
    assert!(
        error.to_string().contains("no answer of the trial"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("dimensions")),
        "{error:?}"
    );
    assert_eq!(world.bill().total.requests_accepted, 3);
    let story = engine::show(world.setup("show"), &["1".to_owned()]).await;
    let story = story.expect("a story");
    let why = story.attempts[0].error.as_deref();
    assert_eq!(why, Some("its vector has 1536 numbers, and not 1024"));
    // The answers were paid: nothing is asked again before somebody has mended something.
    let again = world.run().await.expect_err("the same");
    assert_eq!(again.to_string(), error.to_string());
    assert_eq!(world.bill().total.requests_accepted, 3);
    // Unless a person says that the server was mended.
    let wanted = Wanted {
        statuses: vec![RowStatus::Invalid],
        ..Wanted::default()
    };
    let retried = engine::retry(world.setup("retry"), wanted).await;
    retried.expect("three to ask again");
    world.run().await.expect_err("it was not");
    assert_eq!(world.bill().total.requests_accepted, 6);
    // It is mended, and the rest is asked.
    world.job["answer"]["answer"]["dimensions"] = 1536.into();
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 40, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_tells_its_story_and_not_its_neighbours() {
    let mut world = world("");
    world.job["ledger"]["keep_prompts"] = true.into();
    write_table(&world.path("in.parquet"), &texts(0..40), 64);
    world.run().await.expect("a run");
    let mut setup = world.setup("show");
    setup.vendors = Some(Arc::new(Openai(world.provider())));
    let story = engine::show(setup, &["7".to_owned()])
        .await
        .expect("a story");
    let [told] = &story.attempts[..] else {
        panic!("{story:?}");
    };
    let request: Value =
        serde_json::from_str(told.request.as_deref().expect("a request")).expect("JSON");
    assert_eq!(request["url"], "/v1/embeddings");
    assert_eq!(request["body"]["input"], json!(["text 7 \"é\"\n"]));
    let first = vector("text 7 \"é\"\n")[0];
    let answer = told.answer.as_deref().expect("an answer");
    assert!(
        answer.starts_with(&format!("[{first}, ")) && answer.ends_with("(8 numbers)"),
        "{answer}"
    );
    assert!(told.usage.input > 0);
}

/// Opens the world's own provider, whatever the job.
#[derive(Debug)]
struct Openai(Arc<dyn columnist::provider::Provider>);

impl engine::Vendors for Openai {
    fn open(
        &self,
        _: &columnist::spec::Job,
    ) -> columnist::base::Result<Arc<dyn columnist::provider::Provider>> {
        Ok(Arc::clone(&self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_embeds_nothing_is_told_before_anything_is_sent() {
    let mut world = embedding(World::new("anthropic", ""));
    write_table(&world.path("in.parquet"), &texts(0..4), 64);
    world.job["model"]["model"] = "some-model".into();
    let error = engine::check(world.setup("check"), world.provider(), 3)
        .await
        .expect_err("no embeddings");
    assert!(
        error
            .to_string()
            .starts_with("the provider makes no embeddings"),
        "{error}"
    );
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("text-embedding-3-small"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_says_the_type_and_a_plan_the_cost() {
    let mut world = world("");
    write_table(&world.path("in.parquet"), &texts(0..1000), 64);
    let checked = engine::check(world.setup("check"), world.provider(), 1)
        .await
        .expect("a check");
    let expect = [("label".to_owned(), "FixedSizeList<Float32, 8>".to_owned())];
    assert_eq!((checked.added, checked.schema), (expect.to_vec(), None));
    let priced = world.provider_as("openai", "sk-test", Some("openai"));
    let plan = engine::plan(world.setup("plan"), priced)
        .await
        .expect("a plan");
    // A cent for a million tokens in a batch, two online; and nothing comes out.
    let micros = plan.input_tokens.div_ceil(100);
    assert_eq!(plan.expected_micros, Some(micros));
    assert_eq!(
        (plan.worst_micros, plan.output_tokens_max),
        (Some(micros), 0)
    );
    assert_eq!(
        plan.online_worst_micros,
        Some(plan.input_tokens.div_ceil(50))
    );
    assert_eq!((plan.requests, plan.chunks), (1000, 1));
    world.job["answer"]["embedding"]["precision"] = "half".into();
    let checked = engine::check(world.setup("check"), world.provider(), 1)
        .await
        .expect("a check");
    assert_eq!(checked.added[0].1, "FixedSizeList<Float16, 8>");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_keeps_vectors_as_they_are_and_no_text_of_them() {
    let world = world("");
    write_table(&world.path("in.parquet"), &texts(0..20), 64);
    world.run().await.expect("a run");
    let outcomes = world.path("_columnist/triage/plans/000000/outcomes/000001-01.parquet");
    let file = std::fs::File::open(&outcomes).expect("the outcomes");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    let batch = reader
        .build()
        .expect("a reader")
        .next()
        .expect("rows")
        .expect("readable");
    let vectors = batch.column_by_name("vector").expect("vectors");
    assert_eq!(vectors.data_type(), &DataType::FixedSizeBinary(32));
    assert_eq!(vectors.null_count(), 0);
    let expect: Vec<u8> = vector("text 3 \"é\"\n")
        .into_iter()
        .flat_map(f32::to_le_bytes)
        .collect();
    assert_eq!(vectors.as_fixed_size_binary().value(0), expect);
    let table = read_table(&outcomes);
    assert!(
        table["answer"]
            .iter()
            .chain(&table["raw"])
            .all(Option::is_none)
    );
}
