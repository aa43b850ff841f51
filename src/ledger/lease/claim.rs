//! A lease on object storage, by create-if-absent alone.
//!
//! ```text
//! lease/<scope>/00000000000000000007.json      created once: whoever did is holder 7
//!               00000000000000000007.renewed   overwritten by holder 7 while it lives
//!               00000000000000000007.released  written by holder 7 when it is done
//! ```
//!
//! Only the newest claim counts. Whether it has run out is judged by the store's clock alone: a
//! contender writes a file, and compares its date with that of the claim's last renewal. Our own
//! clock and the holder's may be wrong by any amount.
//!
//! A renewal may be on its way while a contender decides. So the holder looks for a newer claim
//! *after* each renewal, and the contender looks for a newer renewal *after* its claim: at least one
//! of them sees the other. A holder that sees a newer claim stops; a contender that sees a newer
//! renewal waits until that one has run out.

use std::time::Duration;

use crate::base::{Error, Location, Put, Result, Time};

use super::super::path::ClaimFile;
use super::entry::{Claimant, Entry};
use super::holder::{Held, Patience};

/// The claims on one lease.
#[derive(Clone, Debug)]
pub(super) struct Claims {
    pub(super) folder: Location,
}

/// The newest claim, as the store shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastClaim {
    epoch: u64,
    /// When its holder last wrote, by the store's clock.
    alive: Time,
    released: bool,
}

/// What stands between us and a lease.
enum Standing {
    /// Nothing: nobody ever had it, or it was given back.
    Free,
    /// Its holder may live: so long yet.
    Held(Entry, Duration),
    /// Its holder has not renewed it in time.
    RunOut(Entry),
}

impl Claims {
    /// Claims the lease; the epoch of the claim, or whoever holds it. It is ours once it is renewed.
    pub(super) async fn take(
        &self,
        claimant: &Claimant,
        above: u64,
        patience: &Patience,
    ) -> Result<Result<u64, Held>> {
        let mut first = None;
        loop {
            let seen = self.newest().await?;
            let standing = self.standing(claimant, seen).await?;
            if let Standing::Held(entry, left) = &standing {
                let renewed = *first.get_or_insert(seen) != seen;
                let pause = (*left).min(claimant.ttl / 3);
                claimant.tell(&held(claimant, entry, *left));
                if renewed || !patience.pass(&*claimant.clock, pause).await {
                    return Ok(Err(held(claimant, entry, *left)));
                }
                continue;
            }
            let epoch = seen.map_or(0, |seen| seen.epoch).max(above) + 1;
            if !self.claim(claimant.entry(epoch)).await? {
                continue;
            }
            if let (Standing::RunOut(entry), Some(seen)) = (&standing, seen)
                && self.alive_since(seen).await?
            {
                let wait = entry.ttl() + margin(entry.ttl());
                claimant.tell(&held(claimant, entry, wait));
                if matches!(patience, Patience::NotAtAll) {
                    claimant.clock.sleep(wait).await;
                } else if !patience.pass(&*claimant.clock, wait).await {
                    self.release(epoch).await?;
                    return Ok(Err(held(claimant, entry, wait)));
                }
            }
            return Ok(Ok(epoch));
        }
    }

    pub(super) async fn holder(&self, claimant: &Claimant) -> Result<Option<Held>> {
        let seen = self.newest().await?;
        Ok(match self.standing(claimant, seen).await? {
            Standing::Held(entry, left) => Some(held(claimant, &entry, left)),
            Standing::Free | Standing::RunOut(_) => None,
        })
    }

    /// Says that holder `epoch` lives; false if it is holder no more.
    pub(super) async fn renew(&self, epoch: u64) -> Result<bool> {
        self.place(ClaimFile::Renewed(epoch))
            .put(epoch.to_string())
            .await?;
        Ok(self.newest().await?.map(|seen| seen.epoch) == Some(epoch))
    }

    pub(super) async fn release(&self, epoch: u64) -> Result<()> {
        self.place(ClaimFile::Released(epoch))
            .put(epoch.to_string())
            .await
    }

    fn place(&self, file: ClaimFile) -> Location {
        self.folder.join(&file.to_string())
    }

    async fn newest(&self) -> Result<Option<LastClaim>> {
        let mut newest: Option<LastClaim> = None;
        for meta in self.folder.list().await? {
            // By name, so that each claim comes before its renewal and its release.
            match (ClaimFile::parse(&self.folder.name_of(&meta)), &mut newest) {
                (Some(ClaimFile::Claim(epoch)), newest) => {
                    *newest = Some(LastClaim {
                        epoch,
                        alive: meta.last_modified,
                        released: false,
                    });
                }
                (Some(ClaimFile::Renewed(epoch)), Some(seen)) if seen.epoch == epoch => {
                    seen.alive = seen.alive.max(meta.last_modified);
                }
                (Some(ClaimFile::Released(epoch)), Some(seen)) if seen.epoch == epoch => {
                    seen.released = true;
                }
                _ => {}
            }
        }
        Ok(newest)
    }

    async fn standing(&self, claimant: &Claimant, seen: Option<LastClaim>) -> Result<Standing> {
        let Some(seen) = seen.filter(|seen| !seen.released) else {
            return Ok(Standing::Free);
        };
        let place = self.place(ClaimFile::Claim(seen.epoch));
        let Some(bytes) = place.get().await? else {
            return Ok(Standing::Free);
        };
        let entry = Entry::parse(&bytes, &place)?;
        let ttl = entry.ttl() + margin(entry.ttl());
        let age = self.store_now(claimant).await? - seen.alive;
        // A date in the store's future is as good as now.
        let left = ttl.saturating_sub(age.to_std().unwrap_or_default());
        Ok(if left.is_zero() {
            Standing::RunOut(entry)
        } else {
            Standing::Held(entry, left)
        })
    }

    /// What time it is at the store: the date of a file that we write.
    async fn store_now(&self, claimant: &Claimant) -> Result<Time> {
        let place = self
            .folder
            .join(&format!("clock-{}", claimant.ids.nonce(12)));
        place.put("what time is it?").await?;
        let meta = place.head().await?;
        let _ = place.delete().await;
        let meta = meta.ok_or_else(|| {
            Error::unavailable("the store does not show a file that was just written")
                .with("file", &place)
        })?;
        Ok(meta.last_modified)
    }

    /// Creates the claim; false if another was first. After a lost answer its id tells.
    async fn claim(&self, entry: Entry) -> Result<bool> {
        let place = self.place(ClaimFile::Claim(entry.epoch));
        let put = place.put_new(entry.bytes()?).await;
        if let Ok(Put::Created) = put {
            return Ok(true);
        }
        match place.get().await? {
            Some(bytes) => Ok(Entry::parse(&bytes, &place)?.id == entry.id),
            None => put.map(|_| false),
        }
    }

    /// Whether the holder that had run out has renewed since it was seen, and not given back.
    async fn alive_since(&self, seen: LastClaim) -> Result<bool> {
        if self
            .place(ClaimFile::Released(seen.epoch))
            .head()
            .await?
            .is_some()
        {
            return Ok(false);
        }
        let renewal = self.place(ClaimFile::Renewed(seen.epoch)).head().await?;
        Ok(renewal.is_some_and(|meta| meta.last_modified > seen.alive))
    }

    /// Removes what older holders left. It is only for order.
    pub(super) async fn tidy(&self, epoch: u64) {
        let Ok(listed) = self.folder.list().await else {
            return;
        };
        for meta in listed {
            let name = self.folder.name_of(&meta);
            if ClaimFile::parse(&name).is_some_and(|file| file.epoch() < epoch) {
                let _ = self.folder.join(&name).delete().await;
            }
        }
    }
}

fn held(claimant: &Claimant, entry: &Entry, left: Duration) -> Held {
    Held {
        holder: Some(entry.holder.clone()),
        until: Some(claimant.clock.now() + left),
    }
}

/// Stores date files to the second, and their machines' clocks differ a little.
fn margin(ttl: Duration) -> Duration {
    Duration::from_secs(2) + ttl / 20
}
