//! Why a call or a request is refused, before it has a vendor's shape.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};

use crate::base::Error;

/// A refusal. Each dialect puts it in its vendor's envelope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// The vendor's `error.type`.
    pub(super) kind: Cow<'static, str>,
    pub(super) message: String,
    pub(super) param: Option<String>,
    pub(super) code: Option<Cow<'static, str>>,
    /// What `retry-after` says, in seconds, where the vendor would know.
    pub(super) wait: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        let kind = Cow::Borrowed(kind);
        Problem {
            status,
            kind,
            message: message.into(),
            param: None,
            code: None,
            wait: None,
        }
    }

    /// 400, as both vendors name it.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// 413, as one vendor names it, and the sandbox where the other says nothing.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(413, "request_too_large", message)
    }

    pub(super) fn param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    pub(super) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(Cow::Borrowed(code));
        self
    }

    pub(super) fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait.as_secs().max(1));
        self
    }

    /// As it is kept beside a request.
    pub(super) fn stored(&self) -> String {
        serde_json::to_string(self).expect("a problem is plain data")
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::new(500, "api_error", format!("the sandbox failed: {error}"))
    }
}

/// The dialect's middleware finds the problem in the extensions and writes the body.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.extensions_mut().insert(self);
        response
    }
}
