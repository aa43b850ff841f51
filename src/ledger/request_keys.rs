//! The keys of a chunk's requests, read where they lie.
//!
//! Whoever lands a chunk needs the ordinals and keys of its requests, and none of its prompts, which are
//! nearly all of the file. From object storage the footer comes in one request, with a small file's
//! whole content, and then the columns of keys alone, one request a row group and a few row groups
//! at a time. What is held depends on the size of those, not on how many requests there are.

use std::fs::File;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::bulk;
use super::requests::{KEYS, READ, RequestColumns, Requests, RequestsReader};
use super::unread::unread;
use crate::base::{Error, Location, Result};

/// The ordinals, rows and keys of a chunk's requests, some at a time.
pub struct RequestKeys(Reader);

enum Reader {
    Disk(RequestsReader),
    Store(BoxStream<'static, Result<Requests>>),
}

impl std::fmt::Debug for RequestKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestKeys").finish_non_exhaustive()
    }
}

/// What is fetched of a file's end at first: the footer, and of a small file everything.
const TAIL_BYTES: u64 = 64 << 10;

/// Row groups that are fetched side by side.
const GROUPS_AHEAD: usize = 4;

impl RequestKeys {
    /// Reads the file of requests at `place`.
    ///
    /// # Errors
    /// `Data` if it is gone or is not such a file, `Unavailable` if its store is away.
    pub async fn open(place: &Location) -> Result<Self> {
        let reader = match &place.local {
            Some(path) => {
                let file = File::open(path).map_err(|error| unread(error, place))?;
                Reader::Disk(RequestsReader::open(file, RequestColumns::Keys)?)
            }
            None => Reader::Store(stored(place).await?),
        };
        Ok(RequestKeys(reader))
    }

    /// The next of them; none at the end.
    ///
    /// # Errors
    /// As [`RequestKeys::open`].
    pub async fn next(&mut self) -> Result<Option<Requests>> {
        match &mut self.0 {
            Reader::Disk(reader) => {
                // Reading from disk blocks and gives nobody else a turn by itself.
                tokio::task::yield_now().await;
                reader.next().transpose()
            }
            Reader::Store(stream) => stream.try_next().await,
        }
    }
}

async fn stored(place: &Location) -> Result<BoxStream<'static, Result<Requests>>> {
    let mut file = Stored::open(place).await?;
    let options = ArrowReaderOptions::new().with_schema(Arc::clone(&READ));
    let metadata = guarded(ArrowReaderMetadata::load_async(&mut file, options)).await?;
    let groups = 0..metadata.metadata().num_row_groups();
    let groups = groups.map(move |group| guarded(read(file.clone(), metadata.clone(), group)));
    let groups = stream::iter(groups).buffered(GROUPS_AHEAD);
    let batches = groups.map_ok(|group| stream::iter(group).map(Ok));
    let batches = batches.try_flatten();
    Ok(batches
        .and_then(async |batch| Requests::from(&batch))
        .boxed())
}

/// The columns of keys in one row group.
async fn read(
    file: Stored,
    metadata: ArrowReaderMetadata,
    group: usize,
) -> ParquetResult<Vec<arrow::array::RecordBatch>> {
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::columns(builder.parquet_schema(), KEYS);
    let builder = builder.with_projection(mask).with_row_groups(vec![group]);
    builder.build()?.try_collect().await
}

/// What `read` comes to; over some of what a damaged file can hold the library panics.
async fn guarded<T>(read: impl Future<Output = ParquetResult<T>>) -> Result<T> {
    match AssertUnwindSafe(read).catch_unwind().await {
        Ok(Ok(read)) => Ok(read),
        Ok(Err(ParquetError::External(cause))) => match cause.downcast::<Error>() {
            Ok(ours) => Err(*ours),
            Err(other) => Err(bulk::damaged(other)),
        },
        Ok(Err(error)) => Err(bulk::damaged(error)),
        Err(_) => Err(bulk::damaged("its reader panicked")),
    }
}

/// A file of requests in a store.
#[derive(Clone)]
struct Stored {
    place: Location,
    size: u64,
    /// Its last bytes.
    tail: Bytes,
}

impl Stored {
    async fn open(place: &Location) -> Result<Stored> {
        let head = place.store.head(&place.path).await;
        let size = head.map_err(|error| unread(error, place))?.size;
        let mut file = Stored {
            place: place.clone(),
            size,
            tail: Bytes::new(),
        };
        if size > 0 {
            file.tail = file.fetch(size.saturating_sub(TAIL_BYTES)..size).await?;
        }
        Ok(file)
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Bytes> {
        let got = self.place.store.get_range(&self.place.path, range).await;
        got.map_err(|error| unread(error, &self.place))
    }

    /// The bytes of `range` where they are among the last.
    fn held(&self, range: &Range<u64>) -> Option<Bytes> {
        let start = self.size - self.tail.len() as u64;
        let at = |offset: u64| usize::try_from(offset.checked_sub(start)?).ok();
        let (from, to) = (at(range.start)?, at(range.end)?);
        (from <= to && to <= self.tail.len()).then(|| self.tail.slice(from..to))
    }

    async fn fetch_all(&self, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
        if let Some(held) = ranges.iter().map(|range| self.held(range)).collect() {
            return Ok(held);
        }
        let got = self.place.store.get_ranges(&self.place.path, &ranges).await;
        got.map_err(|error| unread(error, &self.place))
    }
}

impl AsyncFileReader for Stored {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move {
            match self.held(&range) {
                Some(bytes) => Ok(bytes),
                None => self.fetch(range).await.map_err(external),
            }
        }
        .boxed()
    }

    fn get_byte_ranges(
        &mut self,
        ranges: Vec<Range<u64>>,
    ) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.fetch_all(ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let size = self.size;
        let reader = ParquetMetaDataReader::new();
        async move { reader.load_and_finish(self, size).await.map(Arc::new) }.boxed()
    }
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ErrorKind, MemoryStore, Stores};
    use crate::ledger::requests::RequestsWriter;
    use crate::work::RequestKey;

    fn key(n: u64) -> RequestKey {
        let mut key = [7; RequestKey::LEN];
        key[..8].copy_from_slice(&n.to_be_bytes());
        RequestKey(key)
    }

    /// A file of `count` requests whose prompts are of `length` bytes, on disk and in a store.
    async fn places(
        folder: &tempfile::TempDir,
        (count, length): (u64, usize),
    ) -> (Arc<MemoryStore>, [Location; 2]) {
        let path = folder.path().join("1.parquet");
        let mut writer = RequestsWriter::create(&path, true).unwrap();
        for n in 0..count {
            let mut prompt = blake3::hash(&n.to_le_bytes())
                .to_hex()
                .repeat(length / 64 + 1);
            prompt.truncate(length);
            writer.push(n + 10, n * 2, key(n), &prompt).unwrap();
        }
        writer.finish().unwrap();
        let store = Arc::new(MemoryStore::new(None));
        let stores = Stores::default().with_memory(Arc::clone(&store));
        let stored = stores.locate("memory://lake/requests/1.parquet").unwrap();
        stored.put(std::fs::read(&path).unwrap()).await.unwrap();
        let local = stores.locate(path.to_str().unwrap()).unwrap();
        (store, [local, stored])
    }

    async fn read_all(place: &Location) -> Result<u64> {
        let mut keys = RequestKeys::open(place).await?;
        let mut n = 0;
        while let Some(some) = keys.next().await? {
            for at in 0..some.len() {
                assert_eq!(
                    (some.ordinals.value(at), some.rows.value(at)),
                    (n + 10, n * 2)
                );
                assert_eq!((some.key(at), some.prompt(at)), (key(n), None));
                n += 1;
            }
        }
        Ok(n)
    }

    #[tokio::test]
    async fn keys_come_without_their_prompts_and_in_few_requests() {
        // Nothing; one request; a small file; one of several row groups; one without prompts to speak of.
        for (count, length, requests_max) in [
            (0, 0, 1),
            (1, 9, 1),
            (300, 80, 1),
            (9_000, 900, 6),
            (200_000, 1, 6),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (store, places) = places(&folder, (count, length)).await;
            for place in &places {
                assert_eq!(read_all(place).await.unwrap(), count);
            }
            let reads = store.take_reads();
            assert!(reads.len() <= requests_max, "{count} {length}: {reads:?}");
            let read: u64 = reads.iter().map(|(_, range)| range.end - range.start).sum();
            let most = count * 50 + TAIL_BYTES;
            assert!(read <= most, "{read} bytes of {count} requests");
        }
    }

    #[tokio::test]
    async fn what_is_gone_or_damaged_is_said_in_a_store_as_on_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (_, places) = places(&folder, (2_000, 100)).await;
        for place in &places {
            let bytes = place.get().await.unwrap().unwrap();
            for damaged in [&b""[..], b"PAR1", &bytes[..bytes.len() / 2]] {
                place.put(damaged.to_vec()).await.unwrap();
                let error = read_all(place).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
                assert!(error.to_string().contains("damaged"), "{error:?}");
            }
            let mut spoilt = bytes.to_vec();
            spoilt[4..400].fill(0xff);
            place.put(spoilt).await.unwrap();
            let error = read_all(place).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
            place.delete().await.unwrap();
            let error = read_all(place).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Data, "{error:?}");
            assert!(error.message().contains("is gone"), "{error:?}");
        }
    }
}
