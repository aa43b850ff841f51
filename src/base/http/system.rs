//! The real network.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::public::{Names, PublicNames, is_not_public};
use super::{HttpError, HttpRequest, HttpResponse, HttpService, RequestBody, header, shown};
use crate::base::{Error, ErrorKind, IoRuntime, Result, ResultExt, Task, sent_by};

/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a body that is coming in may stand still.
const IDLE_MAX: Duration = Duration::from_mins(1);
/// How long to wait for an answer after the last byte went out. Long, for a batch of 200 MB is read
/// and checked before it is answered, and an answer that is given up is a batch to be looked for.
const ANSWER_MAX: Duration = Duration::from_mins(5);

/// How much of a body is made before its request is sent.
const MADE_AHEAD: usize = 256 << 10;

/// The network of this machine, through one pool of connections that is made when first needed:
/// reading the machine's certificates takes longer than `--help` should.
#[derive(Debug, Default)]
pub struct SystemHttp {
    client: OnceLock<reqwest::Client>,
    io: IoRuntime,
    /// Whose addresses are connected to, where only those that are everybody's may be.
    public: Option<PublicNames>,
}

impl SystemHttp {
    /// The same, with its connections on `io`.
    #[must_use]
    pub fn on(io: IoRuntime) -> Self {
        SystemHttp {
            io,
            ..SystemHttp::default()
        }
    }

    /// The same, for addresses that stand in data: what has a name leads to no private address, as `names`
    /// has it. Whether an address that is written as a number may be asked is for the caller to say. There is
    /// no proxy, for it would look names up by itself.
    #[must_use]
    pub fn public(io: IoRuntime, names: Arc<dyn Names>) -> Self {
        SystemHttp {
            io,
            public: Some(PublicNames(names)),
            ..SystemHttp::default()
        }
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        // An error means that somebody installed one before us, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = match &self.public {
            None => reqwest::Client::builder(),
            Some(names) => reqwest::Client::builder()
                .no_proxy()
                .dns_resolver(names.clone()),
        };
        let client = builder
            .connect_timeout(CONNECT_MAX)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_keepalive(Duration::from_secs(30))
            .http2_adaptive_window(true)
            .user_agent(concat!("columnist/", env!("CARGO_PKG_VERSION")))
            .build()
            .or_err(ErrorKind::Internal, "cannot set up HTTPS")?;
        Ok(self.client.get_or_init(|| client))
    }
}

#[async_trait]
impl HttpService for SystemHttp {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.client().map_err(HttpError::NotSent)?;
        let address = shown(&request.url);
        let progress = Arc::new(AtomicU64::new(0));
        let sending = foreign(client, request, &progress).await.send();
        let answered = self.io.spawn(async move {
            tokio::select! {
                answer = sending => Some(answer),
                () = standstill(&progress) => None,
            }
        });
        let lost = |error: Error| HttpError::Lost(error.with("url", &address));
        let answer = answered
            .await
            .or_err(ErrorKind::Internal, "a request was cut off")
            .map_err(lost)?
            .ok_or_else(|| lost(Error::unavailable("the server does not answer")))?
            .map_err(|error| judge(error, &address))?;
        Ok(HttpResponse {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: watched(answer.bytes_stream(), address),
        })
    }
}

async fn foreign(
    client: &reqwest::Client,
    request: HttpRequest,
    progress: &Arc<AtomicU64>,
) -> reqwest::RequestBuilder {
    let builder = client
        .request(request.method, request.url)
        .headers(request.headers);
    match request.body {
        RequestBody::Empty => builder,
        RequestBody::Whole(bytes) => builder.body(bytes),
        RequestBody::Stream { len, stream } => builder
            // With the length said here, a stream goes out as it is and not in HTTP's chunks.
            .header(header::CONTENT_LENGTH, len)
            .body(reqwest::Body::wrap_stream(counted(
                made_here(stream).await,
                Arc::clone(progress),
            ))),
    }
}

/// `stream`, whose parts are made on the runtime one is in, though they are sent from another: making
/// them is work, which may block. One part is made while another is sent.
///
/// The first parts are there before anything is sent, so that a short body goes out with its head: a
/// server that answers by the head alone and hangs up would else cut it off, and its answer with it.
async fn made_here(
    mut stream: BoxStream<'static, io::Result<Bytes>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (mut first, mut bytes) = (Vec::new(), 0);
    while bytes < MADE_AHEAD
        && let Some(part) = stream.next().await
    {
        bytes += part.as_ref().map_or(MADE_AHEAD, Bytes::len);
        first.push(part);
    }
    let (send, receive) = mpsc::channel(1);
    let maker = Task::spawn(async move {
        while let Some(part) = stream.next().await {
            if send.send(part).await.is_err() {
                break;
            }
        }
    });
    futures::stream::iter(first).chain(sent_by(receive, maker, io::Error::other))
}

/// `stream`, noting each part that leaves.
fn counted(
    stream: impl Stream<Item = io::Result<Bytes>> + Send,
    progress: Arc<AtomicU64>,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream.inspect(move |_| {
        progress.fetch_add(1, Ordering::Relaxed);
    })
}

/// Resolves when nothing has gone out for [`ANSWER_MAX`] or a little longer.
async fn standstill(progress: &AtomicU64) {
    let mut ticks = interval(ANSWER_MAX);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut seen = None;
    loop {
        ticks.tick().await;
        let now = progress.load(Ordering::Relaxed);
        // A request without a stream has nothing to go out: the first tick ends it.
        if now == 0 || seen == Some(now) {
            return;
        }
        seen = Some(now);
    }
}

/// An incoming body that ends with an error when it is cut or stands still.
fn watched(
    stream: impl Stream<Item = reqwest::Result<Bytes>> + Send + 'static,
    address: String,
) -> BoxStream<'static, Result<Bytes>> {
    let state = Some((stream.boxed(), address));
    futures::stream::unfold(state, |state| async {
        let (mut stream, address) = state?;
        let error = match timeout(IDLE_MAX, stream.next()).await {
            Ok(None) => return None,
            Ok(Some(Ok(bytes))) => return Some((Ok(bytes), Some((stream, address)))),
            Ok(Some(Err(error))) => {
                Error::unavailable("the answer was cut").because(error.without_url())
            }
            Err(_) => Error::unavailable("the answer stands still"),
        };
        Some((Err(error.with("url", address)), None))
    })
    .boxed()
}

/// Certain that nothing was sent only where the connection was never made.
fn judge(error: reqwest::Error, address: &str) -> HttpError {
    if is_not_public(&error) {
        return HttpError::NotSent(
            Error::invalid("a URL leads to a private address").with("url", address),
        );
    }
    let not_sent = error.is_connect() || error.is_builder();
    let (message, hint) = if error.is_connect() {
        (
            "cannot connect",
            "check the address, the network and the proxy settings (HTTPS_PROXY, NO_PROXY)",
        )
    } else {
        ("the connection was lost before the answer", "try again")
    };
    let error = Error::unavailable(message)
        .with("url", address)
        .because(error.without_url())
        .hint(hint);
    if not_sent {
        HttpError::NotSent(error)
    } else {
        HttpError::Lost(error)
    }
}
