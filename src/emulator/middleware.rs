//! What happens to every call of a dialect before and after its handler: it is counted, its key is
//! checked, faults befall it, and its answer gets the vendor's headers and error shape.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use sha2::{Digest as _, Sha256};

use super::faults::Fault;
use super::problem::Problem;
use super::random::{letters, named};
use super::world::{Caller, World};

/// How one vendor speaks. A new vendor is one of these, in the list of [`super::server`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub(super) name: &'static str,
    /// Where its paths begin.
    pub(super) base: &'static str,
    pub(super) routes: fn() -> Router<Arc<World>>,
    /// The caller's key, if the headers are as they must be.
    pub(super) key: fn(&HeaderMap) -> Result<String, Problem>,
    /// A refusal's body, given the id of the call.
    pub(super) refusal: fn(&Problem, &str) -> String,
    /// The header that bears the id of a call.
    pub(super) id_header: &'static str,
    pub(super) not_found: fn(&Method, &str) -> Problem,
    pub(super) busy: fn() -> Problem,
    pub(super) broken: fn() -> Problem,
    /// How the paths end whose POST makes nothing.
    pub(super) makes_nothing: &'static [&'static str],
    /// Whether results are files, which may come after the end of their batch.
    pub(super) has_files: bool,
}

/// Marks an answer that must not arrive: its connection is lost. Over a socket it never does; who
/// calls the router in process finds this among the answer's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLost;

/// The dialect's routes, with [`around`] around them.
pub(super) fn router(dialect: Dialect, world: &Arc<World>) -> Router {
    let missing = move |method: Method, request: Request| async move {
        (dialect.not_found)(&method, request.uri().path()).into_response()
    };
    let routes = (dialect.routes)()
        .fallback(missing)
        .method_not_allowed_fallback(missing);
    let state = (dialect, Arc::clone(world));
    routes
        .layer(middleware::from_fn_with_state(state, around))
        .with_state(Arc::clone(world))
}

async fn around(
    State((dialect, world)): State<(Dialect, Arc<World>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let template = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str);
    let count = world.note_call(format!("{} {template}", request.method()));
    let creates = request.method() == Method::POST
        && !dialect
            .makes_nothing
            .iter()
            .any(|end| template.ends_with(end));
    let request_id = format!(
        "req_{}",
        letters(named(world.config.seed, "call") ^ count, 24)
    );
    let caller = match caller(&dialect, request.headers(), &request_id) {
        Ok(caller) => caller,
        Err(problem) => {
            return dress(&dialect, &world, &request_id, problem.into_response());
        }
    };
    let luck = CallLuck::draw(&world, &request, count);
    if luck.hits(&world, Fault::Slow) {
        world.clock.sleep(Duration::from_secs(3)).await;
    }
    if creates && luck.hits(&world, Fault::RefusedLost) {
        return lost();
    }
    let response = if luck.hits(&world, Fault::Busy) {
        (dialect.busy)().into_response()
    } else if luck.hits(&world, Fault::ServerError) {
        (dialect.broken)().into_response()
    } else {
        request.extensions_mut().insert(caller);
        next.run(request).await
    };
    if creates && response.status().is_success() && luck.hits(&world, Fault::LostAnswer) {
        return lost();
    }
    dress(&dialect, &world, &request_id, response)
}

/// A call's draws: by its method, path and length, and how often it was tried before.
struct CallLuck {
    key: u64,
    attempt: u64,
    count: u64,
}

impl CallLuck {
    fn draw(world: &World, request: &Request, count: u64) -> Self {
        if world.config.faults == super::Faults::default() {
            return CallLuck {
                key: 0,
                attempt: 0,
                count,
            };
        }
        let length = request.headers().get(header::CONTENT_LENGTH);
        let name = format!("{} {} {length:?}", request.method(), request.uri());
        let key = named(world.config.seed, &name);
        CallLuck {
            key,
            attempt: world.attempt(key),
            count,
        }
    }

    fn hits(&self, world: &World, fault: Fault) -> bool {
        let faults = &world.config.faults;
        let hits = faults.hits(fault, self.key, self.attempt, self.count);
        if hits {
            world.note_fault(fault);
        }
        hits
    }
}

fn caller(dialect: &Dialect, headers: &HeaderMap, request_id: &str) -> Result<Caller, Problem> {
    let key = (dialect.key)(headers)?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let owner = Sha256::digest(key.as_bytes());
    Ok(Caller {
        owner: format!(
            "{:016x}",
            owner
                .first_chunk()
                .map_or(0, |bytes| u64::from_be_bytes(*bytes))
        ),
        request_id: request_id.to_owned(),
        origin: format!("http://{}", host.unwrap_or("127.0.0.1")),
    })
}

/// An answer whose body fails before its first byte: the server closes the connection without
/// having sent anything.
fn lost() -> Response {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    let body = futures::stream::iter([Err::<bytes::Bytes, _>(reset)]);
    let mut response = Response::new(Body::from_stream(body));
    response.extensions_mut().insert(ConnectionLost);
    response
}

/// Gives an answer its headers, and a refusal its body.
fn dress(dialect: &Dialect, world: &World, request_id: &str, mut response: Response) -> Response {
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        *response.body_mut() = Body::from((dialect.refusal)(&problem, request_id));
        set(&mut response, header::CONTENT_TYPE, "application/json");
        if problem.status == 429 {
            let wait = problem.wait.unwrap_or(1).to_string();
            set(&mut response, header::RETRY_AFTER, &wait);
        }
    }
    let date = world.now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    set(&mut response, header::DATE, &date);
    set(
        &mut response,
        HeaderName::from_static(dialect.id_header),
        request_id,
    );
    response
}

fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// The key behind `Authorization: Bearer`.
pub(super) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    value
        .strip_prefix("Bearer ")
        .map(str::trim)
        .filter(|key| !key.is_empty())
}

/// An answer of JSON.
pub(super) fn json(text: impl Into<String>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text.into()).into_response()
}
