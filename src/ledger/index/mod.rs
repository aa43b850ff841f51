//! The index of earlier answers: where the outcomes of a request lie, by its key.
//!
//! ```text
//! <ledger>/index/00000000000000000007.json     the manifest: which files there are, and what is in them
//!                0198..32 digits..-0000.keys   sorted entries: key, plan and ordinal, limit, status
//! ```
//!
//! It holds an entry for each outcome that is worth anything to a later plan, and no judgement: which of
//! them settles a request is decided by whoever plans, from the state of the ledger. So the index is a
//! function of the outcomes that are in it and nothing else; it can be thrown away at any time, and is
//! made again from the outcomes.
//!
//! It consists of runs, each sorted and cut into files by key. What has landed since the index was written
//! last makes a new run; runs are merged while the newest is at least half as large as the one before
//! it, up to a size above which a run stays as it is: so there are few of them, and no plan begins with
//! writing all there is.
//!
//! # Promises
//! - A look-up finds exactly the entries of its key: block by block what is read is checked, and what is
//!   damaged or gone is an error of kind `Data`, upon which the index is made anew. It never misses one
//!   silently, for that would be paid.
//! - What it holds in memory is bounded by what it is given, and a fence of eight bytes for 102 entries.
//! - A file is written once, under a name of its own; a manifest is created if absent. A crash leaves files
//!   that no manifest names, and of two writers one finds that it was second.

mod entry;
mod key_file;
mod layout;
mod manifest;
mod runs;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};

use futures::FutureExt;
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::base::{Location, Result, scratch_error};
use crate::work::RequestKey;

use key_file::{Body, KeyFile};
use runs::{RunWriter, merge};

pub use entry::Entry;
pub use layout::{Draft, KeyFileInfo};
pub use manifest::{IndexFolder, Manifest};
pub use runs::EntrySorter;

/// Files that are opened at once.
const OPENED_AT_ONCE: usize = 8;
/// Files in which is looked at once.
const ASKED_AT_ONCE: usize = 4;

/// What runs are merged up to: 80 MB.
const MERGED_ENTRIES_MAX: u64 = 2 << 20;

/// One run.
#[derive(Debug)]
struct Run(Vec<KeyFile>);

/// The index, open for look-ups.
#[derive(Debug)]
pub struct AnswerIndex {
    runs: Vec<Run>,
    scratch: PathBuf,
    /// Bytes that filters may still take.
    filters: usize,
}

/// A new run in place of the last ones of an index.
#[derive(Debug)]
pub struct Merged {
    /// How many of the last runs it replaces.
    pub replaced: usize,
    /// Its files, which are not in their places yet.
    pub drafts: Vec<Draft>,
}

impl AnswerIndex {
    /// An index of nothing, whose filters may take `filters` bytes.
    #[must_use]
    pub fn empty(scratch: &Path, filters: usize) -> AnswerIndex {
        AnswerIndex {
            runs: Vec::new(),
            scratch: scratch.to_owned(),
            filters,
        }
    }

    /// Opens the runs of `manifest` in `folder`.
    ///
    /// # Errors
    /// `Data` if a file is gone or damaged, `Unavailable` if its store is away.
    pub async fn open(
        manifest: &Manifest,
        folder: &Location,
        scratch: &Path,
        filters: usize,
    ) -> Result<AnswerIndex> {
        let mut index = AnswerIndex::empty(scratch, filters);
        for run in &manifest.runs {
            let open = |info: &KeyFileInfo| {
                let (info, place) = (info.clone(), folder.join(&info.name));
                async move {
                    let body = Body::at(&place)?;
                    KeyFile::open(info, body).await
                }
            };
            let opening: Vec<_> = run.iter().map(open).collect();
            let files = stream::iter(opening).buffered(OPENED_AT_ONCE);
            index.runs.push(Run(files.try_collect().await?));
        }
        index.share_out();
        Ok(index)
    }

    /// Takes in a run that lies in the scratch folder.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be read there.
    pub async fn add(&mut self, drafts: &[Draft]) -> Result<()> {
        let run = self.open_drafts(drafts).await?;
        self.runs.push(run);
        self.share_out();
        Ok(())
    }

    /// Takes in what was merged, in place of what it was made of.
    ///
    /// # Errors
    /// As [`AnswerIndex::add`]; this index is as it was then.
    pub async fn replace(&mut self, merged: &Merged) -> Result<()> {
        let run = self.open_drafts(&merged.drafts).await?;
        self.runs
            .truncate(self.runs.len().saturating_sub(merged.replaced));
        self.runs.push(run);
        self.share_out();
        Ok(())
    }

    async fn open_drafts(&self, drafts: &[Draft]) -> Result<Run> {
        let mut files = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let file = File::open(&draft.path);
            let file = file.map_err(|error| scratch_error(&self.scratch, error))?;
            files.push(KeyFile::open(draft.info.clone(), Body::Disk(file)).await?);
        }
        Ok(Run(files))
    }

    /// Gives the memory for filters to the newest runs first, which are small.
    fn share_out(&mut self) {
        let mut left = self.filters;
        for file in self.runs.iter_mut().rev().flat_map(|run| &mut run.0) {
            match left.checked_sub(file.filter_bytes()) {
                Some(rest) => left = rest,
                None => file.drop_filter(),
            }
        }
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many runs it consists of.
    #[must_use]
    pub fn runs(&self) -> usize {
        self.runs.len()
    }

    /// Looks for all of `keys`, each wanted by a number; every entry that is there goes to `found` with that
    /// number, in no order that means anything.
    ///
    /// # Errors
    /// `Data` if a file is gone or damaged, `Unavailable` if its store is away.
    pub async fn find(
        &mut self,
        keys: &mut [(RequestKey, u32)],
        found: &mut Vec<(u32, Entry)>,
    ) -> Result<()> {
        found.clear();
        if self.runs.is_empty() || keys.is_empty() {
            return Ok(());
        }
        keys.sort_unstable();
        let (keys, scratch) = (&*keys, &*self.scratch);
        let files = self.runs.iter_mut().flat_map(|run| &mut run.0);
        let lookups: Vec<_> = files.map(|file| file.find(keys, scratch).boxed()).collect();
        let mut lookups = stream::iter(lookups).buffer_unordered(ASKED_AT_ONCE);
        while let Some(some) = lookups.try_next().await? {
            found.extend(some);
        }
        Ok(())
    }

    /// Makes one run of the last two and of those before them, as long as they are not much larger than
    /// what follows them. Nothing where the runs are as they should be. This index stays as it was.
    ///
    /// # Errors
    /// As [`AnswerIndex::find`]; `Unavailable` if the scratch folder cannot be written.
    pub async fn merged(&mut self, id: &str) -> Result<Option<Merged>> {
        let (replaced, entries) = self.due();
        if replaced < 2 {
            return Ok(None);
        }
        let first = self.runs.len() - replaced;
        for file in self.runs[first..].iter_mut().flat_map(|run| &mut run.0) {
            file.fetch(&self.scratch).await?;
        }
        let runs: Vec<&[KeyFile]> = self.runs[first..].iter().map(|run| &run.0[..]).collect();
        let writer = RunWriter::new(&self.scratch, id, entries);
        let drafts = merge(&runs, writer).await?;
        Ok(Some(Merged { replaced, drafts }))
    }

    /// How many of the last runs are to become one, and how many entries these have.
    fn due(&self) -> (usize, u64) {
        let sizes = self.runs.iter().rev();
        let mut sizes = sizes.map(|run| run.0.iter().map(|file| file.info.entries).sum::<u64>());
        let (mut count, mut entries) = (1, sizes.next().unwrap_or_default());
        for size in sizes {
            if size >= 2 * entries || size + entries > MERGED_ENTRIES_MAX {
                break;
            }
            (count, entries) = (count + 1, entries + size);
        }
        (count, entries)
    }
}
