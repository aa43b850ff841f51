//! The bytes of a source file, by ranges, from disk or from an object store.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use parquet::errors::Result as ParquetResult;
use parquet::file::reader::{ChunkReader, Length};

use crate::base::{Location, Result};
use crate::output::bridge::Bridge;
use crate::output::error::{corrupt, from_io, from_store, into_parquet};
use crate::output::write::sink::Sink;

/// The bytes of a file.
#[derive(Clone, Debug)]
pub(in crate::output) enum Reader {
    Disk {
        file: Arc<File>,
        size: u64,
        name: String,
    },
    Store(Remote),
}

#[derive(Clone, Debug)]
pub(in crate::output) struct Remote {
    location: Location,
    bridge: Bridge,
    size: u64,
    /// The file's last bytes, fetched at once: a footer comes in three reads.
    tail: Bytes,
}

/// Bytes in one read or one request.
const PIECE_BYTES: u64 = 4 << 20;

/// Requests for pieces that are in flight at once.
const PIECES_AHEAD: usize = 2;

/// What is fetched of an object before anything is known of it.
const TAIL_BYTES: u64 = 256 << 10;

const READING: &str = "cannot read the source";

impl Reader {
    /// Opens the file at `location`.
    pub(in crate::output) fn open(location: &Location, bridge: &Bridge) -> Result<Reader> {
        let Some(path) = &location.local else {
            return Remote::open(location, bridge).map(Reader::Store);
        };
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| from_io(error, READING, path.display()))?;
        Ok(Reader::Disk {
            file: Arc::new(file),
            size,
            name: path.display().to_string(),
        })
    }

    /// Its address, for messages.
    pub(in crate::output) fn name(&self) -> &str {
        match self {
            Reader::Disk { name, .. } => name,
            Reader::Store(remote) => remote.location.url.as_str(),
        }
    }

    /// Whether its bytes come from an object store, a request at a time.
    pub(in crate::output) fn is_remote(&self) -> bool {
        matches!(self, Reader::Store(_))
    }

    /// The bytes of `range`.
    pub(in crate::output) fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Reader::Disk { file, name, .. } => {
                read_at(file, &range).map_err(|error| from_io(error, READING, name))
            }
            Reader::Store(remote) => remote.fetch(range),
        }
    }

    /// The same, for whoever waits for several at once.
    pub(in crate::output) async fn request(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Reader::Disk { .. } => self.fetch(range),
            Reader::Store(remote) => match remote.held(&range) {
                Some(bytes) => Ok(bytes),
                None => remote.request(range).await,
            },
        }
    }

    /// Appends the bytes of `range`, which may be large, to `sink`. From a store they pass `by`, in
    /// pieces and with their offsets; on disk the kernel copies them, and nobody sees them.
    pub(in crate::output) fn copy(
        &self,
        range: Range<u64>,
        sink: &mut Sink,
        by: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<()> {
        match self {
            Reader::Disk { file, .. } => {
                if sink.put_from_file(file, &range)? {
                    return Ok(());
                }
                for piece in pieces(range) {
                    sink.put(self.fetch(piece)?)?;
                }
                Ok(())
            }
            Reader::Store(remote) => remote.copy(range, sink, by),
        }
    }
}

impl Remote {
    fn open(location: &Location, bridge: &Bridge) -> Result<Remote> {
        let (store, path) = (&location.store, &location.path);
        let explain = |error| from_store(error, READING, &location.url);
        let (size, tail) = bridge.wait(async {
            let size = store.head(path).await.map_err(explain)?.size;
            let tail = size.saturating_sub(TAIL_BYTES)..size;
            if tail.is_empty() {
                return Err(corrupt("the file is empty", &location.url));
            }
            Ok((size, store.get_range(path, tail).await.map_err(explain)?))
        })?;
        Ok(Remote {
            location: location.clone(),
            bridge: bridge.clone(),
            size,
            tail,
        })
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        match self.held(&range) {
            Some(bytes) => Ok(bytes),
            None => self.bridge.wait(self.request(range)),
        }
    }

    /// The bytes of `range` where they are among the file's last.
    fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let tail_start = self.size - self.tail.len() as u64;
        let at = |offset: u64| usize::try_from(offset - tail_start).unwrap_or(usize::MAX);
        let is_there =
            range.start >= tail_start && range.start <= range.end && range.end <= self.size;
        is_there.then(|| self.tail.slice(at(range.start)..at(range.end)))
    }

    async fn request(&self, range: Range<u64>) -> Result<Bytes> {
        let Location {
            store, path, url, ..
        } = &self.location;
        let expected = range.end - range.start;
        let bytes = store.get_range(path, range).await;
        let bytes = bytes.map_err(|error| from_store(error, READING, url))?;
        if bytes.len() as u64 == expected {
            Ok(bytes)
        } else {
            Err(corrupt("the object is shorter than it was", url))
        }
    }

    fn copy(
        &self,
        range: Range<u64>,
        sink: &mut Sink,
        by: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<()> {
        let mut offset = range.start;
        let requests = pieces(range).map(|piece| self.request(piece));
        let mut arriving = stream::iter(requests).buffered(PIECES_AHEAD);
        while let Some(bytes) = self
            .bridge
            .wait(async { arriving.next().await.transpose() })?
        {
            by(offset, &bytes);
            offset += bytes.len() as u64;
            sink.put(bytes)?;
        }
        Ok(())
    }
}

fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let starts =
        (range.start..range.end).step_by(usize::try_from(PIECE_BYTES).expect("a few megabytes"));
    starts.map(move |start| start..range.end.min(start + PIECE_BYTES))
}

fn read_at(mut file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    use io::Seek;
    let length = range.end.saturating_sub(range.start);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.seek(io::SeekFrom::Start(range.start))?;
    if file.take(length).read_to_end(&mut bytes)? as u64 == length {
        Ok(bytes.into())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

impl Length for Reader {
    fn len(&self) -> u64 {
        match self {
            Reader::Disk { size, .. } => *size,
            Reader::Store(remote) => remote.size,
        }
    }
}

impl ChunkReader for Reader {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let end = self.len().min(start.saturating_add(PIECE_BYTES));
        let length = usize::try_from(end.saturating_sub(start))?;
        Ok(self.get_bytes(start, length)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let end = start.saturating_add(length as u64).min(self.len());
        self.fetch(start.min(end)..end).map_err(into_parquet)
    }
}
