//! The prompt caches, from outside: what usage and the bill say of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::{World, anthropic, openai};
use crate::emulator::SandboxConfig;

/// A text of so many tokens.
fn text(tokens: usize) -> String {
    "rule".repeat(tokens)
}

/// A sandbox whose batches take so many seconds.
fn taking(seconds: u64) -> World {
    let time = Duration::from_secs(seconds);
    World::new(SandboxConfig {
        batch_time: (time, time),
        ..SandboxConfig::default()
    })
}

fn marked(text: &str, mark: impl Into<Value>) -> Value {
    let mark: Value = mark.into();
    json!([{"type": "text", "text": text, "cache_control": mark}])
}

fn hour() -> Value {
    json!({"type": "ephemeral", "ttl": "1h"})
}

/// A batch of `count` rows behind `system`, when it has ended: tokens of plain input, read, and written.
async fn of(world: &World, model: &str, system: Value, count: usize) -> [u64; 3] {
    let id = begun(world, model, system, count).await;
    ended(world, &id).await
}

async fn begun(world: &World, model: &str, system: Value, count: usize) -> String {
    let request = |n: usize| {
        // One token of its own.
        json!({"custom_id": format!("r-{n}"), "params": {"model": model, "max_tokens": 64,
            "system": system, "messages": [{"role": "user", "content": "row"}]}})
    };
    let requests: Vec<_> = (0..count).map(request).collect();
    anthropic::create(world, json!({ "requests": requests })).await
}

async fn ended(world: &World, id: &str) -> [u64; 3] {
    world.step(10);
    let lines = anthropic::results(world, id).await;
    let mut sums = [0; 3];
    for line in lines {
        let usage = &line["result"]["message"]["usage"];
        let count = |name: &str| usage[name].as_u64().expect("a number");
        let own = [
            count("input_tokens"),
            count("cache_read_input_tokens"),
            count("cache_creation_input_tokens"),
        ];
        let by_life = &usage["cache_creation"];
        let minutes = by_life["ephemeral_5m_input_tokens"]
            .as_u64()
            .expect("a number");
        let hours = by_life["ephemeral_1h_input_tokens"]
            .as_u64()
            .expect("a number");
        assert_eq!(minutes + hours, own[2]);
        for (sum, more) in sums.iter_mut().zip(own) {
            *sum += more;
        }
    }
    sums
}

const HAIKU: &str = "claude-haiku-4-5";

#[tokio::test]
async fn requests_that_go_together_all_write_and_those_behind_them_read() {
    let world = taking(10);
    let system = || marked(&text(5000), hour());
    assert_eq!(of(&world, HAIKU, system(), 5).await, [5, 0, 25_000]);
    assert_eq!(of(&world, HAIKU, system(), 5).await, [5, 25_000, 0]);
    // Another text, another model, another account: nobody else's entry is read.
    let other = marked(&format!("{}!", text(5000)), hour());
    assert_eq!(of(&world, HAIKU, other, 1).await[1], 0);
    assert_eq!(of(&world, "claude-opus-4-5", system(), 1).await[1], 0);
    let stranger = World {
        key: "another",
        ..world
    };
    assert_eq!(of(&stranger, HAIKU, system(), 1).await, [1, 0, 5_000]);
}

#[tokio::test]
async fn an_entry_can_be_read_once_the_first_response_has_begun() {
    let world = taking(10);
    let system = || marked(&text(5000), hour());
    let first = begun(&world, HAIKU, system(), 1).await;
    // Its one request is begun after a second, and answered at the earliest 0.8 seconds later.
    let second = begun(&world, HAIKU, system(), 1).await;
    world.step(1);
    let third = begun(&world, HAIKU, system(), 1).await;
    assert_eq!(ended(&world, &first).await, [1, 0, 5_000]);
    assert_eq!(ended(&world, &second).await, [1, 0, 5_000]);
    assert_eq!(ended(&world, &third).await, [1, 5_000, 0]);
}

#[tokio::test]
async fn an_entry_lives_as_long_as_it_was_said_after_its_last_use() {
    for (mark, life) in [(json!({"type": "ephemeral"}), 300), (hour(), 3600)] {
        let world = taking(10);
        let system = || marked(&text(5000), mark.clone());
        // A batch begins its requests a second after it is made, and is looked at nine seconds later.
        assert_eq!(of(&world, HAIKU, system(), 1).await, [1, 0, 5_000]);
        world.step(life - 20);
        assert_eq!(of(&world, HAIKU, system(), 1).await, [1, 5_000, 0]);
        world.step(life - 20);
        assert_eq!(
            of(&world, HAIKU, system(), 1).await,
            [1, 5_000, 0],
            "the use before kept it"
        );
        world.step(life);
        assert_eq!(of(&world, HAIKU, system(), 1).await, [1, 0, 5_000]);
    }
}

#[tokio::test]
async fn what_is_short_or_not_marked_is_not_cached() {
    let world = taking(10);
    for _ in 0..2 {
        let least = marked(&text(4095), hour());
        assert_eq!(of(&world, HAIKU, least, 2).await, [2 * 4096, 0, 0]);
        assert_eq!(
            of(&world, HAIKU, json!(text(5000)), 2).await,
            [2 * 5001, 0, 0]
        );
    }
    let enough = marked(&text(4096), hour());
    assert_eq!(of(&world, HAIKU, enough, 2).await, [2, 0, 2 * 4096]);
    let less = marked(&text(512), hour());
    assert_eq!(
        of(&world, "claude-sonnet-5-5", less, 2).await,
        [2, 0, 2 * 512]
    );
}

#[tokio::test]
async fn a_large_batch_is_cold_only_at_its_beginning_unless_entries_die_before_it_goes_on() {
    let system = |mark| marked(&text(4096), mark);
    let world = taking(10_000);
    let id = begun(&world, HAIKU, system(hour()), 2500).await;
    world.step(10_000);
    // A thousand go together; the others find what those wrote.
    assert_eq!(ended(&world, &id).await, [2500, 1500 * 4096, 1000 * 4096]);
    // From one thousand to the next it takes 8,000 / 3 seconds, and five minutes are gone long before.
    let id = begun(&world, HAIKU, system(json!({"type": "ephemeral"})), 2500).await;
    world.step(10_000);
    assert_eq!(ended(&world, &id).await, [2500, 0, 2500 * 4096]);
}

#[tokio::test]
async fn a_primer_costs_less_than_no_cache_and_marks_without_one_cost_more() {
    let bill = async |world: &World| {
        let bill = world.bill().await;
        let count = |name: &str| bill[name].as_u64().expect("a number");
        (
            count("cache_read_tokens"),
            count("cache_write_tokens"),
            count("input_cost_thousandths"),
        )
    };
    let system = || marked(&text(5000), hour());
    let none = taking(10);
    of(&none, HAIKU, json!(text(5000)), 100).await;
    // 100 * 5,001 tokens.
    assert_eq!(bill(&none).await, (0, 0, 500_100_000));
    let naive = taking(10);
    of(&naive, HAIKU, system(), 100).await;
    // 100 * (1 + 5,000 * 2).
    assert_eq!(bill(&naive).await, (0, 500_000, 1_000_100_000));
    let primed = taking(10);
    of(&primed, HAIKU, system(), 1).await;
    of(&primed, HAIKU, system(), 99).await;
    // 100 + 5,000 * 2 + 99 * 5,000 * 0.1.
    assert_eq!(bill(&primed).await, (495_000, 5_000, 59_600_000));
}

#[tokio::test]
async fn marks_are_judged_as_the_vendor_does() {
    let world = taking(10);
    let check = async |system: Value, complaint: &str| {
        let id = begun(&world, HAIKU, system, 1).await;
        world.step(10);
        let lines = anthropic::results(&world, &id).await;
        let error = &lines[0]["result"]["error"]["error"];
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(complaint), "{lines:?}");
        assert_eq!(error["type"], "invalid_request_error");
    };
    check(marked("x", json!({"type": "forever"})), "'ephemeral'").await;
    check(
        marked("x", json!({"type": "ephemeral", "ttl": "2h"})),
        "'5m' or '1h'",
    )
    .await;
    check(marked("x", json!({"type": "ephemeral", "kind": 1})), "kind").await;
    check(marked("", hour()), "empty text blocks").await;
    let block = || marked("x", hour())[0].clone();
    check(
        json!([block(), block(), block(), block(), block()]),
        "maximum of 4 blocks",
    )
    .await;
    let four = json!([block(), block(), block(), block()]);
    assert_eq!(of(&world, HAIKU, four, 1).await, [2, 0, 0]);
}

#[tokio::test]
async fn turns_before_the_row_and_a_mark_at_the_top_are_cached_as_well() {
    let world = taking(10);
    let turns = |row: &str, mark: Value| {
        json!({"model": HAIKU, "max_tokens": 64, "system": text(4000), "messages": [
            {"role": "user", "content": text(50)},
            {"role": "assistant", "content": [{"type": "text", "text": text(50), "cache_control": mark}]},
            {"role": "user", "content": row},
        ]})
    };
    let batch = async |params: Vec<Value>| {
        let requests = params.into_iter().zip(0..);
        let requests: Vec<_> = requests
            .map(|(params, n)| json!({"custom_id": format!("r-{n}"), "params": params}))
            .collect();
        let id = anthropic::create(&world, json!({ "requests": requests })).await;
        ended(&world, &id).await
    };
    assert_eq!(batch(vec![turns("row", hour())]).await, [1, 0, 4100]);
    assert_eq!(
        batch(vec![turns("rows", hour()), turns("rowz", hour())]).await,
        [2, 8200, 0]
    );
    // At the top it is the row's own text that ends what is cached: no row reads another's.
    let top = |row: &str| {
        json!({"model": HAIKU, "max_tokens": 64, "system": text(5000), "cache_control": hour(),
            "messages": [{"role": "user", "content": row}]})
    };
    assert_eq!(batch(vec![top("one"), top("two")]).await, [0, 0, 2 * 5001]);
    assert_eq!(batch(vec![top("one"), top("six")]).await, [0, 5001, 5001]);
}

/// A batch of `count` rows of the `OpenAI` dialect, when it has ended: tokens of input, read, and written.
async fn chats(world: &World, model: &str, system: &str, more: &Value, count: usize) -> [u64; 3] {
    let line = |n: usize| {
        let mut body = json!({"model": model, "max_completion_tokens": 64, "messages": [
            {"role": "system", "content": system}, {"role": "user", "content": "row"}]});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        json!({"custom_id": format!("r-{n}"), "method": "POST", "url": openai::ENDPOINT, "body": body})
    };
    let lines: Vec<_> = (0..count).map(|n| line(n).to_string()).collect();
    let lines = lines.join("\n");
    let file = openai::upload(world, &lines).await;
    let id = openai::create_of(world, &file, openai::ENDPOINT).await;
    world.step(10);
    let mut sums = [0; 3];
    let batch = openai::batch(world, &id).await;
    for line in openai::file(world, &batch, "output_file_id").await {
        let usage = &line["response"]["body"]["usage"];
        let details = &usage["prompt_tokens_details"];
        sums[0] += usage["prompt_tokens"].as_u64().expect("a number");
        sums[1] += details["cached_tokens"].as_u64().expect("a number");
        sums[2] += details["cache_write_tokens"].as_u64().unwrap_or_default();
    }
    sums
}

#[tokio::test]
async fn the_other_dialect_caches_by_itself_in_steps_and_says_what_it_charges_for() {
    let world = taking(10);
    let none = json!({});
    // 1,100 tokens are eight steps of 128, and 76 more.
    let long = text(1100);
    let luna = "gpt-6-luna";
    assert_eq!(
        chats(&world, luna, &long, &none, 3).await,
        [3303, 0, 3 * 1024]
    );
    assert_eq!(
        chats(&world, luna, &long, &none, 3).await,
        [3303, 3 * 1024, 0]
    );
    let key = json!({"prompt_cache_key": "mine"});
    assert_eq!(
        chats(&world, luna, &long, &key, 1).await[1],
        0,
        "another key, another entry"
    );
    assert_eq!(chats(&world, luna, &long, &key, 1).await[1], 1024);
    let off = json!({"prompt_cache_options": {"mode": "explicit"}});
    assert_eq!(chats(&world, luna, &long, &off, 2).await, [2202, 0, 0]);
    assert_eq!(
        chats(&world, luna, &text(1023), &none, 2).await,
        [2048, 0, 0]
    );
    // Half an hour later it is gone.
    world.step(1800);
    assert_eq!(chats(&world, luna, &long, &none, 1).await[1], 0);
    // Older models want 2,048 tokens, and take nothing for writing.
    let mini = "gpt-5-mini";
    let longer = text(2100);
    assert_eq!(chats(&world, mini, &long, &none, 1).await, [1101, 0, 0]);
    assert_eq!(chats(&world, mini, &longer, &none, 2).await, [4202, 0, 0]);
    assert_eq!(
        chats(&world, mini, &longer, &none, 2).await,
        [4202, 4096, 0]
    );
}

#[tokio::test]
async fn options_of_the_cache_are_judged() {
    let world = taking(10);
    let complaint = async |model: &str, more: Value| {
        let mut body = json!({"model": model, "messages": [{"role": "user", "content": "row"}]});
        body["prompt_cache_options"] = more;
        let reply = world.openai("POST", "/chat/completions", body).await;
        (reply.status, reply.json()["error"]["param"].clone())
    };
    let luna = "gpt-6-luna";
    assert_eq!(complaint(luna, json!({"mode": "explicit"})).await.0, 200);
    assert_eq!(
        complaint(luna, json!({"mode": "never"})).await,
        (400, json!("prompt_cache_options.mode"))
    );
    assert_eq!(complaint(luna, json!({"ttl": "1h"})).await.0, 400);
    assert_eq!(complaint(luna, json!({"mood": "explicit"})).await.0, 400);
    assert_eq!(
        complaint("gpt-5-mini", json!({"mode": "explicit"})).await,
        (400, json!("prompt_cache_options"))
    );
}
