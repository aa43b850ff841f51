//! A store that fails on demand, in all four squares: done and told, done and lost, not done and
//! refused, not done and lost.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::{oneshot, watch};

use crate::base::{Clock, Components, Ids, Location, MemoryStore, Stores, Time, Uptime};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The file is there; the answer is lost.
    DoneAndLost,
    /// The file is there; a repeated request made the answer "exists".
    DoneAndToldExists,
    /// The condition is taken for decoration.
    IgnoresCondition,
    /// The file is not there; the answer is lost.
    NotDoneAndLost,
    /// The file is not there, and access was refused.
    Refused,
    /// The file is not there, and yet "exists" (S3's 409).
    ToldExists,
}

#[derive(Debug, Default)]
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    next: Mutex<VecDeque<Fault>>,
    always: Mutex<Option<Fault>>,
    gates: Mutex<Vec<Gate>>,
}

/// Stops the first put of a file whose path ends so.
#[derive(Debug)]
struct Gate {
    suffix: String,
    arrived: oneshot::Sender<()>,
    go: oneshot::Receiver<()>,
}

impl FaultyStore {
    pub(crate) fn dated_by(clock: Arc<dyn Clock>) -> FaultyStore {
        FaultyStore {
            inner: MemoryStore::new(Some(clock)),
            ..FaultyStore::default()
        }
    }

    /// The next put, or the one after those already asked for, fails so.
    pub(crate) fn next_put(&self, fault: Fault) {
        self.next.lock().unwrap().push_back(fault);
    }

    pub(crate) fn always(&self, fault: Fault) {
        *self.always.lock().unwrap() = Some(fault);
    }

    /// Holds the next put of a file called `..suffix`: the first channel tells when it has come,
    /// the second lets it go.
    pub(crate) fn gate(&self, suffix: &str) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (arrived, has_arrived) = oneshot::channel();
        let (let_go, go) = oneshot::channel();
        self.gates.lock().unwrap().push(Gate {
            suffix: suffix.to_owned(),
            arrived,
            go,
        });
        (has_arrived, let_go)
    }

    fn gate_at(&self, path: &Path) -> Option<Gate> {
        let mut gates = self.gates.lock().unwrap();
        let at = gates
            .iter()
            .position(|gate| path.as_ref().ends_with(&gate.suffix))?;
        Some(gates.remove(at))
    }

    fn fault(&self) -> Option<Fault> {
        let next = self.next.lock().unwrap().pop_front();
        next.or(*self.always.lock().unwrap())
    }
}

fn lost() -> Error {
    Error::Generic {
        store: "faulty",
        source: "the answer is lost".into(),
    }
}

fn exists(path: &Path) -> Error {
    Error::AlreadyExists {
        path: path.to_string(),
        source: "409".into(),
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        if let Some(gate) = self.gate_at(path) {
            gate.arrived.send(()).unwrap();
            gate.go.await.unwrap();
        }
        match self.fault() {
            None => self.inner.put_opts(path, data, how).await,
            Some(Fault::DoneAndLost) => {
                self.inner.put_opts(path, data, how).await?;
                Err(lost())
            }
            Some(Fault::DoneAndToldExists) => {
                self.inner.put_opts(path, data, how).await?;
                Err(exists(path))
            }
            Some(Fault::IgnoresCondition) => {
                self.inner
                    .put_opts(path, data, PutMode::Overwrite.into())
                    .await
            }
            Some(Fault::NotDoneAndLost) => Err(lost()),
            Some(Fault::Refused) => Err(Error::PermissionDenied {
                path: path.to_string(),
                source: "403".into(),
            }),
            Some(Fault::ToldExists) => Err(exists(path)),
        }
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, how).await
    }

    async fn get_opts(&self, path: &Path, how: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, how).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// A ledger's folder on a store that fails on demand.
pub(crate) fn faulty() -> (Location, Arc<FaultyStore>) {
    on(FaultyStore::default())
}

/// A ledger's folder on `store`.
pub(crate) fn on(store: FaultyStore) -> (Location, Arc<FaultyStore>) {
    let store = Arc::new(store);
    let mut place = Stores::default().locate("memory:///ledger").unwrap();
    place.store = Arc::<FaultyStore>::clone(&store);
    (place, store)
}

/// A clock that stands still until it is told to go on, or, when `eager`, jumps over every sleep.
#[derive(Debug)]
pub(crate) struct TestClock {
    now: watch::Sender<Time>,
    eager: bool,
}

impl TestClock {
    pub(crate) fn new(eager: bool) -> Arc<TestClock> {
        let origin = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Arc::new(TestClock {
            now: watch::Sender::new(origin),
            eager,
        })
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.now.send_modify(|now| *now += duration);
    }

    /// How many are asleep now.
    pub(crate) fn sleepers(&self) -> usize {
        self.now.receiver_count()
    }
}

impl Clock for TestClock {
    fn now(&self) -> Time {
        *self.now.borrow()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.now() + duration;
        if self.eager {
            self.advance(duration);
            return Box::pin(tokio::task::yield_now());
        }
        let mut now = self.now.subscribe();
        Box::pin(async move {
            now.wait_for(|now| *now >= until).await.unwrap();
        })
    }
}

impl Uptime for TestClock {
    fn uptime(&self) -> Duration {
        Duration::from_millis(self.now().timestamp_millis().try_into().unwrap())
    }
}

/// A world that never waits.
pub(crate) fn components(seed: u64) -> Components {
    at(seed, TestClock::new(true))
}

/// A world whose time is `clock`'s.
pub(crate) fn at(seed: u64, clock: Arc<TestClock>) -> Components {
    Components {
        uptime: Arc::<TestClock>::clone(&clock),
        clock,
        ids: Arc::new(Ids::seeded(seed)),
        ..Components::system()
    }
}
