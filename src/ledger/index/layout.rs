//! How a file of entries is laid out, and how one is written.
//!
//! ```text
//! block   102 records of 40 bytes, sorted, and the XXH3 (64 bits) of them; the last block may be shorter
//! ...
//! tail    the first 8 bytes of the first key of each block
//!         the words of a Bloom filter of the last 8 bytes of the keys
//!         how many words, how many entries, and the XXH3 of the tail up to here
//!         "colkeys1"
//! ```
//!
//! All numbers are big-endian. So a look-up reads one block of four kilobytes, or none.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::entry::{self, LEN, Record};
use crate::base::{Bloom, Error, Result, scratch_error};
use crate::work::RequestKey;

/// Records in a block: as many as fit into four kilobytes.
const BLOCK_RECORDS: u64 = 102;
const CHECKSUM: u64 = 8;
const BLOCK: u64 = BLOCK_RECORDS * LEN as u64 + CHECKSUM;
/// What a tail ends with: two counts, a checksum, and these words.
const MAGIC: &[u8; 8] = b"colkeys1";

/// A file of entries, as a manifest speaks of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyFileInfo {
    /// Its name in the folder `index`.
    pub name: String,
    /// How many entries it has.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
    /// Its first key.
    #[serde(with = "entry")]
    pub first: RequestKey,
    /// Its last key.
    #[serde(with = "entry")]
    pub last: RequestKey,
}

impl KeyFileInfo {
    pub(super) fn blocks(&self) -> u64 {
        self.entries.div_ceil(BLOCK_RECORDS)
    }

    /// Where the blocks `blocks` lie.
    pub(super) fn place_of(&self, blocks: Range<u64>) -> Range<u64> {
        let end = self.tail().start;
        (blocks.start * BLOCK).min(end)..(blocks.end * BLOCK).min(end)
    }

    /// Where the tail lies.
    pub(super) fn tail(&self) -> Range<u64> {
        let blocks = self.entries * LEN as u64 + self.blocks() * CHECKSUM;
        blocks.min(self.bytes)..self.bytes
    }

    /// Why nothing of the file is believed.
    pub(super) fn damaged(&self) -> Error {
        Error::data("a file of the index of earlier answers is damaged").with("file", &self.name)
    }
}

/// A tail, taken apart.
#[derive(Debug)]
pub(super) struct Tail {
    /// The beginning of the first key of each block.
    pub fences: Vec<u64>,
    pub filter: Bloom,
}

/// The tail of `info` from its bytes.
pub(super) fn read_tail(info: &KeyFileInfo, bytes: &[u8]) -> Result<Tail> {
    let parse = || {
        let (tail, magic) = bytes.split_last_chunk::<8>()?;
        let (covered, checksum) = tail.split_last_chunk::<8>()?;
        if magic != MAGIC || xxh3_64(covered) != u64::from_be_bytes(*checksum) {
            return None;
        }
        let (rest, entries) = covered.split_last_chunk::<8>()?;
        let (rest, words) = rest.split_last_chunk::<8>()?;
        if u64::from_be_bytes(*entries) != info.entries {
            return None;
        }
        let words = usize::try_from(u64::from_be_bytes(*words)).ok()?;
        let fences = usize::try_from(info.blocks()).ok()?;
        let (rest, odd) = rest.as_chunks::<8>();
        if !odd.is_empty() || rest.len() != fences.checked_add(words)? {
            return None;
        }
        let (fences, words) = rest.split_at(fences);
        let numbers = |bytes: &[[u8; 8]]| bytes.iter().map(|b| u64::from_be_bytes(*b)).collect();
        Some(Tail {
            fences: numbers(fences),
            filter: Bloom::of_words(numbers(words))?,
        })
    };
    parse().ok_or_else(|| info.damaged())
}

/// The records of a block, which are whole.
pub(super) fn read_block<'a>(info: &KeyFileInfo, bytes: &'a [u8]) -> Result<&'a [Record]> {
    let (records, checksum) = bytes
        .split_last_chunk::<8>()
        .ok_or_else(|| info.damaged())?;
    let (whole, odd) = records.as_chunks::<LEN>();
    if !odd.is_empty() || xxh3_64(records) != u64::from_be_bytes(*checksum) {
        return Err(info.damaged());
    }
    Ok(whole)
}

/// Cuts what was read of several blocks into these.
pub(super) fn blocks_in(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(usize::try_from(BLOCK).unwrap_or(usize::MAX))
}

/// A file that was written and is not in its place yet.
#[derive(Debug)]
pub struct Draft {
    /// Where it lies.
    pub path: PathBuf,
    /// What it is.
    pub info: KeyFileInfo,
}

/// A file that is being written, record by record, in order.
pub(super) struct KeyFileWriter {
    folder: PathBuf,
    path: PathBuf,
    name: String,
    out: BufWriter<File>,
    block: Vec<u8>,
    fences: Vec<u64>,
    filter: Bloom,
    entries: u64,
    bytes: u64,
    first: Option<Record>,
    last: Record,
}

impl KeyFileWriter {
    /// A file `name` in `folder` that will have at most `most` entries.
    pub(super) fn create(folder: &Path, name: String, most: u64) -> Result<Self> {
        let path = folder.join(&name);
        let file = File::create(&path).map_err(|error| scratch_error(folder, error))?;
        Ok(KeyFileWriter {
            folder: folder.to_owned(),
            path,
            name,
            out: BufWriter::with_capacity(1 << 16, file),
            block: Vec::new(),
            fences: Vec::new(),
            filter: Bloom::for_keys(usize::try_from(most).unwrap_or(usize::MAX)),
            entries: 0,
            bytes: 0,
            first: None,
            last: [0; LEN],
        })
    }

    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    pub(super) fn push(&mut self, record: &Record) -> Result<()> {
        if self.block.is_empty() {
            self.fences.push(entry::prefix(record));
        }
        self.filter.add(entry::filtered(&record[..RequestKey::LEN]));
        self.block.extend_from_slice(record);
        self.entries += 1;
        self.first.get_or_insert(*record);
        self.last = *record;
        if self.entries.is_multiple_of(BLOCK_RECORDS) {
            self.end_block()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Draft> {
        self.end_block()?;
        let mut tail = Vec::new();
        let words = self.filter.words();
        let counts = [words.len() as u64, self.entries];
        for word in self.fences.iter().chain(words).chain(&counts) {
            tail.extend_from_slice(&word.to_be_bytes());
        }
        let checksum = xxh3_64(&tail);
        tail.extend_from_slice(&checksum.to_be_bytes());
        tail.extend_from_slice(MAGIC);
        self.write(&tail)?;
        let flushed = self.out.flush();
        flushed.map_err(|error| scratch_error(&self.folder, error))?;
        let key = |record: &Record| {
            let mut key = [0; RequestKey::LEN];
            key.copy_from_slice(&record[..RequestKey::LEN]);
            RequestKey(key)
        };
        Ok(Draft {
            info: KeyFileInfo {
                name: self.name,
                entries: self.entries,
                bytes: self.bytes,
                first: key(&self.first.unwrap_or(self.last)),
                last: key(&self.last),
            },
            path: self.path,
        })
    }

    fn end_block(&mut self) -> Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        let checksum = xxh3_64(&block);
        block.extend_from_slice(&checksum.to_be_bytes());
        self.write(&block)?;
        block.clear();
        self.block = block;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.out.write_all(bytes);
        written.map_err(|error| scratch_error(&self.folder, error))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}
