//! Anthropic's dialect: Message Batches, messages, token counting, models.
//!
//! Parameters are judged as the requests arrive, and the verdict kept until the batch has ended: the
//! vendor, too, tells it no sooner.

mod batches;
mod cache;
mod message;
mod online;
mod params;
mod protocol;
mod settings;

pub use settings::AnthropicLimits;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use protocol::{NAME, not_found, refusal, version};

use super::middleware::{Dialect, bearer};
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
    makes_nothing: &["/cancel", "/count_tokens"],
    has_files: false,
};

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
