//! An index from 192-bit hashes to numbers that stays within its memory.
//!
//! Of a cryptographic hash so many bits are as good as the text: two texts of one hash are not to be had
//! by chance, nor by anybody who tries less than 2^96 of them. So an equal hash is not looked into.
//!
//! What was put in lately lies in a hash table; when that is full it is sorted and written to a
//! file, a *run*, of which a Bloom filter (10 bits a key) and the first key of each block stay in
//! memory. A look-up asks the table, then the filters, and reads one block of four kilobytes where a
//! filter says "perhaps". So a key costs up to 75 bytes of memory while it is recent, and 1.4
//! afterwards: the memory that an index is given decides when it writes, and ten million keys take 14
//! megabytes beside it. Runs of one size are merged as they come to be many, so that a look-up asks few
//! filters however many keys there are.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Bloom, ErrorKind, Result, ResultExt, scratch_error};

/// What is looked for: the first 24 bytes of a cryptographic hash.
pub type HashKey = [u8; 24];

/// A key as words that sort as its bytes do.
type Words = [u64; 3];

/// An index from 192-bit hashes to numbers. Its files go away with it.
#[derive(Debug)]
pub struct KeyIndex {
    folder: PathBuf,
    recent_max: usize,
    recent: HashMap<Words, u64, BuildHasherDefault<AlreadyHashed>>,
    runs: Vec<Run>,
    block: Vec<u8>,
}

impl KeyIndex {
    /// An empty index that writes under `folder` when its recent keys would take more than `memory`
    /// bytes.
    ///
    /// # Errors
    /// None today; a folder that cannot be written shows when the first run is.
    pub fn new(folder: &Path, memory: usize) -> Result<Self> {
        Ok(KeyIndex::of(folder, keys_within(memory)))
    }

    fn of(folder: &Path, recent_max: usize) -> Self {
        KeyIndex {
            folder: folder.to_owned(),
            recent_max: recent_max.max(1),
            recent: HashMap::default(),
            runs: Vec::new(),
            block: Vec::new(),
        }
    }

    /// Puts `value` at `key`, unless there is a value already, which then stays and is returned.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written or read.
    pub fn insert(&mut self, key: HashKey, value: u64) -> Result<Option<u64>> {
        if let Some(there) = self.get(key)? {
            return Ok(Some(there));
        }
        if self.recent.len() >= self.recent_max {
            self.spill()?;
        }
        self.recent.insert(words(key), value);
        Ok(None)
    }

    /// The value at `key`.
    ///
    /// # Errors
    /// `Unavailable` if a run cannot be read.
    pub fn get(&mut self, key: HashKey) -> Result<Option<u64>> {
        let key = words(key);
        if let Some(value) = self.recent.get(&key) {
            return Ok(Some(*value));
        }
        for run in &self.runs {
            if let Some(value) = run.get(key, &mut self.block)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn spill(&mut self) -> Result<()> {
        let mut records: Vec<(Words, u64)> = self.recent.drain().collect();
        records.sort_unstable();
        let mut writer = RunWriter::create(&self.folder, records.len())?;
        for (key, value) in &records {
            writer.push(*key, *value)?;
        }
        self.runs.push(writer.finish(0)?);
        self.merge()
    }

    /// Makes one run of the last ones, as long as so many of them are of one level.
    fn merge(&mut self) -> Result<()> {
        while let Some(first) = self.runs.len().checked_sub(FAN_IN) {
            let level = self.runs[first].level;
            if self.runs[first..].iter().any(|run| run.level != level) {
                break;
            }
            let merged = Run::merge(&self.folder, &self.runs[first..], level + 1)?;
            self.runs.truncate(first);
            self.runs.push(merged);
        }
        Ok(())
    }
}

/// Runs of one level that make one of the next.
const FAN_IN: usize = 8;

/// How many keys a table may hold within `memory` bytes, with the sorted copy that is made of it when it
/// is full. A table doubles when seven eighths of its places are taken, and a place costs a record and
/// a byte; while it doubles, the old half is there as well.
fn keys_within(memory: usize) -> usize {
    let mut places = 8;
    while 2 * places * (2 * RECORD + 1) <= memory {
        places *= 2;
    }
    places / 8 * 7
}

/// Bytes of a record in a run: the key and its value.
const RECORD: usize = 32;
/// Records in a block: as many as fit into four kilobytes.
const BLOCK: usize = 4096 / RECORD;

/// A sorted file of records.
#[derive(Debug)]
struct Run {
    file: File,
    len: usize,
    /// The first key of each block.
    fences: Vec<Words>,
    filter: Bloom,
    /// How often what is in it was merged.
    level: u32,
}

/// A run that is being written, in order.
struct RunWriter {
    folder: PathBuf,
    out: BufWriter<File>,
    len: usize,
    fences: Vec<Words>,
    filter: Bloom,
}

impl RunWriter {
    /// A run of so many records.
    fn create(folder: &Path, count: usize) -> Result<RunWriter> {
        let file = tempfile::tempfile_in(folder).map_err(|error| scratch_error(folder, error))?;
        Ok(RunWriter {
            folder: folder.to_owned(),
            out: BufWriter::new(file),
            len: 0,
            fences: Vec::with_capacity(count.div_ceil(BLOCK)),
            filter: Bloom::for_keys(count),
        })
    }

    fn push(&mut self, key: Words, value: u64) -> Result<()> {
        if self.len.is_multiple_of(BLOCK) {
            self.fences.push(key);
        }
        self.len += 1;
        self.filter.add(key[2]);
        let mut record = [0; RECORD];
        for (bytes, word) in record
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip([key[0], key[1], key[2], value])
        {
            *bytes = word.to_be_bytes();
        }
        let written = self.out.write_all(&record);
        written.map_err(|error| scratch_error(&self.folder, error))
    }

    fn finish(self, level: u32) -> Result<Run> {
        let file = self.out.into_inner();
        let file = file.map_err(|error| scratch_error(&self.folder, error.into_error()))?;
        Ok(Run {
            file,
            len: self.len,
            fences: self.fences,
            filter: self.filter,
            level,
        })
    }
}

/// The records of a run from its beginning, some at a time.
struct Records<'a> {
    run: &'a Run,
    next: usize,
    some: Vec<u8>,
    at: usize,
}

/// Records that are read at once where a whole run is.
const SOME: usize = 16 * BLOCK;

impl Records<'_> {
    fn pull(&mut self) -> Result<Option<(Words, u64)>> {
        if self.at == self.some.len() {
            let count = SOME.min(self.run.len - self.next);
            self.some.resize(count * RECORD, 0);
            self.run.read(self.next, &mut self.some)?;
            self.next += count;
            self.at = 0;
        }
        let Some(record) = self.some.get(self.at..self.at + RECORD) else {
            return Ok(None);
        };
        self.at += RECORD;
        let word = |at: usize| word_at(record, at * 8);
        Ok(Some(([word(0), word(1), word(2)], word(3))))
    }
}

fn word_at(bytes: &[u8], start: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[start..start + 8]);
    u64::from_be_bytes(word)
}

impl Run {
    fn records(&self) -> Records<'_> {
        Records {
            run: self,
            next: 0,
            some: Vec::new(),
            at: 0,
        }
    }

    /// One run of all the records of `runs`, which share no key.
    fn merge(folder: &Path, runs: &[Run], level: u32) -> Result<Run> {
        let mut writer = RunWriter::create(folder, runs.iter().map(|run| run.len).sum())?;
        let mut readers: Vec<Records<'_>> = runs.iter().map(Run::records).collect();
        let mut heads = Vec::with_capacity(runs.len());
        for reader in &mut readers {
            heads.push(reader.pull()?);
        }
        loop {
            let there = heads.iter().enumerate();
            let there = there.filter_map(|(at, head)| head.map(|(key, value)| (key, value, at)));
            let Some((key, value, at)) = there.min() else {
                return writer.finish(level);
            };
            writer.push(key, value)?;
            heads[at] = readers[at].pull()?;
        }
    }

    fn read(&self, first: usize, into: &mut [u8]) -> Result<()> {
        let read = self.file.read_exact_at(into, (first * RECORD) as u64);
        read.or_err(
            ErrorKind::Unavailable,
            "cannot read the index in the scratch folder",
        )
    }

    fn get(&self, key: Words, block: &mut Vec<u8>) -> Result<Option<u64>> {
        if !self.filter.may_hold(key[2]) {
            return Ok(None);
        }
        let after = self.fences.partition_point(|fence| *fence <= key);
        let Some(at) = after.checked_sub(1) else {
            return Ok(None);
        };
        let first = at * BLOCK;
        let count = BLOCK.min(self.len - first);
        block.resize(count * RECORD, 0);
        self.read(first, block)?;
        let word = |record: usize, at: usize| word_at(block, record * RECORD + at * 8);
        let found = (0..count).find(|record| [0, 1, 2].map(|at| word(*record, at)) == key);
        Ok(found.map(|record| word(record, 3)))
    }
}

fn words(key: HashKey) -> Words {
    let mut words = [0; 3];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u64::from_be_bytes(*bytes);
    }
    words
}

/// The keys are hashes: the last word of one is as good as any hash of it.
#[derive(Clone, Copy, Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// Keys that share two words of three, and must still be told apart.
    fn hash(n: u64) -> HashKey {
        let mut key = [7; 24];
        key[8..16].copy_from_slice(&n.to_be_bytes());
        key[16..].copy_from_slice(&(n % 7).to_be_bytes());
        key
    }

    proptest! {
        #[test]
        fn an_index_that_spills_answers_as_a_map_does(
            keys in prop::collection::vec(0u64..300, 0..900),
            recent_max in 1usize..50,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut index = KeyIndex::of(folder.path(), recent_max);
            let mut map = HashMap::new();
            for (value, key) in keys.iter().enumerate() {
                let key = hash(*key);
                let before = map.get(&key).copied();
                map.entry(key).or_insert(value as u64);
                prop_assert_eq!(index.insert(key, value as u64).expect("no I/O error"), before);
            }
            for (key, value) in map {
                prop_assert_eq!(index.get(key).expect("no I/O error"), Some(value));
            }
            prop_assert_eq!(index.get([255; 24]).expect("no I/O error"), None);
        }
    }

    /// What the index takes of memory, by its own account.
    fn taken(index: &KeyIndex) -> usize {
        let of_run = |run: &Run| run.fences.capacity() * 24 + run.filter.bytes();
        let places = (index.recent.capacity() * 8 / 7).next_power_of_two();
        places * (RECORD + 1) + index.runs.iter().map(of_run).sum::<usize>()
    }

    #[test]
    fn memory_levels_off_whatever_is_put_in() {
        let memory = 1 << 20;
        let folder = tempfile::tempdir().expect("a folder");
        let mut index = KeyIndex::new(folder.path(), memory).expect("an index");
        let key = |n: u64| {
            let mut key = HashKey::default();
            key.copy_from_slice(&blake3::hash(&n.to_le_bytes()).as_bytes()[..24]);
            key
        };
        for n in 0..400_000 {
            index.insert(key(n), n).expect("no I/O error");
            if n % 1000 == 0 {
                let keys = usize::try_from(n).expect("small") + 1;
                assert!(
                    taken(&index) <= memory + keys * 3 / 2,
                    "{n}: {}",
                    taken(&index)
                );
                assert!(
                    index.runs.len() < 2 * FAN_IN,
                    "{n}: {} runs",
                    index.runs.len()
                );
            }
        }
        for n in (0..400_000).step_by(97) {
            assert_eq!(index.get(key(n)).expect("no I/O error"), Some(n));
        }
        assert_eq!(index.get(key(400_001)).expect("no I/O error"), None);
    }

    #[test]
    fn a_table_and_its_sorted_copy_stay_within_what_they_are_given() {
        for memory in [1 << 20, 8_000_000, 16_000_000, 32_000_000] {
            let keys = keys_within(memory);
            let places = (keys * 8 / 7).next_power_of_two();
            let most = (places * (RECORD + 1)) + keys * RECORD;
            assert!(most <= memory, "{memory}: {most}");
            assert!(most * 3 > memory, "{memory}: {most}");
        }
    }
}
