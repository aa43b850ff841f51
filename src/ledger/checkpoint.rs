//! A folded state, saved, so that a replay stays short. Never needed: whatever is wrong with one, it
//! is passed over with a warning, and the next older one, or the whole log, is read instead.
//!
//! A checkpoint names the id of the commit it was taken after, and is believed only beside that very
//! commit; and the shape of its state, so that a program whose fold has changed folds again.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use crate::base::{Error, Result, Time};

use super::framing::{self, FORMAT, Lines};
use super::log::{self, Commit, Log, Meta};
use super::path::{LogFile, Scope, Version};
use super::points;

/// How many commits lie between two checkpoints.
const EVERY: u64 = 64;
/// How many checkpoints are tried before the whole log is read.
const TRIES_MAX: usize = 3;

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    version: Version,
    commit: String,
    time: Time,
    shape: u32,
    epochs: BTreeMap<Scope, u64>,
}

/// Which checkpoint is the newest: so that nobody has to list a long log to find it.
#[derive(Serialize, Deserialize)]
struct Named {
    format: u32,
    version: Version,
}

impl Log {
    /// Folds the whole log into a state: the newest good checkpoint, then the commits after it.
    /// `shape` is the number of the state's own form; a checkpoint of another is not used.
    ///
    /// # Errors
    /// As [`Log::replay`], and whatever `apply` refuses.
    pub async fn load<A, S>(
        &mut self,
        shape: u32,
        mut apply: impl FnMut(&mut S, &Meta, &A) -> Result<()>,
    ) -> Result<S>
    where
        A: DeserializeOwned,
        S: Default + DeserializeOwned,
    {
        let (newest, state) = self.start(shape).await?;
        let mut state = state.unwrap_or_default();
        self.read_to(newest, |commit: Commit<A>| {
            let mut actions = commit.actions.iter();
            actions.try_for_each(|action| apply(&mut state, &commit.meta, action))
        })
        .await?;
        Ok(state)
    }

    /// The newest commit, and the state that a replay starts from, if there is one. The folder is listed
    /// from the checkpoint on that is named as the newest, and as a whole only where that is of no use:
    /// an old log has many thousands of files.
    async fn start<S: DeserializeOwned>(
        &mut self,
        shape: u32,
    ) -> Result<(Option<Version>, Option<S>)> {
        self.rewind();
        if let Some(named) = self.named().await {
            let listing = self.listing(named.next()).await?;
            let newest = listing.newest.unwrap_or(named);
            let mut checkpoints = vec![named];
            checkpoints.extend(listing.checkpoints);
            if let Some(state) = self.restore_any(&checkpoints, newest, shape).await {
                return Ok((Some(newest), Some(state)));
            }
        }
        let listing = self.listing(Version(0)).await?;
        let Some(newest) = listing.newest else {
            return Ok((None, None));
        };
        let state = self.restore_any(&listing.checkpoints, newest, shape).await;
        Ok((Some(newest), state))
    }

    /// The checkpoint that is named as the newest. There may be newer ones, and it may be wrong.
    async fn named(&self) -> Option<Version> {
        let bytes = self.newest_checkpoint.get().await.ok()??;
        let lines = framing::unframe(&bytes).ok()?;
        let named: Named = framing::line(lines.first()?).ok()?;
        Some(named.version)
    }

    /// The state of the newest of `checkpoints` that is good, and this log set to go on behind it.
    async fn restore_any<S: DeserializeOwned>(
        &mut self,
        checkpoints: &[Version],
        newest: Version,
        shape: u32,
    ) -> Option<S> {
        for version in checkpoints.iter().rev().take(TRIES_MAX) {
            match self.restore(*version, newest, shape).await {
                Ok(Some(saved)) => return Some(saved),
                Ok(None) => {}
                Err(error) => {
                    let file = LogFile::Checkpoint(*version);
                    tracing::warn!(%file, ?error, "a checkpoint is passed over");
                }
            }
        }
        None
    }

    /// Whether it is time for a checkpoint.
    #[must_use]
    pub fn checkpoint_due(&self) -> bool {
        self.next.0 >= self.checkpointed.0 + EVERY
    }

    /// Saves `state`, which must be the fold of exactly what this log has read. A failure is logged
    /// and costs nothing but time later.
    pub async fn checkpoint<S: Serialize>(&mut self, shape: u32, state: &S) {
        let save = self.save(shape, state);
        if let Err(error) = self.crash.around(points::CHECKPOINT, save).await {
            tracing::warn!(?error, "no checkpoint was written");
        }
        self.checkpointed = self.next;
    }

    async fn save<S: Serialize>(&self, shape: u32, state: &S) -> Result<()> {
        let (Some(version), Some(commit)) = (self.next.0.checked_sub(1), self.last.clone()) else {
            return Ok(());
        };
        let version = Version(version);
        let mut lines = Lines::default();
        lines.push(&Head {
            format: FORMAT,
            version,
            commit,
            time: self.clock.now(),
            shape,
            epochs: self.epochs.clone(),
        })?;
        lines.push(state)?;
        let place = self.folder.join(&LogFile::Checkpoint(version).to_string());
        place.put(lines.finish()?).await?;
        let mut lines = Lines::default();
        lines.push(&Named {
            format: FORMAT,
            version,
        })?;
        self.newest_checkpoint.put(lines.finish()?).await
    }

    /// The state after commit `version`, and this log set to go on behind it. `None` if it has
    /// another shape.
    async fn restore<S: DeserializeOwned>(
        &mut self,
        version: Version,
        newest: Version,
        shape: u32,
    ) -> Result<Option<S>> {
        if version > newest {
            return Err(Error::data(
                "the checkpoint is of a commit that is not there",
            ));
        }
        let place = self.folder.join(&LogFile::Checkpoint(version).to_string());
        let bytes = place
            .get()
            .await?
            .ok_or_else(|| Error::data("the checkpoint is gone"))?;
        let lines = framing::unframe(&bytes)
            .map_err(|damage| Error::data("the checkpoint is damaged").because(damage))?;
        let [head, state] = lines[..] else {
            return Err(Error::data("the checkpoint has another form"));
        };
        let head: Head = framing::line(head)?;
        if head.shape != shape {
            return Ok(None);
        }
        let commit = log::read::<IgnoredAny>(self.folder.clone(), version, newest).await?;
        if head.version != version || commit.meta.id != head.commit {
            return Err(Error::data("the checkpoint disagrees with the log"));
        }
        let state = framing::line(state)?;
        (self.next, self.last, self.epochs) = (version.next(), Some(head.commit), head.epochs);
        self.checkpointed = self.next;
        Ok(Some(state))
    }
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
