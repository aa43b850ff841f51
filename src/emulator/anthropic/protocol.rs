//! What all of Anthropic's endpoints have in common: names, versions, refusals.

use axum::http::HeaderMap;
use serde_json::json;

use crate::emulator::problem::Problem;

pub(super) const NAME: &str = "anthropic";

/// The endpoint that everything is billed for.
pub(super) const MESSAGES: &str = "/v1/messages";

/// The versions of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// `2023-06-01`
    First,
    /// `2026-10-21`, which has no sampling parameters.
    Second,
}

pub(super) fn version(headers: &HeaderMap) -> Result<Version, Problem> {
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

pub(super) fn refusal(problem: &Problem, request_id: &str) -> String {
    let error = json!({"type": problem.kind, "message": problem.message});
    json!({"type": "error", "error": error, "request_id": request_id}).to_string()
}

pub(super) fn not_found(message: impl Into<String>) -> Problem {
    Problem::new(404, "not_found_error", message)
}

pub(super) fn too_large() -> Problem {
    Problem::too_large("Request exceeds the maximum size")
}
