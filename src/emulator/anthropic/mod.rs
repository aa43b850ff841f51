//! Anthropic's dialect: Message Batches, messages, token counting, models.
//!
//! Parameters are judged as the requests arrive, and the verdict kept until the batch has ended: the
//! vendor, too, tells it no sooner.

mod batches;
mod message;
mod online;
mod params;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use serde_json::json;

use super::front::{Dialect, bearer};
use super::problem::Problem;
use super::world::World;

/// How Anthropic speaks.
pub(super) const DIALECT: Dialect = Dialect {
    name: NAME,
    base: "/anthropic",
    routes,
    key,
    refusal,
    id_header: "request-id",
    not_found: |_, _| not_found("Not Found"),
    busy: || {
        let message = "This request would exceed your organization's rate limit.";
        Problem::new(429, "rate_limit_error", message)
    },
    broken: || Problem::new(529, "overloaded_error", "Overloaded"),
};

const NAME: &str = "anthropic";

/// The endpoint that everything is billed for.
const MESSAGES: &str = "/v1/messages";

fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/v1/messages", post(online::create))
        .route("/v1/messages/count_tokens", post(online::count_tokens))
        .route(
            "/v1/messages/batches",
            post(batches::create).get(batches::list),
        )
        .route(
            "/v1/messages/batches/{id}",
            get(batches::retrieve).delete(batches::delete),
        )
        .route("/v1/messages/batches/{id}/results", get(batches::results))
        .route("/v1/messages/batches/{id}/cancel", post(batches::cancel))
        .route("/v1/models", get(online::models))
        .route("/v1/models/{id}", get(online::model))
}

/// The versions of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `2023-06-01`
    First,
    /// `2026-10-21`, which has no sampling parameters.
    Second,
}

fn version(headers: &HeaderMap) -> Result<Version, Problem> {
    match headers
        .get("anthropic-version")
        .map(|value| value.to_str().unwrap_or_default())
    {
        Some("2023-06-01") => Ok(Version::First),
        Some("2026-10-21") => Ok(Version::Second),
        Some(other) => Err(Problem::invalid(format!(
            "anthropic-version: \"{other}\" is not a valid version"
        ))),
        None => Err(Problem::invalid("anthropic-version: header is required")),
    }
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    let refuse = |message: &str| Err(Problem::new(401, "authentication_error", message));
    let plain = headers.get("x-api-key").and_then(|key| key.to_str().ok());
    let key = match (plain.filter(|key| !key.is_empty()), bearer(headers)) {
        (Some(_), Some(_)) => return refuse("send x-api-key or Authorization, not both"),
        (None, None) => return refuse("x-api-key header is required"),
        (Some(key), None) | (None, Some(key)) => key,
    };
    if key.contains("invalid") {
        return refuse("invalid x-api-key");
    }
    version(headers)?;
    Ok(key.to_owned())
}

fn refusal(problem: &Problem, request_id: &str) -> String {
    let error = json!({"type": problem.kind, "message": problem.message});
    json!({"type": "error", "error": error, "request_id": request_id}).to_string()
}

fn not_found(message: impl Into<String>) -> Problem {
    Problem::new(404, "not_found_error", message)
}

fn too_large() -> Problem {
    Problem::new(413, "request_too_large", "Request exceeds the maximum size")
}
