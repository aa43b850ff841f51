//! An index from 192-bit hashes to numbers that stays within its memory.
//!
//! Of a cryptographic hash so many bits are as good as the text: two texts of one hash are not to be had
//! by chance, nor by anybody who tries less than 2^96 of them. So an equal hash is not looked into.
//!
//! What was put in lately lies in a hash table; when that is full it is sorted and written to a
//! file, a *run*, of which a Bloom filter (10 bits a key) and the first key of each block stay in
//! memory. A look-up asks the table, then the filters, and reads one block of four kilobytes where a
//! filter says "perhaps". So a key costs 33 bytes of memory while it is recent, and 1.4 afterwards.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{ErrorKind, Result, ResultExt};

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
    /// An empty index that writes under `folder` when it holds more than `recent_max` keys in
    /// memory.
    ///
    /// # Errors
    /// None today; a folder that cannot be written shows when the first run is.
    pub fn new(folder: &Path, recent_max: usize) -> Result<Self> {
        Ok(KeyIndex {
            folder: folder.to_owned(),
            recent_max: recent_max.max(1),
            recent: HashMap::default(),
            runs: Vec::new(),
            block: Vec::new(),
        })
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
        self.runs.push(Run::write(&self.folder, &records)?);
        Ok(())
    }
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
}

impl Run {
    fn write(folder: &Path, records: &[(Words, u64)]) -> Result<Run> {
        let failed = "cannot write the index to the scratch folder";
        let file = tempfile::tempfile_in(folder).or_err(ErrorKind::Unavailable, failed)?;
        let mut out = BufWriter::new(file);
        let mut filter = Bloom::for_keys(records.len());
        for (key, value) in records {
            filter.add(key[2]);
            for word in key.iter().chain([value]) {
                out.write_all(&word.to_be_bytes())
                    .or_err(ErrorKind::Unavailable, failed)?;
            }
        }
        let file = out.into_inner().or_err(ErrorKind::Unavailable, failed)?;
        let fences = records.iter().step_by(BLOCK).map(|(key, _)| *key).collect();
        Ok(Run {
            file,
            len: records.len(),
            fences,
            filter,
        })
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
        self.file
            .read_exact_at(block, (first * RECORD) as u64)
            .or_err(
                ErrorKind::Unavailable,
                "cannot read the index in the scratch folder",
            )?;
        let word = |record: usize, at: usize| {
            let start = record * RECORD + at * 8;
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&block[start..start + 8]);
            u64::from_be_bytes(bytes)
        };
        let found = (0..count).find(|record| [0, 1, 2].map(|at| word(*record, at)) == key);
        Ok(found.map(|record| word(record, 3)))
    }
}

/// A Bloom filter of ten bits and six probes a key: wrong "perhaps" once in a hundred.
#[derive(Debug)]
struct Bloom {
    words: Vec<u64>,
}

impl Bloom {
    fn for_keys(count: usize) -> Bloom {
        Bloom {
            words: vec![0; (count * 10).div_ceil(64).max(1)],
        }
    }

    fn probes(&self, hash: u64) -> impl Iterator<Item = (usize, u64)> + use<> {
        let bits = self.words.len() as u64 * 64;
        let step = (hash >> 32) | 1;
        (0..6u64).map(move |probe| {
            let bit = hash.wrapping_add(step.wrapping_mul(probe)) % bits;
            (
                usize::try_from(bit / 64).unwrap_or_default(),
                1 << (bit % 64),
            )
        })
    }

    fn add(&mut self, hash: u64) {
        for (word, bit) in self.probes(hash) {
            self.words[word] |= bit;
        }
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.probes(hash)
            .all(|(word, bit)| self.words[word] & bit != 0)
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
            let mut index = KeyIndex::new(folder.path(), recent_max).expect("an index");
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

    #[test]
    fn a_filter_is_seldom_wrong() {
        let mut filter = Bloom::for_keys(10_000);
        let hash = |n: u64| {
            u64::from_le_bytes(
                blake3::hash(&n.to_le_bytes()).as_bytes()[..8]
                    .try_into()
                    .expect("8"),
            )
        };
        (0..10_000).for_each(|n| filter.add(hash(n)));
        assert!((0..10_000).all(|n| filter.may_hold(hash(n))));
        let wrong = (10_000..20_000)
            .filter(|n| filter.may_hold(hash(*n)))
            .count();
        assert!(wrong < 300, "{wrong} of 10000");
    }
}
