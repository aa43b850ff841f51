//! A lease on local disk: a lock of the operating system on `lease/<scope>.lock`. It goes with the
//! process, however that ends, so that a restart after a kill works at once. Beside it lies
//! `<scope>.holder.json`, which says who has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};

use super::super::path::{LEASE, Scope};
use super::entry::{Claimant, Entry};
use super::holder::Held;

/// Somebody who only looks has the lock for an instant; a holder has it longer.
const LOOKS: u32 = 4;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A lock in our hands.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    path: PathBuf,
    holder: Location,
}

/// Takes the lock; with its epoch, or whoever has it.
pub(super) async fn take(
    claimant: &Claimant,
    scope: &Scope,
    above: u64,
) -> Result<Result<(u64, Lock), Held>> {
    let place = claimant.ledger.join(&scope.lock());
    let holder = claimant.ledger.join(&scope.holder());
    claimant.ledger.join(LEASE).make_folder().await?;
    for look in 1.. {
        if let Some((file, path)) = try_lock(&place)? {
            let before = recorded(&holder).await.map_or(0, |entry| entry.epoch);
            let entry = claimant.entry(before.max(above) + 1);
            holder.put(entry.bytes()?).await?;
            return Ok(Ok((entry.epoch, Lock { file, path, holder })));
        }
        if look == LOOKS {
            break;
        }
        claimant.clock.sleep(LOOK_AGAIN).await;
    }
    Ok(Err(held(&holder).await))
}

pub(super) async fn holder(ledger: &Location, scope: &Scope) -> Result<Option<Held>> {
    let place = ledger.join(&scope.lock());
    let path = place.local.as_deref().unwrap_or(Path::new(""));
    // Read only, for whoever looks on may have no right to write.
    let free = match File::open(path).map(|file| file.try_lock_shared()) {
        Ok(Err(TryLockError::WouldBlock)) => false,
        Ok(Ok(())) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Ok(Err(TryLockError::Error(error))) | Err(error) => {
            return Err(error)
                .or_err(
                    ErrorKind::Unavailable,
                    "cannot tell whether the ledger is locked",
                )
                .map_err(|error| error.with("file", place));
        }
    };
    if free {
        return Ok(None);
    }
    Ok(Some(held(&ledger.join(&scope.holder())).await))
}

async fn held(holder: &Location) -> Held {
    Held {
        holder: recorded(holder).await.map(|entry| entry.holder),
        until: None,
    }
}

/// What the holder's file says. It is only for people: one that cannot be read is as good as none.
async fn recorded(holder: &Location) -> Option<Entry> {
    let bytes = holder.get().await.ok().flatten()?;
    Entry::parse(&bytes, holder).ok()
}

/// Locks the file at `place`, unless another process has. Opening and trying do not wait.
fn try_lock(place: &Location) -> Result<Option<(File, PathBuf)>> {
    let path = place.local.clone().unwrap_or_default();
    let refused = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Refused
            }
            io::ErrorKind::StorageFull => ErrorKind::Unavailable,
            _ => ErrorKind::Invalid,
        };
        Err(error)
            .or_err(kind, "cannot lock the ledger")
            .map_err(|error: Error| {
                error.with("file", path.display()).hint(
                    "the ledger's folder must be writable, and its file system must know locks",
                )
            })
    };
    loop {
        let file = match open(&path) {
            Ok(file) => file,
            Err(error) => return refused(error),
        };
        match file.try_lock() {
            // Whoever deletes a lock file leaves us with a lock that nobody else sees.
            Ok(()) if same_file(&file, &path) => return Ok(Some((file, path))),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return refused(error),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Lock {
    /// Whether the file that we locked is still the one that others would lock.
    pub(super) fn stands(&self) -> bool {
        same_file(&self.file, &self.path)
    }

    pub(super) async fn release(&self) -> Result<()> {
        let forgotten = self.holder.delete().await;
        self.file
            .unlock()
            .or_err(ErrorKind::Unavailable, "cannot unlock the ledger")?;
        forgotten
    }
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Elsewhere a file that is open cannot be deleted.
#[cfg(not(unix))]
fn same_file(_: &File, path: &Path) -> bool {
    path.exists()
}
