//! OpenAI's calls, one function each, and what its answers mean.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::{StreamExt, stream};
use serde_json::value::RawValue;
use url::Url;

use crate::base::http::{
    HeaderValue, HttpError, HttpResponse, Method, RequestBody, StatusCode, header,
};
use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::provider::call::{Answer, Caller, with_json, with_query};
use crate::provider::lenient::Said;
use crate::provider::line::read_json;
use crate::provider::verdict::{Complaint, Verdict};
use crate::provider::{Body, Gate, Seen, Tag};
use crate::work::batch::BatchError;
use crate::work::{
    Api, BatchFailure, BatchId, BatchStatus, BatchView, FailureClass, Finish, Reply, ReplyBody,
    RequestCounts, ResultFile, Usage, Vector,
};

use super::wire;

/// The interface that the requests of a batch speak.
pub(super) fn endpoint(api: Api) -> &'static str {
    match api {
        Api::Embeddings => EMBEDDINGS,
        _ => "/v1/chat/completions",
    }
}

/// The interface that embeds.
pub(super) const EMBEDDINGS: &str = "/v1/embeddings";

/// Batches and files on a page of their lists: the most that there can be.
const BATCHES_PAGE: &str = "100";
const FILES_PAGE: &str = "10000";

/// How long a name of the job may be in a file's name, and a value in a batch's metadata.
const NAME_MAX: usize = 100;
const METADATA_MAX: usize = 512;

/// The name of an uploaded body. The nonce in it is how the body is found again.
pub(super) fn file_name(tag: &Tag) -> String {
    let job: String = tag.job.chars().take(NAME_MAX).collect();
    format!("{job}-{:06}-{}.jsonl", tag.chunk, tag.nonce)
}

/// `POST /files`: uploads a body. Costs nothing.
pub(super) async fn upload(caller: &Caller, tag: &Tag, body: Body) -> Result<Answer, HttpError> {
    let boundary = format!("columnist-{}", caller.nonce(24));
    let head = Bytes::from(format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
         --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{}\"\r\n\
         Content-Type: application/jsonl\r\n\r\n",
        file_name(tag)
    ));
    let tail = Bytes::from(format!("\r\n--{boundary}--\r\n"));
    let mut request = caller.request(Method::POST, &["files"]);
    let form = format!("multipart/form-data; boundary={boundary}");
    if let Ok(form) = HeaderValue::from_str(&form) {
        request.headers.insert(header::CONTENT_TYPE, form);
    }
    request.body = RequestBody::Stream {
        len: (head.len() + tail.len()) as u64 + body.len,
        stream: stream::once(async { Ok(head) })
            .chain(body.stream)
            .chain(stream::once(async { Ok(tail) }))
            .boxed(),
    };
    caller.once(request).await
}

/// `POST /batches`: the billable call.
pub(super) async fn create(
    caller: &Caller,
    (api, tag): (Api, &Tag),
    file: &str,
    gate: &Gate,
) -> Result<Answer, HttpError> {
    let value = |text: &str| text.chars().take(METADATA_MAX).collect::<String>();
    let metadata = BTreeMap::from([
        ("columnist_attempt", value(&tag.attempt)),
        ("columnist_chunk", tag.chunk.to_string()),
        ("columnist_job", value(&tag.job)),
        ("columnist_nonce", value(&tag.nonce)),
    ]);
    let create = wire::CreateBatch {
        input_file_id: file,
        endpoint: endpoint(api),
        completion_window: "24h",
        metadata,
    };
    let body = serde_json::to_vec(&create)
        .or_err(ErrorKind::Internal, "cannot write the call as JSON")
        .map_err(HttpError::NotSent)?;
    let body = gate.around(Body {
        len: body.len() as u64,
        stream: stream::once(async { Ok(Bytes::from(body)) }).boxed(),
    });
    let body = RequestBody::Stream {
        len: body.len,
        stream: body.stream,
    };
    let request = caller.request(Method::POST, &["batches"]);
    caller.once(with_json(request, body)).await
}

/// `GET /batches/{id}`
pub(super) async fn retrieve(caller: &Caller, id: &BatchId) -> Result<Seen<BatchView>> {
    let request = caller.request(Method::GET, &["batches", &id.0]);
    let answer = match caller.safe(request).await? {
        Seen::There(answer) => answer,
        Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
    };
    let view = view(&answer.read()?).ok_or_else(nameless)?;
    let as_of = answer.date();
    Ok(Seen::There(BatchView { as_of, ..view }))
}

/// `GET /batches?limit=&after=`: a page of the list, the newest first.
pub(super) async fn list_batches(caller: &Caller, after: Option<&str>) -> Result<Seen<Answer>> {
    let request = caller.request(Method::GET, &["batches"]);
    let query = [("limit", Some(BATCHES_PAGE)), ("after", after)];
    caller.safe(with_query(request, &query)).await
}

/// `GET /files?purpose=batch&limit=&order=desc&after=`: a page of the list, the newest first.
pub(super) async fn list_files(caller: &Caller, after: Option<&str>) -> Result<Seen<Answer>> {
    let request = caller.request(Method::GET, &["files"]);
    let query = [
        ("purpose", Some("batch")),
        ("limit", Some(FILES_PAGE)),
        ("order", Some("desc")),
        ("after", after),
    ];
    caller.safe(with_query(request, &query)).await
}

/// `GET /files/{id}/content`, from `offset` on.
pub(super) async fn content(
    caller: &Caller,
    file: &str,
    offset: u64,
) -> Result<Seen<HttpResponse>> {
    let mut request = caller.request(Method::GET, &["files", file, "content"]);
    let accept = HeaderValue::from_static("application/binary");
    request.headers.insert(header::ACCEPT, accept);
    if offset > 0 {
        let range = HeaderValue::from_str(&format!("bytes={offset}-"));
        request.headers.insert(
            header::RANGE,
            range.or_err(ErrorKind::Internal, "not a range")?,
        );
    }
    caller.open(request).await
}

/// `POST /batches/{id}/cancel`
pub(super) async fn cancel(caller: &Caller, id: &BatchId) -> Result<Answer> {
    let request = caller.request(Method::POST, &["batches", &id.0, "cancel"]);
    caller.asked(request).await
}

/// `DELETE /files/{id}`
pub(super) async fn delete(caller: &Caller, file: &str) -> Result<Answer> {
    let request = caller.request(Method::DELETE, &["files", file]);
    caller.asked(request).await
}

fn nameless() -> Error {
    Error::unavailable("the provider's answer names no batch")
}

/// A batch as the rest of the program knows it; `None` if the answer is none.
pub(super) fn view(batch: &wire::Batch<'_>) -> Option<BatchView> {
    let counts = batch.request_counts.0.unwrap_or_default();
    let files = [&batch.output_file_id, &batch.error_file_id];
    let errors = batch.errors.0.iter().flat_map(|errors| &errors.data.0);
    let metadata = batch.metadata.0.as_ref();
    let status = status(batch.status.text());
    let errors: Vec<BatchError> = errors.map(batch_error).collect();
    Some(BatchView {
        failure: (status == BatchStatus::Failed).then(|| failure(&errors)),
        id: BatchId(batch.id.clone().filled()?.into_owned()),
        awaited: is_awaited(batch, &status, &counts),
        status,
        counts: RequestCounts {
            total: counts.total.0,
            succeeded: counts.completed.0,
            failed: counts.failed.0,
        },
        created_at: batch.created_at.0,
        expires_at: batch.expires_at.0,
        as_of: None,
        ended_at: [
            &batch.completed_at,
            &batch.failed_at,
            &batch.expired_at,
            &batch.cancelled_at,
        ]
        .into_iter()
        .find_map(|at| at.0),
        results: files
            .into_iter()
            .filter_map(|file| Some(ResultFile(file.clone().filled()?.into_owned())))
            .collect(),
        errors,
        input_file: batch.input_file_id.clone().filled().map(Into::into),
        nonce: metadata.and_then(|own| own.columnist_nonce.clone().filled().map(Into::into)),
    })
}

/// What it means that a batch failed with `errors`. There may be none, or none that is known here: what
/// no error calls wrong is as good as before, for a batch that failed validation has run nothing.
fn failure(errors: &[BatchError]) -> BatchFailure {
    let has = |codes: &[&str]| errors.iter().find(|error| codes.contains(&&*error.code));
    if let Some(error) = has(&QUEUE_CODES) {
        return BatchFailure::QueueFull(queue_limit(&error.message));
    }
    if has(&MONEY_CODES).or(has(&[NO_MODEL])).is_some() {
        return BatchFailure::Account;
    }
    if has(&BODY_CODES).is_some() || errors.iter().any(|error| error.line.is_some()) {
        return BatchFailure::Requests;
    }
    BatchFailure::Passing
}

/// The error that says that there is no such model.
pub(super) const NO_MODEL: &str = "model_not_found";
/// Errors of a batch that say "the queue is full", not "the requests are wrong".
const QUEUE_CODES: [&str; 2] = ["token_limit_exceeded", "too_many_tasks"];
/// Errors that speak of the account's money.
const MONEY_CODES: [&str; 3] = [
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_quota",
];
/// Errors of a batch that speak of the uploaded body, where they do not name a line of it.
const BODY_CODES: [&str; 9] = [
    "duplicate_custom_id",
    "empty_file",
    "invalid_json_line",
    "invalid_method",
    "invalid_request",
    "invalid_url",
    "mismatched_model",
    "missing_required_parameter",
    "request_too_large",
];

/// Whether a file is still to come: the output, where requests were completed; any at all, where the
/// batch ran to its end.
fn is_awaited(batch: &wire::Batch<'_>, status: &BatchStatus, counts: &wire::RequestCounts) -> bool {
    let has_output = batch.output_file_id.clone().filled().is_some();
    let has_errors = batch.error_file_id.clone().filled().is_some();
    let is_short = counts.completed.0 > 0 && !has_output;
    match status {
        BatchStatus::Completed => is_short || !(has_output || has_errors),
        BatchStatus::Expired | BatchStatus::Canceled => is_short,
        _ => false,
    }
}

fn status(word: &str) -> BatchStatus {
    match word {
        "validating" => BatchStatus::Validating,
        "in_progress" | "finalizing" => BatchStatus::InProgress,
        "cancelling" => BatchStatus::Canceling,
        "completed" => BatchStatus::Completed,
        "failed" => BatchStatus::Failed,
        "expired" => BatchStatus::Expired,
        "cancelled" => BatchStatus::Canceled,
        word => BatchStatus::Unknown(word.to_owned()),
    }
}

fn batch_error(error: &wire::BatchErrorItem<'_>) -> BatchError {
    BatchError {
        code: error.code.text().to_owned(),
        message: error.message.text().to_owned(),
        line: Some(error.line.0).filter(|line| *line > 0),
    }
}

/// What a content filter is called: why an answer stopped, and the code of what was not asked at all.
const FILTERED: &str = "content_filter";

/// What a line of an output or error file says; `None` if it names no request.
///
/// # Errors
/// If it is not JSON.
pub(super) fn reply(line: &[u8]) -> serde_json::Result<Option<Reply<'_>>> {
    let line: wire::BatchRequestOutput<'_> = read_json(line)?;
    let Some(custom_id) = line.custom_id.0 else {
        return Ok(None);
    };
    let response = line.response.0.unwrap_or_default();
    let status = response.status_code.0;
    let answer = response.body.0.unwrap_or_default();
    // Tested in the output file too: lines that are not a success have been seen there.
    let is_success = status == 0 || (200..300).contains(&status);
    let body = match (answer.choices.0, answer.data.0) {
        (Some(choice), _) if is_success => answered(choice, answer.model, answer.usage.0),
        (None, Some(data)) if is_success => embedded(&data, answer.model, answer.usage.0),
        _ => {
            let (code, message) = match answer.error {
                Said::Nothing => said(line.error),
                error => said(error),
            };
            failed(status, code, message)
        }
    };
    Ok(Some(Reply { custom_id, body }))
}

fn answered<'a>(
    choice: wire::Choice<'a>,
    model: crate::provider::lenient::Word<'a>,
    usage: Option<wire::CompletionUsage>,
) -> ReplyBody<'a> {
    let message = choice.message.0.unwrap_or_default();
    let refusal = message.refusal.filled();
    let finish = match choice.finish_reason.text() {
        _ if refusal.is_some() => Finish::Refusal,
        "stop" => Finish::Stop,
        "length" => Finish::Length,
        "tool_calls" | "function_call" => Finish::Tool,
        FILTERED => Finish::Filter,
        _ => Finish::Other,
    };
    ReplyBody::Answered {
        text: message.content.0,
        finish,
        refusal,
        model: model.into_text(),
        usage: usage.map(tokens).unwrap_or_default(),
    }
}

fn embedded<'a>(
    data: &[wire::Embedding<'a>],
    model: crate::provider::lenient::Word<'a>,
    usage: Option<wire::CompletionUsage>,
) -> ReplyBody<'a> {
    let vector = |embedding: &wire::Embedding<'a>| Vector {
        index: embedding.index.0,
        json: embedding.embedding.map_or("", RawValue::get).into(),
    };
    ReplyBody::Embedded {
        vectors: data.iter().map(vector).collect(),
        model: model.into_text(),
        usage: usage.map(tokens).unwrap_or_default(),
    }
}

fn tokens(usage: wire::CompletionUsage) -> Usage {
    let input = usage.prompt_tokens_details.0.unwrap_or_default();
    let output = usage.completion_tokens_details.0.unwrap_or_default();
    let (read, written) = (input.cached_tokens.0, input.cache_write_tokens.0);
    Usage {
        input: usage
            .prompt_tokens
            .0
            .saturating_sub(read)
            .saturating_sub(written),
        cache_read: read,
        cache_write_5m: written,
        cache_write_1h: 0,
        output: usage.completion_tokens.0,
        reasoning: output.reasoning_tokens.0,
    }
}

/// The code and the sentence of an error, wherever they stand in it.
fn said(error: wire::Failure<'_>) -> (Text<'_>, Text<'_>) {
    match error {
        Said::Nothing => (Text::default(), Text::default()),
        Said::Text(message) => (Text::default(), message),
        Said::Object(object) => {
            let inner = object.error.0.unwrap_or_default();
            // A code that is a number repeats the status, and tells less than the type.
            let words = [object.code, inner.code]
                .map(|code| code.filled().filter(|code| code.parse::<u64>().is_err()));
            let [code, inner_code] = words;
            let code = code
                .or(inner_code)
                .or(object.kind.filled())
                .or(inner.kind.filled());
            let message = object.message.filled().or(inner.message.filled());
            (code.unwrap_or_default(), message.unwrap_or_default())
        }
    }
}

type Text<'a> = std::borrow::Cow<'a, str>;

fn failed<'a>(status: u64, code: Text<'a>, message: Text<'a>) -> ReplyBody<'a> {
    match &*code {
        "batch_expired" => return ReplyBody::Expired,
        "batch_cancelled" | "batch_canceled" => return ReplyBody::Canceled,
        _ => {}
    }
    let code = match (code.is_empty(), status) {
        (false, _) => code,
        (true, 0 | 200..300) => "no_answer".into(),
        (true, status) => format!("http_{status}").into(),
    };
    ReplyBody::Failed {
        class: class(status, &code, &message),
        code,
        message,
    }
}

/// What is wrong with the request stays wrong, and what is wrong with the key or the money waits until
/// that is mended. All else passes.
fn class(status: u64, code: &str, message: &str) -> FailureClass {
    if code == FILTERED || code == "content_policy_violation" {
        return FailureClass::Filtered;
    }
    if is_about_money(code) || matches!(status, 401 | 402) {
        return FailureClass::Account;
    }
    let is_wrong = match status {
        0 | 200..300 => {
            code.starts_with("invalid_") || code.starts_with("unsupported_") || is_permanent(code)
        }
        408 | 409 | 425 | 429 | 500.. => false,
        _ => !speaks_of_capacity(message),
    };
    if is_wrong {
        FailureClass::Permanent
    } else {
        FailureClass::Transient
    }
}

fn is_permanent(code: &str) -> bool {
    matches!(code, "context_length_exceeded" | NO_MODEL)
}

fn is_about_money(code: &str) -> bool {
    MONEY_CODES.contains(&code)
}

/// A few servers report that they are busy as if the request were wrong.
fn speaks_of_capacity(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["capacity", "overloaded", "try again later"]
        .iter()
        .any(|words| message.contains(words))
}

/// What an answer means that is not a success.
pub(super) fn judge(status: StatusCode, body: &[u8]) -> Complaint {
    let envelope: wire::ErrorResponse<'_> = serde_json::from_slice(body).unwrap_or_default();
    let (code, message) = said(envelope.error);
    let message = if message.is_empty() {
        String::from_utf8_lossy(body).trim().to_owned()
    } else {
        message.into_owned()
    };
    let is_full = code == "token_limit_exceeded" || message.contains("Enqueued token limit");
    let verdict = match (status.as_u16(), &*code) {
        (400 | 403 | 429, _) if is_full => Verdict::QueueFull(queue_limit(&message)),
        (400 | 403 | 429, code) if is_about_money(code) => Verdict::Money,
        _ => Verdict::of(status),
    };
    Complaint {
        verdict,
        code: code.into_owned(),
        message,
    }
}

/// What to do about a base URL under which there is no such endpoint. It ends with `/v1`, as the
/// vendor's own SDK takes it.
pub(super) fn mend(base: &Url) -> String {
    let text = format!("{}/", base.as_str().trim_end_matches('/'));
    match text.split_once("/v1/") {
        None => format!("a base_url of this dialect ends with `/v1`: try {text}v1"),
        Some((before, "")) => {
            format!(
                "does the server at {before} have the batch interface (`/v1/files`, `/v1/batches`)?"
            )
        }
        Some((before, _)) => format!("base_url goes no further than `/v1`: try {before}/v1"),
    }
}

/// How many tokens fit into the queue, as the sentence of `token_limit_exceeded` says it.
fn queue_limit(message: &str) -> Option<u64> {
    let (_, rest) = message.split_once("Limit: ")?;
    let digits: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(char::is_ascii_digit)
        .collect();
    digits.parse().ok().filter(|limit| *limit > 0)
}
