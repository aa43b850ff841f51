//! What the providers' tests share: a vendor that answers from a script and remembers what it was
//! asked, behind the same seam as the network.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use futures::future::BoxFuture;
use futures::{StreamExt, stream};
use serde_json::Map;

use super::{Body, Network, Options, Provider, Rejection, Sought, SubmitError, Tag, open};
use crate::base::http::{HttpError, HttpRequest, HttpResponse, HttpService, RouterService};
use crate::base::{Clock, Error, Ids, Time};
use crate::work::{AnswerType, Api, Example, FailureClass, Finish, ReplyBody, Shape, Usage};

/// One request, as the vendor saw it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("text"))
    }
}

/// One answer of the script.
#[derive(Clone, Debug)]
pub(super) enum Say {
    /// Status, headers, body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// The connection is not made.
    NoConnection,
    /// The request arrives, and its answer does not.
    Silence,
}

pub(super) fn say(status: u16, body: &str) -> Say {
    Say::Answer(status, Vec::new(), body.to_owned())
}

pub(super) fn say_with(status: u16, headers: &[(&'static str, &str)], body: &str) -> Say {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    Say::Answer(status, headers.collect(), body.to_owned())
}

/// A vendor with a script.
#[derive(Clone, Debug)]
pub(super) struct Vendor {
    script: Arc<Mutex<VecDeque<Say>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Vendor {
    pub(super) fn new(script: impl IntoIterator<Item = Say>) -> Self {
        Vendor {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
        }
    }

    pub(super) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("no panic").clone()
    }

    pub(super) fn only(&self) -> Request {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.into_iter().next().expect("one")
    }

    /// Whether the whole script was asked for.
    pub(super) fn is_done(&self) -> bool {
        self.script.lock().expect("no panic").is_empty()
    }

    /// The provider, at this vendor.
    pub(super) fn open(&self, provider: &str) -> Arc<dyn Provider> {
        self.open_with(
            provider,
            &[("ANTHROPIC_API_KEY", "key-1"), ("OPENAI_API_KEY", "key-1")],
        )
    }

    /// The provider, at this vendor, in an environment.
    pub(super) fn open_with(&self, provider: &str, env: &[(&str, &str)]) -> Arc<dyn Provider> {
        let options = Options {
            provider,
            base_url: None,
            api_key_env: None,
            service: None,
            env: &lookup(env),
        };
        open(&options, self.network()).expect("opens")
    }

    pub(super) fn network(&self) -> Network {
        Network {
            http: Arc::new(self.clone()),
            clock: Arc::new(Skipping(Mutex::new(noon()))),
            ids: Arc::new(Ids::seeded(1)),
        }
    }

    fn router(&self, next: Option<Say>) -> Router {
        let vendor = (self.clone(), next);
        Router::new().fallback(answer).with_state(vendor)
    }
}

async fn answer(
    State((vendor, next)): State<(Vendor, Option<Say>)>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<axum::body::Body> {
    let path = uri.path_and_query().expect("a path").to_string();
    vendor.seen.lock().expect("no panic").push(Request {
        method,
        path,
        headers,
        body: String::from_utf8(body.to_vec()).expect("text"),
    });
    let Some(Say::Answer(status, headers, body)) = next else {
        return Response::new("nobody will read this".into());
    };
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).expect("a response")
}

#[async_trait]
impl HttpService for Vendor {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let next = self.script.lock().expect("no panic").pop_front();
        let lost = Error::unavailable("the connection was lost");
        match next {
            None => panic!("asked once too often: {request:?}"),
            Some(Say::NoConnection) => Err(HttpError::NotSent(Error::unavailable("no connection"))),
            Some(Say::Silence) => {
                RouterService::new(self.router(None)).send(request).await?;
                Err(HttpError::Lost(lost))
            }
            answer => RouterService::new(self.router(answer)).send(request).await,
        }
    }
}

/// A clock on which every sleep is over at once, and still takes its time.
#[derive(Debug)]
struct Skipping(Mutex<Time>);

impl Clock for Skipping {
    fn now(&self) -> Time {
        *self.0.lock().expect("no panic")
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        *self.0.lock().expect("no panic") += duration;
        Box::pin(async {})
    }
}

/// An environment.
pub(super) fn lookup(env: &[(&str, &str)]) -> impl Fn(&str) -> Option<String> {
    let env: Vec<(String, String)> = env
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    move |name| {
        let found = env.iter().find(|(known, _)| known == name)?;
        Some(found.1.clone())
    }
}

/// The time at which every test begins.
pub(super) fn noon() -> Time {
    "2026-11-20T12:00:00Z".parse().expect("a time")
}

/// A plain shape for `api`.
pub(super) fn shape(api: Api) -> Shape {
    Shape {
        api,
        service: "test".into(),
        model: "model-1".into(),
        system: None,
        max_output_tokens: 64,
        temperature: None,
        params: Map::new(),
        answer: AnswerType::Text,
        examples: Vec::new(),
        assistant_prefix: None,
        attachments: false,
    }
}

pub(super) fn example(user: &str, assistant: &str) -> Example {
    Example {
        user: user.into(),
        assistant: assistant.into(),
    }
}

pub(super) fn tag() -> Tag {
    Tag {
        job: "triage".into(),
        chunk: 3,
        nonce: "abcdefghjkmn".into(),
        attempt: "attempt-2".into(),
    }
}

/// What was sought for [`tag`], five requests of 100 bytes in all, promised at noon.
pub(super) fn sought() -> Sought {
    Sought {
        tag: tag(),
        count: 5,
        bytes: 100,
        since: noon(),
        staged: None,
        not: Vec::new(),
    }
}

/// A submission that came to nothing, in a few words, and its error.
pub(super) fn told(error: SubmitError) -> (String, Error) {
    let with = |word: &str, number: Option<u128>| match number {
        Some(number) => format!("{word} {number}"),
        None => word.to_owned(),
    };
    match error {
        SubmitError::Unknown(error) => ("unknown".to_owned(), error),
        SubmitError::Rejected(Rejection::TooLarge(error)) => ("too large".to_owned(), error),
        SubmitError::Rejected(Rejection::QueueFull { error, limit, .. }) => {
            (with("full", limit.map(u128::from)), error)
        }
        SubmitError::Rejected(Rejection::Away(error)) => ("away".to_owned(), error),
        SubmitError::Rejected(Rejection::Later(error, wait)) => {
            (with("later", wait.map(|wait| wait.as_millis())), error)
        }
        SubmitError::Rejected(Rejection::Unseen(error)) => ("unseen".to_owned(), error),
        SubmitError::Rejected(Rejection::Final(error)) => {
            (format!("final {:?}", error.kind()).to_lowercase(), error)
        }
    }
}

/// A body in two parts.
pub(super) fn body(first: &str, second: &str) -> Body {
    let parts = [first, second].map(|part| Ok(Bytes::from(part.to_owned())));
    Body {
        len: (first.len() + second.len()) as u64,
        stream: stream::iter(parts).boxed(),
    }
}

/// A line of an answer.
pub(super) fn answered<'a>(
    text: &'a str,
    finish: Finish,
    model: &'a str,
    usage: Usage,
) -> ReplyBody<'a> {
    ReplyBody::Answered {
        text: text.into(),
        finish,
        refusal: None,
        model: model.into(),
        usage,
    }
}

/// A line of a failure.
pub(super) fn failed<'a>(class: FailureClass, code: &'a str, message: &'a str) -> ReplyBody<'a> {
    ReplyBody::Failed {
        class,
        code: code.into(),
        message: message.into(),
    }
}

/// So many tokens in and out.
pub(super) fn used(input: u64, output: u64) -> Usage {
    Usage {
        input,
        output,
        ..Usage::default()
    }
}
