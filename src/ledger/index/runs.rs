//! Runs: sorted entries, cut into files by their keys; how entries in any order become one, and how
//! several become one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;

use futures::StreamExt;
use futures::stream::BoxStream;

use super::entry::{self, Entry, Record};
use super::key_file::KeyFile;
use super::layout::{Draft, KeyFileWriter};
use crate::base::{Result, Sorter};
use crate::ledger::path::IndexFile;
use crate::work::RequestKey;

/// Entries that a file may have; 40 MB.
const FILE_ENTRIES_MAX: u64 = 1 << 20;

/// Writes a run: record by record, in order, each once.
pub(super) struct RunWriter<'a> {
    folder: &'a Path,
    id: &'a str,
    /// Records that are still to come, at most.
    left: u64,
    file_entries_max: u64,
    current: Option<KeyFileWriter>,
    last: Option<Record>,
    done: Vec<Draft>,
}

impl<'a> RunWriter<'a> {
    /// A run of at most `most` records, whose files lie in `folder` and are called by `id`.
    pub(super) fn new(folder: &'a Path, id: &'a str, most: u64) -> Self {
        RunWriter {
            folder,
            id,
            left: most,
            file_entries_max: FILE_ENTRIES_MAX,
            current: None,
            last: None,
            done: Vec::new(),
        }
    }

    #[cfg(test)]
    pub(super) fn file_entries_max(self, file_entries_max: u64) -> Self {
        RunWriter {
            file_entries_max,
            ..self
        }
    }

    /// Takes the next record. One that was taken already is passed by.
    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        let left = self.left;
        self.left = left.saturating_sub(1);
        if self.last.as_ref() == Some(record) {
            return Ok(());
        }
        let key = |record: &Record| record[..RequestKey::LEN].to_owned();
        let is_new_key = self
            .last
            .as_ref()
            .is_none_or(|last| key(last) != key(record));
        // The entries of one key are in one file.
        if is_new_key
            && let Some(full) = self
                .current
                .take_if(|file| file.entries() >= self.file_entries_max)
        {
            self.done.push(full.finish()?);
        }
        if self.current.is_none() {
            let part = u32::try_from(self.done.len()).unwrap_or(u32::MAX);
            let id = self.id.to_owned();
            let name = IndexFile::Keys { id, part }.to_string();
            let most = left.clamp(1, self.file_entries_max);
            self.current = Some(KeyFileWriter::create(self.folder, name, most)?);
        }
        self.last = Some(*record);
        match &mut self.current {
            Some(file) => file.push(record),
            None => Ok(()),
        }
    }

    /// The files of the run.
    pub(super) fn finish(mut self) -> Result<Vec<Draft>> {
        if let Some(last) = self.current.take() {
            self.done.push(last.finish()?);
        }
        Ok(self.done)
    }
}

/// Takes entries in any order, and makes a run of them within a given memory.
#[derive(Debug)]
pub struct EntrySorter {
    sorter: Sorter,
    entries: u64,
}

impl EntrySorter {
    /// A sorter that writes to `scratch` when it holds more than `memory` bytes.
    #[must_use]
    pub fn new(scratch: &Path, memory: usize) -> Self {
        EntrySorter {
            sorter: Sorter::new(scratch, memory),
            entries: 0,
        }
    }

    /// Takes an entry.
    ///
    /// # Errors
    /// `Unavailable` if the scratch folder cannot be written.
    pub fn push(&mut self, entry: &Entry) -> Result<()> {
        let record = entry.encode();
        self.entries += 1;
        self.sorter.push(entry::prefix(&record), |out| {
            out.extend_from_slice(&record[8..]);
        })
    }

    /// Writes the run: files in `folder`, called by `id`.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written or read.
    pub fn finish(self, folder: &Path, id: &str) -> Result<Vec<Draft>> {
        let mut writer = RunWriter::new(folder, id, self.entries);
        let mut sorted = self.sorter.finish()?;
        // Records of one prefix come in any order, and are few.
        let mut same: Vec<Record> = Vec::new();
        while let Some((prefix, rest)) = sorted.pull()? {
            let mut record = [0; entry::LEN];
            record[..8].copy_from_slice(&prefix.to_be_bytes());
            record[8..].copy_from_slice(rest);
            if same.first().is_some_and(|first| first[..8] != record[..8]) {
                drain(&mut same, &mut writer)?;
            }
            same.push(record);
        }
        drain(&mut same, &mut writer)?;
        writer.finish()
    }
}

fn drain(same: &mut Vec<Record>, writer: &mut RunWriter<'_>) -> Result<()> {
    same.sort_unstable();
    same.iter().try_for_each(|record| writer.push(record))?;
    same.clear();
    Ok(())
}

/// Makes one run of several, each of which is sorted files in order.
pub(super) async fn merge(runs: &[&[KeyFile]], mut writer: RunWriter<'_>) -> Result<Vec<Draft>> {
    let mut cursors: Vec<Cursor<'_>> = runs.iter().map(|files| Cursor::of(files)).collect();
    let mut heads = BinaryHeap::new();
    for (at, cursor) in cursors.iter_mut().enumerate() {
        if let Some(record) = cursor.pull().await? {
            heads.push(Reverse((record, at)));
        }
    }
    while let Some(Reverse((record, at))) = heads.pop() {
        writer.push(&record)?;
        if let Some(next) = cursors[at].pull().await? {
            heads.push(Reverse((next, at)));
        }
    }
    writer.finish()
}

/// The records of a run, one after the other.
struct Cursor<'a> {
    stream: BoxStream<'a, Result<Vec<Record>>>,
    some: std::vec::IntoIter<Record>,
}

impl<'a> Cursor<'a> {
    fn of(files: &'a [KeyFile]) -> Cursor<'a> {
        let files = futures::stream::iter(files);
        Cursor {
            stream: files.flat_map(KeyFile::records).boxed(),
            some: Vec::new().into_iter(),
        }
    }

    async fn pull(&mut self) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.some.next() {
                return Ok(Some(record));
            }
            // Reading from disk blocks and gives nobody else a turn by itself.
            tokio::task::yield_now().await;
            match self.stream.next().await {
                Some(some) => self.some = some?.into_iter(),
                None => return Ok(None),
            }
        }
    }
}
