//! A source file: what its footer says, and its bytes as far as that allows.

use std::ops::Range;

use bytes::Bytes;
use parquet::file::metadata::{
    PageIndexPolicy, ParquetMetaData, ParquetMetaDataOptions, ParquetMetaDataReader,
    RowGroupMetaData,
};
use parquet::file::reader::Length;

use crate::base::{Location, Result};
use crate::output::bridge::Bridge;
use crate::output::error::{corrupt, from_parquet};
use crate::output::read::chunks::{data_starts, parts, told_ranges};
use crate::output::read::footer;
use crate::output::read::reader::Reader;
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
        self.reader.is_remote()
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
        self.reader.request(range).await
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
        self.reader.copy(range, sink, by)
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
