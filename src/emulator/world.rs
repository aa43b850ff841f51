//! What all handlers of one sandbox share.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::SandboxConfig;
use super::batch::Batch;
use super::faults::Fault;
use super::problem::Problem;
use super::random::{letters, mix, named, unit};
use super::rate::{Calls, Rate};
use super::record::Summary;
use super::results::{self, Tally};
use super::store::Store;
use crate::base::{Clock, Result, Time};

/// Whose call it is.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    /// Stands for the key: objects are seen by the key that made them.
    pub(super) owner: String,
    pub(super) request_id: String,
    /// Where the sandbox is, as the caller sees it: `http://host:port`.
    pub(super) origin: String,
}

/// A new batch, as its dialect describes it.
#[derive(Debug)]
pub(super) struct NewBatch {
    pub(super) prefix: &'static str,
    pub(super) dialect: &'static str,
    pub(super) endpoint: String,
    pub(super) owner: String,
    pub(super) requests: String,
    pub(super) summary: Summary,
    pub(super) details: Value,
}

/// The sandbox's one state. What must outlive it is in the store.
#[derive(Debug)]
pub(super) struct World {
    pub(super) config: SandboxConfig,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: Store,
    calls: Mutex<BTreeMap<String, u64>>,
    count: AtomicU64,
    attempts: Mutex<HashMap<u64, u64>>,
    /// Recent calls to endpoints that allow only so many.
    recent: Mutex<Calls>,
    /// What ended batches came to: found once, and then it stays.
    tallies: Mutex<HashMap<String, Tally>>,
    /// Lengths of result files that somebody asked for.
    lengths: Mutex<HashMap<String, u64>>,
    /// How often faults have happened that nothing that is kept tells of.
    fault_counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl World {
    pub(super) fn new(config: SandboxConfig, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(World {
            store: Store::open(config.state_dir.as_deref())?,
            config,
            clock,
            calls: Mutex::default(),
            count: AtomicU64::new(0),
            attempts: Mutex::default(),
            recent: Mutex::default(),
            tallies: Mutex::default(),
            lengths: Mutex::default(),
            fault_counts: Mutex::default(),
        })
    }

    pub(super) fn now(&self) -> Time {
        self.clock.now()
    }

    /// A number and an id that nothing else has.
    pub(super) fn new_id(&self, prefix: &str) -> (u64, String) {
        let seq = self.store.next_seq();
        let moment = self.now().timestamp_nanos_opt().unwrap_or_default();
        let draw = named(self.config.seed, &format!("{prefix}{seq}@{moment}"));
        (seq, format!("{prefix}{}", letters(draw, 24)))
    }

    /// A batch that begins now. It is not kept yet.
    pub(super) fn new_batch(&self, new: NewBatch) -> Batch {
        let (seq, id) = self.new_id(new.prefix);
        Batch {
            seq,
            lasts: self.batch_time(&id),
            id,
            dialect: new.dialect.into(),
            endpoint: new.endpoint,
            owner: new.owner,
            requests: new.requests,
            summary: new.summary,
            created_at: self.now(),
            cancelled_at: None,
            deleted: false,
            failures: Vec::new(),
            seed: self.config.seed,
            faults: self.config.faults.to_string(),
            details: new.details,
        }
    }

    fn batch_time(&self, id: &str) -> Duration {
        if self.config.instant {
            return Duration::ZERO;
        }
        let (shortest, longest) = self.config.batch_time;
        let draw = unit(mix(named(self.config.seed, id)));
        shortest + longest.saturating_sub(shortest).mul_f64(draw)
    }

    /// What an ended batch came to.
    pub(super) fn tally(&self, batch: &Batch) -> Result<Tally> {
        if let Some(tally) = lock(&self.tallies).get(&batch.id) {
            return Ok(*tally);
        }
        let tally = results::tally(&self.store, batch)?;
        lock(&self.tallies).insert(batch.id.clone(), tally);
        Ok(tally)
    }

    /// The length of the result file `id`, counted at most once.
    pub(super) fn length(&self, id: &str, count: impl FnOnce() -> Result<u64>) -> Result<u64> {
        if let Some(length) = lock(&self.lengths).get(id) {
            return Ok(*length);
        }
        let length = count()?;
        lock(&self.lengths).insert(id.to_owned(), length);
        Ok(length)
    }

    /// Counts a call. Returns how many there have been before.
    pub(super) fn note_call(&self, template: String) -> u64 {
        *lock(&self.calls).entry(template).or_default() += 1;
        self.count.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn calls(&self) -> BTreeMap<String, u64> {
        lock(&self.calls).clone()
    }

    /// Counts a fault that happens now.
    pub(super) fn note_fault(&self, fault: Fault) {
        *lock(&self.fault_counts).entry(fault.name()).or_default() += 1;
    }

    /// How often faults have hit this process's calls, by name.
    pub(super) fn fault_counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.fault_counts).clone()
    }

    /// How often this was tried before. Remembered only where faults are drawn.
    pub(super) fn attempt(&self, key: u64) -> u64 {
        let mut attempts = lock(&self.attempts);
        let tries = attempts.entry(key).or_default();
        *tries += 1;
        *tries - 1
    }

    /// Notes a call to a limited endpoint, or says how long until there is room for it.
    pub(super) fn admit(&self, rate: Rate, owner: &str) -> Result<(), Duration> {
        lock(&self.recent).admit(rate, owner, self.now())
    }

    /// Forgets everything.
    pub(super) fn reset(&self) -> Result<()> {
        lock(&self.calls).clear();
        lock(&self.attempts).clear();
        *lock(&self.recent) = Calls::default();
        lock(&self.tallies).clear();
        lock(&self.lengths).clear();
        lock(&self.fault_counts).clear();
        self.store.clear()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The bill's name for a request: its endpoint and its body, as written.
pub(super) fn body_hash(dialect: &str, endpoint: &str, body: &str) -> u64 {
    xxh3_64_with_seed(
        body.trim_ascii().as_bytes(),
        named(named(0, dialect), endpoint),
    )
}

/// Reads a body piece by piece, up to `bytes_max`; more is `too_large`. When it is refused the rest
/// is read all the same, so that the caller hears the answer and not a broken pipe.
pub(super) async fn feed(
    body: Body,
    bytes_max: u64,
    too_large: Problem,
    mut each: impl FnMut(&[u8]) -> Result<(), Problem>,
) -> Result<u64, Problem> {
    let (mut bytes, mut verdict) = (0, Ok(()));
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::invalid("the request body was cut off"))?;
        bytes += chunk.len() as u64;
        if verdict.is_ok() && bytes > bytes_max {
            verdict = Err(too_large.clone());
        }
        if verdict.is_ok() {
            verdict = each(&chunk);
        }
        if bytes > bytes_max.saturating_mul(4) {
            break;
        }
    }
    verdict.map(|()| bytes)
}

/// Reads what is left of a body that was refused, up to `bytes_max`, so that the caller hears the answer
/// and not a broken pipe.
pub(super) async fn drain(mut body: BodyDataStream, bytes_max: u64) {
    let mut bytes = 0;
    while let Some(Ok(piece)) = body.next().await {
        bytes += piece.len() as u64;
        if bytes > bytes_max {
            break;
        }
    }
}

/// Reads a small body whole, as text.
pub(super) async fn read(
    body: Body,
    bytes_max: u64,
    too_large: Problem,
) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    feed(body, bytes_max, too_large, |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .await?;
    String::from_utf8(bytes).map_err(|_| Problem::invalid("the request body is not UTF-8"))
}
