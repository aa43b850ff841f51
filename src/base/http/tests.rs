use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use futures::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::base::ErrorKind;

/// A server that says what it was sent.
fn echo() -> Router {
    let echo = |request: Request| async move {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
        let header = |name: &str| {
            let value = head.headers.get(name);
            value.map_or("-".to_owned(), |value| {
                value.to_str().expect("text").to_owned()
            })
        };
        format!(
            "{} {} {} length={} chunked={} {}",
            head.method,
            head.uri.path(),
            header("host"),
            header("content-length"),
            header("transfer-encoding"),
            String::from_utf8(body.to_vec()).expect("text")
        )
    };
    Router::new().fallback(any(echo))
}

/// The address of a socket that is served by `serve`.
async fn listening<F>(serve: impl FnOnce(TcpListener) -> F) -> Url
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(listener));
    format!("http://{address}/a").parse().expect("a URL")
}

fn post(url: Url) -> HttpRequest {
    let parts = [Ok(Bytes::from("one ")), Ok(Bytes::from("two"))];
    let mut request = HttpRequest::new(Method::POST, url);
    request.body = RequestBody::Stream {
        len: 7,
        stream: stream::iter(parts).boxed(),
    };
    request
}

async fn said(service: &dyn HttpService, request: HttpRequest) -> String {
    let response = service.send(request).await.expect("an answer");
    let body = response.bytes(1 << 20).await.expect("a body");
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn a_stream_of_known_length_goes_out_as_it_is_over_a_socket_and_in_process_alike() {
    let url = listening(|listener| async move {
        axum::serve(listener, echo()).await.expect("serves");
    })
    .await;
    let host = format!("127.0.0.1:{}", url.port().expect("a port"));
    let services: [&dyn HttpService; 2] = [&SystemHttp::default(), &RouterService::new(echo())];
    for service in services {
        let got = said(service, post(url.clone())).await;
        assert_eq!(got, format!("POST /a {host} length=7 chunked=- one two"));
        let got = said(service, HttpRequest::new(Method::GET, url.clone())).await;
        assert_eq!(got, format!("GET /a {host} length=- chunked=- "));
    }
}

#[tokio::test]
async fn nothing_was_sent_only_where_nobody_listened() {
    let http = SystemHttp::default();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        listener.local_addr().expect("an address")
    };
    let url = format!("http://user:hunter2@{closed}/a?sig=hunter2")
        .parse()
        .expect("a URL");
    let error = http.send(post(url)).await.expect_err("nobody");
    let HttpError::NotSent(error) = error else {
        panic!("{error:?}");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");

    // This one takes the request and hangs up.
    let url = listening(|listener| async move {
        let (mut socket, _) = listener.accept().await.expect("a caller");
        let mut some = [0; 10];
        socket.read_exact(&mut some).await.expect("a request");
    })
    .await;
    let error = http.send(post(url)).await.expect_err("no answer");
    assert!(matches!(error, HttpError::Lost(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_is_shorter_than_said_is_an_error() {
    let url = listening(|listener| async move {
        let (mut socket, _) = listener.accept().await.expect("a caller");
        let mut some = [0; 10];
        socket.read_exact(&mut some).await.expect("a request");
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n0123";
        socket.write_all(answer).await.expect("sent");
    })
    .await;
    let request = HttpRequest::new(Method::GET, url);
    let response = SystemHttp::default().send(request).await.expect("a head");
    let error = response.bytes(100).await.expect_err("cut");
    assert_eq!(error.message(), "the answer was cut");
}

#[tokio::test]
async fn the_network_does_not_follow_redirects_by_itself() {
    let moved = || async { (StatusCode::FOUND, [("location", "/b")]) };
    let router = Router::new()
        .route("/a", any(moved))
        .fallback(|| async { "there" });
    let url = listening(|listener| async move {
        axum::serve(listener, router).await.expect("serves");
    })
    .await;
    let http = SystemHttp::default();
    let request = || HttpRequest::new(Method::GET, url.clone());
    let response = http.send(request()).await.expect("an answer");
    assert_eq!(response.status, StatusCode::FOUND);
    let response = follow(&http, request()).await.expect("an answer");
    assert_eq!(response.bytes(10).await.expect("a body"), "there");
}

#[tokio::test]
async fn redirects_that_do_not_end_are_given_up() {
    let moved = || async { (StatusCode::FOUND, [("location", "/a")]) };
    let service = RouterService::new(Router::new().fallback(moved));
    let url = Url::parse("https://x.example/a").expect("a URL");
    let error = follow(&service, HttpRequest::new(Method::GET, url)).await;
    assert!(matches!(error, Err(HttpError::Lost(_))));
}

#[tokio::test]
async fn an_answer_longer_than_allowed_is_not_read() {
    let service = RouterService::new(echo());
    let url = Url::parse("https://x.example/a").expect("a URL");
    let response = service.send(post(url)).await.expect("an answer");
    assert!(response.bytes(10).await.is_err());
}

#[tokio::test]
async fn a_body_that_can_be_had_once_is_sent_once() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let calls = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&calls);
    let fail = move || {
        count.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::SERVICE_UNAVAILABLE }
    };
    let inner = Arc::new(RouterService::new(Router::new().fallback(fail)));
    let clock = Arc::new(crate::base::SystemClock);
    let retrying = Retrying::new(inner, clock, Arc::new(crate::base::Ids::seeded(1)));
    let url = Url::parse("https://x.example/a").expect("a URL");
    let response = retrying.send(post(url)).await.expect("an answer");
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[test]
fn what_is_shown_of_an_address_holds_no_secret() {
    let url = Url::parse("https://user:hunter2@x.example:8443/a/b?sig=hunter2#f").expect("a URL");
    assert_eq!(shown(&url), "https://x.example:8443/a/b");
    let mut request = HttpRequest::new(Method::GET, url);
    let mut key = HeaderValue::from_static("hunter2");
    key.set_sensitive(true);
    request.headers.insert("x-api-key", key);
    let shown = format!("{request:?} {:?}", request.headers);
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// Else a server that answers by the head alone, and hangs up, would cut off its own answer.
#[tokio::test]
async fn a_short_body_is_made_before_its_head_goes_out() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let made = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&made);
    let url = listening(|listener| async move {
        let (mut socket, _) = listener.accept().await.expect("a caller");
        let mut some = [0; 10];
        socket.read_exact(&mut some).await.expect("a request");
        let made = seen.load(Ordering::Acquire);
        let answer = format!("HTTP/1.1 404 Not Found\r\ncontent-length: 1\r\n\r\n{made}");
        socket.write_all(answer.as_bytes()).await.expect("sent");
    })
    .await;
    let mut request = HttpRequest::new(Method::POST, url);
    let parts = stream::iter(0..3).then(move |_| {
        let made = Arc::clone(&made);
        async move {
            for _ in 0..1000 {
                tokio::task::yield_now().await;
            }
            made.fetch_add(1, Ordering::AcqRel);
            Ok(Bytes::from("a part"))
        }
    });
    request.body = RequestBody::Stream {
        len: 18,
        stream: parts.boxed(),
    };
    assert_eq!(said(&SystemHttp::default(), request).await, "3");
}
