//! The sandbox as a whole: its router, and its server on loopback.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, Response};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tower_service::Service as _;

use super::answer::{Plan, vector};
use super::bill::{self, Bill};
use super::middleware::{self, Dialect};
use super::world::World;
use super::{SandboxConfig, anthropic, control, fault_counts, openai};
use crate::base::{Clock, Error, ErrorKind, Result, ResultExt};

/// Every vendor there is.
const DIALECTS: [Dialect; 2] = [anthropic::DIALECT, openai::DIALECT];

/// The dialect that a job is spoken to in which names none.
const DEFAULT: Dialect = openai::DIALECT;

/// How long open connections may take to end when the server is told to.
const GRACE: Duration = Duration::from_secs(2);

/// A stand-in for the vendors.
#[derive(Clone)]
pub struct Sandbox {
    world: Arc<World>,
    router: Router,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sandbox").field(&self.world.config).finish()
    }
}

impl Sandbox {
    /// The name of the dialect for a job that names none, and the base URL of a sandbox that answers in
    /// process, which is the same in every process: a batch belongs to the account with which it was
    /// submitted, and a port would make each process another account.
    #[must_use]
    pub fn in_process() -> (&'static str, String) {
        (DEFAULT.name, format!("http://sandbox{}", DEFAULT.base))
    }

    /// A sandbox over its state folder, going on where the last one was.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be used, `Data` if what is in it is corrupt.
    pub fn new(config: SandboxConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        let world = Arc::new(World::new(config, clock)?);
        let control = Router::new().nest("/__sandbox", control::router(Arc::clone(&world)));
        let router = DIALECTS.iter().fold(control, |router, dialect| {
            router.nest(dialect.base, middleware::router(*dialect, &world))
        });
        Ok(Sandbox { world, router })
    }

    /// All dialects and the control paths, to be served.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Answers one call in process, without a socket. An answer that must not arrive bears
    /// [`ConnectionLost`](super::ConnectionLost) among its extensions.
    pub async fn call(&self, request: Request<Body>) -> Response<Body> {
        // A router is always ready, and cannot fail.
        self.router()
            .call(request)
            .await
            .unwrap_or_else(|never| match never {})
    }

    /// Serves on a loopback address; port 0 takes a free one.
    ///
    /// # Errors
    /// `Invalid` if the address is not loopback, `Unavailable` if it cannot be had.
    pub async fn serve(&self, addr: SocketAddr) -> Result<Running> {
        if !addr.ip().is_loopback() {
            return Err(
                Error::invalid("the sandbox serves on loopback alone").with("address", addr)
            );
        }
        let listener = TcpListener::bind(addr)
            .await
            .or_err(ErrorKind::Unavailable, "cannot listen")
            .map_err(|error| error.with("address", addr))?;
        let addr = listener
            .local_addr()
            .or_err(ErrorKind::Unavailable, "cannot listen")?;
        let (stop, stopped) = oneshot::channel::<()>();
        // Answers are small and must not wait for one another; a socket that cannot be told works too.
        let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
        let server = axum::serve(listener, self.router()).with_graceful_shutdown(async {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
        });
        let task = tokio::spawn(async move { server.await });
        Ok(Running {
            addr,
            stop,
            task,
            clock: Arc::clone(&self.world.clock),
        })
    }

    /// An instance of a JSON Schema, as the rule of the answers draws it from the number of a request.
    #[must_use]
    pub fn instance(schema: &str, draw: u64) -> String {
        Plan::for_schema(schema).whole(draw)
    }

    /// The vector of so many numbers that the rule of the answers draws from the number of an input.
    #[must_use]
    pub fn vector(draw: u64, dimensions: u32) -> Vec<f32> {
        vector(draw, dimensions).collect()
    }

    /// What has been accepted and billed so far.
    ///
    /// # Errors
    /// If the sandbox's state cannot be read.
    pub fn bill(&self) -> Result<Bill> {
        Bill::of(&self.world)
    }

    /// How often each fault has happened so far, by name; those alone that have.
    ///
    /// # Errors
    /// If the sandbox's state cannot be read.
    pub fn fault_counts(&self) -> Result<BTreeMap<&'static str, u64>> {
        fault_counts::fault_counts(&self.world, &DIALECTS)
    }

    /// Calls `each` with the number of every billed request of a batch: what the rule of the
    /// answers (see the module's doc) makes of the seed and its prompt; and whether the answer was whole, and
    /// what was asked for. Of a request for embeddings each input has its own.
    ///
    /// # Errors
    /// If the sandbox's state cannot be read, or `each` fails.
    pub fn billed(&self, each: &mut dyn FnMut(u64, bool) -> Result<()>) -> Result<()> {
        bill::draws(&self.world, each)
    }
}

/// A sandbox that accepts connections. Dropping it stops the server.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
    clock: Arc<dyn Clock>,
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The name of each dialect, and the base URL that the vendor's own SDK takes for it.
    #[must_use]
    pub fn urls(&self) -> Vec<(&'static str, String)> {
        let url = |dialect: &Dialect| format!("http://{}{}", self.addr, dialect.base);
        DIALECTS
            .iter()
            .map(|dialect| (dialect.name, url(dialect)))
            .collect()
    }

    /// Stops accepting, lets open answers end for a moment, and returns.
    pub async fn shutdown(self) {
        let Running {
            stop,
            mut task,
            clock,
            ..
        } = self;
        drop(stop);
        tokio::select! {
            _ = &mut task => {}
            () = clock.sleep(GRACE) => task.abort(),
        }
    }
}
