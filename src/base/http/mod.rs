//! HTTP: the outermost seam, one async function from request to response.
//!
//! Everything above speaks to an [`HttpService`]; a test or the built-in sandbox replaces the
//! network and nothing else. Behaviour is added by wrapping: [`Retrying`] repeats what may be
//! repeated, [`follow()`] goes after redirects without carrying credentials to another host. For addresses that
//! stand in data there is a network of its own, in which names lead to no private address.
//!
//! # Promises
//! - A request is sent once. Only [`Retrying`] sends again, and it is given safe calls alone.
//! - An error says whether anything can have arrived: [`HttpError::NotSent`] or [`HttpError::Lost`].
//! - There is no total time limit, which would cut long transfers, but none may stand still.
//! - No address in an error holds credentials or a query, for signed addresses are credentials.

mod follow;
mod public;
mod retrying;
mod router;
mod system;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
pub use reqwest::header::{self, HeaderMap, HeaderName, HeaderValue};
pub use reqwest::{Method, StatusCode};
use url::Url;

pub use follow::{follow, target};
pub use public::{Names, SystemNames, is_link_local, is_public};
pub use retrying::Retrying;
pub use router::RouterService;
pub use system::SystemHttp;

use super::{Error, Result};

/// The network, or what stands for it.
#[async_trait]
pub trait HttpService: Debug + Send + Sync + 'static {
    /// Sends `request` once, and answers as soon as the response's head is there.
    ///
    /// # Errors
    /// Whatever kept the response away. A status that reports an error is a response.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;
}

/// What is sent.
pub struct HttpRequest {
    /// The verb.
    pub method: Method,
    /// The whole address.
    pub url: Url,
    /// The headers; those that hold credentials are marked sensitive, so that they never print.
    pub headers: HeaderMap,
    /// The body.
    pub body: RequestBody,
}

impl HttpRequest {
    /// A request without headers or body.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        HttpRequest {
            method,
            url,
            headers: HeaderMap::new(),
            body: RequestBody::Empty,
        }
    }

    /// A request to send again, unless the body can be had only once.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        let body = match &self.body {
            RequestBody::Empty => RequestBody::Empty,
            RequestBody::Whole(bytes) => RequestBody::Whole(bytes.clone()),
            RequestBody::Stream { .. } => return None,
        };
        Some(HttpRequest {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body,
        })
    }
}

impl Debug for HttpRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}, {:?}", self.method, shown(&self.url), self.body)
    }
}

/// A request's body. Its length is always known, and it is never compressed.
pub enum RequestBody {
    /// None.
    Empty,
    /// Bytes that are there already.
    Whole(Bytes),
    /// Bytes that are made while they are sent.
    Stream {
        /// Exactly so many follow.
        len: u64,
        /// The bytes.
        stream: BoxStream<'static, io::Result<Bytes>>,
    },
}

impl RequestBody {
    /// Its length; `None` where there is no body at all.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match self {
            RequestBody::Empty => None,
            RequestBody::Whole(bytes) => Some(bytes.len() as u64),
            RequestBody::Stream { len, .. } => Some(*len),
        }
    }

    fn into_stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            RequestBody::Empty => stream::empty().boxed(),
            RequestBody::Whole(bytes) => stream::once(async { Ok(bytes) }).boxed(),
            RequestBody::Stream { stream, .. } => stream,
        }
    }
}

impl Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.length().unwrap_or_default())
    }
}

/// What comes back. The body may still be on its way.
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. Ends with an error when the connection is cut.
    pub body: BoxStream<'static, Result<Bytes>>,
}

impl HttpResponse {
    /// A header's text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The whole body.
    ///
    /// # Errors
    /// `Unavailable` if it is cut, or is longer than `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(part) = self.body.try_next().await? {
            if all.len() + part.len() > limit {
                let error = Error::unavailable("the answer is longer than any answer should be");
                return Err(error.with("limit", limit));
            }
            all.extend_from_slice(&part);
        }
        Ok(all.freeze())
    }
}

impl Debug for HttpResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Why there is no response.
#[derive(Debug)]
pub enum HttpError {
    /// The connection was never made: no byte of the request has left.
    NotSent(Error),
    /// Some or all of the request was sent, and nobody knows what became of it.
    Lost(Error),
}

impl HttpError {
    /// The error, for a caller to whom both are the same.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            HttpError::NotSent(error) | HttpError::Lost(error) => error,
        }
    }
}

/// An address fit to be shown: without credentials, and without a query that may be one.
#[must_use]
pub fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
