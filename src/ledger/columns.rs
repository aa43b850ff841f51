//! Some columns of a bulk file, read where it lies.
//!
//! Prompts and answers are nearly all of their files, and whoever asks for keys or verdicts needs none of
//! them. From object storage a small file comes in one request; of a larger one the footer, and then
//! the columns alone, a request or two a row group and a few row groups at a time. What is held
//! depends on the size of those, not on how many rows there are.

use std::fs::File;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStoreExt};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::bulk;
use super::unread::unread;
use crate::base::{Error, Location, Result};

/// The rows of some columns, some at a time.
pub(super) enum Columns {
    Disk(ParquetRecordBatchReader),
    Store(BoxStream<'static, Result<RecordBatch>>),
}

/// What is fetched first, from a file's beginning: all of a small file.
const HEAD_BYTES: u64 = 256 << 10;

/// What is fetched of the end of another: its footer.
const TAIL_BYTES: u64 = 64 << 10;

/// Row groups that are fetched side by side.
const GROUPS_AHEAD: usize = 4;

impl Columns {
    /// Reads `columns` of the file at `place`.
    ///
    /// # Errors
    /// `Data` if it is gone or damaged, `Unavailable` if its store is away.
    pub(super) async fn open(place: &Location, columns: &'static [&'static str]) -> Result<Self> {
        Ok(match &place.local {
            Some(path) => {
                let file = File::open(path).map_err(|error| unread(error, place))?;
                Columns::Disk(bulk::read(file, columns)?)
            }
            None => Columns::Store(stored(place, columns).await?),
        })
    }

    /// The next rows; none at the end.
    ///
    /// # Errors
    /// As [`Columns::open`].
    pub(super) async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self {
            Columns::Disk(reader) => {
                // Reading from disk blocks and gives nobody else a turn by itself.
                tokio::task::yield_now().await;
                bulk::next(reader).transpose()
            }
            Columns::Store(stream) => stream.try_next().await,
        }
    }
}

async fn stored(
    place: &Location,
    columns: &'static [&'static str],
) -> Result<BoxStream<'static, Result<RecordBatch>>> {
    let mut file = Stored::open(place).await?;
    let metadata = ArrowReaderMetadata::load_async(&mut file, ArrowReaderOptions::new());
    let metadata = guarded(metadata).await?;
    let groups = 0..metadata.metadata().num_row_groups();
    let groups = groups.map(move |group| {
        let read = read(file.clone(), metadata.clone(), group, columns);
        guarded(read)
    });
    let groups = stream::iter(groups).buffered(GROUPS_AHEAD);
    let batches = groups.map_ok(|group| stream::iter(group).map(Ok));
    Ok(batches.try_flatten().boxed())
}

/// The columns of one row group.
async fn read(
    file: Stored,
    metadata: ArrowReaderMetadata,
    group: usize,
    columns: &[&str],
) -> ParquetResult<Vec<RecordBatch>> {
    let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
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

/// A file in a store.
#[derive(Clone)]
struct Stored {
    place: Location,
    size: u64,
    /// Its last bytes, or all.
    tail: Bytes,
}

impl Stored {
    async fn open(place: &Location) -> Result<Stored> {
        // An answer to this says how long the file is, so that nobody has to ask for that first.
        let head = GetOptions {
            range: Some(GetRange::Bounded(0..HEAD_BYTES)),
            ..GetOptions::default()
        };
        let got = match place.store.get_opts(&place.path, head).await {
            Ok(got) => got,
            // Of nothing there is no beginning.
            Err(error) if is_empty(place).await => return Err(bulk::damaged(error)),
            Err(error) => return Err(unread(error, place)),
        };
        let size = got.meta.size;
        let head = got.bytes().await;
        let mut file = Stored {
            place: place.clone(),
            size,
            tail: head.map_err(|error| unread(error, place))?,
        };
        if size > file.tail.len() as u64 {
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

async fn is_empty(place: &Location) -> bool {
    let head = place.store.head(&place.path).await;
    head.is_ok_and(|head| head.size == 0)
}

fn external(error: Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{ErrorKind, MemoryStore, Stores};
    use crate::ledger::outcomes::{OutcomeVerdicts, OutcomesWriter};
    use crate::ledger::requests::{RequestKeys, RequestsWriter};
    use crate::work::{Content, Outcome, RequestKey, RowStatus};

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
            writer
                .push(n + 10, n * 2, key(n), Content::text(&prompt))
                .unwrap();
        }
        writer.finish().unwrap();
        both(&path).await
    }

    /// The file at `path`, and the same in a store.
    async fn both(path: &std::path::Path) -> (Arc<MemoryStore>, [Location; 2]) {
        let store = Arc::new(MemoryStore::new(None));
        let stores = Stores::default().with_memory(Arc::clone(&store));
        let stored = stores.locate("memory://lake/1.parquet").unwrap();
        stored.put(std::fs::read(path).unwrap()).await.unwrap();
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
            (9_000, 900, 7),
            (200_000, 1, 7),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (store, places) = places(&folder, (count, length)).await;
            for place in &places {
                assert_eq!(read_all(place).await.unwrap(), count);
            }
            let reads = store.take_reads();
            assert!(reads.len() <= requests_max, "{count} {length}: {reads:?}");
            let read: u64 = reads.iter().map(|(_, range)| range.end - range.start).sum();
            let most = count * 50 + HEAD_BYTES + TAIL_BYTES;
            assert!(read <= most, "{read} bytes of {count} requests");
        }
    }

    #[tokio::test]
    async fn verdicts_come_without_their_answers() {
        const COUNT: u64 = 30_000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("1-1.parquet");
        let mut writer = OutcomesWriter::create(&path, ("a", "b"), None).unwrap();
        let failed = Outcome {
            transient: true,
            ..Outcome::without_answer(RowStatus::Failed, "overloaded".into())
        };
        for n in 0..COUNT {
            let word = |m: u64| blake3::hash(&[n, m].map(u64::to_le_bytes).concat()).to_hex();
            let answer: String = (0..15).map(|m| word(m).to_string()).collect();
            let answered = Outcome::succeeded(answer.into());
            let outcome = if n % 3 == 2 { &failed } else { &answered };
            writer.push(n, key(n), outcome).unwrap();
        }
        writer.finish().unwrap();
        let (store, places) = both(&path).await;
        for place in &places {
            let mut verdicts = OutcomeVerdicts::open(place).await.unwrap();
            let mut n = 0;
            while let Some(some) = verdicts.next().await.unwrap() {
                for at in 0..some.len() {
                    assert_eq!((some.ordinal(at), some.key(at)), (n, key(n)));
                    assert_eq!(some.status(at) == RowStatus::Failed, n % 3 == 2);
                    assert_eq!((some.is_transient(at), some.answer(at)), (n % 3 == 2, None));
                    n += 1;
                }
            }
            assert_eq!(n, COUNT);
        }
        let reads = store.take_reads();
        let read: u64 = reads.iter().map(|(_, range)| range.end - range.start).sum();
        let size = std::fs::metadata(&path).unwrap().len();
        assert!(read * 5 < size, "{read} of {size} bytes: {reads:?}");
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
