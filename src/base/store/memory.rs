//! A store in memory, for tests: files are dated by the clock it is given, and what is read is counted.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, OBJECT_STORE_COALESCE_DEFAULT,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, coalesce_ranges,
};

use crate::base::{Clock, Time};

/// Files in memory, each dated when it was last put.
#[derive(Debug, Default)]
pub struct MemoryStore {
    inner: InMemory,
    clock: Option<Arc<dyn Clock>>,
    dates: Arc<Mutex<HashMap<Path, Time>>>,
    reads: Mutex<Vec<(Path, Range<u64>)>>,
}

impl MemoryStore {
    /// An empty store, dated by `clock`, else by the system's.
    #[must_use]
    pub fn new(clock: Option<Arc<dyn Clock>>) -> Self {
        MemoryStore {
            clock,
            ..MemoryStore::default()
        }
    }

    /// What was read since this was asked last: a file and its bytes for each request.
    pub fn take_reads(&self) -> Vec<(Path, Range<u64>)> {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *reads)
    }

    fn note(&self, path: &Path, range: Range<u64>) {
        let mut reads = self.reads.lock().unwrap_or_else(PoisonError::into_inner);
        reads.push((path.clone(), range));
    }

    fn stamp(&self, path: &Path) {
        if let Some(clock) = &self.clock {
            let mut dates = self.dates.lock().unwrap_or_else(PoisonError::into_inner);
            dates.insert(path.clone(), clock.now());
        }
    }
}

fn dated(dates: &Mutex<HashMap<Path, Time>>, mut meta: ObjectMeta) -> ObjectMeta {
    let dates = dates.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(date) = dates.get(&meta.location) {
        meta.last_modified = *date;
    }
    meta
}

impl fmt::Display for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("memory")
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_opts(&self, path: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        let put = self.inner.put_opts(path, data, how).await?;
        self.stamp(path);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.stamp(path);
        self.inner.put_multipart_opts(path, how).await
    }

    async fn get_opts(&self, path: &Path, mut how: GetOptions) -> Result<GetResult> {
        // Tags are asked for as HTTP writes them, and kept here without the quotes.
        how.if_match = how.if_match.map(|tag| tag.trim_matches('"').to_owned());
        let is_read = !how.head;
        let mut got = self.inner.get_opts(path, how).await?;
        if is_read {
            self.note(path, got.range.clone());
        }
        got.meta = dated(&self.dates, got.meta);
        Ok(got)
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // As a store over HTTP does it: what lies close together is one request.
        let fetch = |range| self.get_range(path, range);
        coalesce_ranges(ranges, fetch, OBJECT_STORE_COALESCE_DEFAULT).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let dates = Arc::clone(&self.dates);
        let metas = self.inner.list(prefix);
        metas
            .map(move |meta| meta.map(|meta| dated(&dates, meta)))
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        listed.objects = listed
            .objects
            .into_iter()
            .map(|meta| dated(&self.dates, meta))
            .collect();
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await?;
        self.stamp(to);
        Ok(())
    }
}
