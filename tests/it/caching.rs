//! Prompt caching that pays: who goes first, what is marked, and what it costs by the sandbox's own bill.

use std::time::Duration;

use columnist::emulator::{Bill, SandboxConfig};
use columnist::engine::{self, Awaits, Report};
use columnist::ledger::action::{Action, Landed, Promised};
use columnist::work::CacheUse;
use serde_json::{Value, json};

use crate::shell::Shell;
use crate::world::{World, check_file, facts, taking, write_table};

/// A rubric of so many tokens, which all rows share.
fn rubric(tokens: usize) -> String {
    "rule".repeat(tokens)
}

/// Sixty tickets in batches of twenty-five at most, behind a rubric of 5,000 tokens; batches take ten
/// minutes.
fn world(vendor: &'static str) -> World {
    sharing(vendor, 60, 25, taking(10, 10))
}

fn sharing(vendor: &'static str, rows: usize, chunk: usize, config: SandboxConfig) -> World {
    let mut world = World::paused(vendor, (rows, chunk), config);
    world.job["prompt"]["system"] = rubric(5000).into();
    // What it costs is known of the vendor's own service.
    world.job["model"]["service"] = vendor.into();
    world
}

async fn run(world: &World) -> Report {
    let provider = world.provider_as(world.vendor, "sk-test", Some(world.vendor));
    let report = engine::run(world.setup("run"), provider).await;
    report.expect("a run")
}

/// What was sent and what came home, in order: batches by their requests and what these said of the cache.
async fn story(world: &World) -> Vec<(&'static str, u64, Option<CacheUse>)> {
    let facts = facts(world).await;
    let promised = |id: &str| {
        let find = |fact: &Action| match fact {
            Action::Promised(promised) if promised.attempt == id => Some(promised.clone()),
            _ => None,
        };
        facts.iter().find_map(find).expect("it was promised")
    };
    let tell = |what, promised: &Promised| (what, promised.requests, promised.cache);
    let told = facts.iter().filter_map(|fact| match fact {
        Action::Promised(promised) => Some(tell("sent", promised)),
        Action::Landed(landed) => Some(tell("home", &promised(&landed.attempt))),
        _ => None,
    });
    told.collect()
}

async fn landed(world: &World) -> Vec<Landed> {
    let facts = facts(world).await.into_iter();
    let landed = facts.filter_map(|fact| match fact {
        Action::Landed(landed) => Some(*landed),
        _ => None,
    });
    landed.collect()
}

fn bodies(count: usize) -> Vec<Option<String>> {
    (0..count).map(|n| Some(format!("ticket {n}"))).collect()
}

const HOUR: Option<CacheUse> = Some(CacheUse::Hour);

#[tokio::test(start_paused = true)]
async fn one_row_goes_first_and_the_others_read_what_it_left() {
    let world = world("anthropic");
    let report = run(&world).await;
    check_file(&world, &world.path("out.parquet"), &bodies(60));
    let story = story(&world).await;
    assert_eq!(story[..2], [("sent", 1, HOUR), ("home", 1, HOUR)]);
    let sent: Vec<_> = story.iter().filter(|(what, ..)| *what == "sent").collect();
    assert_eq!(sent.len(), 4, "the primer and three batches");
    assert!(
        story.iter().all(|(_, _, cache)| *cache == HOUR),
        "{story:?}"
    );
    let usage = report.usage;
    assert_eq!(
        (usage.cache_write_1h, usage.cache_write_5m, usage.cache_read),
        (5_000, 0, 59 * 5_000)
    );
    // Of 60 * 5,000 tokens and about 6 of each row's own, 59 * 5,000 were read.
    assert_eq!(usage.hit_percent(), 98);
    // Without a cache 300,000 tokens at 0.5 uUSD; with it 5,000 at 1.0 and 295,000 at 0.05.
    assert_eq!(report.cache_saved_micros, 150_000 - 5_000 - 14_750);
    let by_chunk: Vec<_> = landed(&world).await;
    // The primer lost 5,000 * 0.5; each of the others saves 5,000 * 0.45.
    assert_eq!(by_chunk[0].cache_saved_micros, Some(-2_500));
    let saved: i64 = by_chunk
        .iter()
        .filter_map(|one| one.cache_saved_micros)
        .sum();
    assert_eq!(saved, report.cache_saved_micros);
    assert!(by_chunk.iter().all(|one| one.ended_at.is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_body_is_as_long_as_its_marks_make_it() {
    let world = world("anthropic");
    run(&world).await;
    let text = rubric(5000);
    let mark = json!({ "type": "ephemeral", "ttl": "1h" });
    let block = json!([{ "type": "text", "text": text, "cache_control": mark }]);
    let longer = (block.to_string().len() - json!(text).to_string().len()) as u64;
    let facts = facts(&world).await;
    let plain = |chunk| {
        let find = |fact: &Action| match fact {
            Action::ChunkStored(stored) if stored.chunk == chunk => Some(stored.body_bytes),
            _ => None,
        };
        facts.iter().find_map(find).expect("it was stored")
    };
    let mut seen = 0;
    for fact in &facts {
        if let Action::Promised(promised) = fact {
            let expected = plain(promised.chunk) + promised.requests * longer;
            assert_eq!(promised.body_bytes, expected, "{promised:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 4);
}

/// What the sandbox charges for sixty rows: what `set` makes of the job.
async fn bill_of(set: impl FnOnce(&mut Value)) -> Bill {
    let mut world = world("anthropic");
    set(&mut world.job);
    run(&world).await;
    check_file(&world, &world.path("out.parquet"), &bodies(60));
    world.bill()
}

#[tokio::test(start_paused = true)]
#[expect(
    clippy::print_stdout,
    reason = "the figures, for whoever asks for them with --nocapture"
)]
async fn priming_costs_less_than_no_cache_and_marks_alone_cost_more() {
    let none = bill_of(|job| job["prompt"]["cache"] = "off".into()).await;
    // As others do it: a mark in each request, and all at once.
    let naive = bill_of(|job| {
        let mark = json!({ "type": "ephemeral", "ttl": "1h" });
        let block = json!({ "type": "text", "text": rubric(5000), "cache_control": mark });
        job["prompt"]["system"] = Value::Null;
        job["model"]["params"] = json!({ "system": [block] });
    })
    .await;
    let primed = bill_of(|_| ()).await;
    for (name, bill) in [("none", &none), ("naive", &naive), ("primed", &primed)] {
        let total = &bill.total;
        println!(
            "{name:<7} {} in ({} read, {} written), as {} tokens at the full price",
            total.input_tokens,
            total.cache_read_tokens,
            total.cache_write_tokens,
            total.input_cost_thousandths / 1000
        );
    }
    assert_eq!(none.total.input_tokens, primed.total.input_tokens);
    assert_eq!(naive.total.cache_read_tokens, 0, "all began together");
    assert_eq!(naive.total.cache_write_tokens, 60 * 5_000);
    let cost = |bill: &Bill| bill.total.input_cost_thousandths;
    // The rows' own tokens cost the same in all three.
    let own = cost(&none) - 60 * 5_000 * 1_000;
    assert_eq!(cost(&naive), own + 60 * 5_000 * 2_000);
    assert_eq!(cost(&primed), own + 5_000 * 2_000 + 59 * 5_000 * 100);
    assert!(cost(&primed) * 4 < cost(&none), "most of it is saved");
    assert_eq!(primed.total.requests_billed, 60);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_the_cache_is_in_no_key_and_asks_nothing_again() {
    let mut world = world("anthropic");
    world.job["prompt"]["cache"] = "off".into();
    run(&world).await;
    let before = world.bill();
    for cache in ["auto", "1h", "5m"] {
        world.job["prompt"]["cache"] = cache.into();
        let again = run(&world).await;
        assert!(again.unchanged, "{again:?}");
    }
    // Nor where the plan is another one: the rows have their answers.
    world.job["output"]["path"] = world.path("two.parquet").display().to_string().into();
    world.job["source"]["limit"] = 60.into();
    world.job["prompt"]["cache"] = "auto".into();
    run(&world).await;
    assert_eq!(world.bill(), before);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_gains_nothing_sends_what_it_always_sent() {
    let few = sharing("anthropic", 8, 25, taking(10, 10));
    run(&few).await;
    assert_eq!(story(&few).await, [("sent", 8, None), ("home", 8, None)]);
    let mut short = world("anthropic");
    short.job["prompt"]["system"] = "You label.".into();
    run(&short).await;
    let sent = story(&short).await;
    assert!(sent.iter().all(|(_, _, cache)| cache.is_none()), "{sent:?}");
    assert_eq!(sent[0].1, 25, "no row goes first");
    // A log that says nothing of caches reads as those of older versions do.
    let log = std::fs::read_dir(short.path("_columnist/triage/log")).expect("a log");
    for commit in log.map(|entry| entry.expect("a file").path()) {
        let text = std::fs::read_to_string(&commit).expect("text");
        assert!(
            !text.contains("cache\":") && !text.contains("primer"),
            "{text}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_primer_that_fails_is_followed_by_another_and_then_by_none() {
    // Every request fails in passing.
    let config = SandboxConfig {
        faults: "errored=1.0".parse().expect("faults"),
        ..taking(10, 10)
    };
    let mut world = sharing("anthropic", 20, 25, config);
    world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
    run(&world).await;
    let story = story(&world).await;
    let sent: Vec<_> = story
        .iter()
        .filter(|(what, ..)| *what == "sent")
        .map(|(_, requests, cache)| (*requests, *cache))
        .collect();
    assert_eq!(sent[..3], [(1, HOUR), (1, HOUR), (18, None)], "{sent:?}");
    assert!(
        sent[3..].iter().all(|(_, cache)| cache.is_none()),
        "{sent:?}"
    );
}

/// `columnist submit`, and then `collect` after so many minutes each.
async fn in_passes(world: &World, minutes: &[u64]) -> Vec<Option<Awaits>> {
    let provider = || world.provider_as(world.vendor, "sk-test", Some(world.vendor));
    let submitted = engine::submit(world.setup("submit"), provider()).await;
    let mut awaits = vec![submitted.expect("a submission").awaits];
    for pause in minutes {
        let clock = &world.components.clock;
        clock.sleep(Duration::from_mins(*pause)).await;
        let report = engine::collect(world.setup("collect"), provider(), false).await;
        awaits.push(report.expect("a pass").awaits);
    }
    awaits
}

#[tokio::test(start_paused = true)]
async fn passes_that_come_soon_enough_read_the_entry() {
    let world = world("anthropic");
    let awaits = in_passes(&world, &[11, 11]).await;
    assert_eq!(awaits, [Some(Awaits::Primer), None, None]);
    let bill = world.bill().total;
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (5_000, 59 * 5_000)
    );
}

#[tokio::test(start_paused = true)]
async fn passes_that_come_too_late_cost_no_more_than_no_cache_but_for_two_primers() {
    let world = world("anthropic");
    let awaits = in_passes(&world, &[120, 120, 120]).await;
    let primer = Some(Awaits::Primer);
    assert_eq!(awaits, [primer, primer, None, None]);
    let bill = world.bill().total;
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (10_000, 0)
    );
    assert_eq!(bill.requests_billed, 60);
    check_file(&world, &world.path("out.parquet"), &bodies(60));
}

#[tokio::test(start_paused = true)]
async fn five_minutes_are_enough_where_batches_are_quick_and_given_up_where_they_are_not() {
    for (minutes, written, read) in [(2, 5_000, 59 * 5_000), (10, 10_000, 0)] {
        let mut world = sharing("anthropic", 60, 25, taking(minutes, minutes));
        world.job["prompt"]["cache"] = "5m".into();
        run(&world).await;
        let bill = world.bill().total;
        let cached = (bill.cache_write_tokens, bill.cache_read_tokens);
        assert_eq!(cached, (written, read), "batches of {minutes} minutes");
        assert_eq!(bill.requests_billed, 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_primer_is_renewed_for_what_is_sent_when_its_life_is_over() {
    // The queue takes one batch, and whoever collects comes late the third time.
    let mut config = taking(10, 10);
    config.anthropic.queue_requests_max = Some(26);
    let mut world = sharing("anthropic", 60, 25, config);
    world.job["model"]["max_enqueued"] = 26.into();
    in_passes(&world, &[11, 180, 11, 11, 11]).await;
    check_file(&world, &world.path("out.parquet"), &bodies(60));
    let sent: Vec<_> = story(&world)
        .await
        .into_iter()
        .filter(|(what, ..)| *what == "sent")
        .map(|(_, requests, cache)| (requests, cache))
        .collect();
    assert_eq!(sent[..3], [(1, HOUR), (25, HOUR), (1, HOUR)], "{sent:?}");
    let bill = world.bill().total;
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (10_000, 58 * 5_000)
    );
    assert_eq!((bill.requests_billed, bill.requests_accepted), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn a_trial_of_a_new_shape_is_the_primer() {
    let mut world = world("anthropic");
    // What counting tokens cannot tell.
    world.job["model"]["params"] = json!({ "metadata": { "user_id": "u" } });
    run(&world).await;
    let story = story(&world).await;
    assert_eq!(story[..2], [("sent", 3, HOUR), ("home", 3, HOUR)]);
    let bill = world.bill().total;
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (15_000, 57 * 5_000)
    );
}

#[tokio::test(start_paused = true)]
async fn examples_are_cached_with_the_system_prompt() {
    let mut world = world("anthropic");
    world.job["prompt"]["examples"] =
        json!([{ "user": "Label this: x", "assistant": "y".repeat(400) }]);
    run(&world).await;
    let bill = world.bill().total;
    // 5,000 tokens of rules, and 13 and 400 bytes of an example: 20,413 bytes are 5,104 tokens.
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (5_104, 59 * 5_104)
    );
}

#[tokio::test(start_paused = true)]
async fn at_the_other_vendor_requests_bear_a_key_and_none_goes_first() {
    let mut world = world("openai");
    run(&world).await;
    let first = story(&world).await;
    assert_eq!(first[0], ("sent", 25, Some(CacheUse::Key)));
    assert!(
        first
            .iter()
            .all(|(_, _, cache)| *cache == Some(CacheUse::Key))
    );
    check_file(&world, &world.path("out.parquet"), &bodies(60));
    // Later rows of the same shape meet what the first ones left.
    let more = bodies(80);
    write_table(&world.path("in.parquet"), &more, 64);
    run(&world).await;
    // 5,000 tokens are 39 steps of 128: 4,992. All of the first sixty wrote, within half an hour before.
    let bill = world.bill().total;
    assert_eq!(
        (bill.cache_write_tokens, bill.cache_read_tokens),
        (60 * 4_992, 20 * 4_992)
    );
    // A model that charges for what is written is told to leave it.
    world.job["prompt"]["cache"] = "off".into();
    write_table(&world.path("in.parquet"), &bodies(90), 64);
    run(&world).await;
    let after = world.bill().total;
    assert_eq!(after.cache_write_tokens, bill.cache_write_tokens);
    assert_eq!(after.cache_read_tokens, bill.cache_read_tokens);
    assert_eq!(after.requests_billed, 90);
    let story = story(&world).await;
    assert_eq!(story.last().expect("sent").2, Some(CacheUse::Off));
}

#[tokio::test(start_paused = true)]
async fn a_life_that_the_provider_does_not_offer_is_refused_before_any_spend() {
    let mut world = world("openai");
    world.job["prompt"]["cache"] = "1h".into();
    for done in [
        engine::check(world.setup("check"), world.provider(), 1)
            .await
            .map(|_| ()),
        engine::plan(world.setup("plan"), world.provider())
            .await
            .map(|_| ()),
        world.run().await.map(|_| ()),
    ] {
        let error = done.expect_err("no such life");
        assert!(error.to_string().contains("prompt.cache"), "{error}");
        assert!(error.hint_text().is_some_and(|hint| hint.contains("auto")));
    }
    assert_eq!(world.bill().total.batches_created, 0);
}

#[tokio::test(start_paused = true)]
async fn a_plan_says_what_it_does_about_the_cache_and_why() {
    let mut world = world("anthropic");
    let service = |world: &World| world.provider_as(world.vendor, "sk-test", Some(world.vendor));
    let plan = engine::plan(world.setup("plan"), service(&world))
        .await
        .expect("a plan");
    assert_eq!((plan.cache.uses, plan.cache.primer), (HOUR, 1));
    // 60 requests plain: 150,000 uUSD. Cached: 5,000 for the primer and 59 * 725 behind it.
    assert_eq!(plan.cache.saved_micros, Some(150_000 - 5_000 - 42_775));
    assert_eq!(plan.chunks, 4);
    let auto = plan.expected_micros.expect("known");
    assert_eq!(plan.worst_micros.map(|worst| worst > auto), Some(true));
    world.job["prompt"]["cache"] = "off".into();
    let off = engine::plan(world.setup("plan"), service(&world))
        .await
        .expect("a plan");
    assert_eq!(off.expected_micros, Some(auto + 102_225));
    assert_eq!((off.cache.uses, off.chunks), (None, 3));
    assert!(off.cache.why.contains("off"));
    assert!(plan.worst_micros > off.worst_micros, "all may write");
}

#[tokio::test(start_paused = true)]
async fn of_a_service_whose_prices_nobody_knows_no_money_is_said() {
    let mut world = world("anthropic");
    let why = async |world: &World, service| {
        let provider = world.provider_as(world.vendor, "sk-test", service);
        let plan = engine::plan(world.setup("plan"), provider).await;
        let plan = plan.expect("a plan");
        if plan.unpriced.is_some() {
            assert_eq!((plan.expected_micros, plan.worst_micros), (None, None));
            assert_eq!(
                (plan.cache.saved_micros, plan.cache.extra_micros),
                (None, 0)
            );
        }
        plan.unpriced.unwrap_or_default()
    };
    assert_eq!(why(&world, Some("anthropic")).await, "");
    let elsewhere =
        "the requests go to http://sandbox, and this version knows what the vendor itself takes";
    assert_eq!(why(&world, None).await, elsewhere);
    world.job["model"]["base_url"] = "http://sandbox/anthropic".into();
    world.job["model"]["service"] = Value::Null;
    let by_url =
        "`base_url` leads to http://sandbox, and this version knows what the vendor itself takes";
    assert_eq!(why(&world, None).await, by_url);
    world.job["model"]["model"] = "claude-next".into();
    let unlisted = "this version has no price for the model claude-next";
    for service in [None, Some("anthropic")] {
        assert_eq!(why(&world, service).await, unlisted);
    }
}

#[tokio::test(start_paused = true)]
async fn instructions_that_stand_in_each_rows_own_prompt_are_noticed() {
    let of = async |vendor| {
        let mut world = world(vendor);
        world.job["prompt"]["system"] = "You label.".into();
        world.job["prompt"]["user"] = format!("{}{{{{ body }}}}", rubric(5000)).into();
        let provider = world.provider_as(vendor, "sk-test", Some(vendor));
        let plan = engine::plan(world.setup("plan"), provider).await;
        plan.expect("a plan")
    };
    let marked = of("anthropic").await;
    assert_eq!(marked.cache.uses, None);
    let notes = marked.notes.join(" ");
    assert!(
        notes.contains("in `prompt.system` it could be cached"),
        "{notes}"
    );
    // Who caches by itself finds it wherever it stands.
    let automatic = of("openai").await;
    assert_eq!(automatic.cache.uses, Some(CacheUse::Key));
    assert!(!automatic.notes.join(" ").contains("prompt.system"));
}

#[tokio::test(start_paused = true)]
async fn a_plan_counts_the_tokens_of_the_examples() {
    let mut world = world("anthropic");
    let tokens = async |world: &World| {
        let plan = engine::plan(world.setup("plan"), world.provider()).await;
        plan.expect("a plan").input_tokens
    };
    let before = tokens(&world).await;
    world.job["prompt"]["examples"] =
        json!([{ "user": "u".repeat(80), "assistant": "a".repeat(307) }]);
    // 80 and 307 bytes, and 13 of the names of their roles, are 100 tokens more in each of 60 requests.
    assert_eq!(tokens(&world).await, before + 6_000);
}

/// What `columnist plan` says, and writes with `-o`, of sixty rows behind so many tokens.
fn planned(tokens: usize, args: &[&str]) -> (String, Value) {
    let mut shell = Shell::new();
    write_table(&shell.path("in.parquet"), &bodies(60), 64);
    shell.write("rubric.md", rubric(tokens));
    shell.set("ANTHROPIC_API_KEY", "sk-test");
    let job = [
        "plan",
        "-o",
        "plan.json",
        "--table",
        "in.parquet",
        "--key",
        "id",
        "--system-file",
        "rubric.md",
        "--prompt",
        "Label this: {{ body }}",
        "--column",
        "label",
        "--output",
        "out.parquet",
        "--model",
        "anthropic/claude-haiku-4-5",
    ];
    let ran = shell.call(&[&job, args].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let saved = std::fs::read(shell.path("plan.json")).expect("a plan");
    let saved: Value = serde_json::from_slice(&saved).expect("JSON");
    let line = ran.stdout.lines().find(|line| line.starts_with("cache "));
    (line.expect("a line").to_owned(), saved["cache"].clone())
}

#[test]
fn the_words_of_a_plan_are_those_of_its_json() {
    let (line, json) = planned(5000, &[]);
    let why = "one request goes first and writes what all share; 90 % of the others are expected to read \
               it, at 10 % of the price of input";
    assert_eq!(
        line,
        format!("cache       about 5000 tokens, for 1h, saves about $0.10: {why}")
    );
    assert_eq!(
        json,
        json!({
            "use": "1h", "prefix_tokens": 5000, "cached_from_tokens": 4096, "primer_requests": 1,
            "expected_saving_usd": 0.102_225, "why": why,
        })
    );
    let (line, json) = planned(50, &[]);
    let why = "all requests share about 50 tokens, and claude-haiku-4-5 caches from 4096 on";
    assert_eq!(line, format!("cache       nothing: {why}"));
    assert_eq!((&json["use"], &json["why"]), (&Value::Null, &json!(why)));
    let (line, _) = planned(50, &["--set", "prompt.cache=1h"]);
    assert!(
        line.contains("for 1h") && line.contains("it may do nothing"),
        "{line}"
    );
}
