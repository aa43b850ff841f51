//! A source file: its metadata, and its bytes by ranges, from disk or from an object store.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use object_store::ObjectStoreExt;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};

use crate::base::{Location, Result};
use crate::output::bridge::Bridge;
use crate::output::error::{corrupt, from_io, from_parquet, from_store, into_parquet};
use crate::output::read::chunks::{data_starts, parts, told_ranges};
use crate::output::read::footer;
use crate::output::write::sink::Sink;

/// A source file that is open, used from a blocking thread.
#[derive(Debug)]
pub(in crate::output) struct Source {
    reader: Reader,
    bridge: Bridge,
    metadata: ParquetMetaData,
    /// Where its column chunks end and its footer begins.
    data_end: u64,
    /// What the footer gives to its chunks, bloom filters and indexes, in the file's order.
    parts: Vec<Range<u64>>,
    /// Where it says that the data pages of its chunks begin, in the file's order.
    starts: Vec<u64>,
    /// Whether its page indexes could not be read, and are left behind.
    pub(in crate::output) lost_indexes: bool,
}

/// The bytes of a file.
#[derive(Clone, Debug)]
enum Reader {
    Disk {
        file: Arc<File>,
        size: u64,
        name: String,
    },
    Store(Remote),
}

#[derive(Clone, Debug)]
struct Remote {
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

impl Source {
    /// Opens the file and reads its metadata, page indexes included.
    pub(in crate::output) fn open(location: &Location, bridge: &Bridge) -> Result<Source> {
        let reader = Reader::open(location, bridge)?;
        let size = reader.len();
        let paths = footer::check(&reader, reader.name())?;
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Skip)
            .with_metadata_options(Some(
                ParquetMetaDataOptions::new().with_encoding_stats_as_mask(false),
            ))
            .parse_and_finish(&reader)
            .map_err(|error| from_parquet(error, "not a Parquet file", reader.name()))?;
        check_order(&metadata, &paths, reader.name())?;
        let data_end = size - footer::tail_length(&reader)?;
        let chunks = told_ranges(metadata.row_groups());
        let parts = parts(metadata.row_groups(), &chunks);
        let starts = data_starts(metadata.row_groups());
        let (metadata, lost_indexes) = with_indexes(metadata, &reader, &chunks, data_end);
        Ok(Source {
            reader,
            bridge: bridge.clone(),
            metadata,
            data_end,
            parts,
            starts,
            lost_indexes,
        })
    }

    /// Whether its bytes come from an object store, a request at a time.
    pub(in crate::output) fn is_remote(&self) -> bool {
        matches!(self.reader, Reader::Store(_))
    }

    /// Whether the chunk that lies at `range` begins where something else ends, or the file begins, and
    /// ends where something else begins, or the data end.
    pub(in crate::output) fn is_flush(&self, range: &Range<u64>) -> bool {
        let at = self
            .parts
            .partition_point(|other| other.start < range.start);
        let begins = match at.checked_sub(1) {
            Some(before) => self.parts[before].end == range.start,
            None => range.start == footer::MAGIC_BYTES,
        };
        let next = self.parts.get(at + 1);
        begins && next.map_or(self.data_end, |next| next.start) == range.end
    }

    /// What a chunk whose data pages begin at `start` cannot reach beyond: those of the next one, or the
    /// end of the data.
    pub(in crate::output) fn limit_of(&self, start: u64) -> u64 {
        let next = self.starts.partition_point(|other| *other <= start);
        let next = self.starts.get(next).copied();
        next.unwrap_or(self.data_end).min(self.data_end)
    }

    /// What its footer and its indexes say.
    pub(in crate::output) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Where its data end and its footer begins.
    pub(in crate::output) fn data_end(&self) -> u64 {
        self.data_end
    }

    /// How many bytes it has.
    pub(in crate::output) fn size(&self) -> u64 {
        self.reader.len()
    }

    /// Its address, for messages.
    pub(in crate::output) fn name(&self) -> &str {
        self.reader.name()
    }

    /// The bytes of `range`, which is small.
    pub(in crate::output) fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.check(&range)?;
        self.reader.fetch(range)
    }

    /// The same, for whoever waits for several at once.
    pub(in crate::output) async fn request(&self, range: Range<u64>) -> Result<Bytes> {
        self.check(&range)?;
        match &self.reader {
            Reader::Disk { .. } => self.reader.fetch(range),
            Reader::Store(remote) => match remote.held(&range) {
                Some(bytes) => Ok(bytes),
                None => remote.request(range).await,
            },
        }
    }

    /// The value of `future`, which waits for the source's bytes.
    pub(in crate::output) fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.bridge.wait(future)
    }

    /// Appends the bytes of `range`, which may be large, to `sink`. From a store they pass `by`, in
    /// pieces and with their offsets; on disk the kernel copies them, and nobody sees them.
    pub(in crate::output) fn copy(
        &self,
        range: Range<u64>,
        sink: &mut Sink,
        by: &mut dyn FnMut(u64, &Bytes),
    ) -> Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        self.check(&range)?;
        if sink.pass_by(range.end - range.start) {
            return Ok(());
        }
        match &self.reader {
            Reader::Disk { file, .. } => {
                if sink.put_from_file(file, &range)? {
                    return Ok(());
                }
                for piece in pieces(range) {
                    sink.put(self.reader.fetch(piece)?)?;
                }
                Ok(())
            }
            Reader::Store(remote) => remote.copy(range, sink, by),
        }
    }

    fn check(&self, range: &Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.data_end {
            Ok(())
        } else {
            Err(corrupt(
                "the footer points outside of the file",
                self.name(),
            ))
        }
    }
}

impl Reader {
    fn open(location: &Location, bridge: &Bridge) -> Result<Reader> {
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

    fn name(&self) -> &str {
        match self {
            Reader::Disk { name, .. } => name,
            Reader::Store(remote) => remote.location.url.as_str(),
        }
    }

    fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Reader::Disk { file, name, .. } => {
                read_at(file, &range).map_err(|error| from_io(error, READING, name))
            }
            Reader::Store(remote) => remote.fetch(range),
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

/// `metadata` with its page indexes, unless these are damaged or lie where they cannot: no reader
/// needs them. Says whether they are left behind.
fn with_indexes(
    metadata: ParquetMetaData,
    reader: &Reader,
    chunks: &[Range<u64>],
    data_end: u64,
) -> (ParquetMetaData, bool) {
    let columns = || {
        metadata
            .row_groups()
            .iter()
            .flat_map(RowGroupMetaData::columns)
    };
    let indexes = columns().flat_map(|column| {
        let content = (column.column_index_offset(), column.column_index_length());
        let pages = (column.offset_index_offset(), column.offset_index_length());
        [content, pages]
    });
    let mut told = indexes.filter(|(offset, _)| offset.is_some()).peekable();
    if told.peek().is_none() {
        return (metadata, false);
    }
    // The library reads them at once, from the first to the last.
    let data = chunks
        .iter()
        .map(|chunk| chunk.end)
        .max()
        .unwrap_or_default();
    let is_sound = told.all(|(offset, length)| {
        let start = offset.and_then(|offset| u64::try_from(offset).ok());
        let length = length.and_then(|length| u64::try_from(length).ok());
        let (start, length) = start.zip(length).unwrap_or_default();
        length > 0 && start >= data && start.saturating_add(length) <= data_end
    });
    if !is_sound {
        return (metadata, true);
    }
    let mut indexed = ParquetMetaDataReader::new_with_metadata(metadata.clone())
        .with_page_index_policy(PageIndexPolicy::Optional);
    let read = indexed
        .read_page_indexes(reader)
        .and_then(|()| indexed.finish());
    match read {
        Ok(indexed) if indexed.offset_index().is_some() => (indexed, false),
        Ok(indexed) => (indexed, true),
        Err(error) => {
            tracing::debug!(%error, path = reader.name(), "page indexes cannot be read");
            (metadata, true)
        }
    }
}

/// Refuses a row group whose columns stand in another order than the schema's: some readers go by
/// the one, some by the other.
fn check_order(metadata: &ParquetMetaData, paths: &[String], name: &str) -> Result<()> {
    let columns = metadata.file_metadata().schema_descr().columns();
    let odd = columns
        .iter()
        .zip(paths)
        .find(|(column, path)| column.path().string() != **path);
    match odd {
        None => Ok(()),
        Some((column, found)) => Err(corrupt(
            "the columns of a row group stand in another order than the schema's",
            name,
        )
        .with("column", column.path().string())
        .with("found", found)),
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
