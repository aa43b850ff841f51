//! Batches: create, retrieve, list, cancel.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::body::not_served;
use super::files::{find as find_file, listed, start_after};
use super::limits::{check_pace, check_tokens};
use super::protocol::{CHAT, EMBEDDINGS, NAME, not_found, page_limit, too_large};
use super::shown::shown;
use super::stored::{OpenAiFile, Side, has_ended, result_file};
use crate::emulator::batch::{Batch, Failure, Phase};
use crate::emulator::middleware;
use crate::emulator::problem::Problem;
use crate::emulator::world::{Caller, NewBatch, World, read};

type Answer = Result<Response, Problem>;

/// The most bytes of a create call.
const BODY_BYTES_MAX: u64 = 1_000_000;

/// What the vendor batches, and the sandbox does not.
const ELSEWHERE: [&str; 6] = [
    "/v1/responses",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    input_file_id: Option<String>,
    endpoint: Option<String>,
    completion_window: Option<String>,
    metadata: Option<Map<String, Value>>,
    output_expires_after: Option<ExpiresAfter>,
}

#[derive(Deserialize)]
struct ExpiresAfter {
    anchor: String,
    seconds: u64,
}

impl Create {
    fn parse(body: &str) -> Result<Self, Problem> {
        let create: Create = serde_json::from_str(body)
            .map_err(|error| Problem::invalid(format!("Invalid body: {error}")))?;
        create.check()?;
        Ok(create)
    }

    fn check(&self) -> Result<(), Problem> {
        let missing = |param: &str| {
            let text = format!("Missing required parameter: '{param}'.");
            Err(Problem::invalid(text)
                .param(param)
                .code("missing_required_parameter"))
        };
        if self.input_file_id.is_none() {
            return missing("input_file_id");
        }
        match self.endpoint.as_deref() {
            None => return missing("endpoint"),
            Some(CHAT | EMBEDDINGS) => {}
            Some(other) if ELSEWHERE.contains(&other) => return Err(not_served(other)),
            Some(other) => return Err(wrong("endpoint", other)),
        }
        match self.completion_window.as_deref() {
            None => return missing("completion_window"),
            Some("24h") => {}
            Some(other) => return Err(wrong("completion_window", other)),
        }
        let bad = |expires: &&ExpiresAfter| {
            expires.anchor != "created_at" || !(3_600..=2_592_000).contains(&expires.seconds)
        };
        if let Some(expires) = self.output_expires_after.as_ref().filter(bad) {
            return Err(wrong("output_expires_after", &expires.seconds.to_string()));
        }
        self.metadata.as_ref().map_or(Ok(()), check_metadata)
    }
}

fn wrong(param: &str, value: &str) -> Problem {
    Problem::invalid(format!("Invalid value for '{param}': '{value}'."))
        .param(param)
        .code("invalid_value")
}

fn check_metadata(metadata: &Map<String, Value>) -> Result<(), Problem> {
    let refuse = |text: String| Err(Problem::invalid(text).param("metadata"));
    if metadata.len() > 16 {
        return refuse("Invalid 'metadata': too many properties. Expected at most 16.".into());
    }
    for (key, value) in metadata {
        if key.chars().count() > 64 {
            return refuse(format!(
                "Invalid 'metadata': key '{key}' is longer than 64."
            ));
        }
        match value.as_str() {
            Some(text) if text.chars().count() <= 512 => {}
            Some(_) => return refuse(format!("Invalid 'metadata.{key}': longer than 512.")),
            None => {
                return refuse(format!(
                    "Invalid type for 'metadata.{key}': expected a string."
                ));
            }
        }
    }
    Ok(())
}

pub(super) async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let create = Create::parse(&read(request.into_body(), BODY_BYTES_MAX, too_large()).await?)?;
    let file_id = create.input_file_id.unwrap_or_default();
    let file = find_file(&world, &caller, &file_id).map_err(|_| {
        Problem::invalid(format!("No such File object: {file_id}")).param("input_file_id")
    })?;
    check_pace(&world, &caller)?;
    if file.purpose != "batch" {
        let text = format!("File '{file_id}' must have purpose 'batch'.");
        return Err(Problem::invalid(text).param("input_file_id"));
    }
    let expires = create
        .output_expires_after
        .map(|expires| json!({"anchor": expires.anchor, "seconds": expires.seconds}));
    let endpoint = create.endpoint.unwrap_or_default();
    let mut batch = world.new_batch(NewBatch {
        prefix: "batch_",
        dialect: NAME,
        endpoint: endpoint.clone(),
        owner: caller.owner.clone(),
        requests: file.requests.clone(),
        summary: file.summary.clone(),
        details: json!({
            "input_file_id": file_id,
            "metadata": create.metadata,
            "model": file.models.first().map(|(model, _)| model),
            "output_expires_after": expires,
        }),
    });
    batch.failures = failures(&world, &file, &batch);
    if batch.failures.is_empty() {
        batch
            .failures
            .extend(check_tokens(&world, &caller, &batch)?);
    }
    for side in [Side::Output, Side::Error] {
        world.store.write(&result_file(&world, &batch, side))?;
    }
    world.store.write(&batch)?;
    // Whatever the clock says, a batch that was just made is not validated yet.
    Ok(middleware::json(
        shown(&world, &batch, Phase::Validating)?.to_string(),
    ))
}

/// What validation will find.
fn failures(world: &World, file: &OpenAiFile, batch: &Batch) -> Vec<Failure> {
    let mut failures = file.failures.clone();
    let mut fail = |code: &str, message: String, line: Option<u64>| {
        failures.push(Failure {
            code: code.into(),
            message,
            param: None,
            line,
        });
    };
    if file.summary.count == 0 && file.failures.is_empty() {
        fail("empty_file", "The input file is empty.".into(), None);
    }
    if let Some((url, line)) = file.urls.iter().find(|(url, _)| *url != batch.endpoint) {
        let text = format!(
            "The URL '{url}' does not match the batch endpoint '{}'.",
            batch.endpoint
        );
        fail("invalid_url", text, Some(*line));
    }
    if let Some((model, line)) = file.models.get(1) {
        let text = format!("The model '{model}' does not match the model of the lines before it.");
        fail("mismatched_model", text, Some(*line));
    }
    let missing = file
        .models
        .iter()
        .find(|(model, _)| model.ends_with("-nonexistent"));
    if let Some((model, line)) = missing {
        let text = format!("The provided model '{model}' is not supported by the Batch API.");
        fail("model_not_found", text, Some(*line));
    }
    let inputs_max = world.config.openai.requests_max;
    if batch.endpoint == EMBEDDINGS && file.summary.draws > inputs_max {
        let text = format!("This file has more than {inputs_max} embedding inputs.");
        fail("too_many_tasks", text, None);
    }
    failures
}

/// The batch, if it is the caller's.
fn find(world: &World, caller: &Caller, id: &str) -> Result<Batch, Problem> {
    let kept = world.store.read::<Batch>(id)?;
    let mine = kept.filter(|batch| batch.dialect == NAME && batch.owner == caller.owner);
    mine.ok_or_else(|| not_found(format!("No batch found with id '{id}'.")))
}

fn answer(world: &World, batch: &Batch) -> Answer {
    Ok(middleware::json(
        shown(world, batch, batch.phase(world.now()))?.to_string(),
    ))
}

pub(super) async fn retrieve(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    answer(&world, &find(&world, &caller, &id)?)
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<String>,
    after: Option<String>,
}

pub(super) async fn list(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Query(page): Query<Page>,
) -> Answer {
    let limit = page_limit(page.limit.as_deref(), 20, world.config.openai.page_max)?;
    let mut all = world.store.all::<Batch>()?;
    all.retain(|batch| batch.dialect == NAME && batch.owner == caller.owner);
    let start = start_after(page.after.as_deref(), all.iter().map(|batch| &*batch.id))?;
    let has_more = all.len() > start + limit;
    let page = all.iter().skip(start).take(limit);
    let data: Result<Vec<_>, Problem> = page
        .map(|batch| shown(&world, batch, batch.phase(world.now())))
        .collect();
    Ok(middleware::json(listed(&data?, has_more).to_string()))
}

pub(super) async fn cancel(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Answer {
    let mut batch = find(&world, &caller, &id)?;
    if has_ended(&world, &batch) {
        let shown = shown(&world, &batch, batch.phase(world.now()))?;
        let status = shown["status"].as_str().unwrap_or_default();
        let text = format!("Cannot cancel a batch with status '{status}'.");
        return Err(Problem::new(409, "invalid_request_error", text));
    }
    if batch.cancelled_at.is_none() {
        batch.cancelled_at = Some(world.now());
        world.store.write(&batch)?;
    }
    Ok(middleware::json(
        shown(&world, &batch, Phase::Cancelling)?.to_string(),
    ))
}
