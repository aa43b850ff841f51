//! Anthropic's calls, one function each, and what its answers mean.

use url::Url;

use crate::base::http::{
    HeaderValue, HttpError, HttpResponse, Method, RequestBody, StatusCode, header,
};
use crate::base::{Error, Result};
use crate::provider::call::{Answer, Caller, with_json, with_query};
use crate::provider::line::read_json;
use crate::provider::verdict::{Complaint, Verdict};
use crate::provider::{Body, Seen};
use crate::work::batch::BatchError;
use crate::work::{
    BatchId, BatchStatus, BatchView, FailureClass, Finish, Reply, ReplyBody, RequestCounts,
    ResultFile, Usage,
};

use super::config::VERSION_HEADER;
use super::wire;

const BATCHES: [&str; 3] = ["v1", "messages", "batches"];

/// Batches on a page of the list: the most that there can be.
const PAGE: &str = "1000";

/// `POST /v1/messages/batches`: the billable call.
pub(super) async fn create(
    caller: &Caller,
    version: &'static str,
    body: Body,
) -> Result<Answer, HttpError> {
    let mut request = caller.request(Method::POST, &BATCHES);
    let version = HeaderValue::from_static(version);
    request.headers.insert(VERSION_HEADER, version);
    let body = RequestBody::Stream {
        len: body.len,
        stream: body.stream,
    };
    caller.once(with_json(request, body)).await
}

/// `GET /v1/messages/batches/{id}`
pub(super) async fn retrieve(caller: &Caller, id: &BatchId) -> Result<Seen<BatchView>> {
    let path = [&BATCHES[..], &[&id.0]].concat();
    let answer = match caller.safe(caller.request(Method::GET, &path)).await? {
        Seen::There(answer) => answer,
        Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
    };
    let view = view(&answer.read()?).ok_or_else(nameless)?;
    let as_of = answer.date();
    Ok(Seen::There(BatchView { as_of, ..view }))
}

/// `GET /v1/messages/batches?limit=&after_id=`: a page of the list, the newest first.
pub(super) async fn list(caller: &Caller, after: Option<&str>) -> Result<Seen<Answer>> {
    let request = caller.request(Method::GET, &BATCHES);
    let query = [("limit", Some(PAGE)), ("after_id", after)];
    caller.safe(with_query(request, &query)).await
}

/// `GET /v1/messages/batches/{id}/results`. The path is built here, and `results_url` only says
/// that there is something: so the key never leaves for a host that an answer names.
pub(super) async fn results(caller: &Caller, file: &ResultFile) -> Result<Seen<HttpResponse>> {
    let path = [&BATCHES[..], &[&file.0, "results"]].concat();
    let mut request = caller.request(Method::GET, &path);
    let accept = HeaderValue::from_static("application/binary");
    request.headers.insert(header::ACCEPT, accept);
    caller.open(request).await
}

/// `POST /v1/messages/batches/{id}/cancel`
pub(super) async fn cancel(caller: &Caller, id: &BatchId) -> Result<Answer> {
    let path = [&BATCHES[..], &[&id.0, "cancel"]].concat();
    caller.asked(caller.request(Method::POST, &path)).await
}

/// `POST /v1/messages/count_tokens`: free, and checks what it knows of.
pub(super) async fn count_tokens(
    caller: &Caller,
    version: &'static str,
    body: String,
) -> Result<Answer> {
    let mut request = caller.request(Method::POST, &["v1", "messages", "count_tokens"]);
    let version = HeaderValue::from_static(version);
    request.headers.insert(VERSION_HEADER, version);
    let body = RequestBody::Whole(body.into());
    caller.asked(with_json(request, body)).await
}

fn nameless() -> Error {
    Error::unavailable("the provider's answer names no batch")
}

/// A batch as the rest of the program knows it; `None` if the answer is none.
pub(super) fn view(batch: &wire::MessageBatch<'_>) -> Option<BatchView> {
    let id = BatchId(batch.id.clone().filled()?.into_owned());
    let counts = batch.request_counts.0.unwrap_or_default();
    let failed = counts.errored.0 + counts.canceled.0 + counts.expired.0;
    let archived = batch.archived_at.0.map(|_| BatchError {
        code: "archived".to_owned(),
        message: "the provider has deleted the results, as it does 29 days after the start".into(),
        line: None,
    });
    // The id stands for the results: their address follows from it.
    let has_results = batch.results_url.0.is_some() && archived.is_none();
    let status = status(batch, &counts);
    Some(BatchView {
        awaited: status.is_ended() && !has_results && archived.is_none(),
        status,
        counts: RequestCounts {
            total: counts.processing.0 + counts.succeeded.0 + failed,
            succeeded: counts.succeeded.0,
            failed,
        },
        created_at: batch.created_at.0,
        expires_at: batch.expires_at.0,
        as_of: None,
        ended_at: batch.ended_at.0,
        results: has_results
            .then(|| ResultFile(id.0.clone()))
            .into_iter()
            .collect(),
        errors: archived.into_iter().collect(),
        failure: None,
        input_file: None,
        nonce: None,
        id,
    })
}

/// `ended` says nothing of how; what became of the requests does.
fn status(batch: &wire::MessageBatch<'_>, counts: &wire::RequestCounts) -> BatchStatus {
    match batch.processing_status.text() {
        "in_progress" => BatchStatus::InProgress,
        "canceling" => BatchStatus::Canceling,
        "ended" if counts.canceled.0 > 0 => BatchStatus::Canceled,
        "ended" if counts.expired.0 > 0 => BatchStatus::Expired,
        "ended" => BatchStatus::Completed,
        word => BatchStatus::Unknown(word.to_owned()),
    }
}

/// What a line of results says; `None` if it names no request.
///
/// # Errors
/// If it is not JSON.
pub(super) fn reply(line: &[u8]) -> serde_json::Result<Option<Reply<'_>>> {
    let line: wire::MessageBatchIndividualResponse<'_> = read_json(line)?;
    let Some(custom_id) = line.custom_id.0 else {
        return Ok(None);
    };
    let result = line.result.0.unwrap_or_default();
    let body = match (result.kind.text(), result.message.0, result.error.0) {
        ("expired", ..) => ReplyBody::Expired,
        ("canceled", ..) => ReplyBody::Canceled,
        ("errored", _, error) => failed(error.unwrap_or_default()),
        (_, Some(message), _) => answered(message),
        (_, None, Some(error)) => failed(error),
        (kind, None, None) => ReplyBody::Failed {
            class: FailureClass::Transient,
            code: "no_result".into(),
            message: format!("the line holds neither message nor error, only `{kind}`").into(),
        },
    };
    Ok(Some(Reply { custom_id, body }))
}

fn answered(message: wire::Message<'_>) -> ReplyBody<'_> {
    let finish = match message.stop_reason.text() {
        "end_turn" | "stop_sequence" => Finish::Stop,
        "max_tokens" => Finish::Length,
        "model_context_window_exceeded" => Finish::Window,
        "tool_use" => Finish::Tool,
        "refusal" => Finish::Refusal,
        "pause_turn" => Finish::Unfinished,
        _ => Finish::Other,
    };
    let details = message.stop_details.0.unwrap_or_default();
    let reason = details.explanation.filled().or(details.category.filled());
    ReplyBody::Answered {
        text: message.content.0,
        finish,
        refusal: reason.filter(|_| finish == Finish::Refusal),
        model: message.model.into_text(),
        usage: usage(message.usage.0.unwrap_or_default()),
    }
}

fn failed(error: wire::ErrorResponse<'_>) -> ReplyBody<'_> {
    let (code, message) = match error.error.0 {
        Some(inner) => (inner.kind.into_text(), inner.message.into_text()),
        None => (error.kind.into_text(), error.message.into_text()),
    };
    ReplyBody::Failed {
        class: class(&code, &message),
        code,
        message,
    }
}

/// What is wrong with the request stays wrong, and what is wrong with the key or the money waits until
/// that is mended. All else passes.
fn class(code: &str, message: &str) -> FailureClass {
    match code {
        "authentication_error" | "billing_error" | "permission_error" => FailureClass::Account,
        "invalid_request_error" if is_about_credit(message) => FailureClass::Account,
        "invalid_request_error" | "not_found_error" | "request_too_large" => {
            FailureClass::Permanent
        }
        _ => FailureClass::Transient,
    }
}

fn usage(usage: wire::Usage) -> Usage {
    let written = usage.cache_creation.0.unwrap_or_default();
    let (minutes, hour) = (
        written.ephemeral_5m_input_tokens.0,
        written.ephemeral_1h_input_tokens.0,
    );
    let is_split = minutes + hour > 0;
    Usage {
        input: usage.input_tokens.0,
        cache_read: usage.cache_read_input_tokens.0,
        cache_write_5m: if is_split {
            minutes
        } else {
            usage.cache_creation_input_tokens.0
        },
        cache_write_1h: hour,
        output: usage.output_tokens.0,
        reasoning: usage
            .output_tokens_details
            .0
            .unwrap_or_default()
            .thinking_tokens
            .0,
    }
}

/// What an answer means that is not a success.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> Complaint {
    let envelope: wire::ErrorResponse<'_> = serde_json::from_slice(body).unwrap_or_default();
    let error = envelope.error.0.unwrap_or_default();
    let details = error.details.0.unwrap_or_default();
    let spent = details.error_code.text().ends_with("_spend_limit_reached");
    // The edge speaks plainly where the service itself would speak JSON.
    let message = match error.message.filled() {
        Some(message) => message.into_owned(),
        None => String::from_utf8_lossy(body).trim().to_owned(),
    };
    let code = details.error_code.filled().or(error.kind.filled());
    // No code tells a full queue from too many calls; where the sentence does not say it either, the
    // chunk only waits a little longer.
    let verdict = match Verdict::of(status) {
        Verdict::Later if spent => Verdict::Money,
        Verdict::Wrong if is_about_credit(&message) => Verdict::Money,
        Verdict::Later if message.contains("queue") => Verdict::QueueFull(queue_limit(&message)),
        verdict => verdict,
    };
    Complaint {
        verdict,
        code: code.unwrap_or_default().into_owned(),
        message,
    }
}

/// What to do about a base URL under which there is no such endpoint. It goes without `/v1`, as the
/// vendor's own SDK takes it.
pub(super) fn mend(base: &Url) -> String {
    let text = format!("{}/", base.as_str().trim_end_matches('/'));
    match text.split_once("/v1/") {
        Some((before, _)) => format!("a base_url of this dialect goes without `/v1`: try {before}"),
        None => {
            format!("does the server at {base} have the batch interface (`/v1/messages/batches`)?")
        }
    }
}

/// Whether a sentence says that there is no money left. Its status and its type are those of a request
/// that is wrong.
fn is_about_credit(message: &str) -> bool {
    message.contains("credit balance is too low")
}

/// How many requests fit into the queue, where a sentence about it says "limit of" so many.
fn queue_limit(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("limit of ")?;
    let digits = rest
        .split(|c: char| !c.is_ascii_digit() && c != ',')
        .next()?;
    digits
        .replace(',', "")
        .parse()
        .ok()
        .filter(|limit| *limit > 0)
}
