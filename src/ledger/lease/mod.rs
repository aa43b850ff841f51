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
mod entry;
mod holder;
mod lock;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::base::{
    Clock, Components, Crash, Error, ErrorKind, IoRuntime, Location, Result, Task, Uptime,
};

use super::log::Stamp;
use super::path::Scope;
use super::points::{RELEASE, RENEW, TAKE};
use claim::Claims;
use entry::Claimant;
use lock::Lock;

use holder::Listener;

pub use holder::{Held, Holder, Patience};

/// How taking a lease ended.
#[derive(Debug)]
pub enum Taken {
    /// Another has it.
    Held(Held),
    /// It is ours.
    Lease(Lease),
}

/// The leases of one ledger.
#[derive(Debug)]
pub struct Leases {
    claimant: Claimant,
    uptime: Arc<dyn Uptime>,
    io: IoRuntime,
    crash: Crash,
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
            claimant: Claimant {
                ledger: ledger.clone().private(),
                holder,
                ttl,
                clock: Arc::clone(&components.clock),
                ids: Arc::clone(&components.ids),
                listener: Listener::default(),
            },
            uptime,
            io: components.io.clone(),
            crash: components.crash.clone(),
        }
    }

    /// Whoever waits for a lease is told for whose, each time before some of the wait passes.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(&Held) + Send + Sync + 'static) -> Leases {
        self.claimant.listener = Listener(Some(Arc::new(tell)));
        self
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
        if self.claimant.ledger.local.is_none() {
            return self.claim(scope, above, patience).await;
        }
        Ok(match lock::take(&self.claimant, scope, above).await? {
            Ok((epoch, lock)) => Taken::Lease(self.lease(scope, epoch, Kind::Lock(lock))),
            Err(held) => Taken::Held(held),
        })
    }

    async fn claim(&self, scope: &Scope, above: u64, patience: Patience) -> Result<Taken> {
        let claims = self.claims(scope);
        loop {
            let epoch = match claims.take(&self.claimant, above, &patience).await? {
                Ok(epoch) => epoch,
                Err(held) => return Ok(Taken::Held(held)),
            };
            let lease = self.lease(scope, epoch, Kind::Claim(claims.clone()));
            match lease.renew().await {
                Ok(()) => {
                    claims.tidy(epoch).await;
                    return Ok(Taken::Lease(lease));
                }
                // Another came while we waited.
                Err(error) if error.kind() == ErrorKind::Held => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Who holds the lease of `scope` now, if anybody does.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn holder(&self, scope: &Scope) -> Result<Option<Held>> {
        let ledger = &self.claimant.ledger;
        if ledger.local.is_some() {
            return lock::holder(ledger, scope).await;
        }
        self.claims(scope).holder(&self.claimant).await
    }

    fn claims(&self, scope: &Scope) -> Claims {
        Claims {
            folder: self.claimant.ledger.join(&scope.claims()),
        }
    }

    fn lease(&self, scope: &Scope, epoch: u64, kind: Kind) -> Lease {
        Lease(Arc::new(Inner {
            stamp: Stamp {
                scope: scope.clone(),
                epoch,
            },
            ttl: self.claimant.ttl,
            kind,
            clock: Arc::clone(&self.claimant.clock),
            uptime: Arc::clone(&self.uptime),
            io: self.io.clone(),
            crash: self.crash.clone(),
            until: Mutex::default(),
            lost: watch::Sender::new(false),
        }))
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
    io: IoRuntime,
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

    /// Renews it in the background, until the keeper is dropped or the lease is lost: on the runtime of
    /// connections, where it never waits behind work that blocks.
    pub fn keep(&self) -> Keeper {
        Keeper(self.0.io.spawn(self.clone().renew_always()))
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
pub struct Keeper(#[expect(dead_code, reason = "it lives as long as its owner")] Task<()>);

#[cfg(test)]
mod tests;
