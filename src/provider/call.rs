//! The calls of one account: what every vendor's client does alike.
//!
//! Two ways lead out. [`Caller::once`] sends a call a single time, for what may cost money;
//! [`Caller::safe`] repeats it, for what only reads or may be done twice. What a vendor's "no" means
//! is the vendor's own judgement, a [`Complaint`]; here it becomes an error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tracing::debug;
use url::Url;

use super::account::{Account, Network};
use super::verdict::{Complaint, Judge, Verdict};
use super::{Rejection, Seen, SubmitError};
use crate::base::backoff::{asked_wait, http_date};
use crate::base::http::{
    HeaderMap, HttpError, HttpRequest, HttpResponse, HttpService, Method, RequestBody, Retrying,
    StatusCode, follow, header, shown,
};
use crate::base::{Error, ErrorKind, Result, Time};
use crate::work::BatchView;

/// The longest answer that is read into memory: far above a page of 10,000 files.
const ANSWER_MAX: usize = 64 << 20;
/// How much of a provider's sentence goes into an error.
const SAID_MAX: usize = 500;

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    url: String,
}

impl Answer {
    /// The body, understood.
    ///
    /// # Errors
    /// `Unavailable` if it is not what was expected: a proxy's page, most likely.
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::unavailable("cannot read the provider's answer")
                .with("url", &self.url)
                .with("status", self.status.as_u16())
                .because(error)
        })
    }

    /// The moment of the answer, by the provider's clock.
    pub(super) fn date(&self) -> Option<Time> {
        http_date(self.headers.get(header::DATE)?.to_str().ok()?)
    }
}

/// The calls of one account.
#[derive(Debug)]
pub(super) struct Caller {
    vendor: &'static str,
    account: Account,
    headers: HeaderMap,
    network: Network,
    retrying: Retrying,
    judge: Judge,
}

impl Caller {
    /// The calls of `account`, each with `headers`.
    pub(super) fn new(
        vendor: &'static str,
        account: Account,
        headers: HeaderMap,
        network: Network,
        judge: Judge,
    ) -> Self {
        let retrying = Retrying::new(
            Arc::clone(&network.http),
            Arc::clone(&network.clock),
            Arc::clone(&network.ids),
        );
        Caller {
            vendor,
            account,
            headers,
            network,
            retrying,
            judge,
        }
    }

    /// Where the calls go.
    pub(super) fn base(&self) -> &Url {
        &self.account.base
    }

    /// By how much the provider's clock, as `answer` shows it, is ahead of ours.
    pub(super) fn skew(&self, answer: &Answer) -> chrono::Duration {
        let now = self.network.clock.now();
        answer
            .date()
            .map_or(chrono::Duration::zero(), |date| date - now)
    }

    /// `len` letters of chance.
    pub(super) fn nonce(&self, len: usize) -> String {
        self.network.ids.nonce(len)
    }

    /// A request to the place `segments` under the base URL. Segments are escaped: they may be ids
    /// that a provider made up.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> HttpRequest {
        let mut url = self.account.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        let mut request = HttpRequest::new(method, url);
        request.headers = self.headers.clone();
        request.headers.insert(
            header::ACCEPT,
            header::HeaderValue::from_static("application/json"),
        );
        request
    }

    /// Sends `request` a single time, and reads the whole answer, whatever its status.
    pub(super) async fn once(&self, request: HttpRequest) -> Result<Answer, HttpError> {
        let (method, url) = (request.method.clone(), shown(&request.url));
        let response = self.network.http.send(request).await?;
        debug!(%method, url, status = response.status.as_u16(), "answered");
        whole(response, url).await.map_err(HttpError::Lost)
    }

    /// Sends `request` for a thing by its name, again if need be, and reads the whole answer; a status
    /// that reports an error is one here, unless it says that there is no such thing.
    pub(super) async fn safe(&self, request: HttpRequest) -> Result<Seen<Answer>> {
        self.seen(self.asked(request).await?)
    }

    /// `answer` if it is a success, or says that there is nothing of that name; else its error.
    pub(super) fn seen(&self, answer: Answer) -> Result<Seen<Answer>> {
        if answer.status.is_success() {
            return Ok(Seen::There(answer));
        }
        let complaint = self.complaint(&answer);
        let error = self.error_of(&answer, &complaint);
        match complaint.verdict {
            Verdict::Unseen => Ok(Seen::Unseen(error)),
            _ => Err(error),
        }
    }

    /// As [`Caller::safe`], but every status is an answer.
    pub(super) async fn asked(&self, request: HttpRequest) -> Result<Answer> {
        let url = shown(&request.url);
        let response = self.reach(request).await?;
        whole(response, url).await
    }

    /// Opens `request` for reading, again if need be, and hands the body over as it comes.
    pub(super) async fn open(&self, request: HttpRequest) -> Result<Seen<HttpResponse>> {
        let url = shown(&request.url);
        let response = self.reach(request).await?;
        if response.status.is_success() || response.status == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(Seen::There(response));
        }
        match self.seen(whole(response, url).await?)? {
            Seen::Unseen(error) => Ok(Seen::Unseen(error)),
            Seen::There(_) => Err(Error::internal("an answer is a success and is none")),
        }
    }

    async fn reach(&self, request: HttpRequest) -> Result<HttpResponse> {
        let (method, url) = (request.method.clone(), shown(&request.url));
        let got = match request.body {
            RequestBody::Empty if request.method == Method::GET => {
                follow(&self.retrying, request).await
            }
            _ => self.retrying.send(request).await,
        };
        if let Ok(response) = &got {
            debug!(%method, url, status = response.status.as_u16(), "answered");
        }
        got.map_err(|error| error.into_error().with("provider", self.vendor))
    }

    /// The vendor's reading of an answer that is not a success.
    pub(super) fn complaint(&self, answer: &Answer) -> Complaint {
        (self.judge)(answer.status, &answer.body)
    }

    /// The error that an answer reports.
    pub(super) fn error(&self, answer: &Answer) -> Error {
        self.error_of(answer, &self.complaint(answer))
    }

    /// The error that `complaint`, read from `answer`, reports.
    pub(super) fn error_of(&self, answer: &Answer, complaint: &Complaint) -> Error {
        let verdict = &complaint.verdict;
        let mut error = Error::new(verdict.kind(), verdict.sentence())
            .with("provider", self.vendor)
            .with("status", answer.status.as_u16());
        if !complaint.code.is_empty() {
            error = error.with("code", &complaint.code);
        }
        // A refused key is quoted in the vendor's sentence, in part at least.
        if *verdict != Verdict::Credentials && !complaint.message.is_empty() {
            error = error.with("said", self.without_key(&complaint.message));
        }
        let ids = ["request-id", "x-request-id"];
        if let Some(id) = ids.iter().find_map(|name| answer.headers.get(*name)) {
            error = error.with("request_id", id.to_str().unwrap_or_default());
        }
        error = error
            .with("url", &answer.url)
            .after(self.wait(&answer.headers));
        match verdict.hint(&self.account.key_env) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    fn without_key(&self, said: &str) -> String {
        let key = self.account.key.expose_secret();
        let said = said.replace(key, "[key]");
        match said.char_indices().nth(SAID_MAX) {
            Some((end, _)) => format!("{}...", &said[..end]),
            None => said,
        }
    }

    /// What the provider says to a batch's cancellation. One that has ended cannot be canceled, and
    /// need not be: `poll` tells.
    pub(super) async fn canceled(
        &self,
        answer: Answer,
        poll: impl Future<Output = Result<Seen<BatchView>>>,
    ) -> Result<Seen<()>> {
        let may_be_over = matches!(answer.status.as_u16(), 400 | 409);
        match self.seen(answer) {
            Err(error) if may_be_over => match poll.await? {
                Seen::There(view) if !view.status.is_ended() => Err(error),
                seen => Ok(seen.map(drop)),
            },
            seen => Ok(seen?.map(drop)),
        }
    }

    /// Why a call that makes something came to nothing, or may have: the answer said so. Where nothing
    /// was found at its address, and neither sentence nor code is about one of `names`, the address itself
    /// leads nowhere; `mend` says what a base URL should rather be.
    pub(super) fn refusal(
        &self,
        answer: &Answer,
        names: &[&str],
        mend: fn(&Url) -> String,
    ) -> SubmitError {
        let mut complaint = self.complaint(answer);
        let is_named = |name: &&str| {
            !name.is_empty()
                && (complaint.message.contains(*name) || complaint.code.ends_with(*name))
        };
        if matches!(answer.status.as_u16(), 404 | 405) && !names.iter().any(is_named) {
            complaint.verdict = Verdict::NoEndpoint;
            let error = self.error_of(answer, &complaint);
            let hint = mend(&self.account.base);
            return SubmitError::Rejected(Rejection::Final(error.hint(hint)));
        }
        let error = self.error_of(answer, &complaint);
        SubmitError::Rejected(match complaint.verdict {
            Verdict::Unclear => return SubmitError::Unknown(error),
            Verdict::Later => Rejection::Later(error, self.wait(&answer.headers)),
            Verdict::QueueFull(limit) => Rejection::QueueFull {
                error,
                limit,
                wait: self.wait(&answer.headers),
            },
            Verdict::TooLarge => Rejection::TooLarge(error),
            Verdict::Unseen => Rejection::Unseen(error),
            Verdict::Access
            | Verdict::Credentials
            | Verdict::Money
            | Verdict::NoEndpoint
            | Verdict::Wrong => Rejection::Final(error),
        })
    }

    /// Why a submission came to nothing, or may have: there is no answer.
    pub(super) fn silence(&self, error: HttpError) -> SubmitError {
        match error {
            HttpError::NotSent(error) => {
                SubmitError::Rejected(Rejection::Away(error.with("provider", self.vendor)))
            }
            HttpError::Lost(error) => SubmitError::Unknown(error.with("provider", self.vendor)),
        }
    }

    fn wait(&self, headers: &HeaderMap) -> Option<Duration> {
        asked_wait(headers, self.network.clock.now())
    }
}

/// A header value that is never printed.
///
/// # Errors
/// `Refused` if the key has characters that no header can carry.
pub(super) fn secret_header(
    prefix: &str,
    key_env: &str,
    key: &SecretString,
) -> Result<header::HeaderValue> {
    let text = format!("{prefix}{}", key.expose_secret());
    let mut value = header::HeaderValue::from_str(&text).map_err(|_| {
        Error::new(
            ErrorKind::Refused,
            "the key holds characters that no key has",
        )
        .with("variable", key_env)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Puts a JSON body into `request`.
pub(super) fn with_json(mut request: HttpRequest, body: RequestBody) -> HttpRequest {
    request.headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    request.body = body;
    request
}

/// Adds the pairs that have a value to the query of `request`.
pub(super) fn with_query(
    mut request: HttpRequest,
    pairs: &[(&'static str, Option<&str>)],
) -> HttpRequest {
    let pairs = pairs
        .iter()
        .filter_map(|(name, value)| Some((*name, (*value)?)));
    request.url.query_pairs_mut().extend_pairs(pairs);
    request
}

async fn whole(response: HttpResponse, url: String) -> Result<Answer> {
    let (status, headers) = (response.status, response.headers.clone());
    let body = response
        .bytes(ANSWER_MAX)
        .await
        .map_err(|error| error.with("url", &url))?;
    Ok(Answer {
        status,
        headers,
        body,
        url,
    })
}

/// How many bytes the body of `response` has, where that is said.
pub(super) fn length(response: &HttpResponse) -> Option<u64> {
    let encoded = response.headers.contains_key(header::CONTENT_ENCODING);
    let length = response.header("content-length")?.parse().ok();
    length.filter(|_| !encoded)
}

/// The body of `response`, which ends with an error unless it is as long as was said: a transfer
/// that was cut must not look like the end.
pub(super) fn complete(response: HttpResponse) -> BoxStream<'static, Result<Bytes>> {
    let Some(expected) = length(&response) else {
        return response.body;
    };
    stream::try_unfold((response.body, 0), move |(mut body, got)| async move {
        let Some(bytes) = body.try_next().await? else {
            if got < expected {
                return Err(Error::unavailable("the download was cut")
                    .with("bytes", got)
                    .with("expected", expected));
            }
            return Ok(None);
        };
        let got = got + bytes.len() as u64;
        Ok(Some((bytes, (body, got))))
    })
    .boxed()
}
