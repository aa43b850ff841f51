//! A file of entries, to be asked for keys or read from its beginning, wherever it lies.
//!
//! On disk a look-up reads the one block that can hold its key. In a store the blocks that some look-ups
//! need are fetched in ranges, what lies close together as one; and a file of which so many ranges were
//! fetched that all of it would have cost no more is fetched whole, into the scratch folder. So few
//! look-ups read little, and however many there are, a file costs no more than about twice itself.

use std::fs::File;
use std::io::{Seek, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;

use super::entry::{self, Entry, Record};
use super::layout::{KeyFileInfo, blocks_in, read_block, read_tail};
use crate::base::{Bloom, Error, ErrorKind, Location, Result, scratch_error};
use crate::ledger::unread::unread;
use crate::work::RequestKey;

/// A key that is looked for, and by whom.
pub(super) type Wanted = (RequestKey, u32);

/// An entry that was found, and for whom.
pub(super) type Found = (u32, Entry);

/// Bytes between two blocks that are fetched along rather than asked around.
const GAP: u64 = 64 << 10;
/// The most that is fetched by one request where blocks are wanted.
const RANGE_MAX: u64 = 128 << 10;
/// What a request costs, as bytes: so many could have been read while it is waited for.
const REQUEST_COST: u64 = 128 << 10;
/// Requests for one file that are under way at once.
const REQUESTS_AHEAD: usize = 8;
/// Blocks that are read at once where a whole file is.
const SOME: u64 = 16;

/// Where a file's bytes are.
#[derive(Debug)]
pub(super) enum Body {
    Disk(File),
    Store(Location),
}

impl Body {
    /// The file at `place`, where it is.
    pub(super) fn at(place: &Location) -> Result<Body> {
        Ok(match &place.local {
            Some(path) => Body::Disk(File::open(path).map_err(|error| unread(error, place))?),
            None => Body::Store(place.clone()),
        })
    }
}

/// A file of entries.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) info: KeyFileInfo,
    body: Body,
    fences: Vec<u64>,
    filter: Option<Bloom>,
    /// What reading parts of it has cost so far.
    spent: u64,
}

impl KeyFile {
    /// Opens the file `info`, and reads what is needed to find things in it.
    ///
    /// # Errors
    /// `Data` if it is gone or damaged, `Unavailable` if its store is away.
    pub(super) async fn open(info: KeyFileInfo, body: Body) -> Result<KeyFile> {
        let mut file = KeyFile {
            info,
            body,
            fences: Vec::new(),
            filter: None,
            spent: 0,
        };
        let tail = file.read(file.info.tail()).await?;
        let tail = read_tail(&file.info, &tail)?;
        file.fences = tail.fences;
        file.filter = Some(tail.filter);
        Ok(file)
    }

    /// The memory that its filter takes, which it can do without.
    pub(super) fn filter_bytes(&self) -> usize {
        self.filter.as_ref().map_or(0, Bloom::bytes)
    }

    /// The memory that it cannot do without.
    #[cfg(test)]
    pub(super) fn fence_bytes(&self) -> usize {
        self.fences.capacity() * size_of::<u64>()
    }

    /// Goes on without its filter: every look-up reads a block from now on.
    pub(super) fn drop_filter(&mut self) {
        self.filter = None;
    }

    /// Looks for `keys`, which are sorted: each entry that is there, with whoever looks for it.
    ///
    /// # Errors
    /// As [`KeyFile::open`].
    pub(super) async fn find(&mut self, keys: &[Wanted], scratch: &Path) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let from = keys.partition_point(|(key, _)| *key < self.info.first);
        let to = keys.partition_point(|(key, _)| *key <= self.info.last);
        let keys = &keys[from.min(to)..to];
        let is_likely = |(key, _): &&Wanted| {
            let filter = self.filter.as_ref();
            filter.is_none_or(|filter| filter.may_hold(entry::filtered(&key.0)))
        };
        let likely = keys.iter().filter(is_likely);
        let likely: Vec<(Wanted, Range<u64>)> = likely
            .map(|wanted| (*wanted, self.blocks_of(wanted)))
            .collect();
        if likely.is_empty() {
            return Ok(found);
        }
        if let Body::Store(_) = self.body {
            let ranges = ranges(&likely);
            let bytes: u64 = ranges.iter().map(|range| self.len_of(range)).sum();
            self.spent += bytes + REQUEST_COST * ranges.len() as u64;
            if self.spent < self.info.bytes {
                self.find_in_store(&likely, ranges, &mut found).await?;
                return Ok(found);
            }
            self.fetch(scratch).await?;
        }
        self.find_on_disk(&likely, &mut found).await?;
        Ok(found)
    }

    /// The blocks that may hold a key: one, or two where it is the first of a block.
    fn blocks_of(&self, (key, _): &Wanted) -> Range<u64> {
        let prefix = entry::prefix(&key.0);
        let start = self.fences.partition_point(|fence| *fence < prefix);
        let end = self.fences.partition_point(|fence| *fence <= prefix);
        start.saturating_sub(1) as u64..end as u64
    }

    fn len_of(&self, blocks: &Range<u64>) -> u64 {
        let bytes = self.info.place_of(blocks.clone());
        bytes.end - bytes.start
    }

    async fn find_on_disk(
        &self,
        likely: &[(Wanted, Range<u64>)],
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let mut held: Option<(u64, Bytes)> = None;
        for (wanted, blocks) in likely {
            for block in blocks.clone() {
                let bytes = match held.take() {
                    Some((there, bytes)) if there == block => bytes,
                    _ => self.read(self.info.place_of(block..block + 1)).await?,
                };
                self.search(&bytes, wanted, found)?;
                held = Some((block, bytes));
            }
        }
        Ok(())
    }

    async fn find_in_store(
        &self,
        likely: &[(Wanted, Range<u64>)],
        ranges: Vec<Range<u64>>,
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let fetch = |blocks: Range<u64>| async move {
            let bytes = self.read(self.info.place_of(blocks.clone())).await?;
            Ok::<_, Error>((blocks, bytes))
        };
        let mut fetched = stream::iter(ranges.into_iter().map(fetch)).buffered(REQUESTS_AHEAD);
        let mut next = 0;
        while let Some((range, bytes)) = fetched.try_next().await? {
            while let Some((wanted, blocks)) = likely.get(next).filter(|(_, b)| b.end <= range.end)
            {
                for block in blocks.clone() {
                    let at = usize::try_from(block - range.start).unwrap_or(usize::MAX);
                    let bytes = blocks_in(&bytes)
                        .nth(at)
                        .ok_or_else(|| self.info.damaged())?;
                    self.search(bytes, wanted, found)?;
                }
                next += 1;
            }
        }
        Ok(())
    }

    fn search(&self, block: &[u8], wanted: &Wanted, found: &mut Vec<Found>) -> Result<()> {
        let records = read_block(&self.info, block)?;
        let start = records.partition_point(|record| record[..24] < wanted.0.0[..]);
        let same = |record: &&Record| record[..24] == wanted.0.0[..];
        for record in records[start..].iter().take_while(same) {
            let entry = Entry::decode(record).ok_or_else(|| self.info.damaged())?;
            found.push((wanted.1, entry));
        }
        Ok(())
    }

    /// All records, in order, some at a time. The file lies on disk by then.
    pub(super) fn records(&self) -> BoxStream<'_, Result<Vec<Record>>> {
        let starts = (0..self.info.blocks()).step_by(usize::try_from(SOME).unwrap_or(1));
        let some = move |start: u64| async move {
            let blocks = start..(start + SOME).min(self.info.blocks());
            let bytes = self.read(self.info.place_of(blocks)).await?;
            let mut records = Vec::new();
            for block in blocks_in(&bytes) {
                records.extend_from_slice(read_block(&self.info, block)?);
            }
            Ok(records)
        };
        stream::iter(starts).then(some).boxed()
    }

    /// Brings the whole file to the scratch folder, unless it is on disk.
    ///
    /// # Errors
    /// As [`KeyFile::open`]; `Unavailable` if the scratch folder cannot be written.
    pub(super) async fn fetch(&mut self, scratch: &Path) -> Result<()> {
        let Body::Store(place) = &self.body else {
            return Ok(());
        };
        let failed = |error: std::io::Error| scratch_error(scratch, error);
        let away = |error| unread(error, place);
        let mut stream = place
            .store
            .get(&place.path)
            .await
            .map_err(away)?
            .into_stream();
        let mut file = tempfile::tempfile_in(scratch).map_err(failed)?;
        while let Some(piece) = stream.try_next().await.map_err(away)? {
            file.write_all(&piece).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        self.body = Body::Disk(file);
        Ok(())
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match &self.body {
            Body::Disk(file) => {
                let len = usize::try_from(range.end - range.start).unwrap_or_default();
                let mut bytes = vec![0; len];
                let read = file.read_exact_at(&mut bytes, range.start);
                read.map_err(|error| match error.kind() {
                    std::io::ErrorKind::UnexpectedEof => self.info.damaged(),
                    _ => Error::new(
                        ErrorKind::Unavailable,
                        "cannot read the index of earlier answers",
                    )
                    .because(error),
                })?;
                Ok(bytes.into())
            }
            Body::Store(place) => {
                let got = place.store.get_range(&place.path, range).await;
                got.map_err(|error| unread(error, place))
            }
        }
    }
}

/// The ranges of blocks to fetch for look-ups whose blocks ascend.
fn ranges(likely: &[(Wanted, Range<u64>)]) -> Vec<Range<u64>> {
    let (gap, most) = (GAP / 4096, RANGE_MAX / 4096);
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for (_, blocks) in likely {
        match ranges.last_mut() {
            Some(last) if blocks.start < last.end => last.end = last.end.max(blocks.end),
            Some(last) if blocks.start - last.end <= gap && blocks.end - last.start <= most => {
                last.end = blocks.end;
            }
            _ => ranges.push(blocks.clone()),
        }
    }
    ranges
}
