//! One holder, many readers.
//!
//! On local disk the lease is a lock of the operating system, gone with the process
//! (`lock.rs`). On object storage it is a file that only one can create, kept alive by
//! renewals, and judged by the store's own clock (`claim.rs`). Either way a holder has an
//! epoch, which goes up with every holder and stands in every commit it writes.
//!
//! A holder trusts its lease only for as long as its last renewal allows, counted from before that
//! renewal was sent, on a clock that counts sleep. So it stops before anybody else can begin.

mod claim;
mod lock;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::base::{
    Clock, Components, Crash, Error, ErrorKind, Ids, Location, Result, ResultExt, Time, Uptime,
};

use super::framing::FORMAT;
use super::log::Stamp;
use super::path::Scope;
use super::points::{RELEASE, RENEW, TAKE};
use claim::Claims;
use lock::Lock;

/// Who holds a lease, for the message to those who do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process on it.
    pub pid: u32,
    /// The run.
    pub run: String,
    /// What it was asked to do.
    pub command: String,
    /// Since when, by its own clock.
    pub since: Time,
}

impl Holder {
    /// This process, in `run`, asked to do `command`.
    #[must_use]
    pub fn this_process(run: &str, command: &str, now: Time) -> Holder {
        Holder {
            host: host(),
            pid: std::process::id(),
            run: run.to_owned(),
            command: command.to_owned(),
            since: now,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder {
            host,
            pid,
            run,
            command,
            since,
        } = self;
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(
            f,
            "{command} (run {run}, process {pid} on {host}, since {since})"
        )
    }
}

/// What to do about a lease that another holds.
#[derive(Clone, Debug)]
pub enum Patience {
    /// Come back at once.
    NotAtAll,
    /// Wait until it runs out; come back if it is renewed meanwhile, for then its holder lives, or
    /// if this is canceled.
    Wait(CancellationToken),
}

impl Patience {
    /// Lets `time` pass; false if there is no more patience before.
    async fn pass(&self, clock: &dyn Clock, time: Duration) -> bool {
        let Patience::Wait(enough) = self else {
            return false;
        };
        tokio::select! {
            biased;
            () = enough.cancelled() => false,
            () = clock.sleep(time) => true,
        }
    }
}

/// How taking a lease ended.
#[derive(Debug)]
pub enum Taken {
    /// Another has it.
    Held(Held),
    /// It is ours.
    Lease(Lease),
}

/// A lease in another's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose, if that can be read.
    pub holder: Option<Holder>,
    /// When it runs out unless renewed, by our clock. A lock on local disk lasts while its process.
    pub until: Option<Time>,
}

impl From<Held> for Error {
    fn from(held: Held) -> Error {
        let mut error = Error::new(ErrorKind::Held, "another process holds the job");
        if let Some(holder) = &held.holder {
            error = error.with("holder", holder);
        }
        match held.until {
            Some(until) => error
                .with("until", until.to_rfc3339_opts(SecondsFormat::Secs, true))
                .hint("wait for it; if it was killed, its lease runs out at that time"),
            None => error.hint("wait for it, or stop it"),
        }
    }
}

/// The leases of one ledger.
#[derive(Debug)]
pub struct Leases {
    ledger: Location,
    holder: Holder,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    uptime: Arc<dyn Uptime>,
    crash: Crash,
    told: Told,
}

/// Whoever is told that another holds the lease, while that is waited for.
#[derive(Clone, Default)]
struct Told(Option<Tell>);

type Tell = Arc<dyn Fn(&Held) + Send + Sync>;

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Told").field(&self.0.is_some()).finish()
    }
}

impl Leases {
    /// The leases of the ledger at `ledger`, to be held by `holder` and to run out `ttl` after the
    /// last renewal.
    #[must_use]
    pub fn new(
        components: &Components,
        uptime: Arc<dyn Uptime>,
        ledger: &Location,
        holder: Holder,
        ttl: Duration,
    ) -> Leases {
        Leases {
            ledger: ledger.clone().private(),
            holder,
            ttl,
            clock: Arc::clone(&components.clock),
            ids: Arc::clone(&components.ids),
            uptime,
            crash: components.crash.clone(),
            told: Told::default(),
        }
    }

    /// Whoever waits for a lease is told for whose, each time before some of the wait passes.
    #[must_use]
    pub fn telling(self, tell: impl Fn(&Held) + Send + Sync + 'static) -> Leases {
        Leases {
            told: Told(Some(Arc::new(tell))),
            ..self
        }
    }

    fn tell(&self, held: &Held) {
        if let Some(tell) = &self.told.0 {
            tell(held);
        }
    }

    /// Takes the lease of `scope`, under an epoch above `above`: the highest in the log.
    ///
    /// # Errors
    /// If the store is away or refuses, or the file system has no locks.
    pub async fn take(&self, scope: &Scope, above: u64, patience: Patience) -> Result<Taken> {
        let take = self.take_by_kind(scope, above, patience);
        self.crash.around(TAKE, take).await
    }

    async fn take_by_kind(&self, scope: &Scope, above: u64, patience: Patience) -> Result<Taken> {
        if self.ledger.local.is_some() {
            return lock::take(self, scope, above).await;
        }
        self.claims(scope).take(self, above, patience).await
    }

    /// Who holds the lease of `scope` now, if anybody does.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn holder(&self, scope: &Scope) -> Result<Option<Held>> {
        if self.ledger.local.is_some() {
            return lock::holder(&self.ledger, scope).await;
        }
        self.claims(scope).holder(self).await
    }

    fn claims(&self, scope: &Scope) -> Claims {
        Claims {
            scope: scope.clone(),
            folder: self.ledger.join(&scope.claims()),
        }
    }

    fn entry(&self, epoch: u64) -> Entry {
        Entry {
            format: FORMAT,
            id: self.ids.uuid(self.clock.now()).to_string(),
            epoch,
            ttl_ms: u64::try_from(self.ttl.as_millis()).unwrap_or(u64::MAX),
            holder: self.holder.clone(),
        }
    }

    fn lease(&self, scope: &Scope, epoch: u64, kind: Kind) -> Lease {
        Lease(Arc::new(Inner {
            stamp: Stamp {
                scope: scope.clone(),
                epoch,
            },
            ttl: self.ttl,
            kind,
            clock: Arc::clone(&self.clock),
            uptime: Arc::clone(&self.uptime),
            crash: self.crash.clone(),
            until: Mutex::default(),
            lost: watch::Sender::new(false),
        }))
    }
}

/// What a lease's file says.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Entry {
    format: u32,
    id: String,
    epoch: u64,
    ttl_ms: u64,
    holder: Holder,
}

/// A year: longer than any lease.
const TTL_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1000;

impl Entry {
    fn ttl(&self) -> Duration {
        // Whoever writes more than a year has written nonsense, and dates have an end.
        Duration::from_millis(self.ttl_ms.min(TTL_MS_MAX))
    }

    fn bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).or_err(ErrorKind::Internal, "cannot write the lease")
    }

    fn parse(bytes: &[u8], place: &Location) -> Result<Entry> {
        let entry: Entry = serde_json::from_slice(bytes)
            .or_err(ErrorKind::Data, "a lease cannot be read")
            .map_err(|error| {
                error
                    .with("file", place)
                    .hint("delete it once no other process works on this job")
            })?;
        if entry.format > FORMAT {
            return Err(
                Error::data("the ledger was written by a newer version of columnist")
                    .with("file", place)
                    .hint("run that version, or a later one"),
            );
        }
        Ok(entry)
    }
}

/// A lease in our hands. Clones are the same lease. Dropped without [`Lease::release`], it lasts
/// until it runs out, as after a crash; on local disk it is gone at once.
#[derive(Clone, Debug)]
pub struct Lease(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stamp: Stamp,
    ttl: Duration,
    kind: Kind,
    clock: Arc<dyn Clock>,
    uptime: Arc<dyn Uptime>,
    crash: Crash,
    /// The uptime at which a claim runs out.
    until: Mutex<Duration>,
    lost: watch::Sender<bool>,
}

#[derive(Debug)]
enum Kind {
    Claim(Claims),
    Lock(Lock),
}

impl Lease {
    /// What to write into commits.
    #[must_use]
    pub fn stamp(&self) -> Stamp {
        self.0.stamp.clone()
    }

    /// How long it may still be trusted; zero once it is lost. A lock lasts as long as we do.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        if *self.0.lost.borrow() {
            return Duration::ZERO;
        }
        match &self.0.kind {
            Kind::Claim(_) => self.0.until().saturating_sub(self.0.uptime.uptime()),
            Kind::Lock(_) => Duration::MAX,
        }
    }

    /// How much of it must be left for a step that costs money: enough for the bytes that are on
    /// their way to arrive, and for a process that is paused to be found out.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.0.ttl / 4
    }

    /// Passes only if the lease may be trusted for `margin` yet. To be asked before every step that
    /// costs money.
    ///
    /// # Errors
    /// `Held` if it is lost or about to run out.
    pub fn check(&self, margin: Duration) -> Result<()> {
        let remaining = self.remaining();
        if remaining > margin {
            return Ok(());
        }
        Err(self
            .0
            .fenced()
            .with("remaining", humantime::format_duration(remaining)))
    }

    /// Renews it; a lease that ran out and that nobody took is good again.
    ///
    /// # Errors
    /// `Held` if another has taken it: then it is lost for good.
    pub async fn renew(&self) -> Result<()> {
        let inner = &self.0;
        if *inner.lost.borrow() {
            return Err(inner.fenced());
        }
        let sent = inner.uptime.uptime();
        let renew = async {
            match &inner.kind {
                Kind::Claim(claims) => claims.renew(inner.stamp.epoch).await,
                Kind::Lock(lock) => Ok(lock.stands()),
            }
        };
        let ours = inner.crash.around(RENEW, renew).await?;
        if !ours {
            inner.lost.send_replace(true);
            return Err(inner.fenced());
        }
        *inner.until() = sent + inner.ttl;
        Ok(())
    }

    /// Renews it in the background, until the keeper is dropped or the lease is lost.
    pub fn keep(&self) -> Keeper {
        Keeper(tokio::spawn(self.clone().renew_always()))
    }

    /// Resolves once the lease is known to be lost.
    pub async fn lost(&self) {
        // The sender lives in the lease itself, so this ends only by the value.
        let _ = self.0.lost.subscribe().wait_for(|lost| *lost).await;
    }

    /// Gives it back, so that the next process need not wait. Nobody trusts it afterwards, whatever
    /// comes of writing that down.
    ///
    /// # Errors
    /// If the store is away or refuses; the lease then runs out by itself.
    pub async fn release(self) -> Result<()> {
        if self.0.lost.send_replace(true) {
            return Ok(());
        }
        let release = async {
            match &self.0.kind {
                Kind::Claim(claims) => claims.release(self.0.stamp.epoch).await,
                Kind::Lock(lock) => lock.release().await,
            }
        };
        self.0.crash.around(RELEASE, release).await
    }

    async fn renew_always(self) {
        let calm = self.0.ttl / 3;
        let mut wait = calm;
        loop {
            self.0.clock.sleep(wait).await;
            match self.renew().await {
                Ok(()) => wait = calm,
                Err(error) if error.kind() == ErrorKind::Held => return,
                Err(error) => {
                    tracing::warn!(?error, "the lease could not be renewed; trying again");
                    wait = self.0.ttl / 10;
                }
            }
        }
    }
}

impl Inner {
    fn until(&self) -> MutexGuard<'_, Duration> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fenced(&self) -> Error {
        Error::new(
            ErrorKind::Held,
            "the lease of the job is lost or running out",
        )
        .with("scope", &self.stamp.scope)
        .with("epoch", self.stamp.epoch)
        .hint("this process was paused or cut off for too long; run again, nothing is lost")
    }
}

/// Keeps a lease alive; dropped, it stops.
#[derive(Debug)]
#[must_use = "the lease is renewed only while this lives"]
pub struct Keeper(JoinHandle<()>);

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".into())
}

#[cfg(test)]
mod tests;
