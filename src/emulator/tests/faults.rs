//! Each fault does what its name says.

use std::time::Duration;

use serde_json::{Value, json};

use super::anthropic::{create, requests, results};
use super::{World, by_id, openai};
use crate::emulator::SandboxConfig;

const BATCHES: &str = "/v1/messages/batches";

async fn ended(world: &World, count: usize) -> (String, Value) {
    let id = create(world, requests(count)).await;
    world.step(3);
    let batch = world
        .anthropic("GET", &format!("{BATCHES}/{id}"), Value::Null)
        .await
        .json();
    assert_eq!(batch["processing_status"], "ended");
    (id, batch["request_counts"].clone())
}

async fn raw(world: &World, id: &str) -> super::Reply {
    world
        .anthropic("GET", &format!("{BATCHES}/{id}/results"), Value::Null)
        .await
}

#[tokio::test]
async fn busy_and_broken_vendors_refuse_in_their_own_words() {
    let world = World::faulty("429=1");
    let reply = world.anthropic("GET", "/v1/models", Value::Null).await;
    assert_eq!(reply.headers["retry-after"], "1");
    assert_eq!(reply.error(429)["type"], "rate_limit_error");
    let error = world.openai("GET", "/models", Value::Null).await.error(429);
    assert_eq!(error["code"], "rate_limit_exceeded");
    let world = World::faulty("5xx=1");
    let reply = world.anthropic("GET", "/v1/models", Value::Null).await;
    assert_eq!(reply.error(529)["type"], "overloaded_error");
    assert_eq!(
        world.openai("GET", "/models", Value::Null).await.error(500)["type"],
        "server_error"
    );
}

#[tokio::test]
async fn a_share_is_drawn_anew_for_each_attempt_and_alike_for_each_run() {
    let statuses = async || {
        let world = World::faulty("429=0.5");
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(
                world
                    .anthropic("GET", "/v1/models", Value::Null)
                    .await
                    .status,
            );
        }
        statuses
    };
    let first = statuses().await;
    let busy = first.iter().filter(|status| **status == 429).count();
    assert!((8..32).contains(&busy), "{first:?}");
    assert_eq!(first, statuses().await);
}

#[tokio::test]
async fn a_slow_call_takes_its_time() {
    let world = World::faulty("slow=1");
    let before = crate::base::Clock::now(&*world.clock);
    assert_eq!(
        world
            .anthropic("GET", "/v1/models", Value::Null)
            .await
            .status,
        200
    );
    let after = crate::base::Clock::now(&*world.clock);
    assert_eq!((after - before).to_std(), Ok(Duration::from_secs(3)));
}

#[tokio::test]
async fn a_lost_answer_was_carried_out_and_a_lost_refusal_was_not() {
    for (faults, made) in [("lost_answer=1", 1), ("refused_lost=1", 0)] {
        let world = World::faulty(faults);
        let reply = world.anthropic("POST", BATCHES, requests(2)).await;
        assert!(
            reply.lost && !reply.whole && reply.bytes.is_empty(),
            "{faults}"
        );
        let list = world.anthropic("GET", BATCHES, Value::Null).await.json();
        assert_eq!(
            list["data"].as_array().map(Vec::len),
            Some(made),
            "{faults}"
        );
        assert_eq!(world.bill().await["batches_created"], made);
    }
}

#[tokio::test]
async fn lines_go_missing_and_are_not_billed() {
    let world = World::faulty("missing=0.1");
    let (id, counts) = ended(&world, 500).await;
    let lines = by_id(&results(&world, &id).await);
    // What is not billed is not counted as an answer either.
    assert_eq!(counts["succeeded"], lines.len());
    assert_eq!(counts["errored"], 500 - lines.len());
    assert!((420..480).contains(&lines.len()), "{}", lines.len());
    assert_eq!(world.bill().await["requests_billed"], lines.len());
}

#[tokio::test]
async fn lines_come_twice_and_are_billed_once() {
    let world = World::faulty("duplicate=1/10");
    let (id, _) = ended(&world, 500).await;
    let mut lines: Vec<_> = results(&world, &id)
        .await
        .iter()
        .map(Value::to_string)
        .collect();
    assert_eq!(lines.len(), 550);
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines.len(), 500);
    let bill = world.bill().await;
    assert_eq!(
        (&bill["requests_billed"], &bill["billed_more_than_once"]),
        (&json!(500), &json!(0))
    );
}

#[tokio::test]
async fn strangers_come_along() {
    let world = World::faulty("stranger=1/50");
    let (id, _) = ended(&world, 500).await;
    let lines = by_id(&results(&world, &id).await);
    assert_eq!(lines.len(), 510);
    assert_eq!(lines.keys().filter(|id| !id.starts_with("r-")).count(), 10);
}

#[tokio::test]
async fn garbage_stands_in_place_of_a_line() {
    let world = World::faulty("garbage=1/50");
    let (id, _) = ended(&world, 500).await;
    let reply = raw(&world, &id).await;
    let text = String::from_utf8(reply.bytes).expect("UTF-8");
    let broken = text
        .lines()
        .filter(|line| serde_json::from_str::<Value>(line).is_err())
        .count();
    assert_eq!((broken, text.lines().count()), (10, 500));
    assert_eq!(world.bill().await["requests_billed"], 490);
}

#[tokio::test]
async fn a_download_is_cut_in_the_middle_of_a_line() {
    let world = World::faulty("truncate=1/2");
    let (id, _) = ended(&world, 500).await;
    let whole = raw(&world, &id).await;
    let cut = raw(&world, &id).await;
    assert!(whole.whole && !cut.whole);
    assert!(whole.bytes.starts_with(&cut.bytes) && cut.bytes.len() < whole.bytes.len());
    assert_ne!(cut.bytes.last(), Some(&b'\n'));
}

#[tokio::test]
async fn a_download_ends_early_and_says_nothing() {
    let world = World::faulty("short=1/2");
    let (id, _) = ended(&world, 500).await;
    let whole = raw(&world, &id).await;
    let short = raw(&world, &id).await;
    assert!(short.whole, "the connection is as it was");
    assert!(whole.bytes.starts_with(&short.bytes) && short.bytes.len() < whole.bytes.len());
    assert_ne!(short.bytes.last(), Some(&b'\n'));
    // Where a length is announced otherwise, it is not.
    let id = openai::create(&world, 500).await;
    world.step(3);
    let batch = openai::batch(&world, &id).await;
    let file = batch["output_file_id"].as_str().expect("a file");
    let path = format!("/files/{file}/content");
    let whole = world.openai("GET", &path, Value::Null).await;
    let short = world.openai("GET", &path, Value::Null).await;
    assert_eq!(
        whole.headers["content-length"],
        whole.bytes.len().to_string()
    );
    assert!(!short.headers.contains_key("content-length"));
    assert!(short.whole && short.bytes.len() < whole.bytes.len());
}

#[tokio::test]
async fn what_has_happened_is_counted() {
    let faults = "slow=1/2,duplicate=1/10,missing=1/20,expire=1/50,truncate=1/1";
    let world = World::faulty(faults);
    assert_eq!(world.sandbox.fault_counts().expect("counts").len(), 0);
    let (id, _) = ended(&world, 100).await;
    raw(&world, &id).await;
    // Three calls. Every tenth line comes twice, unless it is one of every twenty that are missing.
    let expected = [
        ("duplicate", 5),
        ("expire", 2),
        ("missing", 5),
        ("slow", 1),
        ("truncate", 1),
    ];
    assert_eq!(
        world.sandbox.fault_counts().expect("counts"),
        expected.into()
    );
}

#[tokio::test]
async fn requests_fail_in_passing_are_refused_or_cut() {
    let world = World::faulty("errored=1/10,refusal=1/7,max_tokens=1/3");
    let (id, counts) = ended(&world, 420).await;
    assert_eq!(
        (&counts["errored"], &counts["succeeded"]),
        (&json!(42), &json!(378))
    );
    let lines = results(&world, &id).await;
    let errored: Vec<_> = lines
        .iter()
        .filter(|line| line["result"]["type"] == "errored")
        .collect();
    assert!(
        errored
            .iter()
            .all(|line| line["result"]["error"]["error"]["type"] == "api_error")
    );
    let stopped = |reason: &str| {
        let stops = lines
            .iter()
            .map(|line| &line["result"]["message"]["stop_reason"]);
        stops.filter(|stop| **stop == reason).count()
    };
    // Of every 210 requests 21 fail; of the others one in 7 is refused; of what is left one in 3 cut.
    let left = |n: &u64| n % 10 != 9;
    let refused = (0..420).filter(left).filter(|n| n % 7 == 6).count();
    let cut = (0..420)
        .filter(left)
        .filter(|n| n % 7 != 6 && n % 3 == 2)
        .count();
    assert_eq!((stopped("refusal"), stopped("max_tokens")), (refused, cut));
    assert_eq!(world.bill().await["requests_billed"], 378);
}

#[tokio::test]
async fn a_part_of_a_batch_expires() {
    let world = World::faulty("expire=0.2");
    let (_, counts) = ended(&world, 500).await;
    let expired = counts["expired"].as_u64().expect("a count");
    assert!((70..130).contains(&expired), "{counts}");
    assert_eq!(counts["succeeded"].as_u64(), Some(500 - expired));
    let id = openai::create(&world, 500).await;
    world.step(3);
    let batch = openai::batch(&world, &id).await;
    assert_eq!(batch["status"], "expired");
    assert!(
        !openai::file(&world, &batch, "output_file_id")
            .await
            .is_empty()
    );
    assert!(
        !openai::file(&world, &batch, "error_file_id")
            .await
            .is_empty()
    );
}

#[tokio::test]
async fn a_batch_fails_for_its_tokens_and_is_not_billed() {
    let world = World::faulty("fail_batch=1/2");
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let id = openai::create(&world, 10).await;
        world.step(3);
        let batch = openai::batch(&world, &id).await;
        statuses.push(batch["status"].as_str().expect("a status").to_owned());
        if batch["status"] == "failed" {
            assert_eq!(batch["errors"]["data"][0]["code"], "token_limit_exceeded");
        }
    }
    assert_eq!(statuses, ["completed", "failed", "completed", "failed"]);
    assert_eq!(world.bill().await["requests_accepted"], 20);
}

#[tokio::test]
async fn an_output_file_comes_late() {
    let time = Duration::from_secs(10);
    let faults = "late_output=1".parse().expect("a fault");
    let world = World::new(SandboxConfig {
        faults,
        batch_time: (time, time),
        ..Default::default()
    });
    let id = openai::create(&world, 3).await;
    world.step(10);
    let batch = openai::batch(&world, &id).await;
    assert_eq!(
        (&batch["status"], &batch["output_file_id"]),
        (&json!("completed"), &Value::Null)
    );
    world.step(5);
    let batch = openai::batch(&world, &id).await;
    assert_eq!(
        openai::file(&world, &batch, "output_file_id").await.len(),
        3
    );
}

#[tokio::test]
async fn online_calls_have_their_share() {
    let world = World::faulty("errored=1/2");
    let params =
        json!({"model": "m", "max_tokens": 64, "messages": [{"role": "user", "content": "x"}]});
    assert_eq!(
        world
            .anthropic("POST", "/v1/messages", params.clone())
            .await
            .status,
        200
    );
    assert_eq!(
        world.anthropic("POST", "/v1/messages", params).await.status,
        500
    );
    assert_eq!(world.bill().await["requests_billed"], 1);
}
