//! Sorting more than fits in memory: records of a number and some bytes, by the number.
//!
//! Records of equal numbers keep the order in which they came.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{ErrorKind, Result, ResultExt, scratch_error};

/// Takes records in any order.
#[derive(Debug)]
pub struct Sorter {
    folder: PathBuf,
    memory_max: usize,
    bytes: Vec<u8>,
    /// Key, start and length of each record in `bytes`.
    records: Vec<(u64, usize, usize)>,
    runs: Vec<File>,
}

impl Sorter {
    /// A sorter that writes under `folder` when it holds more than `memory_max` bytes.
    #[must_use]
    pub fn new(folder: &Path, memory_max: usize) -> Self {
        Sorter {
            folder: folder.to_owned(),
            memory_max,
            bytes: Vec::new(),
            records: Vec::new(),
            runs: Vec::new(),
        }
    }

    /// Takes a record whose payload `write` appends.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written.
    pub fn push(&mut self, key: u64, write: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        self.records.push((key, start, self.bytes.len() - start));
        let used = self.bytes.len() + self.records.len() * size_of::<(u64, usize, usize)>();
        if used > self.memory_max {
            self.spill()
        } else {
            Ok(())
        }
    }

    /// The records in order.
    ///
    /// # Errors
    /// `Unavailable` if the folder cannot be written or read.
    pub fn finish(mut self) -> Result<Sorted> {
        if self.runs.is_empty() {
            self.records.sort_by_key(|record| record.0);
            let records = self.records.into_iter();
            return Ok(Sorted(Order::Memory {
                bytes: self.bytes,
                records,
            }));
        }
        self.spill()?;
        let mut heads = BinaryHeap::new();
        let mut runs = Vec::new();
        for (at, file) in self.runs.into_iter().enumerate() {
            let mut run = RunReader {
                reader: BufReader::with_capacity(1 << 16, file),
                payload: Vec::new(),
            };
            if let Some(key) = run.advance()? {
                heads.push(Reverse((key, at)));
            }
            runs.push(run);
        }
        Ok(Sorted(Order::Merge {
            heads,
            runs,
            current: Vec::new(),
        }))
    }

    fn spill(&mut self) -> Result<()> {
        let folder = self.folder.clone();
        let failed = |error: std::io::Error| scratch_error(&folder, error);
        self.records.sort_by_key(|record| record.0);
        let file = tempfile::tempfile_in(&self.folder).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 16, file);
        for (key, start, len) in self.records.drain(..) {
            let head = [key.to_le_bytes(), (len as u64).to_le_bytes()];
            out.write_all(head.as_flattened()).map_err(failed)?;
            let payload = &self.bytes[start..start + len];
            out.write_all(payload).map_err(failed)?;
        }
        let mut file = out
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        file.rewind().map_err(failed)?;
        self.runs.push(file);
        self.bytes.clear();
        Ok(())
    }
}

/// Records in order, one at a time.
#[derive(Debug)]
pub struct Sorted(Order);

#[derive(Debug)]
enum Order {
    /// All of them fit.
    Memory {
        bytes: Vec<u8>,
        records: std::vec::IntoIter<(u64, usize, usize)>,
    },
    /// They lie in sorted runs; `heads` has the next key of each.
    Merge {
        heads: BinaryHeap<Reverse<(u64, usize)>>,
        runs: Vec<RunReader>,
        current: Vec<u8>,
    },
}

impl Sorted {
    /// The next record.
    ///
    /// # Errors
    /// `Unavailable` if the scratch folder cannot be read.
    pub fn pull(&mut self) -> Result<Option<(u64, &[u8])>> {
        match &mut self.0 {
            Order::Memory { bytes, records } => Ok(records
                .next()
                .map(|(key, start, len)| (key, &bytes[start..start + len]))),
            Order::Merge {
                heads,
                runs,
                current,
            } => {
                let Some(Reverse((key, at))) = heads.pop() else {
                    return Ok(None);
                };
                std::mem::swap(current, &mut runs[at].payload);
                if let Some(next) = runs[at].advance()? {
                    heads.push(Reverse((next, at)));
                }
                Ok(Some((key, current)))
            }
        }
    }
}

/// One sorted run, read from its start.
#[derive(Debug)]
struct RunReader {
    reader: BufReader<File>,
    payload: Vec<u8>,
}

impl RunReader {
    /// Reads the next record into `payload`; its key, or `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>> {
        let failed = "cannot read from the scratch folder";
        let mut head = [[0; 8]; 2];
        match self.reader.read_exact(head.as_flattened_mut()) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.or_err(ErrorKind::Unavailable, failed)?,
        }
        let len = usize::try_from(u64::from_le_bytes(head[1])).or_err(ErrorKind::Data, failed)?;
        self.payload.resize(len, 0);
        self.reader
            .read_exact(&mut self.payload)
            .or_err(ErrorKind::Unavailable, failed)?;
        Ok(Some(u64::from_le_bytes(head[0])))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_come_out_in_order_and_whole(
            records in prop::collection::vec((0u64..50, prop::collection::vec(any::<u8>(), 0..20)), 0..200),
            memory_max in 1usize..3000,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let mut sorter = Sorter::new(folder.path(), memory_max);
            for (key, payload) in &records {
                sorter.push(*key, |out| out.extend_from_slice(payload)).expect("no I/O error");
            }
            let mut sorted = sorter.finish().expect("no I/O error");
            let mut expect = records.clone();
            expect.sort_by_key(|record| record.0);
            for (key, payload) in expect {
                let next = sorted.pull().expect("no I/O error").map(|(key, bytes)| (key, bytes.to_vec()));
                prop_assert_eq!(next, Some((key, payload)));
            }
            prop_assert!(sorted.pull().expect("no I/O error").is_none());
        }
    }
}
