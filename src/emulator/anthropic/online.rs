//! Messages one by one, token counting, and the list of models.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::message::Message;
use super::params::{Endpoint, understand, verdicts};
use super::protocol::{MESSAGES, NAME, not_found, too_large, version};
use crate::emulator::batch::{Luck, Outcome};
use crate::emulator::bill;
use crate::emulator::cache::Found;
use crate::emulator::middleware;
use crate::emulator::online::{self, Spoken};
use crate::emulator::problem::Problem;
use crate::emulator::random::named;
use crate::emulator::world::{Caller, World, read};

type Answer = Result<Response, Problem>;

/// The body of a call, if it is not too large.
async fn whole(world: &World, request: Request) -> Result<String, Problem> {
    let most = world.config.anthropic.online_bytes_max;
    read(request.into_body(), most, too_large()).await
}

pub(super) async fn create(
    State(world): State<Arc<World>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Answer {
    let version = version(request.headers())?;
    let body = whole(&world, request).await?;
    let request = understand(
        &body,
        Cow::Borrowed(""),
        world.config.seed,
        (version, Endpoint::Online),
        &mut verdicts(),
    );
    if let Some(problem) = request.problem {
        return Err(problem);
    }
    let attempt = online::attempt(&world, request.body);
    let luck = Luck::online(&world.config.faults, request.body);
    let outcome = luck.outcome(attempt, false);
    if matches!(
        outcome,
        Outcome::Errored | Outcome::Expired | Outcome::Unpaid
    ) {
        return Err(Problem::new(500, "api_error", "Internal server error"));
    }
    let Spoken {
        text,
        stop,
        output_tokens,
    } = online::speak(&request, outcome);
    let tokens = (request.input_tokens, output_tokens);
    bill::note_online(&world, (NAME, MESSAGES), request.body, tokens)?;
    let message = Message {
        draw: named(request.body, &caller.request_id),
        model: &request.model,
        text: &text,
        stop,
        input_tokens: request.input_tokens,
        // What a call leaves in the cache no batch reads, and calls are few here.
        cache: (Found::default(), 0),
        output_tokens,
        tier: "standard",
    };
    let mut out = String::new();
    message.write(&mut out);
    let mut response = middleware::json(out);
    limits(&world, &mut response);
    Ok(response)
}

/// The rate-limit headers of a caller who is far from every limit.
fn limits(world: &World, response: &mut Response) {
    let reset = world.now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let limits = [
        ("requests", "4000"),
        ("tokens", "4000000"),
        ("input-tokens", "2000000"),
        ("output-tokens", "400000"),
    ];
    for (what, limit) in limits {
        for (which, value) in [("limit", limit), ("remaining", limit), ("reset", &reset)] {
            let name = format!("anthropic-ratelimit-{what}-{which}");
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name), HeaderValue::from_str(value))
            {
                response.headers_mut().insert(name, value);
            }
        }
    }
}

pub(super) async fn count_tokens(State(world): State<Arc<World>>, request: Request) -> Answer {
    let version = version(request.headers())?;
    let body = whole(&world, request).await?;
    let request = understand(
        &body,
        Cow::Borrowed(""),
        world.config.seed,
        (version, Endpoint::Counting),
        &mut verdicts(),
    );
    match request.problem {
        Some(problem) => Err(problem),
        None => Ok(middleware::json(
            json!({"input_tokens": request.input_tokens}).to_string(),
        )),
    }
}

const MODELS: [&str; 4] = [
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-haiku-4-5",
];

fn described(id: &str) -> Value {
    let yes = json!({"supported": true});
    json!({
        "type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z",
        "max_input_tokens": 1_000_000, "max_tokens": 128_000, "lifecycle": "active",
        "capabilities": {"batch": yes, "structured_outputs": yes},
    })
}

pub(super) async fn models() -> Response {
    let data: Vec<_> = MODELS.iter().map(|id| described(id)).collect();
    let page =
        json!({"data": data, "has_more": false, "first_id": MODELS[0], "last_id": MODELS[3]});
    middleware::json(page.to_string())
}

/// Any model exists, unless its name says that it does not.
pub(super) async fn model(Path(id): Path<String>) -> Answer {
    if id.ends_with("-nonexistent") {
        return Err(not_found(format!("model: {id}")));
    }
    Ok(middleware::json(described(&id).to_string()))
}
