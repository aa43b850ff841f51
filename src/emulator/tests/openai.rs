use std::time::Duration;

use axum::body::Body;
use serde_json::{Value, json};

use super::{World, by_id, choice, choice_schema, draw, ids};
use crate::emulator::{OpenAiLimits, SandboxConfig};

pub(super) const ENDPOINT: &str = "/v1/chat/completions";

fn line(n: usize) -> Value {
    let format = json!({"type": "json_schema", "json_schema": {"name": "row", "strict": true,
        "schema": choice_schema()}});
    json!({"custom_id": format!("r-{n}"), "method": "POST", "url": ENDPOINT, "body": {
        "model": "gpt-6-luna", "max_completion_tokens": 64, "response_format": format,
        "messages": [{"role": "user", "content": format!("row {n}")}]}})
}

fn jsonl(lines: impl IntoIterator<Item = Value>) -> String {
    lines
        .into_iter()
        .flat_map(|line| [line.to_string(), "\n".into()])
        .collect()
}

pub(super) async fn upload_as(world: &World, filename: &str, text: &str) -> super::Reply {
    upload_body(world, form(filename, text).into()).await
}

fn form(filename: &str, text: &str) -> String {
    format!(
        "--b0\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n--b0\r\n\
         Content-Disposition: form-data; name=\"file\"; filename=\"{filename}\"\r\n\r\n{text}\r\n--b0--\r\n"
    )
}

async fn upload_body(world: &World, body: Body) -> super::Reply {
    let key = format!("Bearer {}", world.key);
    let kind = "multipart/form-data; boundary=b0";
    let headers = [("authorization", key.as_str()), ("content-type", kind)];
    world.call("POST", "/openai/v1/files", &headers, body).await
}

#[tokio::test(start_paused = true)]
async fn a_form_is_read_whole_wherever_it_is_cut() {
    let world = World::new(slow());
    // What looks like the start of a boundary is data all the same.
    let text = jsonl([line(0)]) + "\r\n--b\r\n-\n" + &jsonl([line(1)]);
    let form = form("t.jsonl", &text).into_bytes();
    for size in (1..40).chain([form.len() / 2, form.len()]) {
        let pieces: Vec<_> = form.chunks(size).map(<[u8]>::to_vec).collect();
        let pieces = pieces.into_iter().map(Ok::<_, std::convert::Infallible>);
        let body = Body::from_stream(futures::stream::iter(pieces));
        let reply = upload_body(&world, body).await;
        assert_eq!((reply.status, size), (200, size), "{reply:?}");
        assert_eq!(reply.json()["bytes"], text.len(), "in pieces of {size}");
    }
    let cut = form[..form.len() - 10].to_vec();
    assert_eq!(upload_body(&world, cut.into()).await.status, 400);
}

/// So many requests as a file's text.
pub(super) fn rows(count: usize) -> String {
    jsonl((0..count).map(line))
}

pub(super) async fn upload(world: &World, text: &str) -> String {
    let reply = upload_as(world, "t.jsonl", text).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["bytes"], text.len());
    reply.json()["id"].as_str().expect("an id").to_owned()
}

pub(super) fn to_create(file: &str, endpoint: &str) -> Value {
    json!({"input_file_id": file, "endpoint": endpoint, "completion_window": "24h",
        "metadata": {"job": "t"}})
}

/// Uploads requests and makes a batch of them.
pub(super) async fn create(world: &World, count: usize) -> String {
    let file = upload(world, &rows(count)).await;
    create_of(world, &file, ENDPOINT).await
}

pub(super) async fn create_of(world: &World, file: &str, endpoint: &str) -> String {
    let created = world
        .openai("POST", "/batches", to_create(file, endpoint))
        .await;
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(created.json()["status"], "validating");
    created.json()["id"].as_str().expect("an id").to_owned()
}

pub(super) async fn batch(world: &World, id: &str) -> Value {
    world
        .openai("GET", &format!("/batches/{id}"), Value::Null)
        .await
        .json()
}

/// The lines of a batch's file; none if it has no such file.
pub(super) async fn file(world: &World, batch: &Value, which: &str) -> Vec<Value> {
    match batch[which].as_str() {
        Some(id) => {
            let reply = world
                .openai("GET", &format!("/files/{id}/content"), Value::Null)
                .await;
            assert_eq!(
                reply.headers["content-length"],
                reply.bytes.len().to_string()
            );
            reply.lines()
        }
        None => Vec::new(),
    }
}

fn slow() -> SandboxConfig {
    let time = Duration::from_secs(100);
    SandboxConfig {
        batch_time: (time, time),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_batch_goes_through_its_statuses_and_ends_with_two_files() {
    let world = World::new(slow());
    let mut lines: Vec<_> = (0..300).map(line).collect();
    lines[5]["body"]["stream"] = json!(true);
    lines[6]["body"]["response_format"]["json_schema"]["schema"]["required"] = json!([]);
    lines[7]["body"]
        .as_object_mut()
        .expect("a body")
        .remove("messages");
    lines[8]["body"]["messages"] = json!(7);
    let input = upload(&world, &jsonl(lines)).await;
    let id = create_of(&world, &input, ENDPOINT).await;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let batch = batch(&world, &id).await;
        seen.push((
            batch["status"].as_str().expect("a status").to_owned(),
            batch["request_counts"]["completed"].as_u64(),
        ));
        world.step(11);
    }
    let mut statuses: Vec<_> = seen.iter().map(|(status, _)| status.as_str()).collect();
    statuses.dedup();
    assert_eq!(statuses, ["validating", "in_progress", "finalizing"]);
    assert!(
        seen.is_sorted_by_key(|(_, completed)| *completed) && seen[4].1 > seen[2].1,
        "{seen:?}"
    );
    let batch = batch(&world, &id).await;
    assert_eq!(batch["status"], "completed");
    assert_eq!(
        batch["request_counts"],
        json!({"total": 300, "completed": 296, "failed": 4})
    );
    assert_eq!(
        (&batch["metadata"]["job"], &batch["model"]),
        (&json!("t"), &json!("gpt-6-luna"))
    );
    let output = file(&world, &batch, "output_file_id").await;
    assert!(!ids(&output).is_sorted() && !ids(&output).iter().rev().is_sorted());
    for (id, line) in by_id(&output) {
        let body = &line["response"]["body"];
        let text = choice(&id.replace("r-", "row "));
        assert_eq!(body["choices"][0]["message"]["content"], text);
        assert_eq!(
            (&line["error"], &line["response"]["status_code"]),
            (&Value::Null, &json!(200))
        );
    }
    let errors = by_id(&file(&world, &batch, "error_file_id").await);
    assert_eq!(
        errors.keys().collect::<Vec<_>>(),
        ["r-5", "r-6", "r-7", "r-8"]
    );
    let code = |id: &str| errors[id]["response"]["body"]["error"]["code"].clone();
    assert!(
        errors
            .values()
            .all(|line| line["response"]["status_code"] == 400)
    );
    assert_eq!(code("r-6"), "invalid_json_schema");
    assert_eq!(code("r-7"), "missing_required_parameter");
}

#[tokio::test]
async fn a_bad_envelope_fails_the_whole_batch() {
    let limits = OpenAiLimits {
        requests_max: 3,
        ..Default::default()
    };
    let world = World::new(SandboxConfig {
        openai: limits,
        ..Default::default()
    });
    let check = async |text: &str, code: &str, line: Option<u64>| {
        let id = create_of(&world, &upload(&world, text).await, ENDPOINT).await;
        world.step(3);
        let batch = batch(&world, &id).await;
        assert_eq!(batch["status"], "failed", "{text}");
        assert_eq!(batch["errors"]["data"][0]["code"], code, "{batch}");
        assert_eq!(batch["errors"]["data"][0]["line"], json!(line));
        assert!(batch["output_file_id"].is_null() && batch["error_file_id"].is_null());
    };
    let other = |key: &str, value: Value| {
        let mut other = line(1);
        other[key] = value;
        jsonl([line(0), other])
    };
    check("", "empty_file", None).await;
    check(
        &format!("{}{{oops\n", jsonl([line(0)])),
        "invalid_json_line",
        Some(2),
    )
    .await;
    check(
        &other("custom_id", json!("r-0")),
        "duplicate_custom_id",
        Some(2),
    )
    .await;
    check(&other("method", json!("GET")), "invalid_method", Some(2)).await;
    check(
        &other("url", json!("/v1/embeddings")),
        "invalid_url",
        Some(2),
    )
    .await;
    check(
        &other("body", Value::Null),
        "missing_required_parameter",
        Some(2),
    )
    .await;
    let model = |model: &str| {
        let mut other = line(1);
        other["body"]["model"] = json!(model);
        other
    };
    check(
        &jsonl([line(0), model("gpt-6-sol")]),
        "mismatched_model",
        Some(2),
    )
    .await;
    check(
        &jsonl([model("gpt-nonexistent")]),
        "model_not_found",
        Some(1),
    )
    .await;
    check(&jsonl((0..4).map(line)), "too_many_tasks", Some(4)).await;
    assert_eq!(world.bill().await["requests_accepted"], 0);
}

#[tokio::test]
async fn uploads_and_creates_are_refused_at_once() {
    let limits = OpenAiLimits {
        file_bytes_max: 1_000,
        ..Default::default()
    };
    let world = World::new(SandboxConfig {
        openai: limits,
        ..Default::default()
    });
    let error = upload_as(&world, "t.txt", "{}").await.error(400);
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains(".jsonl")),
        "{error}"
    );
    assert_eq!(
        upload_as(&world, "t.jsonl", &"x".repeat(1_001))
            .await
            .status,
        413
    );
    assert_eq!(
        upload_as(&world, "t.jsonl", &"x".repeat(1_000))
            .await
            .status,
        200
    );
    let file = upload(&world, &jsonl([line(0)])).await;
    let check = async |key: &str, value: Value| {
        let mut body = to_create(&file, ENDPOINT);
        body[key] = value;
        let error = world.openai("POST", "/batches", body).await.error(400);
        assert_eq!(error["type"], "invalid_request_error", "{error}");
    };
    check("input_file_id", json!("file-unknown")).await;
    check("endpoint", json!("/v1/nothing")).await;
    check("completion_window", json!("1h")).await;
    check("metadata", json!({"a": 1})).await;
    check("metadata", json!({"a".repeat(65): "b"})).await;
    check("metadata", json!({"a": "b".repeat(513)})).await;
    check("unknown", json!(1)).await;
}

#[tokio::test]
async fn a_cancelled_batch_keeps_what_was_done() {
    let world = World::new(slow());
    let id = create(&world, 400).await;
    world.step(50);
    let path = format!("/batches/{id}/cancel");
    let cancelling = world.openai("POST", &path, Value::Null).await.json();
    assert_eq!(cancelling["status"], "cancelling");
    assert!(cancelling["output_file_id"].is_null());
    world.step(10);
    let batch = batch(&world, &id).await;
    assert_eq!(batch["status"], "cancelled");
    let output = file(&world, &batch, "output_file_id").await;
    assert!((150..250).contains(&output.len()), "{}", output.len());
    let errors = file(&world, &batch, "error_file_id").await;
    assert_eq!(output.len() + errors.len(), 400);
    assert!(
        errors
            .iter()
            .all(|line| line["error"]["code"] == "batch_cancelled")
    );
    assert_eq!(world.bill().await["requests_billed"], output.len());
    assert_eq!(world.openai("POST", &path, Value::Null).await.status, 409);
}

#[tokio::test]
async fn a_batch_expires_after_a_day_with_what_was_done() {
    let time = Duration::from_hours(48);
    let world = World::new(SandboxConfig {
        batch_time: (time, time),
        ..Default::default()
    });
    let id = create(&world, 200).await;
    world.step(24 * 3600);
    let batch = batch(&world, &id).await;
    assert_eq!(batch["status"], "expired");
    let output = file(&world, &batch, "output_file_id").await;
    let errors = file(&world, &batch, "error_file_id").await;
    assert!((60..140).contains(&output.len()), "{}", output.len());
    assert_eq!(output.len() + errors.len(), 200);
    assert!(
        errors
            .iter()
            .all(|line| line["error"]["code"] == "batch_expired")
    );
}

#[tokio::test]
async fn files_are_listed_and_read_in_ranges() {
    let world = World::new(SandboxConfig::default());
    let id = create(&world, 50).await;
    world.step(3);
    let batch = batch(&world, &id).await;
    let output = batch["output_file_id"]
        .as_str()
        .expect("an output file")
        .to_owned();
    assert!(batch["error_file_id"].is_null());
    let listed = world
        .openai("GET", "/files?purpose=batch_output", Value::Null)
        .await
        .json();
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["data"][0]["id"], output);
    let all = world
        .openai("GET", "/files?limit=1&order=asc", Value::Null)
        .await
        .json();
    assert_eq!(
        (&all["data"][0]["purpose"], &all["has_more"]),
        (&json!("batch"), &json!(true))
    );
    let path = format!("/files/{output}/content");
    let whole = world.openai("GET", &path, Value::Null).await.bytes;
    let range = async |range: &str| {
        let headers = [("authorization", "Bearer test-key"), ("range", range)];
        world
            .call("GET", &format!("/openai/v1{path}"), &headers, Body::empty())
            .await
    };
    let part = range("bytes=100-199").await;
    assert_eq!(
        (part.status, part.bytes.as_slice()),
        (206, &whole[100..200])
    );
    assert_eq!(
        part.headers["content-range"],
        format!("bytes 100-199/{}", whole.len())
    );
    assert_eq!(range("bytes=-10").await.bytes, whole[whole.len() - 10..]);
    assert_eq!(range(&format!("bytes={}-", whole.len())).await.status, 416);
}

#[tokio::test]
async fn files_go_when_they_are_deleted_or_old_and_are_seen_by_their_key() {
    let mut world = World::new(SandboxConfig::default());
    let id = create(&world, 50).await;
    world.step(3);
    let batch = batch(&world, &id).await;
    let output = batch["output_file_id"]
        .as_str()
        .expect("an output file")
        .to_owned();
    let path = format!("/files/{output}/content");
    let input = batch["input_file_id"].as_str().expect("an input file");
    let raw = world
        .openai("GET", &format!("/files/{input}/content"), Value::Null)
        .await;
    assert_eq!(raw.bytes, jsonl((0..50).map(line)).into_bytes());
    let deleted = world
        .openai("DELETE", &format!("/files/{input}"), Value::Null)
        .await
        .json();
    assert_eq!(deleted["deleted"], true);
    assert_eq!(
        world
            .openai("GET", &format!("/files/{input}"), Value::Null)
            .await
            .status,
        404
    );
    // Its requests stay: they have been accepted.
    assert_eq!(world.bill().await["requests_billed"], 50);
    world.key = "another-key";
    assert_eq!(world.openai("GET", &path, Value::Null).await.status, 404);
    assert_eq!(
        world
            .openai("GET", &format!("/batches/{id}"), Value::Null)
            .await
            .status,
        404
    );
    world.key = "test-key";
    world.step(31 * 24 * 3600);
    assert_eq!(world.openai("GET", &path, Value::Null).await.status, 404);
}

#[tokio::test]
async fn batches_are_listed_from_new_to_old() {
    let world = World::new(SandboxConfig::default());
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(create(&world, 1).await);
    }
    let page = world
        .openai("GET", "/batches?limit=2", Value::Null)
        .await
        .json();
    assert_eq!(
        (&page["first_id"], &page["last_id"]),
        (&json!(made[2]), &json!(made[1]))
    );
    assert_eq!(page["has_more"], true);
    let path = format!("/batches?after={}", made[1]);
    let page = world.openai("GET", &path, Value::Null).await.json();
    assert_eq!(
        (&page["first_id"], &page["has_more"]),
        (&json!(made[0]), &json!(false))
    );
    assert_eq!(
        world
            .openai("GET", "/batches?limit=101", Value::Null)
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn enqueued_tokens_are_limited_until_the_batch_before_has_ended() {
    let limits = OpenAiLimits {
        enqueued_tokens_max: Some(300),
        ..Default::default()
    };
    let world = World::new(SandboxConfig {
        openai: limits,
        ..slow()
    });
    // A row's prompt is 5 or 6 bytes: 2 tokens.
    let first = create(&world, 100).await;
    let second = create(&world, 100).await;
    world.step(20);
    assert_eq!(batch(&world, &first).await["status"], "in_progress");
    let failed = batch(&world, &second).await;
    let error = &failed["errors"]["data"][0];
    assert_eq!(
        (&failed["status"], &error["code"]),
        (&json!("failed"), &json!("token_limit_exceeded"))
    );
    assert!(
        error["message"]
            .as_str()
            .is_some_and(|text| text.contains("Limit: 300 enqueued tokens"))
    );
    world.step(80);
    let third = create(&world, 100).await;
    world.step(100);
    assert_eq!(batch(&world, &third).await["status"], "completed");
}

#[tokio::test]
async fn online_calls_follow_the_rule() {
    let world = World::new(SandboxConfig::default());
    let mut body = line(3)["body"].clone();
    body.as_object_mut()
        .expect("a body")
        .remove("response_format");
    let reply = world
        .openai("POST", "/chat/completions", body.clone())
        .await;
    let text = reply.json()["choices"][0]["message"]["content"]
        .as_str()
        .expect("text")
        .to_owned();
    assert!(
        text.ends_with(&format!(" #{:016x}", draw(0, "row 3"))),
        "{text}"
    );
    assert!(reply.headers.contains_key("x-request-id"));
    assert_eq!(reply.headers["x-ratelimit-reset-requests"], "6ms");
    body["model"] = json!("gpt-nonexistent");
    let error = world
        .openai("POST", "/chat/completions", body.clone())
        .await
        .error(404);
    assert_eq!(error["code"], "model_not_found");
    body["modell"] = json!("x");
    let error = world
        .openai("POST", "/chat/completions", body)
        .await
        .error(400);
    assert_eq!(error["param"], "modell");
    let headers = [("authorization", "Bearer an-invalid-key")];
    let reply = world
        .call("GET", "/openai/v1/models", &headers, Body::empty())
        .await;
    assert_eq!(reply.error(401)["code"], "invalid_api_key");
}

#[tokio::test]
async fn embeddings_are_unit_vectors_in_both_encodings_and_in_batches() {
    let world = World::new(SandboxConfig::default());
    let body = |format: &str| {
        json!({"model": "text-embedding-3-small", "input": ["a", "b"],
        "dimensions": 4, "encoding_format": format})
    };
    let floats = world
        .openai("POST", "/embeddings", body("float"))
        .await
        .json();
    let vector: Vec<f32> =
        serde_json::from_value(floats["data"][1]["embedding"].clone()).expect("floats");
    assert!(
        (vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5,
        "{vector:?}"
    );
    assert_ne!(
        floats["data"][0]["embedding"],
        floats["data"][1]["embedding"]
    );
    let packed = world
        .openai("POST", "/embeddings", body("base64"))
        .await
        .json();
    let text = packed["data"][1]["embedding"].as_str().expect("base64");
    assert_eq!(unpack(text), vector);
    let empty = json!({"model": "text-embedding-3-small", "input": ["a", ""]});
    assert_eq!(world.openai("POST", "/embeddings", empty).await.status, 400);
    let line =
        json!({"custom_id": "e", "method": "POST", "url": "/v1/embeddings", "body": body("float")});
    let file_id = upload(&world, &jsonl([line])).await;
    let id = create_of(&world, &file_id, "/v1/embeddings").await;
    world.step(3);
    let output = file(&world, &batch(&world, &id).await, "output_file_id").await;
    // In whatever order: the index says whose each is.
    let mut data = output[0]["response"]["body"]["data"].clone();
    let sorted = data.as_array_mut().expect("a list");
    sorted.sort_by_key(|vector| vector["index"].as_u64());
    assert_eq!(data, floats["data"]);
}

/// The indexes of the vectors of each of so many lines, each with `inputs`, of a sandbox with `faults`; and
/// how many of the lines are billed.
async fn indexes(faults: &str, lines: usize, inputs: usize) -> (Vec<Vec<u64>>, Value) {
    let world = World::faulty(faults);
    let texts: Vec<_> = (0..inputs).map(|n| format!("text {n}")).collect();
    let body = json!({"model": "text-embedding-3-small", "input": texts, "dimensions": 4});
    let line = |n: usize| json!({"custom_id": format!("e{n}"), "method": "POST", "url": "/v1/embeddings", "body": body});
    let file_id = upload(&world, &jsonl((0..lines).map(line))).await;
    let id = create_of(&world, &file_id, "/v1/embeddings").await;
    world.step(3);
    let output = file(&world, &batch(&world, &id).await, "output_file_id").await;
    let own = output.iter().map(|line| {
        let data = line["response"]["body"]["data"].as_array().expect("a list");
        let index = |vector: &Value| vector["index"].as_u64().expect("an index");
        data.iter().map(index).collect()
    });
    (own.collect(), world.bill().await["requests_billed"].clone())
}

#[tokio::test]
async fn vectors_come_in_any_order_and_by_a_fault_with_indexes_that_do_not_match() {
    let (lines, billed) = indexes("", 40, 8).await;
    let sorted = |line: &Vec<u64>| {
        let mut line = line.clone();
        line.sort_unstable();
        line
    };
    let each: Vec<u64> = (0..8).collect();
    assert!(lines.iter().all(|line| sorted(line) == each), "{lines:?}");
    assert!(
        lines.iter().filter(|line| **line == each).count() < 4,
        "{lines:?}"
    );
    assert_eq!(billed, 40);
    let (lines, billed) = indexes("misindexed=1/1", 60, 8).await;
    let beyond = |line: &&Vec<u64>| line.contains(&8);
    let lacks = |line: &&Vec<u64>| line.len() == 7 && !line.contains(&8);
    let twice =
        |line: &&Vec<u64>| line.len() == 8 && sorted(line).windows(2).any(|two| two[0] == two[1]);
    let counts = [
        lines.iter().filter(beyond).count(),
        lines.iter().filter(lacks).count(),
        lines.iter().filter(twice).count(),
    ];
    assert!(counts.iter().all(|count| *count > 9), "{counts:?}");
    assert_eq!((counts.iter().sum::<usize>(), billed), (60, json!(0)));
    // A line of one vector says that it is another's, or has none.
    let (lines, _) = indexes("misindexed=1/1", 20, 1).await;
    assert!(
        lines.iter().all(|line| *line == [1] || line.is_empty()),
        "{lines:?}"
    );
}

#[tokio::test]
async fn what_has_no_vectors_is_not_misindexed() {
    let world = World::faulty("misindexed=1/1");
    let id = create(&world, 20).await;
    world.step(3);
    assert_eq!(
        file(&world, &batch(&world, &id).await, "output_file_id")
            .await
            .len(),
        20
    );
    assert_eq!(world.bill().await["requests_billed"], 20);
    assert_eq!(world.sandbox.fault_counts().expect("counts").len(), 0);
}

/// Bodies that no endpoint for embeddings takes, each with the status and some words of its refusal.
fn refused_bodies() -> Vec<(Value, u16, &'static str)> {
    let small = "text-embedding-3-small";
    let with = |input: Value| json!({ "model": small, "input": input });
    let of = |model: &str, more: Value| {
        let mut body = json!({ "model": model, "input": "a" });
        let own = body.as_object_mut().expect("an object");
        own.extend(more.as_object().cloned().expect("an object"));
        body
    };
    vec![
        (with(json!([])), 400, "empty"),
        (with(json!("")), 400, "empty"),
        (json!({ "model": small }), 400, "empty"),
        (with(json!(vec!["a"; 2049])), 400, "2048"),
        (
            with(json!(["a", "word".repeat(8193)])),
            400,
            "context length is 8192",
        ),
        (with(json!(vec!["word".repeat(8000); 38])), 400, "300000"),
        (of(small, json!({ "dimensions": 1537 })), 400, "1536"),
        (of(small, json!({ "dimensions": 0 })), 400, "dimensions"),
        (
            of("text-embedding-3-large", json!({ "dimensions": 3073 })),
            400,
            "3072",
        ),
        (
            of("text-embedding-ada-002", json!({ "dimensions": 1536 })),
            400,
            "does not support",
        ),
        (
            of(small, json!({ "encoding_format": "bytes" })),
            400,
            "bytes",
        ),
        (of(small, json!({ "temperature": 1 })), 400, "temperature"),
        (of("gpt-6-luna", json!({})), 403, "not allowed"),
        (
            of("text-embedding-nonexistent", json!({})),
            404,
            "does not exist",
        ),
    ]
}

#[tokio::test]
async fn what_no_embeddings_endpoint_takes_is_refused() {
    let world = World::new(SandboxConfig::default());
    for (body, status, said) in refused_bodies() {
        let error = world
            .openai("POST", "/embeddings", body)
            .await
            .error(status);
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(said), "{message}");
    }
    let chat = json!({ "model": "text-embedding-3-small", "messages": [{ "role": "user", "content": "hi" }] });
    world
        .openai("POST", "/chat/completions", chat)
        .await
        .error(404);
}

/// Little-endian floats out of standard base64.
fn unpack(text: &str) -> Vec<f32> {
    let letter = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let (mut bits, mut held, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        (bits, held) = (bits << 6 | u32::from(letter(byte)), held + 6);
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 255).expect("a byte"));
        }
    }
    bytes
        .as_chunks::<4>()
        .0
        .iter()
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}
