//! `OpenAI`'s dialect: Files, Batches, chat completions, embeddings, models.
//!
//! A file is read line by line as it is uploaded. What is wrong with its envelopes is kept beside it
//! and fails every batch made from it; what is wrong with a body fails that request alone.

mod batches;
mod body;
mod cache;
mod embedding;
mod files;
mod limits;
mod message;
mod online;
mod parts;
mod protocol;
mod settings;
mod shown;
mod stored;
mod upload;

pub use settings::OpenAiLimits;

use std::sync::Arc;

use axum::Router;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use protocol::{NAME, not_found, refusal};

use super::middleware::{Dialect, bearer};
use super::problem::Problem;
use super::world::World;

/// How `OpenAI` speaks.
pub(super) const DIALECT: Dialect = Dialect {
    name: NAME,
    base: "/openai/v1",
    routes,
    key,
    refusal,
    id_header: "x-request-id",
    not_found: |method, path| {
        let path = path.strip_prefix("/openai").unwrap_or(path);
        not_found(format!("Invalid URL ({method} {path})"))
    },
    busy: || {
        let text = "Rate limit reached for requests. Please try again in 1s.";
        Problem::new(429, "requests", text).code("rate_limit_exceeded")
    },
    broken: || {
        let text = "The server had an error while processing your request. Sorry about that!";
        Problem::new(500, "server_error", text)
    },
    makes_nothing: &["/cancel"],
    has_files: true,
};

fn routes() -> Router<Arc<World>> {
    Router::new()
        .route("/files", post(upload::create).get(files::list))
        .route("/files/{id}", get(files::retrieve).delete(files::delete))
        .route("/files/{id}/content", get(files::content))
        .route("/batches", post(batches::create).get(batches::list))
        .route("/batches/{id}", get(batches::retrieve))
        .route("/batches/{id}/cancel", post(batches::cancel))
        .route("/chat/completions", post(online::chat))
        .route("/embeddings", post(online::embeddings))
        .route("/models", get(online::models))
        .route("/models/{id}", get(online::model))
}

fn key(headers: &HeaderMap) -> Result<String, Problem> {
    match bearer(headers) {
        None => {
            let text = "You didn't provide an API key. You need to provide your API key in an \
                        Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            Err(Problem::new(401, "invalid_request_error", text))
        }
        Some(key) if key.contains("invalid") => {
            let text = "Incorrect API key provided.";
            Err(Problem::new(401, "invalid_request_error", text).code("invalid_api_key"))
        }
        Some(key) => Ok(key.to_owned()),
    }
}
