//! What outlives a sandbox, and what it adds up to.

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};

use super::anthropic::{create, requests, results};
use super::{World, openai};
use crate::base::Clock;
use crate::emulator::{Sandbox, SandboxConfig};

#[tokio::test]
async fn another_sandbox_over_the_same_folder_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = SandboxConfig {
        state_dir: Some(folder.path().to_owned()),
        ..Default::default()
    };
    let first = World::new(config.clone());
    let message = create(&first, requests(20)).await;
    let chat = openai::create(&first, 20).await;
    let World {
        sandbox,
        clock,
        key,
    } = first;
    drop(sandbox);
    // Other faults are for what is made from now on.
    let config = SandboxConfig {
        faults: "missing=1".parse().expect("a fault"),
        ..config
    };
    let shared: Arc<dyn Clock> = Arc::<super::StepClock>::clone(&clock);
    let sandbox = Sandbox::new(config, shared).expect("the same folder");
    let second = World {
        sandbox,
        clock,
        key,
    };
    second.step(3);
    assert_eq!(results(&second, &message).await.len(), 20);
    let batch = openai::batch(&second, &chat).await;
    assert_eq!(
        openai::file(&second, &batch, "output_file_id").await.len(),
        20
    );
    assert_eq!(second.bill().await["requests_billed"], 40);
    let newer = create(&second, requests(1)).await;
    let list = second
        .anthropic("GET", "/v1/messages/batches", Value::Null)
        .await
        .json();
    assert_eq!(
        (&list["first_id"], &list["last_id"]),
        (&json!(newer), &json!(message))
    );
}

#[tokio::test]
async fn results_are_the_same_whenever_they_are_read() {
    let world = World::new(SandboxConfig::default());
    let id = create(&world, requests(100)).await;
    world.step(3);
    assert_eq!(results(&world, &id).await, results(&world, &id).await);
}

#[tokio::test]
async fn every_record_of_many_segments_comes_once() {
    let world = World::new(SandboxConfig {
        instant: true,
        ..Default::default()
    });
    // More than two segments of records.
    let id = openai::create(&world, 40_000).await;
    let batch = openai::batch(&world, &id).await;
    assert_eq!(batch["status"], "completed");
    let lines = openai::file(&world, &batch, "output_file_id").await;
    assert_eq!(super::by_id(&lines).len(), 40_000);
    let path = format!(
        "/openai/v1/files/{}/content",
        batch["output_file_id"].as_str().expect("an id")
    );
    let part = async |range: &str| {
        let headers = [("authorization", "Bearer test-key"), ("range", range)];
        world
            .call("GET", &path, &headers, Body::empty())
            .await
            .bytes
    };
    let (whole, part) = (part("bytes=0-").await, part("bytes=5000000-5999999").await);
    assert!(
        part == whole[5_000_000..6_000_000],
        "a range across many pieces"
    );
}

#[tokio::test]
async fn the_bill_tells_repeats_from_first_times() {
    let world = World::new(SandboxConfig::default());
    create(&world, requests(10)).await;
    let bill = world.bill().await;
    assert_eq!(
        (&bill["requests_accepted"], &bill["requests_billed"]),
        (&json!(10), &json!(0))
    );
    world.step(3);
    create(&world, requests(4)).await;
    let bill = world.bill().await;
    assert_eq!(
        (
            &bill["accepted_more_than_once"],
            &bill["billed_more_than_once"]
        ),
        (&json!(4), &json!(0))
    );
    world.step(3);
    // The same body online is the same request, too.
    let params = requests(1)["requests"][0]["params"].clone();
    assert_eq!(
        world.anthropic("POST", "/v1/messages", params).await.status,
        200
    );
    let bill = world.bill().await;
    assert_eq!(
        (&bill["requests_accepted"], &bill["requests_billed"]),
        (&json!(15), &json!(15))
    );
    assert_eq!(
        (&bill["distinct_billed"], &bill["billed_more_than_once"]),
        (&json!(10), &json!(4))
    );
    let name = "anthropic /v1/messages";
    assert_eq!(bill["endpoints"][name]["requests_billed"], 15);
    assert_eq!(
        world.sandbox.bill().expect("a bill").total.requests_billed,
        15
    );
}

#[tokio::test]
async fn calls_are_counted_by_path_and_forgotten_by_a_reset() {
    let world = World::new(SandboxConfig::default());
    let id = create(&world, requests(1)).await;
    for _ in 0..2 {
        world
            .anthropic("GET", &format!("/v1/messages/batches/{id}"), Value::Null)
            .await;
    }
    let calls = world
        .call("GET", "/__sandbox/calls", &[], Body::empty())
        .await
        .json();
    assert_eq!(
        calls,
        json!({"GET /anthropic/v1/messages/batches/{id}": 2, "POST /anthropic/v1/messages/batches": 1})
    );
    assert_eq!(
        world
            .call("POST", "/__sandbox/reset", &[], Body::empty())
            .await
            .status,
        200
    );
    let calls = world
        .call("GET", "/__sandbox/calls", &[], Body::empty())
        .await
        .json();
    assert_eq!(calls, json!({}));
    assert_eq!(world.bill().await["batches_created"], 0);
    let again = world
        .anthropic("GET", &format!("/v1/messages/batches/{id}"), Value::Null)
        .await;
    assert_eq!(again.status, 404);
    assert_ne!(create(&world, requests(1)).await, id);
}

#[tokio::test]
async fn ids_cannot_reach_other_files() {
    let world = World::new(SandboxConfig::default());
    for id in ["..%2F..%2Fetc", "a.json", ".."] {
        let reply = world
            .openai("GET", &format!("/files/{id}"), Value::Null)
            .await;
        assert_eq!(reply.status, 404, "{id}");
    }
}
