//! What an account may not exceed, in each vendor's own words.

use std::time::Duration;

use serde_json::{Value, json};

use super::anthropic::requests;
use super::{World, anthropic, openai};
use crate::emulator::{AnthropicLimits, OpenAiLimits, SandboxConfig, TokensRefusal};

const ANTHROPIC_BATCHES: &str = "/v1/messages/batches";

/// A sandbox whose batches take 100 seconds.
fn world(openai: OpenAiLimits, anthropic: AnthropicLimits) -> World {
    let time = Duration::from_secs(100);
    World::new(SandboxConfig {
        batch_time: (time, time),
        openai,
        anthropic,
        ..Default::default()
    })
}

fn openai_world(limits: OpenAiLimits) -> World {
    world(limits, AnthropicLimits::default())
}

async fn refused(world: &World, file: &str, status: u16) -> Value {
    let body = openai::to_create(file, openai::ENDPOINT);
    world.openai("POST", "/batches", body).await.error(status)
}

async fn batches_made(world: &World) -> Value {
    world.bill().await["batches_created"].clone()
}

#[tokio::test]
async fn a_batch_over_the_enqueued_tokens_may_be_refused_at_once() {
    for (refusal, status, kind) in [
        (TokensRefusal::BadRequest, 400, "invalid_request_error"),
        (TokensRefusal::TooManyRequests, 429, "tokens"),
    ] {
        let world = openai_world(OpenAiLimits {
            enqueued_tokens_max: Some(1300),
            enqueued_tokens_refusal: refusal,
            ..Default::default()
        });
        // A row's prompt is 5 to 7 bytes: 2 tokens.
        openai::create(&world, 400).await;
        let file = openai::upload(&world, &openai::rows(400)).await;
        let error = refused(&world, &file, status).await;
        assert_eq!(
            (&error["code"], &error["type"]),
            (&json!("token_limit_exceeded"), &json!(kind))
        );
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains("for gpt-6-luna"), "{message}");
        assert!(
            message.contains("Limit: 1,300 enqueued tokens."),
            "{message}"
        );
        assert_eq!(batches_made(&world).await, 1);
        // The file is still there, and fits when the batch before it has ended.
        world.step(100);
        openai::create_of(&world, &file, openai::ENDPOINT).await;
    }
}

#[tokio::test]
async fn a_batch_that_fails_takes_no_place_in_the_queue() {
    let world = openai_world(OpenAiLimits {
        enqueued_tokens_max: Some(300),
        ..Default::default()
    });
    let too_big = openai::create(&world, 200).await;
    // While that one is still validated:
    let fits = openai::create(&world, 100).await;
    world.step(100);
    assert_eq!(openai::batch(&world, &too_big).await["status"], "failed");
    assert_eq!(openai::batch(&world, &fits).await["status"], "completed");
}

#[tokio::test]
async fn another_model_and_another_account_have_queues_of_their_own() {
    let mut world = openai_world(OpenAiLimits {
        enqueued_tokens_max: Some(300),
        enqueued_tokens_refusal: TokensRefusal::BadRequest,
        ..Default::default()
    });
    openai::create(&world, 100).await;
    let other = openai::rows(100).replace("gpt-6-luna", "gpt-6-sol");
    let other = openai::upload(&world, &other).await;
    openai::create_of(&world, &other, openai::ENDPOINT).await;
    world.key = "another-key";
    openai::create(&world, 100).await;
}

#[tokio::test]
async fn only_so_many_batches_are_created_in_an_hour() {
    let world = openai_world(OpenAiLimits {
        batches_per_hour_max: Some(2),
        ..Default::default()
    });
    let file = openai::upload(&world, &openai::rows(1)).await;
    openai::create_of(&world, &file, openai::ENDPOINT).await;
    world.step(600);
    openai::create_of(&world, &file, openai::ENDPOINT).await;
    world.step(600);
    let body = openai::to_create(&file, openai::ENDPOINT);
    let reply = world.openai("POST", "/batches", body).await;
    assert_eq!(reply.headers["retry-after"], "2400");
    assert_eq!(reply.error(429)["code"], "rate_limit_exceeded");
    assert_eq!(batches_made(&world).await, 2);
    world.step(2400);
    openai::create_of(&world, &file, openai::ENDPOINT).await;
}

#[tokio::test]
async fn only_so_many_files_are_kept_and_uploaded_in_a_minute() {
    let world = openai_world(OpenAiLimits {
        files_max: Some(2),
        uploads_per_minute_max: Some(3),
        ..Default::default()
    });
    let first = openai::upload(&world, &openai::rows(1)).await;
    openai::upload(&world, &openai::rows(2)).await;
    let refused = async |status| {
        let reply = openai::upload_as(&world, "t.jsonl", &openai::rows(3)).await;
        reply.error(status)["code"].clone()
    };
    assert_eq!(refused(400).await, "quotaExceeded");
    let path = format!("/files/{first}");
    assert_eq!(world.openai("DELETE", &path, Value::Null).await.status, 200);
    openai::upload(&world, &openai::rows(3)).await;
    // Three in this minute, though one of them is deleted.
    assert_eq!(refused(429).await, "rate_limit_exceeded");
    world.step(60);
    assert_eq!(refused(400).await, "quotaExceeded");
}

#[tokio::test]
async fn only_so_many_calls_reach_the_batch_endpoints_in_a_minute() {
    let limits = AnthropicLimits {
        calls_per_minute_max: Some(2),
        ..Default::default()
    };
    let world = world(OpenAiLimits::default(), limits);
    anthropic::create(&world, requests(1)).await;
    world.step(15);
    let list = async || world.anthropic("GET", ANTHROPIC_BATCHES, Value::Null).await;
    assert_eq!(list().await.status, 200);
    let reply = list().await;
    assert_eq!(reply.headers["retry-after"], "45");
    assert_eq!(reply.error(429)["type"], "rate_limit_error");
    // Other endpoints have limits of their own.
    let models = world.anthropic("GET", "/v1/models", Value::Null).await;
    assert_eq!(models.status, 200);
    world.step(45);
    assert_eq!(list().await.status, 200);
}

#[tokio::test]
async fn a_fault_says_that_the_queue_is_full() {
    let world = World::faulty("queue_full=1");
    let reply = world.anthropic("POST", ANTHROPIC_BATCHES, requests(2));
    assert_eq!(reply.await.error(429)["type"], "rate_limit_error");
    let file = openai::upload(&world, &openai::rows(2)).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let body = openai::to_create(&file, openai::ENDPOINT);
        let reply = world.openai("POST", "/batches", body).await;
        assert_eq!(reply.json()["error"]["code"], "token_limit_exceeded");
        statuses.push(reply.status);
    }
    // Both are seen.
    assert!(
        statuses.contains(&400) && statuses.contains(&429),
        "{statuses:?}"
    );
    assert_eq!(batches_made(&world).await, 0);
}
