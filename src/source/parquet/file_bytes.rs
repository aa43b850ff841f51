//! The bytes of one Parquet file, a little at a time.
//!
//! Parquet's synchronous reader asks for one page after the other. On local disk each page is read
//! when it is needed; from a store the file comes in windows of two megabytes, a few of which are
//! kept, since the columns of a row group are read side by side. So what is held is pages and
//! windows, whatever the size of the file and of its row groups. (The asynchronous reader fetches
//! the column chunks of a whole row group at once.)

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use tokio::runtime::Handle;

use crate::base::Location;

/// How much is fetched from a store at once.
const WINDOW: u64 = 2 << 20;
/// How many windows are kept: as many columns are read side by side without fetching twice.
const WINDOWS_MAX: usize = 16;

/// One file's bytes.
#[derive(Clone, Debug)]
pub(crate) enum FileBytes {
    /// On local disk.
    Local(Arc<File>),
    /// In a store.
    Stored(Arc<Stored>),
}

impl FileBytes {
    /// Opens the file at `location`, which is `size` bytes long. A stored file is read only as long
    /// as it still has `etag`.
    ///
    /// Call it, and whatever reads from it, on a thread that may block.
    pub(crate) fn open(location: &Location, size: u64, etag: Option<&str>) -> io::Result<Self> {
        if let Some(local) = &location.local {
            return Ok(FileBytes::Local(Arc::new(File::open(local)?)));
        }
        Ok(FileBytes::Stored(Arc::new(Stored {
            runtime: Handle::current(),
            store: Arc::clone(&location.store),
            path: location.path.clone(),
            size,
            // A weak tag never matches, by its definition.
            etag: etag
                .filter(|etag| !etag.starts_with("W/"))
                .map(str::to_owned),
            windows: Mutex::default(),
            last: AtomicU64::new(0),
        })))
    }
}

impl FileBytes {
    /// A few bytes of many that are read one after the other, with few calls to a store.
    pub(crate) fn get_few(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            FileBytes::Local(file) => file.get_bytes(start, length),
            FileBytes::Stored(stored) => stored
                .few(start, length)
                .map_err(|error| ParquetError::External(Box::new(error))),
        }
    }
}

impl Length for FileBytes {
    fn len(&self) -> u64 {
        match self {
            FileBytes::Local(file) => file.metadata().map_or(0, |metadata| metadata.len()),
            FileBytes::Stored(stored) => stored.size,
        }
    }
}

impl ChunkReader for FileBytes {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        Ok(match self {
            FileBytes::Local(file) => Box::new(file.get_read(start)?),
            FileBytes::Stored(stored) => Box::new(StoredReader {
                stored: Arc::clone(stored),
                at: start,
            }),
        })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        match self {
            FileBytes::Local(file) => file.get_bytes(start, length),
            FileBytes::Stored(stored) => stored
                .fetch(start..start + length as u64)
                .map_err(|error| ParquetError::External(Box::new(error))),
        }
    }
}

/// A file in a store, with the windows of it that are at hand.
#[derive(Debug)]
pub(crate) struct Stored {
    runtime: Handle,
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
    etag: Option<String>,
    windows: Mutex<VecDeque<(u64, Bytes)>>,
    /// Where the last few bytes ended.
    last: AtomicU64,
}

impl Stored {
    /// A few bytes of many that are read one after the other: out of a window where they lie close
    /// together, alone where they lie far apart.
    fn few(&self, start: u64, length: usize) -> object_store::Result<Bytes> {
        let end = start + length as u64;
        let last = self.last.swap(end, Ordering::Relaxed);
        let is_near = start >= last && start - last < WINDOW;
        let within = start % WINDOW + length as u64 <= WINDOW;
        if is_near && within {
            let window = self.window(start)?;
            if window.len() >= length {
                return Ok(window.slice(..length));
            }
        }
        self.fetch(start..end)
    }

    fn fetch(&self, range: std::ops::Range<u64>) -> object_store::Result<Bytes> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            if_match: self.etag.clone(),
            ..GetOptions::default()
        };
        self.runtime.block_on(async {
            self.store
                .get_opts(&self.path, options)
                .await?
                .bytes()
                .await
        })
    }

    /// The bytes from `at` to the end of its window.
    fn window(&self, at: u64) -> object_store::Result<Bytes> {
        let start = at / WINDOW * WINDOW;
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let held = windows.iter().position(|(held, _)| *held == start);
        let window = match held.and_then(|index| windows.remove(index)) {
            Some((_, window)) => window,
            None => self.fetch(start..(start + WINDOW).min(self.size))?,
        };
        // The one used last stands last, so that the one used longest ago goes.
        windows.push_back((start, window.clone()));
        if windows.len() > WINDOWS_MAX {
            windows.pop_front();
        }
        let within = usize::try_from(at - start).unwrap_or(usize::MAX);
        Ok(window.slice(within.min(window.len())..))
    }
}

#[derive(Debug)]
struct StoredReader {
    stored: Arc<Stored>,
    at: u64,
}

impl Read for StoredReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.stored.size || buffer.is_empty() {
            return Ok(0);
        }
        let window = self.stored.window(self.at)?;
        let taken = window.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&window[..taken]);
        self.at += taken as u64;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Stores;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_few_bytes_are_those_of_the_file_however_they_are_fetched() {
        let size = 3 * WINDOW + 17;
        let content: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let place = Stores::default().locate("memory://lake/file").unwrap();
        place.put(content.clone()).await.unwrap();
        let file = FileBytes::open(&place, size, None).unwrap();
        let check = move || {
            let FileBytes::Stored(stored) = &file else {
                panic!("it is in a store");
            };
            // Close together, over the end of a window, far away, back again, and the last bytes.
            let places = [0, 8, 4000, WINDOW - 4, WINDOW + 4, 3 * WINDOW, 12, size - 8];
            for at in places {
                let got = file.get_few(at, 8).unwrap();
                let from = usize::try_from(at).unwrap();
                assert_eq!(got[..], content[from..from + 8], "{at}");
            }
            let held = stored.windows.lock().unwrap().len();
            assert!(held <= 2, "{held} windows for what lies far apart");
        };
        tokio::task::spawn_blocking(check).await.unwrap();
    }
}
