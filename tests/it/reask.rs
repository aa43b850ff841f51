//! Answers that cannot be used, asked again: with the reason, by another model, with a higher limit.

use std::path::PathBuf;

use columnist::base::ErrorKind;
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Report, Wanted};
use columnist::ledger::action::{Action, Landed};
use columnist::work::price::{Pricing, Tariff};
use columnist::work::{RowStatus, Variant};
use serde_json::json;

use crate::world::{
    VENDORS, World, batches, facts, hash, read_columns, read_table, taking, write_table,
};

const WORDS: [&str; 3] = ["billing", "bug", "other"];

/// A world of forty tickets in small chunks, two of which ask the same, that are to be labelled.
fn world(vendor: &'static str, faults: &str) -> World {
    let mut world = World::new(vendor, faults);
    labels(&mut world);
    world
}

fn labels(world: &mut World) {
    write_table(&world.path("in.parquet"), &bodies(), 16);
    world.job["model"]["max_requests_per_batch"] = 9.into();
    world.job["answer"]["answer"] = json!({ "type": "choice", "choices": WORDS });
    world.job["answer"]["meta"] = "full".into();
    world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
}

fn bodies() -> Vec<Option<String>> {
    (0..40)
        .map(|n| Some(format!("ticket {}", n % 39)))
        .collect()
}

/// Requests that the table comes to.
const REQUESTS: u64 = 39;

/// Runs the job at the vendor's own prices.
async fn run(world: &World) -> Report {
    try_run(world).await.expect("a run")
}

async fn try_run(world: &World) -> columnist::base::Result<Report> {
    let provider = world.provider_as(world.vendor, "sk-test", Some(world.vendor));
    engine::run(world.setup("run"), provider).await
}

fn label(body: &str) -> &'static str {
    let at = hash(&format!("Label this: {body}")) % WORDS.len() as u64;
    WORDS[usize::try_from(at).expect("small")]
}

/// Checks that every row has its own answer, or none and a reason; the rows by status.
#[track_caller]
fn check(world: &World, report: &Report) -> std::collections::BTreeMap<String, u64> {
    let table = read_table(&world.path("out.parquet"));
    let mut counts = std::collections::BTreeMap::new();
    for (row, body) in bodies().iter().enumerate() {
        let at = |name: &str| table[name][row].as_deref();
        let status = at("label_status").expect("a status");
        *counts.entry(status.to_owned()).or_default() += 1;
        if status == "succeeded" {
            assert_eq!(at("label"), Some(label(body.as_deref().expect("a body"))));
            assert_eq!(at("label_error"), None);
        } else {
            assert_eq!(at("label"), None, "{row}");
            assert!(
                at("label_error").is_some_and(|why| !why.is_empty()),
                "{row}"
            );
        }
    }
    for (status, count) in report.counts.iter() {
        assert_eq!(counts.get(status.as_str()).copied().unwrap_or(0), count);
    }
    counts
}

/// The chunks of the plan that was made last, and what came back for each.
async fn chunks(world: &World) -> Vec<(u64, Variant, Option<Landed>)> {
    let mut chunks = Vec::new();
    let mut attempts = std::collections::BTreeMap::new();
    for fact in facts(world).await {
        match fact {
            Action::PlanStarted(_) => chunks.clear(),
            Action::ChunkStored(stored) => chunks.push((stored.requests, stored.variant, None)),
            Action::Promised(promised) => {
                attempts.insert(promised.attempt, promised.chunk);
            }
            Action::Landed(landed) => {
                let chunk = usize::try_from(attempts[&landed.attempt]).expect("small");
                if let Some(chunk) = chunks.get_mut(chunk) {
                    chunk.2 = Some(*landed);
                }
            }
            _ => {}
        }
    }
    chunks
}

/// What all rows cost, as the output says, in millionths of a millionth of a dollar.
fn cost(world: &World) -> i128 {
    let table = read_table(&world.path("out.parquet"));
    let costs = table["label_cost_usd"].iter().flatten();
    let exact = |text: &String| text.replace('.', "").parse::<i128>().expect("a number");
    costs.map(exact).sum()
}

/// What the landed batches come to at the prices of their own models.
async fn paid(world: &World) -> i128 {
    let own = world.job["model"]["model"].as_str().expect("a model");
    let mut sum = 0;
    for (_, variant, landed) in chunks(world).await {
        let pricing = Pricing::of(world.vendor, variant.model.as_deref().unwrap_or(own));
        assert!(pricing.is_known());
        let usage = landed.expect("all is home").usage;
        sum += pricing.cost(Tariff::Batch, &usage);
    }
    i128::try_from(sum).expect("small")
}

/// Nothing is to be done, and nothing is paid for finding that out.
async fn check_again(world: &World) {
    let before = world.bill();
    let again = run(world).await;
    assert!(again.unchanged && again.published, "{again:?}");
    assert_eq!(world.bill(), before);
}

/// A file of the first plan's requests.
fn requests(world: &World, chunk: usize) -> PathBuf {
    world.path(&format!(
        "_columnist/triage/plans/000000/requests/{chunk:06}.parquet"
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_answer_is_asked_again_with_the_reason_until_it_is_one() {
    for vendor in VENDORS {
        for keep in [true, false] {
            let mut world = world(vendor, "invalid=0.4");
            world.job["answer"]["reask"] = 10.into();
            world.job["ledger"]["keep_prompts"] = keep.into();
            let report = run(&world).await;
            let counts = check(&world, &report);
            assert_eq!(counts, [("succeeded".to_owned(), 40)].into(), "{vendor}");
            let again = report.progress.asked_again;
            assert!(again.reasked > 5, "{again:?}");
            assert_eq!(again.reasked, again.reask_succeeded);
            let invalid = |landed: &Landed| landed.counts.of(RowStatus::Invalid);
            let chunks = chunks(&world).await;
            let invalid: u64 = chunks
                .iter()
                .flat_map(|(.., landed)| landed)
                .map(invalid)
                .sum();
            assert_eq!(world.bill().total.requests_billed, REQUESTS + invalid);
            assert_eq!(cost(&world), paid(&world).await);

            // What was sent is the answer as it came, and what is wrong with it.
            let at = chunks
                .iter()
                .position(|(_, variant, _)| variant.reasks == 1);
            let file = requests(&world, at.expect("a chunk of reasks"));
            let sent = read_columns(std::fs::File::open(file).expect("requests"));
            let is_kept = sent["prompt"].iter().all(Option::is_some);
            assert_eq!(is_kept, keep);
            for (answer, message) in sent["answer"].iter().zip(&sent["message"]) {
                let message = message.as_deref().expect("a message");
                assert!(
                    message.starts_with("That answer cannot be used: "),
                    "{message}"
                );
                assert!(
                    answer
                        .as_deref()
                        .is_some_and(|answer| !answer.trim().is_empty())
                );
            }
            check_again(&world).await;
        }
    }
}

/// An answer that breaks its type however often it is asked for.
fn never_fits(world: &mut World) {
    let schema = r#"{"type":"object","properties":{"urgency":{"type":"integer"}},"required":["urgency"],"additionalProperties":false}"#;
    world.job["answer"]["answer"] = json!({
        "type": "json", "schema": schema, "types": { "urgency": "DECIMAL(1,0)" },
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_valid_is_asked_so_often_as_the_job_says_and_stays_invalid() {
    for vendor in VENDORS {
        let mut world = world(vendor, "");
        never_fits(&mut world);
        world.job["answer"]["reask"] = 2.into();
        let report = run(&world).await;
        let table = read_table(&world.path("out.parquet"));
        let invalid = report.counts.of(RowStatus::Invalid);
        assert!(invalid > 20, "{report:?}");
        let again = report.progress.asked_again;
        assert_eq!(again.reask_succeeded, 0);
        assert!(again.reasked == invalid || again.reasked + 1 == invalid);
        assert_eq!(
            world.bill().total.requests_billed,
            REQUESTS + 2 * again.reasked
        );
        for (row, _) in bodies().iter().enumerate() {
            let at = |name: &str| table[name][row].as_deref();
            let attempts = at("label_attempts");
            if at("label_status") == Some("invalid") {
                assert_eq!(attempts, Some("3"));
                assert!(at("label_raw").is_some_and(|raw| raw.contains("urgency")));
                assert!(at("label_error").is_some_and(|why| why.starts_with("urgency: ")));
            } else {
                assert_eq!(attempts, Some("1"));
            }
        }
        assert_eq!(cost(&world), paid(&world).await);
        check_again(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_is_asked_at_its_own_price_and_the_row_says_so() {
    for (vendor, other) in [("openai", "gpt-6-sol"), ("anthropic", "claude-sonnet-5-5")] {
        let mut world = world(vendor, "invalid=0.4");
        world.job["answer"]["reask"] = 10.into();
        world.job["answer"]["reask_model"] = other.into();
        let report = run(&world).await;
        let counts = check(&world, &report);
        assert_eq!(counts, [("succeeded".to_owned(), 40)].into());
        let own = world.job["model"]["model"]
            .as_str()
            .expect("a model")
            .to_owned();
        let chunks = chunks(&world).await;
        for (_, variant, _) in &chunks {
            let expect = (variant.reasks > 0).then_some(other);
            assert_eq!(variant.model.as_deref(), expect, "{variant:?}");
        }
        assert_eq!(cost(&world), paid(&world).await, "{vendor}");
        let table = read_table(&world.path("out.parquet"));
        let models = table["label_model"].iter().flatten();
        let by = |name: &str| models.clone().filter(|model| *model == name).count();
        assert!(by(other) > 5 && by(&own) > 5);
        check_again(&world).await;
        // The answer settles the row's own request, whichever model gave it.
        world.job["answer"]["reask"] = 0.into();
        world.job["answer"]["reask_model"] = serde_json::Value::Null;
        check_again(&world).await;
        let mut rows = bodies();
        rows.push(Some("one more".into()));
        write_table(&world.path("in.parquet"), &rows, 16);
        let report = run(&world).await;
        assert_eq!(report.requests, 1, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_cannot_be_asked_is_told_before_any_spend() {
    let mut world = world("anthropic", "");
    world.job["answer"]["reask"] = 1.into();
    world.job["answer"]["reask_model"] = "claude-nonexistent".into();
    let refused = world.run().await.expect_err("no such model");
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused:?}");
    assert!(
        refused.to_string().contains("answer.reask_model"),
        "{refused}"
    );
    // What goes with one model and not with the other is found as well.
    world.job["model"]["temperature"] = 0.5.into();
    world.job["answer"]["reask_model"] = "claude-sonnet-5".into();
    let refused = world.run().await.expect_err("it lets nobody say so");
    assert_eq!(refused.kind(), ErrorKind::Invalid, "{refused:?}");
    let checked = engine::check(world.setup("check"), world.provider(), 1).await;
    assert!(checked.is_err_and(|error| error.to_string().contains("answer.reask_model")));
    assert_eq!(batches(&world), 0);
    world.job["answer"]["reask_model"] = "claude-haiku-4-5-20251001".into();
    world.run().await.expect("a run");
}

/// Where only the batch itself tells that there is no such model, another one is asked once the job names it.
#[tokio::test(flavor = "multi_thread")]
async fn a_slip_in_the_other_models_name_is_mended_by_another_run() {
    let mut world = world("openai", "invalid=0.4");
    world.job["answer"]["reask"] = 10.into();
    world.job["answer"]["reask_model"] = "gpt-nonexistent".into();
    let refused = try_run(&world).await.expect_err("no such model");
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused:?}");
    let billed = world.bill().total.requests_billed;
    assert_eq!(billed, REQUESTS);
    world.job["answer"]["reask_model"] = "gpt-6-sol".into();
    let report = run(&world).await;
    let counts = check(&world, &report);
    assert_eq!(counts, [("succeeded".to_owned(), 40)].into());
    let table = read_table(&world.path("out.parquet"));
    let by = |name: &str| {
        let models = table["label_model"].iter().flatten();
        models.filter(|model| *model == name).count()
    };
    assert_eq!(by("gpt-6-sol") + by("gpt-6-luna"), 40);
    assert!(by("gpt-6-sol") > 5);
    check_again(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_answer_is_asked_again_with_a_higher_limit_and_settles_its_request() {
    for vendor in VENDORS {
        let mut world = world(vendor, "");
        world.job["answer"]["answer"] = json!({ "type": "text" });
        world.job["model"]["max_output_tokens"] = 4.into();
        world.job["answer"]["grow_output_tokens"] = 2.0.into();
        let report = run(&world).await;
        assert_eq!(report.counts.of(RowStatus::Succeeded), 40, "{report:?}");
        let again = report.progress.asked_again;
        assert_eq!((again.grown, again.grow_succeeded), (REQUESTS, REQUESTS));
        let limits = chunks(&world).await.into_iter().map(|(_, variant, _)| {
            let Variant {
                growths,
                max_output_tokens,
                ..
            } = variant;
            (growths, max_output_tokens)
        });
        let limits: std::collections::BTreeSet<_> = limits.collect();
        assert_eq!(limits, [(0, None), (1, Some(8)), (2, Some(16))].into());
        assert_eq!(world.bill().total.requests_billed, 3 * REQUESTS);
        assert_eq!(cost(&world), paid(&world).await);
        check_again(&world).await;
        // Neither the settings nor another limit ask again what has its answer.
        world.job["answer"]["grow_output_tokens"] = serde_json::Value::Null;
        check_again(&world).await;
        for limit in [2, 64] {
            let before = world.bill();
            world.job["model"]["max_output_tokens"] = limit.into();
            let report = run(&world).await;
            assert_eq!((report.requests, report.answered), (0, 40), "{report:?}");
            assert_eq!(world.bill(), before);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_stays_cut_is_known_to_be_so_up_to_the_limit_that_it_grew_to() {
    let mut world = world("openai", "");
    world.job["answer"]["answer"] = json!({ "type": "text" });
    // Nobody knows its limit: it grows three times, to 8 tokens.
    world.job["model"]["model"] = "gpt-of-tomorrow".into();
    world.job["model"]["max_output_tokens"] = 1.into();
    world.job["answer"]["grow_output_tokens"] = 2.0.into();
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Truncated), 40, "{report:?}");
    assert_eq!(world.bill().total.requests_billed, 4 * REQUESTS);
    let ask = async |world: &mut World, limit: u32| {
        world.job["model"]["max_output_tokens"] = limit.into();
        world.job["answer"]["grow_output_tokens"] = serde_json::Value::Null;
        world.run().await.expect("a run").requests
    };
    assert_eq!(ask(&mut world, 1).await, 0);
    assert_eq!(ask(&mut world, 8).await, 0, "it was cut under this limit");
    assert_eq!(ask(&mut world, 64).await, REQUESTS);
    let table = read_table(&world.path("out.parquet"));
    assert!(table["label"].iter().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_kinds_of_bad_answers_end_and_every_token_is_in_the_sum() {
    // Whether some request was asked again for several reasons, in one world or another.
    let (mut twice, mut failed) = (false, false);
    let faults = "invalid=0.3,max_tokens=0.3,errored=0.15,refusal=0.04,filter=0.04,missing=0.05,duplicate=0.1,\
                  stranger=0.05,expire=0.05";
    for vendor in VENDORS {
        for keep in [true, false] {
            let mut world = world(vendor, faults);
            world.job["answer"]["reask"] = 3.into();
            world.job["answer"]["grow_output_tokens"] = 1.5.into();
            world.job["ledger"]["keep_prompts"] = keep.into();
            let report = run(&world).await;
            check(&world, &report);
            let chunks = chunks(&world).await;
            let has = |is_so: fn(&Variant) -> bool| chunks.iter().any(|(_, v, _)| is_so(v));
            twice |= has(|v| v.reasks > 0 && v.growths > 0);
            failed |= has(|v| v.failures > 0);
            assert!(!has(|v| v.reasks > 3 || v.failures > 2));
            assert_eq!(cost(&world), paid(&world).await, "{vendor}");
            let billed = world.bill().total;
            let paid_tokens: u64 = chunks
                .iter()
                .flat_map(|(.., l)| l)
                .map(|l| l.usage.output)
                .sum();
            assert_eq!(paid_tokens, billed.output_tokens);
            check_again(&world).await;
        }
    }
    assert!(twice && failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_published_as_invalid_stays_so_until_a_person_wants_it_otherwise() {
    let mut world = world("anthropic", "invalid=0.4");
    let report = run(&world).await;
    let invalid = report.counts.of(RowStatus::Invalid);
    assert!(invalid > 5 && report.progress.asked_again.is_none());
    let first = world.bill();
    world.job["answer"]["reask"] = 10.into();
    check_again(&world).await;
    // Nor is it asked again where the output has gone, or rows have come.
    std::fs::remove_file(world.path("out.parquet")).expect("removed");
    let report = run(&world).await;
    assert_eq!(report.counts.of(RowStatus::Invalid), invalid);
    assert_eq!(world.bill(), first);

    let wanted = Wanted {
        statuses: vec![RowStatus::Invalid],
        keys: Vec::new(),
    };
    engine::retry(world.setup("retry"), wanted)
        .await
        .expect("asked for");
    let report = run(&world).await;
    let counts = check(&world, &report);
    assert_eq!(counts, [("succeeded".to_owned(), 40)].into());
    check_again(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_has_a_status_of_its_own() {
    let world = world("openai", "filter=0.3,refusal=0.2");
    let report = run(&world).await;
    let counts = check(&world, &report);
    assert!(
        counts["filtered"] > 3 && counts["refused"] > 2,
        "{counts:?}"
    );
    let table = read_table(&world.path("out.parquet"));
    let at = table["label_status"]
        .iter()
        .position(|s| s.as_deref() == Some("filtered"));
    let at = at.expect("a filtered row");
    assert_eq!(table["label_finish"][at].as_deref(), Some("filter"));
    assert!(table["label_raw"][at].is_some());
    assert_eq!(cost(&world), paid(&world).await);
    check_again(&world).await;
    let wanted = Wanted {
        statuses: vec![RowStatus::Filtered],
        keys: Vec::new(),
    };
    let summary = engine::retry(world.setup("retry"), wanted)
        .await
        .expect("asked for");
    assert_eq!(summary.rows, counts["filtered"], "{summary:?}");
    // What has no word for a filter says that the model refused.
    let world = self::world("anthropic", "filter=0.3");
    let report = run(&world).await;
    assert!(check(&world, &report)["refused"] > 3);
}

/// Everything that was answered is kept, though the batch that asks again is canceled.
#[tokio::test(start_paused = true)]
async fn a_reask_that_comes_to_nothing_loses_no_answer() {
    for vendor in VENDORS {
        let config = SandboxConfig {
            faults: "invalid=0.4".parse().expect("faults"),
            ..taking(30, 40)
        };
        let mut world = World::paused(vendor, (40, 40), config);
        labels(&mut world);
        world.job["model"]["max_requests_per_batch"] = 40.into();
        world.job["answer"]["reask"] = 5.into();
        let setup = |command| world.setup(command);
        let submitted = engine::submit(setup("submit"), world.provider()).await;
        submitted.expect("submitted");
        // The first batch comes home, and the one that asks again goes out.
        while !is_asking_again(&world).await {
            let collected = engine::collect(setup("collect"), world.provider(), false).await;
            collected.expect("a pass");
            let clock = &world.components.clock;
            clock.sleep(std::time::Duration::from_mins(5)).await;
        }
        engine::cancel(setup("cancel")).await.expect("asked for");
        let report = engine::collect(setup("collect"), world.provider(), true).await;
        let report = report.expect("home");
        let counts = check(&world, &report);
        assert!(counts["invalid"] > 2, "{counts:?}");
        assert_eq!(counts["invalid"] + counts["succeeded"], 40, "{counts:?}");
        let table = read_table(&world.path("out.parquet"));
        let rows = table["label_status"].iter().zip(&table["label_raw"]);
        assert!(rows.into_iter().all(|(_, raw)| raw.is_some()));
        let sent = batches(&world);
        let again = run(&world).await;
        assert!(again.requests < 40 && batches(&world) > sent, "{again:?}");
    }
}

/// Whether the provider has a batch that asks about invalid answers.
async fn is_asking_again(world: &World) -> bool {
    let facts = facts(world).await;
    let chunk = facts.iter().find_map(|fact| match fact {
        Action::ChunkStored(stored) if stored.variant.reasks > 0 => Some(stored.chunk),
        _ => None,
    });
    let is_of = |fact: &Action| matches!(fact, Action::Promised(p) if Some(p.chunk) == chunk);
    let sent = facts.iter().rposition(is_of);
    let accepted = |at: usize| {
        facts[at..]
            .iter()
            .any(|fact| matches!(fact, Action::Accepted(_)))
    };
    chunk.is_some() && sent.is_some_and(accepted)
}
