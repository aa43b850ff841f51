//! Encoded pages that wait for their turn: a column chunk's bytes lie together in the file, so all
//! new columns but one have to wait until the row group is through. Beyond a few megabytes they wait
//! in a temporary file that has no name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use bytes::Bytes;
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::errors::{ParquetError, Result};

/// Page stores that spill to `folder`, or to the system's temporary folder.
#[derive(Debug)]
pub(in crate::output) struct Spill {
    folder: Option<PathBuf>,
    memory_max: usize,
}

/// How many bytes of pages a column chunk may hold in memory.
const MEMORY_MAX: usize = 4 << 20;

impl Spill {
    /// Page stores that spill beside the output where that is on disk.
    pub(in crate::output) fn to(folder: Option<PathBuf>) -> Self {
        Spill {
            folder,
            memory_max: MEMORY_MAX,
        }
    }
}

impl PageStoreFactory for Spill {
    fn create(&self, _: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        Ok(Box::new(Pages {
            folder: self.folder.clone(),
            memory_max: self.memory_max,
            held: 0,
            entries: Vec::new(),
            spilled: None,
        }))
    }
}

struct Pages {
    folder: Option<PathBuf>,
    memory_max: usize,
    held: usize,
    entries: Vec<Page>,
    spilled: Option<(File, u64)>,
}

enum Page {
    Held(Bytes),
    Spilled { offset: u64, length: usize },
}

impl Pages {
    fn spill(&mut self, page: &Bytes) -> Result<Page> {
        let (mut file, end) = match self.spilled.take() {
            Some(open) => open,
            None => (self.open()?, 0),
        };
        file.seek(SeekFrom::Start(end))?;
        file.write_all(page)?;
        self.spilled = Some((file, end + page.len() as u64));
        Ok(Page::Spilled {
            offset: end,
            length: page.len(),
        })
    }

    fn open(&self) -> Result<File> {
        Ok(match &self.folder {
            Some(folder) => tempfile::tempfile_in(folder)?,
            None => tempfile::tempfile()?,
        })
    }

    fn read_back(&mut self, offset: u64, length: usize) -> Result<Bytes> {
        let (file, _) = self.spilled.as_mut().ok_or_else(unknown)?;
        let mut page = vec![0; length];
        file.seek(SeekFrom::Start(offset))?;
        file.read_exact(&mut page)?;
        Ok(page.into())
    }
}

impl PageStore for Pages {
    fn put(&mut self, page: Bytes) -> Result<PageKey> {
        let key = PageKey::new(self.entries.len() as u64);
        let fits = self.held + page.len() <= self.memory_max;
        let page = if fits {
            self.held += page.len();
            Page::Held(page)
        } else {
            self.spill(&page)?
        };
        self.entries.push(page);
        Ok(key)
    }

    fn take(&mut self, key: PageKey) -> Result<Bytes> {
        let at = usize::try_from(key.get())?;
        match self.entries.get_mut(at) {
            Some(Page::Held(page)) => {
                self.held -= page.len();
                Ok(std::mem::take(page))
            }
            Some(&mut Page::Spilled { offset, length }) => self.read_back(offset, length),
            None => Err(unknown()),
        }
    }

    fn memory_size(&self) -> usize {
        self.held
    }
}

fn unknown() -> ParquetError {
    ParquetError::General("no such page".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_from_memory_and_from_the_file() {
        let mut store = Pages {
            folder: None,
            memory_max: 10,
            held: 0,
            entries: Vec::new(),
            spilled: None,
        };
        let pages = [&b"0123456"[..], b"789abc", b"def", b"ghijklmnop"].map(Bytes::from_static);
        let keys = pages.clone().map(|page| store.put(page).unwrap());
        assert_eq!(store.memory_size(), 10, "the first and the third fit");
        assert_eq!(store.spilled.as_ref().map(|(_, end)| *end), Some(16));
        for (key, page) in keys.into_iter().zip(pages) {
            assert_eq!(store.take(key).unwrap(), page);
        }
        assert_eq!(store.memory_size(), 0);
        assert!(store.take(PageKey::new(4)).is_err());
    }
}
