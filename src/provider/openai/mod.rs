//! OpenAI's batches of chat completions and of embeddings, and the servers that speak its dialect.
//!
//! A body is uploaded as a file, then a batch is made of it. Both can be found again: the file by
//! its name, the batch by its metadata or its file.
//!
//! | as of 2026-11 | |
//! |---|---|
//! | a batch | 50,000 requests, or inputs to be embedded; 200 MB, one model |
//! | queue | a limit on enqueued tokens per model, told only by refusals |
//! | window | 24 hours; the rest expires, unpaid |
//! | results | an output file, an error file, or both; any order; not every request has a line |
//! | price | half of the online price, see `work/price.rs` |
//! | cache | by itself; a key leads requests that begin alike to one cache |
//!
//! <https://platform.openai.com/docs/guides/batch>

mod caching;
mod client;
mod config;
mod embeddings;
#[cfg(test)]
mod embeddings_tests;
mod schema;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use serde_json::{Map, Value, json};

pub(super) use config::NAME;

use super::account::{Network, Options};
use super::call::{Caller, complete, length};
use super::frame::{constant_parts, contradiction, put_turns, refuse, turn_frame};
use super::line::read_line;
use super::{
    Body, Capability, Download, Found, FreeCheck, Provider, Rejection, Seen, Sought, Staged,
    Submission, SubmitError, Tag, find,
};
use crate::base::http::{HttpResponse, StatusCode};
use crate::base::{Error, Json, Result, Time};
use crate::work::{
    AnswerType, Api, AttachmentFrame, BatchId, BatchView, CacheUse, Frame, PartFrame, Prefix,
    Reply, ResultFile, Shape,
};
use config::Config;

/// Parameters that the job sets elsewhere.
const REFUSED: [(&str, &str); 4] = [
    ("model", "the model is set by [model] use"),
    ("messages", "the messages are made from [prompt]"),
    (
        "max_completion_tokens",
        "set [model] max_output_tokens instead; or max_tokens here, for a server that knows no other",
    ),
    ("stream", "a batch does not stream"),
];

/// OpenAI, or a server that speaks as it does, through one account.
#[derive(Debug)]
pub(super) struct OpenAi {
    caller: Caller,
    capability: Capability,
}

impl OpenAi {
    /// Opens it. No call is made.
    ///
    /// # Errors
    /// As for [`open`](super::open()).
    pub(super) fn open(options: &Options<'_>, network: Network) -> Result<Self> {
        let config = Config::build(options)?;
        Ok(OpenAi {
            caller: Caller::new(NAME, config.account, config.headers, network, client::judge),
            capability: config.capability,
        })
    }

    /// The uploaded files that carry the nonce and are as long as the body, and the moment of the
    /// list.
    async fn files(&self, sought: &Sought) -> Result<Seen<(Vec<String>, Option<Time>)>> {
        let name = client::file_name(&sought.tag);
        let mut ours = Vec::new();
        let mut as_of = None;
        let mut after: Option<String> = None;
        loop {
            let answer = match client::list_files(&self.caller, after.as_deref()).await? {
                Seen::There(answer) => answer,
                Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
            };
            let page: wire::Page<wire::File<'_>> = answer.read()?;
            if after.is_none() {
                as_of = answer.date();
            }
            let horizon = find::horizon(sought.since, self.caller.skew(&answer));
            let is_past = find::is_past(page.data.iter().map(|file| file.created_at.0), horizon);
            let matching = page
                .data
                .iter()
                .filter(|file| file.filename.text() == name && file.bytes.0 == sought.bytes);
            ours.extend(matching.map(|file| file.id.text().to_owned()));
            let last = page.data.last().and_then(|file| file.id.clone().filled());
            if !find::turn(&mut after, last.as_deref(), page.has_more.0, is_past)? {
                return Ok(Seen::There((ours, as_of)));
            }
        }
    }

    /// The batches of the attempt, and the moment of the list. A batch that kept no metadata is
    /// known by its file, one of `files`.
    async fn batches(
        &self,
        sought: &Sought,
        files: &[String],
    ) -> Result<Seen<(Vec<BatchView>, Option<Time>)>> {
        let mut ours = Vec::new();
        let mut as_of = None;
        let mut after: Option<String> = None;
        loop {
            let answer = match client::list_batches(&self.caller, after.as_deref()).await? {
                Seen::There(answer) => answer,
                Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
            };
            let page: wire::Page<wire::Batch<'_>> = answer.read()?;
            if after.is_none() {
                as_of = answer.date();
            }
            let horizon = find::horizon(sought.since, self.caller.skew(&answer));
            let is_past = find::is_past(page.data.iter().map(|batch| batch.created_at.0), horizon);
            let matching = page
                .data
                .iter()
                .filter(|batch| is_ours(batch, sought, files));
            ours.extend(matching.filter_map(client::view));
            let last = page.data.last().and_then(|batch| batch.id.clone().filled());
            if !find::turn(&mut after, last.as_deref(), page.has_more.0, is_past)? {
                break;
            }
        }
        find::oldest_first(&mut ours);
        Ok(Seen::There((ours, as_of)))
    }
}

/// Whether `batch` is of the attempt: by the attempt's id, which several attempts of one body do not
/// share; else by the body's nonce; else by the file.
fn is_ours(batch: &wire::Batch<'_>, sought: &Sought, files: &[String]) -> bool {
    if sought.not.iter().any(|known| known.0 == batch.id.text()) {
        return false;
    }
    let metadata = batch.metadata.0.as_ref();
    let attempt = metadata.map_or("", |own| own.columnist_attempt.text());
    if !attempt.is_empty() {
        return attempt == sought.tag.attempt;
    }
    let nonce = metadata.map_or("", |own| own.columnist_nonce.text());
    let file = batch.input_file_id.text();
    nonce == sought.tag.nonce || files.iter().any(|ours| ours == file)
}

impl fmt::Display for OpenAi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME} at {}", self.caller.base())
    }
}

#[async_trait]
impl Provider for OpenAi {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn schema(&self, answer: &AnswerType) -> Result<Option<Json>> {
        schema::wire(answer)
    }

    fn frame(&self, shape: &Shape, cache: Option<CacheUse>) -> Result<Frame> {
        if shape.assistant_prefix.is_some() && self.capability.service == NAME {
            return Err(
                Error::invalid("OpenAI's models take no beginning of their answer")
                    .with("model", &shape.model)
                    .hint("take `prompt.assistant_prefix` out, and say in the prompt how the answer begins"),
            );
        }
        body(shape, "")?;
        let write = |id: &str, text: &str, turns: Option<(&str, &str)>| {
            let mut body = body(shape, text).unwrap_or_default();
            if let Some(cache) = cache {
                caching::put(&mut body, cache, shape);
            }
            if let Some(turns) = turns {
                put_turns(&mut body, shape.assistant_prefix.as_deref(), turns);
            }
            let body = printed(shape, body);
            let endpoint = client::endpoint(shape.api);
            format!(r#"{{"custom_id":"{id}","method":"POST","url":"{endpoint}","body":{body}}}"#)
        };
        let (before_id, after_id, after_text) = constant_parts(|id, text| write(id, text, None))?;
        let turns =
            |[id, text, answer, message]: [&str; 4]| write(id, text, Some((answer, message)));
        let frame = Frame {
            open: Vec::new(),
            before_id,
            after_id,
            after_text,
            between: b"\n".to_vec(),
            close: b"\n".to_vec(),
            parts: None,
            inputs: match (shape.api, &self.capability.embeddings) {
                (Api::Embeddings, Some(embeddings)) => Some(embeddings::line(embeddings, shape)),
                _ => None,
            },
            turns: match shape.api {
                Api::Embeddings => None,
                _ => Some(turn_frame(turns)?),
            },
        };
        Ok(if shape.attachments {
            frame.with_parts(parts())
        } else {
            frame
        })
    }

    fn prefix(&self, shape: &Shape) -> Prefix {
        caching::prefix(&body(shape, "").unwrap_or_default())
    }

    async fn free_check(&self, shape: &Shape, _prompt: &str) -> Result<FreeCheck> {
        body(shape, "")?;
        let is_plain = shape.temperature.is_none()
            && shape.params.is_empty()
            && shape.answer.schema().is_none()
            && !shape.attachments
            && embeddings::is_plain(shape);
        // Of a plain request only the model's name can be wrong, which is checked for free before
        // the batch begins.
        Ok(if is_plain {
            FreeCheck::Passed
        } else {
            FreeCheck::Untold
        })
    }

    async fn stage(&self, tag: &Tag, body: Body) -> Result<Staged, SubmitError> {
        let answer = client::upload(&self.caller, tag, body)
            .await
            .map_err(|error| self.caller.silence(error))?;
        if !answer.status.is_success() {
            return Err(self
                .caller
                .refusal(&answer, &[client::NO_MODEL], client::mend));
        }
        let file: wire::File<'_> = answer.read().map_err(SubmitError::Unknown)?;
        let id = file.id.filled().ok_or_else(|| {
            SubmitError::Unknown(Error::unavailable("the provider's answer names no file"))
        })?;
        Ok(Staged::File(id.into_owned()))
    }

    async fn submit(
        &self,
        shape: &Shape,
        submission: Submission,
    ) -> Result<BatchView, SubmitError> {
        let Staged::File(file) = submission.staged else {
            let error = Error::internal("OpenAI takes a body by its uploaded file");
            return Err(SubmitError::Rejected(Rejection::Final(error)));
        };
        let (tag, gate) = (&submission.tag, &submission.gate);
        let answer = client::create(&self.caller, (shape.api, tag), &file, gate)
            .await
            .map_err(|error| self.caller.silence(error))?;
        if !answer.status.is_success() {
            let names = [&*file, &*shape.model, client::NO_MODEL];
            return Err(self.caller.refusal(&answer, &names, client::mend));
        }
        let batch = answer.read().map_err(SubmitError::Unknown)?;
        client::view(&batch).ok_or_else(|| {
            SubmitError::Unknown(Error::unavailable("the provider's answer names no batch"))
        })
    }

    async fn find(&self, sought: &Sought) -> Result<Found> {
        // Files first: a batch is made after its file, so what is missing in the later list was
        // missing all along.
        let (files, files_as_of) = match &sought.staged {
            Some(file) => (vec![file.clone()], None),
            None => match self.files(sought).await? {
                Seen::There(found) => found,
                Seen::Unseen(error) => return Ok(Found::Unlisted(error)),
            },
        };
        let (ours, as_of) = match self.batches(sought, &files).await? {
            Seen::There(found) => found,
            Seen::Unseen(error) => return Ok(Found::Unlisted(error)),
        };
        if !ours.is_empty() {
            return Ok(Found::Ours(ours));
        }
        Ok(Found::Absent {
            staged: files.into_iter().next(),
            as_of: files_as_of.or(as_of),
        })
    }

    async fn poll(&self, id: &BatchId) -> Result<Seen<BatchView>> {
        client::retrieve(&self.caller, id).await
    }

    async fn fetch(&self, file: &ResultFile, offset: u64) -> Result<Seen<Download>> {
        let response = client::content(&self.caller, &file.0, offset).await?;
        Ok(response.map(|response| match response.status {
            StatusCode::RANGE_NOT_SATISFIABLE => nothing_more(&response, offset),
            StatusCode::PARTIAL_CONTENT => the_rest(response, offset),
            _ => Download {
                offset: 0,
                total: length(&response),
                stream: complete(response),
            },
        }))
    }

    fn parse<'a>(&self, line: &'a [u8]) -> Result<Reply<'a>> {
        read_line(line, client::reply)
    }

    async fn cancel(&self, id: &BatchId) -> Result<Seen<()>> {
        let answer = client::cancel(&self.caller, id).await?;
        self.caller.canceled(answer, self.poll(id)).await
    }

    async fn discard(&self, staged: &str) -> Result<()> {
        let answer = client::delete(&self.caller, staged).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        Err(self.caller.error(&answer))
    }
}

/// The answer to a range that starts at the end: there is nothing more.
fn nothing_more(response: &HttpResponse, offset: u64) -> Download {
    let total = response
        .header("content-range")
        .and_then(|range| range.rsplit('/').next()?.parse().ok());
    Download {
        offset,
        total,
        stream: stream::empty().boxed(),
    }
}

/// The answer to a range: `content-range` says where it really starts.
fn the_rest(response: HttpResponse, asked: u64) -> Download {
    let range = response.header("content-range").unwrap_or_default();
    let (span, total) = range.split_once('/').unwrap_or_default();
    let start = span.trim_start_matches("bytes").trim().split('-').next();
    Download {
        offset: start.and_then(|start| start.parse().ok()).unwrap_or(asked),
        total: total.parse().ok(),
        stream: complete(response),
    }
}

/// The body of a request: that of an online call.
///
/// # Errors
/// `Invalid` if a parameter of the job contradicts what we set.
fn body(shape: &Shape, text: &str) -> Result<Map<String, Value>> {
    if shape.api == Api::Embeddings {
        return embeddings::body(shape, text);
    }
    refuse(&shape.params, &REFUSED)?;
    if shape.params.get("n").is_some_and(|n| *n != json!(1)) {
        return Err(contradiction(
            "n",
            "a row has one answer; more would be paid for nothing",
        ));
    }
    let mut body = shape.params.clone();
    let mut put = |name: &'static str, value: Value| match body.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(contradiction(name, "it is set in [model] or [answer] too")),
    };
    put("model", json!(shape.model))?;
    put("messages", messages(shape, text))?;
    if !shape.params.contains_key("max_tokens") {
        put("max_completion_tokens", json!(shape.max_output_tokens))?;
    }
    if let Some(temperature) = shape.temperature {
        put("temperature", json!(temperature))?;
    }
    if let Some(schema) = schema::wire(&shape.answer)? {
        // Its order counts, which this map does not keep: see `printed`.
        let schema = schema.to_string();
        let format = json!({ "name": "answer", "strict": true, "schema": schema });
        put(
            "response_format",
            json!({ "type": "json_schema", "json_schema": format }),
        )?;
    }
    Ok(body)
}

/// What stands around the parts of a message's content (API reference, "Create chat completion").
fn parts() -> PartFrame {
    PartFrame {
        text: [br#"{"type":"text","text":""#.to_vec(), br#""}"#.to_vec()],
        image: AttachmentFrame {
            bytes: [
                br#"{"type":"image_url","image_url":{"url":"data:"#.to_vec(),
                b";base64,".to_vec(),
                br#""}}"#.to_vec(),
            ],
            url: Some([
                br#"{"type":"image_url","image_url":{"url":""#.to_vec(),
                br#""}}"#.to_vec(),
            ]),
        },
        document: AttachmentFrame {
            bytes: [
                br#"{"type":"file","file":{"filename":"document.pdf","file_data":"data:"#.to_vec(),
                b";base64,".to_vec(),
                br#""}}"#.to_vec(),
            ],
            url: None,
        },
    }
}

/// The system prompt, the examples, the row's own text, and how the answer begins.
fn messages(shape: &Shape, text: &str) -> Value {
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    // `system` is the one name for this role that OpenAI and all its relatives know.
    let system = shape.system.iter().map(|system| said("system", system));
    let examples = shape.examples.iter().flat_map(|example| {
        [
            said("user", &example.user),
            said("assistant", &example.assistant),
        ]
    });
    let prefix = shape.assistant_prefix.iter();
    let prefix = prefix.map(|prefix| said("assistant", prefix));
    let own = std::iter::once(said("user", text));
    Value::Array(system.chain(examples).chain(own).chain(prefix).collect())
}

/// The body as it goes out: with the schema in the order of its properties, in which the model answers.
fn printed(shape: &Shape, body: Map<String, Value>) -> Json {
    let mut body = Json::from(Value::Object(body));
    if let Ok(Some(schema)) = schema::wire(&shape.answer) {
        body.put(&["response_format", "json_schema", "schema"], schema);
    }
    body
}
