use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};

use super::{World, by_id, choice, choice_schema, draw, ids};
use crate::emulator::{AnthropicLimits, SandboxConfig};

const BATCHES: &str = "/v1/messages/batches";

fn params(text: &str) -> Value {
    json!({"model": "claude-haiku-4-5", "max_tokens": 64,
        "messages": [{"role": "user", "content": text}]})
}

pub(super) fn requests(count: usize) -> Value {
    let request = |n| {
        let mut params = params(&format!("row {n}"));
        params["output_config"] =
            json!({"format": {"type": "json_schema", "schema": choice_schema()}});
        json!({"custom_id": format!("r-{n}"), "params": params})
    };
    json!({"requests": (0..count).map(request).collect::<Vec<_>>()})
}

pub(super) async fn create(world: &World, body: Value) -> String {
    let created = world.anthropic("POST", BATCHES, body).await;
    assert_eq!(created.status, 200, "{created:?}");
    created.json()["id"].as_str().expect("an id").to_owned()
}

pub(super) async fn results(world: &World, id: &str) -> Vec<Value> {
    world
        .anthropic("GET", &format!("{BATCHES}/{id}/results"), Value::Null)
        .await
        .lines()
}

async fn batch(world: &World, id: &str) -> Value {
    world
        .anthropic("GET", &format!("{BATCHES}/{id}"), Value::Null)
        .await
        .json()
}

#[tokio::test]
async fn a_batch_ends_with_every_answer_by_the_rule_in_another_order() {
    let world = World::new(SandboxConfig::default());
    let id = create(&world, requests(300)).await;
    let open = batch(&world, &id).await;
    assert_eq!(open["processing_status"], "in_progress");
    assert_eq!(open["request_counts"]["processing"], 300);
    assert_eq!(open["results_url"], Value::Null);
    let path = format!("{BATCHES}/{id}/results");
    assert_eq!(
        world.anthropic("GET", &path, Value::Null).await.error(404)["type"],
        "not_found_error"
    );
    world.step(3);
    let ended = batch(&world, &id).await;
    assert_eq!(ended["processing_status"], "ended");
    assert_eq!(ended["request_counts"]["succeeded"], 300);
    assert_eq!(
        ended["results_url"],
        format!("http://sandbox:1/anthropic{path}")
    );
    let lines = results(&world, &id).await;
    let sent: Vec<_> = (0..300).map(|n| format!("r-{n}")).collect();
    // Neither as sent nor the other way round.
    assert_ne!(ids(&lines), sent);
    assert!(ids(&lines).iter().rev().ne(sent.iter()));
    let lines = by_id(&lines);
    for n in 0..300 {
        let message = &lines[&format!("r-{n}")]["result"]["message"];
        assert_eq!(message["content"][0]["text"], choice(&format!("row {n}")));
        assert_eq!(message["usage"]["service_tier"], "batch");
    }
}

#[tokio::test]
async fn parameters_are_judged_when_the_batch_has_ended() {
    let world = World::new(SandboxConfig::default());
    let mut body = requests(4);
    body["requests"][0]["params"]["temperature"] = json!(0.5);
    body["requests"][1]["params"]["model"] = json!("claude-nonexistent");
    body["requests"][2]["params"]["messages"] = json!("hello");
    let id = create(&world, body).await;
    world.step(3);
    assert_eq!(batch(&world, &id).await["request_counts"]["errored"], 3);
    let lines = by_id(&results(&world, &id).await);
    let error = |id: &str| lines[id]["result"]["error"]["error"].clone();
    assert_eq!(lines["r-0"]["result"]["type"], "errored");
    assert_eq!(lines["r-0"]["result"]["error"]["type"], "error");
    assert_eq!(error("r-0")["type"], "invalid_request_error");
    assert_eq!(error("r-1")["type"], "not_found_error");
    assert_eq!(error("r-2")["type"], "invalid_request_error");
    assert_eq!(world.bill().await["requests_billed"], 1);
}

#[tokio::test]
async fn an_envelope_is_refused_at_once() {
    let limits = AnthropicLimits {
        requests_max: 3,
        body_bytes_max: 2_000,
        ..Default::default()
    };
    let world = World::new(SandboxConfig {
        anthropic: limits,
        ..Default::default()
    });
    let check = async |body: Value, part: &str| {
        let error = world.anthropic("POST", BATCHES, body).await.error(400);
        assert_eq!(error["type"], "invalid_request_error");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains(part)),
            "{error}"
        );
    };
    let one = |id: &str| json!({"custom_id": id, "params": params("x")});
    check(json!({}), "requests: Field required").await;
    check(json!({"requests": []}), "at least 1 item").await;
    check(
        json!({"requests": [{"custom_id": "a"}]}),
        "requests.0.params: Field required",
    )
    .await;
    check(json!({"requests": [one("a b")]}), "match pattern").await;
    check(
        json!({"requests": [one("a"), one(&"b".repeat(65))]}),
        "requests.1.custom_id",
    )
    .await;
    check(json!({"requests": [one("a"), one("a")]}), "not unique").await;
    check(
        json!({"requests": [one("a"), one("b"), one("c"), one("d")]}),
        "at most 3 items",
    )
    .await;
    let large = json!({"requests": [{"custom_id": "a", "params": params(&"x".repeat(2_000))}]});
    let error = world.anthropic("POST", BATCHES, large).await.error(413);
    assert_eq!(error["type"], "request_too_large");
    assert_eq!(world.bill().await["batches_created"], 0);
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_was_done() {
    let time = Duration::from_secs(100);
    let world = World::new(SandboxConfig {
        batch_time: (time, time),
        ..Default::default()
    });
    let id = create(&world, requests(400)).await;
    world.step(50);
    let path = format!("{BATCHES}/{id}/cancel");
    let canceling = world.anthropic("POST", &path, Value::Null).await.json();
    assert_eq!(canceling["processing_status"], "canceling");
    assert_eq!(canceling["request_counts"]["processing"], 400);
    world.step(11);
    let counts = batch(&world, &id).await["request_counts"].clone();
    let count = |name: &str| counts[name].as_u64().expect("a count");
    // Half of its time has passed, so about half of its requests are done.
    assert!((150..250).contains(&count("succeeded")), "{counts}");
    assert_eq!(count("succeeded") + count("canceled"), 400);
    let lines = results(&world, &id).await;
    let done = lines
        .iter()
        .filter(|line| line["result"]["type"] == "succeeded")
        .count() as u64;
    assert_eq!((done, lines.len()), (count("succeeded"), 400));
    assert_eq!(world.bill().await["requests_billed"], done);
    assert_eq!(
        world.anthropic("POST", &path, Value::Null).await.status,
        400
    );
}

#[tokio::test]
async fn a_batch_expires_after_a_day_and_its_results_after_29() {
    let time = Duration::from_hours(48);
    let world = World::new(SandboxConfig {
        batch_time: (time, time),
        ..Default::default()
    });
    let id = create(&world, requests(200)).await;
    world.step(24 * 3600 - 1);
    assert_eq!(batch(&world, &id).await["processing_status"], "in_progress");
    world.step(1);
    let ended = batch(&world, &id).await;
    assert_eq!(ended["processing_status"], "ended");
    let expired = ended["request_counts"]["expired"]
        .as_u64()
        .expect("a count");
    assert!((60..140).contains(&expired), "{ended}");
    let lines = results(&world, &id).await;
    let found = lines
        .iter()
        .filter(|line| line["result"]["type"] == "expired")
        .count() as u64;
    assert_eq!(found, expired);
    world.step(28 * 24 * 3600);
    let archived = batch(&world, &id).await;
    assert!(archived["archived_at"].is_string() && archived["results_url"].is_null());
    let path = format!("{BATCHES}/{id}/results");
    assert_eq!(world.anthropic("GET", &path, Value::Null).await.status, 404);
}

#[tokio::test]
async fn lists_go_from_new_to_old_and_show_a_key_its_own() {
    let mut world = World::new(SandboxConfig::default());
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(create(&world, requests(1)).await);
    }
    made.reverse();
    let page = world
        .anthropic("GET", &format!("{BATCHES}?limit=2"), Value::Null)
        .await
        .json();
    assert_eq!(
        (&page["first_id"], &page["last_id"]),
        (&json!(made[0]), &json!(made[1]))
    );
    assert_eq!(page["has_more"], true);
    let path = format!("{BATCHES}?limit=3&after_id={}", made[1]);
    let page = world.anthropic("GET", &path, Value::Null).await.json();
    assert_eq!(
        (&page["last_id"], &page["has_more"]),
        (&json!(made[4]), &json!(false))
    );
    let path = format!("{BATCHES}?limit=1&before_id={}", made[2]);
    let page = world.anthropic("GET", &path, Value::Null).await.json();
    assert_eq!(
        (&page["first_id"], &page["has_more"]),
        (&json!(made[1]), &json!(true))
    );
    assert_eq!(
        world
            .anthropic("GET", &format!("{BATCHES}?limit=1001"), Value::Null)
            .await
            .status,
        400
    );
    let path = format!("{BATCHES}/{}", made[0]);
    assert_eq!(
        world.anthropic("DELETE", &path, Value::Null).await.status,
        400
    );
    world.step(3);
    let deleted = world.anthropic("DELETE", &path, Value::Null).await.json();
    assert_eq!(deleted["type"], "message_batch_deleted");
    assert_eq!(world.anthropic("GET", &path, Value::Null).await.status, 404);
    world.key = "another-key";
    let page = world.anthropic("GET", BATCHES, Value::Null).await.json();
    assert_eq!(
        (&page["data"], &page["first_id"]),
        (&json!([]), &Value::Null)
    );
    let path = format!("{BATCHES}/{}", made[1]);
    assert_eq!(world.anthropic("GET", &path, Value::Null).await.status, 404);
}

#[tokio::test]
async fn keys_and_versions_are_asked_for() {
    let world = World::new(SandboxConfig::default());
    let check = async |headers: &[(&str, &str)], status: u16| {
        let reply = world
            .call("GET", "/anthropic/v1/models", headers, Body::empty())
            .await;
        assert_eq!(reply.status, status, "{headers:?}");
        assert!(reply.headers.contains_key("request-id") && reply.headers.contains_key("date"));
        if status != 200 {
            assert_eq!(reply.json()["type"], "error");
        }
    };
    let version = ("anthropic-version", "2023-06-01");
    check(&[("x-api-key", "k"), version], 200).await;
    check(&[("authorization", "Bearer k"), version], 200).await;
    check(&[version], 401).await;
    check(
        &[("x-api-key", "k"), ("authorization", "Bearer k"), version],
        401,
    )
    .await;
    check(&[("x-api-key", "an-invalid-key"), version], 401).await;
    check(&[("x-api-key", "k")], 400).await;
    check(
        &[("x-api-key", "k"), ("anthropic-version", "2020-01-01")],
        400,
    )
    .await;
    let missing = world.anthropic("GET", "/v1/nothing", Value::Null).await;
    assert_eq!(missing.error(404)["type"], "not_found_error");
    let wrong = world.anthropic("DELETE", "/v1/messages", Value::Null).await;
    assert_eq!(wrong.error(404)["type"], "not_found_error");
}

#[tokio::test]
async fn messages_are_answered_online_and_counted_for_free() {
    let world = World::new(SandboxConfig::default());
    let reply = world
        .anthropic("POST", "/v1/messages", params("grüße"))
        .await;
    let text = reply.json()["content"][0]["text"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        text.ends_with(&format!(" #{:016x}", draw(0, "grüße"))),
        "{text}"
    );
    assert!(
        reply
            .headers
            .contains_key("anthropic-ratelimit-requests-remaining")
    );
    let mut counted = params("12345678");
    counted
        .as_object_mut()
        .expect("an object")
        .remove("max_tokens");
    let count = world
        .anthropic("POST", "/v1/messages/count_tokens", counted.clone())
        .await;
    assert_eq!(count.json(), json!({"input_tokens": 2}));
    assert_eq!(
        world
            .anthropic("POST", "/v1/messages", counted)
            .await
            .status,
        400
    );
    let bill = world.bill().await;
    assert_eq!(
        (&bill["requests_billed"], &bill["batches_created"]),
        (&json!(1), &json!(0))
    );
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let limits = AnthropicLimits {
        queue_requests_max: Some(10),
        ..Default::default()
    };
    let world = World::new(SandboxConfig {
        anthropic: limits,
        ..Default::default()
    });
    create(&world, requests(8)).await;
    let error = world
        .anthropic("POST", BATCHES, requests(3))
        .await
        .error(429);
    assert_eq!(error["type"], "rate_limit_error");
    world.step(3);
    create(&world, requests(3)).await;
}
