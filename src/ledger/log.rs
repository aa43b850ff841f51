//! The log: numbered commits, each created once.
//!
//! Whoever creates `log/<n>.json` has written commit `n`; whoever finds it there reads it first and
//! thinks again. A commit has an id of its own, so that a writer whose answer was lost, or who is
//! told "exists" by a store that repeated its request, finds out which of the two it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::base::{
    Clock, Components, Crash, Error, ErrorKind, Ids, Location, Points, Put, Result, Time,
};

use super::framing::{self, Damage, FORMAT, Lines};
use super::path::{LOG, LogFile, NEWEST, Scope, Version};

/// Commits that are read at once.
const READS_AT_ONCE: usize = 32;
/// Larger than any commit that makes sense, small enough to be read without care.
const COMMIT_BYTES_MAX: u64 = 64 << 20;
/// How often a commit is tried whose fate is known to be "not there".
const TRIES_MAX: u32 = 6;
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Who writes a commit, and by what right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The run.
    pub run: String,
    /// The lease it holds; none for a request to the holder, such as to cancel.
    pub lease: Option<Stamp>,
}

/// The lease under which a commit was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// What the lease is of.
    pub scope: Scope,
    /// Which holder, counted from 1.
    pub epoch: u64,
}

/// The head of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The version of the ledger's format.
    pub format: u32,
    /// The commit's number.
    pub version: Version,
    /// Its own id.
    pub id: String,
    /// When it was written, by the writer's clock.
    pub time: Time,
    /// The run that wrote it.
    pub run: String,
    /// The lease it was written under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<Stamp>,
}

/// One entry of the log: facts that became true together.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit<A> {
    /// The head.
    pub meta: Meta,
    /// The facts, in order.
    pub actions: Vec<A>,
}

/// How an append ended.
#[derive(Debug)]
pub enum Append<A> {
    /// It is durable.
    Appended(Meta),
    /// It was not written: others were first. Fold theirs, and decide anew.
    Lost {
        /// The commits that were there.
        by: Vec<Commit<A>>,
    },
}

/// The log of one ledger, as one process sees it.
#[derive(Debug)]
pub struct Log {
    pub(super) folder: Location,
    pub(super) clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    pub(super) crash: Crash,
    /// The number the next commit will have.
    pub(super) next: Version,
    /// The id of the last commit seen.
    pub(super) last: Option<String>,
    /// The highest epoch seen of each lease.
    pub(super) epochs: BTreeMap<Scope, u64>,
    /// The file that names the newest checkpoint.
    pub(super) newest_checkpoint: Location,
    /// The number that the next commit had at the newest checkpoint that this log knows of.
    pub(super) checkpointed: Version,
}

/// What lies in the log's folder.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) newest: Option<Version>,
    pub(super) checkpoints: Vec<Version>,
}

/// What stands where a commit was to be written.
enum CommitOwner {
    Ours,
    Others,
    Nothing,
}

impl Log {
    /// The log of the ledger at `ledger`, not read yet.
    #[must_use]
    pub fn open(components: &Components, ledger: &Location) -> Log {
        Log {
            folder: ledger.clone().private().join(LOG),
            clock: Arc::clone(&components.clock),
            ids: Arc::clone(&components.ids),
            crash: components.crash.clone(),
            next: Version(0),
            last: None,
            epochs: BTreeMap::new(),
            newest_checkpoint: ledger.clone().private().join(NEWEST),
            checkpointed: Version(0),
        }
    }

    /// The number of the next commit: how many there are, as far as this log has read.
    #[must_use]
    pub fn next(&self) -> Version {
        self.next
    }

    /// The highest epoch under which anybody has written, as far as this log has read. A new lease
    /// begins above it, even if the lease's own files are gone.
    #[must_use]
    pub fn epoch(&self, scope: &Scope) -> u64 {
        self.epochs.get(scope).copied().unwrap_or_default()
    }

    /// Reads every commit from the beginning, in order.
    ///
    /// # Errors
    /// `Data` if one is missing, damaged, or of a newer version; `Unavailable` if the store is away.
    pub async fn replay<A: DeserializeOwned>(&mut self) -> Result<Vec<Commit<A>>> {
        self.rewind();
        self.catch_up().await
    }

    /// Reads the commits that are new since the last reading, in order.
    ///
    /// # Errors
    /// As [`Log::replay`].
    pub async fn catch_up<A: DeserializeOwned>(&mut self) -> Result<Vec<Commit<A>>> {
        let mut commits = Vec::new();
        self.follow(|commit| {
            commits.push(commit);
            Ok(())
        })
        .await?;
        Ok(commits)
    }

    /// Hands each commit that is new since the last reading to `take`, in order. What was handed over
    /// stays read, also where the reading fails or is dropped before its end.
    ///
    /// # Errors
    /// As [`Log::replay`]; and whatever `take` says.
    pub async fn follow<A: DeserializeOwned>(
        &mut self,
        take: impl FnMut(Commit<A>) -> Result<()>,
    ) -> Result<()> {
        let listing = self.listing(self.next).await?;
        self.read_to(listing.newest, take).await
    }

    /// Appends `actions` as one commit, after all that this log has read.
    ///
    /// # Errors
    /// `Held` if another process has taken the author's lease and written since. After
    /// `Unavailable` nobody knows whether the commit is there; a later reading tells.
    pub async fn append<A>(
        &mut self,
        author: &Author,
        actions: &[A],
        points: Points,
    ) -> Result<Append<A>>
    where
        A: Serialize + DeserializeOwned,
    {
        self.refuse_fenced(author)?;
        let meta = Meta {
            format: FORMAT,
            version: self.next,
            id: self.ids.uuid(self.clock.now()).to_string(),
            time: self.clock.now(),
            run: author.run.clone(),
            lease: author.lease.clone(),
        };
        let bytes = written(&meta, actions)?;
        self.crash.point(points.before).await;
        if !self.create(&meta, bytes).await? {
            let by = self.catch_up().await?;
            return Ok(Append::Lost { by });
        }
        self.crash.point(points.after).await;
        self.saw(&meta)?;
        Ok(Append::Appended(meta))
    }

    /// Creates the commit's file; false if another's stands there.
    async fn create(&self, meta: &Meta, bytes: Bytes) -> Result<bool> {
        let place = self.folder.join(&LogFile::Commit(meta.version).to_string());
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let error = match place.put_new(bytes.clone()).await {
                Ok(Put::Created) => return Ok(true),
                Ok(Put::Exists) => {
                    Error::unavailable("the store says that a commit exists, and does not show it")
                        .with("version", meta.version.0)
                }
                Err(error) if error.kind() != ErrorKind::Unavailable => return Err(error),
                Err(error) => error,
            };
            match self.owner(&place, meta).await {
                Ok(CommitOwner::Ours) => return Ok(true),
                Ok(CommitOwner::Others) => return Ok(false),
                // A disk that says no means no; a network may only have lost the answer.
                Ok(CommitOwner::Nothing) if place.local.is_some() => return Err(error),
                Ok(CommitOwner::Nothing) | Err(_) if attempt == TRIES_MAX => return Err(error),
                Err(unread) if unread.kind() != ErrorKind::Unavailable => return Err(unread),
                Ok(CommitOwner::Nothing) | Err(_) => {}
            }
            self.clock.sleep(self.ids.jitter(wait)).await;
            wait *= 2;
        }
        Err(Error::internal("a commit was tried without end"))
    }

    /// Whose commit stands at `place`. Its id alone decides: a damaged one is another's, and is
    /// judged when it is read.
    async fn owner(&self, place: &Location, ours: &Meta) -> Result<CommitOwner> {
        let Some(bytes) = place.get().await? else {
            return Ok(CommitOwner::Nothing);
        };
        let head = framing::unframe(&bytes)
            .ok()
            .and_then(|lines| lines.first().copied());
        let head = head.and_then(|head| framing::line::<Meta>(head).ok());
        Ok(match head {
            Some(meta) if meta.id == ours.id => CommitOwner::Ours,
            _ => CommitOwner::Others,
        })
    }

    fn refuse_fenced(&self, author: &Author) -> Result<()> {
        match &author.lease {
            Some(stamp) if stamp.epoch < self.epoch(&stamp.scope) => Err(Error::new(
                ErrorKind::Held,
                "another process has taken over",
            )
            .with("scope", &stamp.scope)
            .with("epoch", stamp.epoch)
            .hint("nothing was lost; run again when the other one is done")),
            _ => Ok(()),
        }
    }

    /// Forgets what was read.
    pub(super) fn rewind(&mut self) {
        (self.next, self.last) = (Version(0), None);
        self.checkpointed = Version(0);
        self.epochs.clear();
    }

    /// Reads on up to `newest`, and hands each commit to `take` in order.
    pub(super) async fn read_to<A: DeserializeOwned>(
        &mut self,
        newest: Option<Version>,
        mut take: impl FnMut(Commit<A>) -> Result<()>,
    ) -> Result<()> {
        let Some(newest) = newest else {
            return Ok(());
        };
        let folder = self.folder.clone();
        let mut commits = stream::iter(self.next.0..=newest.0)
            .map(|number| read(folder.clone(), Version(number), newest))
            .buffered(READS_AT_ONCE);
        while let Some(commit) = commits.try_next().await? {
            self.saw(&commit.meta)?;
            take(commit)?;
        }
        Ok(())
    }

    /// Takes note of a commit that stands.
    fn saw(&mut self, meta: &Meta) -> Result<()> {
        if let Some(stamp) = &meta.lease {
            let highest = self.epochs.entry(stamp.scope.clone()).or_default();
            if stamp.epoch < *highest {
                return Err(
                    Error::data("a commit was written under a lease that had been lost")
                        .with("version", meta.version.0)
                        .with("epoch", stamp.epoch)
                        .hint("two ledgers may have been mixed: restore this one from a backup"),
                );
            }
            *highest = stamp.epoch;
        }
        self.next = meta.version.next();
        self.last = Some(meta.id.clone());
        Ok(())
    }

    /// What lies in the folder, from version `from` on.
    pub(super) async fn listing(&self, from: Version) -> Result<Listing> {
        let files = match from.0.checked_sub(1) {
            None => self.folder.list().await?,
            Some(before) => {
                let name = LogFile::Commit(Version(before)).to_string();
                self.folder.list_after(&name).await?
            }
        };
        let mut listing = Listing::default();
        for file in files {
            let name = self.folder.name_of(&file);
            match LogFile::parse(&name) {
                Some(LogFile::Commit(version)) if file.size > COMMIT_BYTES_MAX => {
                    return Err(
                        damaged(version, "is larger than any commit").with("bytes", file.size)
                    );
                }
                Some(LogFile::Commit(version)) => listing.newest = Some(version),
                Some(LogFile::Checkpoint(version)) => listing.checkpoints.push(version),
                None => {
                    let folder = &self.folder;
                    tracing::warn!(file = %name, %folder, "a stranger's file is passed over");
                }
            }
        }
        Ok(listing)
    }
}

/// A commit as it is stored.
fn written<A: Serialize>(meta: &Meta, actions: &[A]) -> Result<Bytes> {
    let mut lines = Lines::default();
    lines.push(meta)?;
    for action in actions {
        lines.push(action)?;
    }
    let bytes = lines.finish()?;
    if bytes.len() as u64 > COMMIT_BYTES_MAX {
        return Err(Error::internal("a commit is too large").with("bytes", bytes.len()));
    }
    Ok(bytes.into())
}

/// Reads commit `version` of a log that goes on to `newest`.
pub(super) async fn read<A: DeserializeOwned>(
    folder: Location,
    version: Version,
    newest: Version,
) -> Result<Commit<A>> {
    let place = folder.join(&LogFile::Commit(version).to_string());
    let Some(bytes) = place.get().await? else {
        return Err(Error::data("a commit is missing from the ledger")
            .with("version", version.0)
            .with("file", place)
            .hint("restore the file from a backup: what it recorded cannot be known without it"));
    };
    parse(&bytes, version, version == newest).map_err(|error| error.with("file", place))
}

/// A commit from its bytes. `last` is whether the log ends with it.
pub(super) fn parse<A: DeserializeOwned>(
    bytes: &[u8],
    version: Version,
    last: bool,
) -> Result<Commit<A>> {
    let lines = framing::unframe(bytes).map_err(|damage| unreadable(damage, version, last))?;
    let (head, actions) = lines
        .split_first()
        .ok_or_else(|| damaged(version, "has no head"))?;
    let meta: Meta = framing::line(head).map_err(|error| error.with("version", version.0))?;
    if meta.version != version {
        return Err(damaged(version, "bears another number").with("found", meta.version.0));
    }
    let actions = actions
        .iter()
        .map(|action| framing::line(action))
        .collect::<Result<_>>()
        .map_err(|error| error.with("version", version.0))?;
    Ok(Commit { meta, actions })
}

fn unreadable(damage: Damage, version: Version, last: bool) -> Error {
    let (message, hint) = match damage {
        Damage::Newer(_) => (
            "the ledger was written by a newer version of columnist",
            "run that version, or a later one",
        ),
        Damage::CutShort | Damage::Empty if last => (
            "the last commit of the ledger is cut short",
            "the disk or a copy lost its end; restore the file from a backup. If it was cut while it \
             was being written, nothing was done on its word, and it can be moved away",
        ),
        _ => (
            "a commit of the ledger is damaged",
            "restore the file from a backup: what it recorded cannot be known without it",
        ),
    };
    Error::data(message)
        .with("version", version.0)
        .because(damage)
        .hint(hint)
}

fn damaged(version: Version, how: &str) -> Error {
    Error::data(format!("a commit of the ledger {how}"))
        .with("version", version.0)
        .hint("restore the file from a backup: what it recorded cannot be known without it")
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
