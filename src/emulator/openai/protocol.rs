//! What all of `OpenAI`'s endpoints have in common: names, refusals, pages.

use serde_json::json;

use crate::emulator::problem::Problem;

pub(super) const NAME: &str = "openai";
pub(super) const CHAT: &str = "/v1/chat/completions";
pub(super) const EMBEDDINGS: &str = "/v1/embeddings";

pub(super) fn refusal(problem: &Problem, _: &str) -> String {
    json!({"error": {
        "message": problem.message,
        "type": problem.kind,
        "param": problem.param,
        "code": problem.code,
    }})
    .to_string()
}

pub(super) fn not_found(message: impl Into<String>) -> Problem {
    Problem::new(404, "invalid_request_error", message)
}

pub(super) fn too_large() -> Problem {
    Problem::new(
        413,
        "invalid_request_error",
        "Maximum content size limit exceeded",
    )
}

/// The length of a page: what was asked for, within the endpoint's limits.
pub(super) fn page_limit(asked: Option<&str>, default: u64, most: u64) -> Result<usize, Problem> {
    let limit = match asked.map(str::parse::<u64>) {
        None => default.min(most),
        Some(Ok(limit)) if (1..=most).contains(&limit) => limit,
        Some(_) => {
            let text = format!("Invalid 'limit': expected a value between 1 and {most}.");
            return Err(Problem::invalid(text).param("limit").code("invalid_value"));
        }
    };
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}
