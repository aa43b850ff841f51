//! Redirects, for calls that only read.

use url::Url;

use super::{HttpError, HttpRequest, HttpResponse, HttpService, RequestBody, StatusCode, header};
use crate::base::Error;

/// How often a call is sent on before it is taken for a circle.
const REDIRECTS_MAX: u32 = 5;

/// The headers that go to another host: none that could hold credentials.
const HARMLESS: [header::HeaderName; 3] = [header::ACCEPT, header::RANGE, header::USER_AGENT];

/// Sends a request without a body, and goes after redirects. To another origin go only headers
/// that cannot hold credentials, and nothing goes from `https` to `http`.
///
/// # Errors
/// As for [`HttpService::send`]; also when the redirects do not end.
pub async fn follow(
    service: &dyn HttpService,
    mut request: HttpRequest,
) -> Result<HttpResponse, HttpError> {
    for _ in 0..=REDIRECTS_MAX {
        let mut next = HttpRequest {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: RequestBody::Empty,
        };
        let response = service.send(request).await?;
        let Some(target) = target(&next.url, &response) else {
            return Ok(response);
        };
        if next.url.scheme() == "https" && target.scheme() != "https" {
            return Err(lost("the answer leads from https to a place without it"));
        }
        if next.url.origin() != target.origin() {
            next.headers = HARMLESS
                .iter()
                .filter_map(|name| Some((name.clone(), next.headers.get(name)?.clone())))
                .collect();
        }
        next.url = target;
        request = next;
    }
    Err(lost("the redirects do not end"))
}

/// Where `response`, which came from `from`, sends its reader on to.
#[must_use]
pub fn target(from: &Url, response: &HttpResponse) -> Option<Url> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::SEE_OTHER,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    redirects
        .contains(&response.status)
        .then(|| response.header("location"))
        .flatten()
        .and_then(|location| from.join(location).ok())
}

fn lost(message: &str) -> HttpError {
    HttpError::Lost(Error::unavailable(message))
}
