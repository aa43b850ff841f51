//! A server in this process, in the network's place: the tests' and the sandbox's.

use std::io;

use async_trait::async_trait;
use axum::body::Body;
use axum::handler::Handler;
use axum::routing::{MethodRouter, any_service};
use axum::{Router, extract::Request};
use futures::{StreamExt, TryStreamExt};

use super::{HttpError, HttpRequest, HttpResponse, HttpService, RequestBody, header};
use crate::base::{Error, ErrorKind};

/// Hands every request to a router, whatever its host. No socket, no copy.
#[derive(Clone)]
pub struct RouterService {
    // A router becomes a handler, which is a thing that can be called, by way of a route for it.
    route: MethodRouter,
}

impl RouterService {
    /// A network in which everybody is `router`.
    #[must_use]
    pub fn new(router: Router) -> Self {
        RouterService {
            route: any_service(router),
        }
    }
}

impl std::fmt::Debug for RouterService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RouterService")
    }
}

#[async_trait]
impl HttpService for RouterService {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = foreign(request).map_err(HttpError::NotSent)?;
        let response = Handler::call(self.route.clone(), request, ()).await;
        let (head, body) = response.into_parts();
        let body = body
            .into_data_stream()
            .map_err(|error| Error::unavailable("the answer was cut").because(error));
        Ok(HttpResponse {
            status: head.status,
            headers: head.headers,
            body: body.boxed(),
        })
    }
}

/// The request as axum knows it, with the headers that a real client adds by itself.
fn foreign(request: HttpRequest) -> Result<Request, Error> {
    let len = request.body.length();
    let host = match (request.url.host_str(), request.url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    };
    let body = match request.body {
        RequestBody::Empty => Body::empty(),
        RequestBody::Whole(bytes) => Body::from(bytes),
        body @ RequestBody::Stream { .. } => {
            Body::from_stream(body.into_stream().map_err(io::Error::other))
        }
    };
    let wrong = |error| Error::new(ErrorKind::Invalid, "not an HTTP request").because(error);
    let mut foreign = Request::builder()
        .method(request.method)
        .uri(request.url.as_str())
        .header(header::HOST, host)
        .body(body)
        .map_err(wrong)?;
    foreign.headers_mut().extend(request.headers);
    if let Some(len) = len {
        foreign
            .headers_mut()
            .insert(header::CONTENT_LENGTH, len.into());
    }
    Ok(foreign)
}
