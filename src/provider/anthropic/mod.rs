//! Anthropic's Message Batches.
//!
//! One call takes the whole body and makes the batch; there is no upload, no metadata and no
//! idempotency. So a batch of ours can be told from a stranger's by its number of requests, and
//! surely only by the first line of its results. A request's parameters are checked when the whole
//! batch ends, which is why one is tried first, for free, by counting its tokens.
//!
//! | as of 2026-11 | |
//! |---|---|
//! | a batch | 100,000 requests, 256 MB |
//! | window | 24 hours from its creation; the rest expires, unpaid |
//! | results | kept 29 days from its creation; any order, every request has a line |
//! | price | half of the online price, see `work/price.rs` |
//! | cache | what is marked, for five minutes or an hour after its last use; readable once the first response has begun |
//!
//! <https://platform.claude.com/docs/en/build-with-claude/batch-processing>

mod caching;
mod client;
mod config;
mod schema;
#[cfg(test)]
mod tests;
mod wire;

use std::fmt;

use async_trait::async_trait;
use serde_json::{Map, Value, json};

pub(super) use config::NAME;

use super::account::{Network, Options};
use super::call::{Caller, complete, length};
use super::frame::{constant_parts, contradiction, put_turns, refuse, turn_frame};
use super::line::{first_line, read_line};
use super::{
    Body, Capability, Download, Found, FreeCheck, Provider, Rejection, Seen, Sought, Staged,
    Submission, SubmitError, Tag, find,
};
use crate::base::{Error, Json, Result, Time};
use crate::work::{
    AnswerType, AttachmentFrame, BatchId, BatchView, CacheUse, CustomId, Frame, PartFrame, Prefix,
    Reply, ResultFile, Shape,
};
use config::{Config, VERSION, VERSION_WITH_SAMPLING};

/// Parameters that choose the older version of the interface.
const SAMPLING: [&str; 3] = ["temperature", "top_p", "top_k"];

/// Parameters that the job sets elsewhere, or that no batch takes.
const REFUSED: [(&str, &str); 6] = [
    ("model", "the model is set by [model] use"),
    ("messages", "the messages are made from [prompt]"),
    ("max_tokens", "set [model] max_output_tokens instead"),
    ("stream", "a batch does not stream"),
    ("speed", "Anthropic's batches do not take it"),
    ("fallbacks", "Anthropic's batches do not take it"),
];

/// What counting tokens looks at.
const COUNTED: [&str; 8] = [
    "model",
    "messages",
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "cache_control",
];

/// Anthropic, or a server that speaks as it does, through one account.
#[derive(Debug)]
pub(super) struct Anthropic {
    caller: Caller,
    capability: Capability,
}

impl Anthropic {
    /// Opens it. No call is made.
    ///
    /// # Errors
    /// As for [`open`](super::open()).
    pub(super) fn open(options: &Options<'_>, network: Network) -> Result<Self> {
        let config = Config::build(options)?;
        Ok(Anthropic {
            caller: Caller::new(NAME, config.account, config.headers, network, client::judge),
            capability: config.capability,
        })
    }

    /// The batches that may be what is sought, by time and number, and the moment of the list.
    async fn candidates(&self, sought: &Sought) -> Result<Seen<(Vec<BatchView>, Option<Time>)>> {
        let mut candidates = Vec::new();
        let mut as_of = None;
        let mut after: Option<String> = None;
        loop {
            let answer = match client::list(&self.caller, after.as_deref()).await? {
                Seen::There(answer) => answer,
                Seen::Unseen(error) => return Ok(Seen::Unseen(error)),
            };
            let page: wire::Page<'_> = answer.read()?;
            if after.is_none() {
                as_of = answer.date();
            }
            let horizon = find::horizon(sought.since, self.caller.skew(&answer));
            let batches: Vec<BatchView> = page.data.iter().filter_map(client::view).collect();
            let is_past = find::is_past(batches.iter().map(|batch| batch.created_at), horizon);
            let last = batches.last().map(|batch| batch.id.0.clone());
            let last = page.last_id.filled().map(Into::into).or(last);
            candidates.extend(batches.into_iter().filter(|batch| {
                let is_recent = batch.created_at.is_none_or(|at| at >= horizon);
                let fits = [0, sought.count].contains(&batch.counts.total);
                is_recent && fits && !sought.not.contains(&batch.id)
            }));
            if !find::turn(&mut after, last.as_deref(), page.has_more.0, is_past)? {
                return Ok(Seen::There((candidates, as_of)));
            }
        }
    }

    /// Tells ours from strangers' among `candidates`: the ended ones show it.
    async fn sift(&self, sought: &Sought, candidates: Vec<BatchView>) -> Result<Sifted> {
        let mut sifted = Sifted::default();
        for batch in candidates {
            match self.is_ours(&batch, &sought.tag.nonce).await? {
                Some(true) => sifted.ours.push(batch),
                Some(false) => {}
                None => sifted.open.push(batch),
            }
        }
        find::oldest_first(&mut sifted.ours);
        find::oldest_first(&mut sifted.open);
        Ok(sifted)
    }

    /// Whether the results of `batch` carry `nonce`, read without downloading them all. `None` while
    /// there are none, and where they cannot be seen whole: a connection that was cut may look like
    /// their end, and what is ours must not be taken for another's.
    async fn is_ours(&self, batch: &BatchView, nonce: &str) -> Result<Option<bool>> {
        if !batch.status.is_ended() {
            return Ok(None);
        }
        // Every request has a line, whatever became of it.
        let lines = batch.counts.succeeded + batch.counts.failed;
        for file in &batch.results {
            for _ in 0..LOOKS_MAX {
                let is_ours = self.carries(file, nonce, lines).await?;
                if is_ours.is_some() {
                    return Ok(is_ours);
                }
            }
        }
        Ok(None)
    }

    /// Whether `file`, which has `lines` lines at least, carries `nonce`. One
    /// line is enough to know it; that no line does is believed at the end, or after a thousand, for a
    /// strange line may stand among ours. Lines that cannot be read are nobody's: whoever sent the
    /// batch has nothing to harvest from them. `None` if the end came too early.
    async fn carries(&self, file: &ResultFile, nonce: &str, lines: u64) -> Result<Option<bool>> {
        let (mut seen, mut strangers) = (0, 0);
        let download = self.fetch(file, 0).await?.there()?;
        let carries = |line: &[u8], is_whole: bool| {
            let reply = self.parse(line);
            let is_blank = line.iter().all(u8::is_ascii_whitespace);
            seen += u64::from((is_whole && !is_blank) || reply.is_ok());
            strangers += u64::from(reply.is_ok());
            let is_ours = CustomId::carries(nonce, &reply.ok()?.custom_id);
            (is_ours || strangers == STRANGERS_MAX).then_some(is_ours)
        };
        let found = first_line(download.stream, carries).await?;
        Ok(found.or((seen >= lines).then_some(false)))
    }
}

/// Times that results are looked at which end too early.
const LOOKS_MAX: u32 = 3;
/// Lines of others after which a batch is another's.
const STRANGERS_MAX: u64 = 1000;

/// Candidates, the oldest first.
#[derive(Default)]
struct Sifted {
    /// Their results carry our nonce.
    ours: Vec<BatchView>,
    /// Their results cannot be seen, or not yet.
    open: Vec<BatchView>,
}

impl fmt::Display for Anthropic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME} at {}", self.caller.base())
    }
}

#[async_trait]
impl Provider for Anthropic {
    fn capability(&self) -> &Capability {
        &self.capability
    }

    fn schema(&self, answer: &AnswerType) -> Result<Option<Json>> {
        schema::wire(answer)
    }

    fn frame(&self, shape: &Shape, cache: Option<CacheUse>) -> Result<Frame> {
        check_prefix(shape)?;
        check_sampling(shape)?;
        params(shape, "")?;
        let write = |id: &str, text: &str, turns: Option<(&str, &str)>| {
            let mut params = params(shape, text).unwrap_or_default();
            if let Some(cache) = cache {
                caching::mark(&mut params, cache);
            }
            if let Some(turns) = turns {
                put_turns(&mut params, shape.assistant_prefix.as_deref(), turns);
            }
            let params = printed(shape, params);
            format!(r#"{{"custom_id":"{id}","params":{params}}}"#)
        };
        let (before_id, after_id, after_text) = constant_parts(|id, text| write(id, text, None))?;
        let turns =
            |[id, text, answer, message]: [&str; 4]| write(id, text, Some((answer, message)));
        let frame = Frame {
            open: b"{\"requests\":[".to_vec(),
            before_id,
            after_id,
            after_text,
            between: b",".to_vec(),
            close: b"]}".to_vec(),
            parts: None,
            inputs: None,
            turns: Some(turn_frame(turns)?),
        };
        Ok(if shape.attachments {
            frame.with_parts(parts())
        } else {
            frame
        })
    }

    fn prefix(&self, shape: &Shape) -> Prefix {
        caching::prefix(&params(shape, "").unwrap_or_default())
    }

    async fn free_check(&self, shape: &Shape, prompt: &str) -> Result<FreeCheck> {
        let mut body = params(shape, prompt)?;
        body.remove("max_tokens");
        let named = body.len();
        body.retain(|name, _| COUNTED.contains(&name.as_str()));
        let is_all = named == body.len();
        let body = printed(shape, body).to_string();
        let answer = client::count_tokens(&self.caller, version(shape), body).await?;
        if answer.status.is_success() {
            return Ok(if is_all {
                FreeCheck::Passed
            } else {
                FreeCheck::Untold
            });
        }
        let complaint = self.caller.complaint(&answer);
        let error = self.caller.error_of(&answer, &complaint);
        match answer.status.as_u16() {
            400 | 422 => Ok(FreeCheck::Refused(error)),
            // The service says this of a model that it does not have; a proxy, of the call itself.
            404 if complaint.message.contains(&shape.model) => Ok(FreeCheck::Refused(
                error.hint("check the model's name, and that the account may use it"),
            )),
            404 | 405 | 413 | 501 => Ok(FreeCheck::Untold),
            _ => Err(error),
        }
    }

    async fn stage(&self, _tag: &Tag, body: Body) -> Result<Staged, SubmitError> {
        Ok(Staged::Inline(body))
    }

    async fn submit(
        &self,
        shape: &Shape,
        submission: Submission,
    ) -> Result<BatchView, SubmitError> {
        let Staged::Inline(body) = submission.staged else {
            let error = Error::internal("Anthropic takes the body with the submission");
            return Err(SubmitError::Rejected(Rejection::Final(error)));
        };
        let answer = client::create(&self.caller, version(shape), body)
            .await
            .map_err(|error| self.caller.silence(error))?;
        if !answer.status.is_success() {
            let names = [&*shape.model];
            return Err(self.caller.refusal(&answer, &names, client::mend));
        }
        let batch = answer.read().map_err(SubmitError::Unknown)?;
        client::view(&batch).ok_or_else(|| {
            SubmitError::Unknown(Error::unavailable("the provider's answer names no batch"))
        })
    }

    async fn find(&self, sought: &Sought) -> Result<Found> {
        let (candidates, as_of) = match self.candidates(sought).await? {
            Seen::There(found) => found,
            Seen::Unseen(error) => return Ok(Found::Unlisted(error)),
        };
        let Sifted { ours, open } = self.sift(sought, candidates).await?;
        Ok(match (ours.is_empty(), open.is_empty()) {
            (false, _) => Found::Ours(ours),
            (true, false) => Found::Maybe {
                candidates: open,
                as_of,
            },
            (true, true) => Found::Absent {
                staged: None,
                as_of,
            },
        })
    }

    async fn poll(&self, id: &BatchId) -> Result<Seen<BatchView>> {
        client::retrieve(&self.caller, id).await
    }

    async fn fetch(&self, file: &ResultFile, _offset: u64) -> Result<Seen<Download>> {
        let response = client::results(&self.caller, file).await?;
        Ok(response.map(|response| Download {
            offset: 0,
            total: length(&response),
            stream: complete(response),
        }))
    }

    fn parse<'a>(&self, line: &'a [u8]) -> Result<Reply<'a>> {
        read_line(line, client::reply)
    }

    async fn cancel(&self, id: &BatchId) -> Result<Seen<()>> {
        let answer = client::cancel(&self.caller, id).await?;
        self.caller.canceled(answer, self.poll(id)).await
    }

    async fn discard(&self, _staged: &str) -> Result<()> {
        Ok(())
    }
}

/// The version of the interface that takes a request of `shape`.
fn version(shape: &Shape) -> &'static str {
    let samples =
        shape.temperature.is_some() || SAMPLING.iter().any(|name| shape.params.contains_key(*name));
    if samples {
        VERSION_WITH_SAMPLING
    } else {
        VERSION
    }
}

/// A request's parameters: the body of an online call.
///
/// # Errors
/// `Invalid` if a parameter of the job contradicts what we set.
fn params(shape: &Shape, text: &str) -> Result<Map<String, Value>> {
    refuse(&shape.params, &REFUSED)?;
    let mut body = shape.params.clone();
    let mut put = |name: &'static str, value: Value| match body.insert(name.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(contradiction(name, "it is set in [model] or [prompt] too")),
    };
    put("model", json!(shape.model))?;
    put("max_tokens", json!(shape.max_output_tokens))?;
    put("messages", messages(shape, text))?;
    if let Some(system) = &shape.system {
        put("system", json!(system))?;
    }
    if let Some(temperature) = shape.temperature {
        put("temperature", json!(temperature))?;
    }
    if let Some(schema) = schema::wire(&shape.answer)? {
        // Its order counts, which this map does not keep: see `printed`.
        let schema = schema.to_string();
        let format = json!({ "type": "json_schema", "schema": schema });
        put_format(&mut body, format)?;
    }
    Ok(body)
}

/// What stands around the blocks of a message: section "Vision".
fn parts() -> PartFrame {
    let block = |kind: &str| AttachmentFrame {
        bytes: [
            format!(r#"{{"type":"{kind}","source":{{"type":"base64","media_type":""#).into(),
            br#"","data":""#.to_vec(),
            br#""}}"#.to_vec(),
        ],
        url: Some([
            format!(r#"{{"type":"{kind}","source":{{"type":"url","url":""#).into(),
            br#""}}"#.to_vec(),
        ]),
    };
    PartFrame {
        text: [br#"{"type":"text","text":""#.to_vec(), br#""}"#.to_vec()],
        image: block("image"),
        document: block("document"),
    }
}

/// The examples, the row's own text, and how the answer begins.
fn messages(shape: &Shape, text: &str) -> Value {
    let said = |role: &str, content: &str| json!({ "role": role, "content": content });
    let examples = shape.examples.iter();
    let mut messages: Vec<Value> = examples
        .flat_map(|example| {
            [
                said("user", &example.user),
                said("assistant", &example.assistant),
            ]
        })
        .collect();
    messages.push(said("user", text));
    messages.extend(
        shape
            .assistant_prefix
            .iter()
            .map(|prefix| said("assistant", prefix)),
    );
    Value::Array(messages)
}

/// Refuses how an answer is to begin where the model is one that takes no such thing.
fn check_prefix(shape: &Shape) -> Result<()> {
    if shape.assistant_prefix.is_none() || takes_prefix(&shape.model) {
        return Ok(());
    }
    Err(Error::invalid("the model takes no beginning of its answer")
        .with("model", &shape.model)
        .hint("take `prompt.assistant_prefix` out, and say in the prompt how the answer begins"))
}

/// Refuses what draws an answer otherwise than by default where the model is one that lets nobody say so.
fn check_sampling(shape: &Shape) -> Result<()> {
    let is_default = |value: f64| (value - 1.0).abs() < f64::EPSILON;
    let temperature = shape.temperature.filter(|value| !is_default(*value));
    let param = SAMPLING
        .iter()
        .find(|name| shape.params.contains_key(**name));
    let set = temperature.map(|_| "temperature").or(param.copied());
    let Some(set) = set.filter(|_| is_since(&shape.model, (4, 7), (5, 0))) else {
        return Ok(());
    };
    Err(
        Error::invalid("the model does not let a job say how its answers are drawn")
            .with("model", &shape.model)
            .with("param", set)
            .hint("take it out, or take a model that lets it"),
    )
}

/// Whether a model goes on with what is put in its mouth. Those of generation 4.6 and later do not, but
/// for Haiku, of which nobody says so.
fn takes_prefix(model: &str) -> bool {
    !is_since(model, (4, 6), (4, 6))
}

/// Whether `model` is an Opus or a Sonnet of such a generation or a later one; or of a family that is younger.
fn is_since(model: &str, opus: (u32, u32), sonnet: (u32, u32)) -> bool {
    let is_younger = ["fable", "mythos"].iter().any(|name| model.contains(name));
    let is_later = [("opus-", opus), ("sonnet-", sonnet)]
        .iter()
        .any(|(family, since)| {
            let version = model.split_once(family).map_or("", |(_, version)| version);
            let mut numbers = version.split('-').map(|word| word.parse::<u32>().ok());
            // A date is no version.
            let mut number = || numbers.next().flatten().filter(|n| *n < 100).unwrap_or(0);
            (number(), number()) >= *since
        });
    is_younger || is_later
}

/// Sets the output's format beside what the job sets of `output_config`.
fn put_format(body: &mut Map<String, Value>, format: Value) -> Result<()> {
    let config = body.entry("output_config").or_insert_with(|| json!({}));
    let taken = "the answer's format is set by [answer]";
    let Value::Object(config) = config else {
        return Err(contradiction("output_config", "it has to be a table"));
    };
    match config.insert("format".to_owned(), format) {
        None => Ok(()),
        Some(_) => Err(contradiction("output_config.format", taken)),
    }
}

/// The body as it goes out: with the schema in the order of its properties, in which the model answers.
fn printed(shape: &Shape, body: Map<String, Value>) -> Json {
    let mut body = Json::from(Value::Object(body));
    if let Ok(Some(schema)) = schema::wire(&shape.answer) {
        body.put(&["output_config", "format", "schema"], schema);
    }
    body
}
