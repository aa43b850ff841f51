//! What the index consists of: a numbered file that is created, never overwritten. The newest counts.

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::layout::KeyFileInfo;
use crate::base::{Error, Location, Put, Result};
use crate::ledger::framing::{self, FORMAT, Lines};
use crate::ledger::path::{IndexFile, Version};

/// What the index consists of, and what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the ledger's format.
    pub format: u32,
    /// All outcomes that had landed of the plans before this one are in the index, and no others.
    pub plans: u64,
    /// A hash of the ids of the attempts that they are of: where the ledger counts others, the index is
    /// not its own.
    pub landed: String,
    /// The runs, the oldest first; each is files in the order of their keys.
    pub runs: Vec<Vec<KeyFileInfo>>,
}

/// The folder of the index, as it was found.
#[derive(Debug)]
pub struct IndexFolder {
    place: Location,
    files: Vec<(IndexFile, u64)>,
}

impl IndexFolder {
    /// Looks into the folder at `place`, which need not be there.
    ///
    /// # Errors
    /// `Unavailable` if its store is away.
    pub async fn list(place: &Location) -> Result<IndexFolder> {
        let listed = place.list().await?;
        let known = |meta| {
            let name = place.name_of(meta);
            Some((IndexFile::parse(&name)?, meta.size))
        };
        Ok(IndexFolder {
            place: place.clone(),
            files: listed.iter().filter_map(known).collect(),
        })
    }

    /// Where a file of it lies.
    #[must_use]
    pub fn place_of(&self, name: &str) -> Location {
        self.place.join(name)
    }

    fn newest(&self) -> Option<Version> {
        let manifest = |(file, _): &(IndexFile, u64)| match file {
            IndexFile::Manifest(version) => Some(*version),
            IndexFile::Keys { .. } => None,
        };
        self.files.iter().filter_map(manifest).max()
    }

    /// What the index consists of. Nothing where there is none, or where what there is cannot be
    /// believed: it is made anew then.
    ///
    /// # Errors
    /// `Unavailable` if its store is away.
    pub async fn manifest(&self) -> Result<Option<Manifest>> {
        let Some(newest) = self.newest() else {
            return Ok(None);
        };
        let place = self.place_of(&IndexFile::Manifest(newest).to_string());
        let Some(bytes) = place.get().await? else {
            return Ok(None);
        };
        match parse(&bytes).and_then(|manifest| self.complete(manifest)) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(error) => {
                warn!(%error, file = %place, "the index of earlier answers is made anew");
                Ok(None)
            }
        }
    }

    /// `manifest`, if all its files are there.
    fn complete(&self, manifest: Manifest) -> Result<Manifest> {
        for info in manifest.runs.iter().flatten() {
            let there = self
                .files
                .iter()
                .find(|(file, _)| file.to_string() == info.name);
            if there.is_none_or(|(_, size)| *size != info.bytes) {
                return Err(
                    Error::data("a file of the index is missing or cut").with("file", &info.name)
                );
            }
        }
        Ok(manifest)
    }

    /// Where the next manifest goes.
    #[must_use]
    pub fn next(&self) -> Location {
        let next = self.newest().map_or(Version(0), Version::next);
        self.place_of(&IndexFile::Manifest(next).to_string())
    }

    /// The files that neither the newest manifest, `manifest`, nor the one that is about to follow it
    /// speaks of, and older manifests. Whoever reads by the newest finds all its files until the one
    /// after the next.
    #[must_use]
    pub fn leftovers(&self, manifest: Option<&Manifest>) -> Vec<Location> {
        let newest = self.newest();
        let is_used = |name: &str| {
            let infos = manifest
                .iter()
                .flat_map(|manifest| manifest.runs.iter().flatten());
            infos.into_iter().any(|info| info.name == name)
        };
        let is_left = |file: &IndexFile| match file {
            IndexFile::Manifest(version) => Some(*version) != newest,
            IndexFile::Keys { .. } => !is_used(&file.to_string()),
        };
        let left = self.files.iter().filter(|(file, _)| is_left(file));
        left.map(|(file, _)| self.place_of(&file.to_string()))
            .collect()
    }
}

impl Manifest {
    /// Writes it at `place`; `false` if another stands there.
    ///
    /// # Errors
    /// `Unavailable` if its store is away: it may have been written all the same.
    pub async fn write(&self, place: &Location) -> Result<bool> {
        let mut lines = Lines::default();
        lines.push(&Manifest {
            format: FORMAT,
            ..self.clone()
        })?;
        Ok(place.put_new(lines.finish()?).await? == Put::Created)
    }
}

fn parse(bytes: &[u8]) -> Result<Manifest> {
    let damaged = |damage| Error::data("the manifest of the index is damaged").because(damage);
    let lines = framing::unframe(bytes).map_err(damaged)?;
    let [manifest] = lines[..] else {
        return Err(Error::data("the manifest of the index has another form"));
    };
    framing::line(manifest)
}
