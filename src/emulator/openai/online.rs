//! Chat completions and embeddings one by one, and the list of models.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::response::Response;
use serde_json::{Value, json};

use super::body::{understand, verdicts};
use super::message::{Completion, write_embeddings};
use super::protocol::{CHAT, EMBEDDINGS, NAME, not_found, too_large};
use crate::emulator::batch::{Luck, Outcome};
use crate::emulator::bill;
use crate::emulator::cache::Found;
use crate::emulator::middleware;
use crate::emulator::online::{self, Spoken};
use crate::emulator::problem::Problem;
use crate::emulator::random::named;
use crate::emulator::record::{self, Shape};
use crate::emulator::world::{Caller, World, read};

type Answer = Result<Response, Problem>;

/// What becomes of an online call, if it is not refused.
fn judge(world: &World, request: &record::Request<'_>) -> Result<Outcome, Problem> {
    if let Some(problem) = &request.problem {
        return Err(problem.clone());
    }
    if request.model.is_empty() {
        let text = "you must provide a model parameter";
        return Err(Problem::invalid(text).param("model"));
    }
    if request.model.ends_with("-nonexistent") {
        return Err(unknown_model(&request.model));
    }
    let attempt = online::attempt(world, request.body);
    let luck = Luck::online(&world.config.faults, request.body);
    match luck.outcome(attempt, false) {
        Outcome::Errored | Outcome::Expired | Outcome::Unpaid => {
            let text = "The server had an error while processing your request. Sorry about that!";
            Err(Problem::new(500, "server_error", text))
        }
        outcome => Ok(outcome),
    }
}

fn unknown_model(model: &str) -> Problem {
    let text = format!("The model '{model}' does not exist or you do not have access to it.");
    not_found(text).code("model_not_found")
}

/// The body of a call, if it is not too large.
async fn whole(world: &World, request: Request) -> Result<String, Problem> {
    let most = world.config.openai.online_bytes_max;
    read(request.into_body(), most, too_large()).await
}

pub(super) async fn chat(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let body = whole(&world, request).await?;
    let request = understand(
        &body,
        Cow::Borrowed(""),
        world.config.seed,
        CHAT,
        &mut verdicts(),
    );
    let outcome = judge(&world, &request)?;
    let Spoken {
        text,
        stop,
        output_tokens,
    } = online::speak(&request, outcome);
    let tokens = (request.input_tokens, output_tokens);
    bill::note_online(&world, (NAME, CHAT), request.body, tokens)?;
    let completion = Completion {
        draw: named(request.body, &caller.request_id),
        created: world.now().timestamp(),
        model: &request.model,
        text: &text,
        stop,
        input_tokens: request.input_tokens,
        // What a call leaves in the cache no batch reads, and calls are few here.
        found: Found::default(),
        output_tokens,
    };
    let mut out = String::new();
    completion.write(&mut out);
    Ok(limits(middleware::json(out)))
}

pub(super) async fn embeddings(State(world): State<Arc<World>>, request: Request) -> Answer {
    let body = whole(&world, request).await?;
    let request = understand(
        &body,
        Cow::Borrowed(""),
        world.config.seed,
        EMBEDDINGS,
        &mut verdicts(),
    );
    judge(&world, &request)?;
    let Shape::Vectors { dimensions, base64 } = request.shape else {
        return Err(Problem::invalid("no embeddings were asked for"));
    };
    let tokens = request.input_tokens;
    bill::note_online(&world, (NAME, EMBEDDINGS), request.body, (tokens, 0))?;
    let mut out = String::new();
    let draws = request.draws.iter().copied().enumerate();
    write_embeddings(
        &request.model,
        draws,
        (dimensions, base64),
        tokens,
        &mut out,
    );
    Ok(limits(middleware::json(out)))
}

/// The rate-limit headers of a caller who is far from every limit.
fn limits(mut response: Response) -> Response {
    for (name, value) in [
        ("openai-processing-ms", "5"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "10000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "9999000"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "17ms"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

const MODELS: [&str; 5] = [
    "gpt-6-luna",
    "gpt-6-sol",
    "gpt-5.4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
];

fn described(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_767_225_600, "owned_by": "sandbox"})
}

pub(super) async fn models() -> Response {
    let data: Vec<_> = MODELS.iter().map(|id| described(id)).collect();
    middleware::json(json!({"object": "list", "data": data}).to_string())
}

/// Any model exists, unless its name says that it does not.
pub(super) async fn model(Path(id): Path<String>) -> Answer {
    if id.ends_with("-nonexistent") {
        return Err(unknown_model(&id));
    }
    Ok(middleware::json(described(&id).to_string()))
}
