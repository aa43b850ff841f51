//! What can be done at a place. Local disk goes through `file.rs`, everything else through
//! `object_store`; the caller sees no difference.

use std::io;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{
    Error as StoreError, GetOptions, ObjectMeta, ObjectStoreExt, PutMode, PutOptions, PutPayload,
};

use super::file::{self, Put};
use super::{Error, Location, Result, fault};

impl Location {
    /// Creates the file with `bytes`, unless it exists.
    ///
    /// # Errors
    /// `Unavailable` also means "perhaps done": only reading back tells.
    /// `Invalid` if the store has no way to create without replacing.
    pub async fn put_new(&self, bytes: impl Into<Bytes>) -> Result<Put> {
        let (bytes, private) = (bytes.into(), self.private.clone());
        if let Some(local) = &self.local {
            return self
                .on_disk("create the file", local, move |path| {
                    file::create(path, &bytes, private.as_deref())
                })
                .await;
        }
        let options = PutOptions::from(PutMode::Create);
        match self
            .store
            .put_opts(&self.path, PutPayload::from_bytes(bytes), options)
            .await
        {
            Ok(_) => Ok(Put::Created),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                Ok(Put::Exists)
            }
            Err(error) => Err(self.failed(error, "create the file")),
        }
    }

    /// Creates or replaces the file with `bytes`.
    ///
    /// # Errors
    /// `Unavailable` also means "perhaps done".
    pub async fn put(&self, bytes: impl Into<Bytes>) -> Result<()> {
        let (bytes, private) = (bytes.into(), self.private.clone());
        if let Some(local) = &self.local {
            return self
                .on_disk("write the file", local, move |path| {
                    file::replace(path, &bytes, private.as_deref())
                })
                .await;
        }
        let put = self
            .store
            .put(&self.path, PutPayload::from_bytes(bytes))
            .await;
        put.map(|_| ())
            .map_err(|error| self.failed(error, "write the file"))
    }

    /// The whole file, or `None` if there is none.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn get(&self) -> Result<Option<Bytes>> {
        let got = match self.store.get(&self.path).await {
            Ok(got) => got.bytes().await,
            Err(error) => Err(error),
        };
        self.present(got, "read the file")
    }

    /// A part of the file.
    ///
    /// # Errors
    /// `Invalid` if there is no such file, or the store is away or refuses.
    pub async fn get_range(&self, range: Range<u64>) -> Result<Bytes> {
        let got = self.store.get_range(&self.path, range).await;
        got.map_err(|error| self.failed(error, "read the file"))
    }

    /// The file's first bytes, at most `most` of them, and what it is; `None` if there is none.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn first_bytes(&self, most: u64) -> Result<Option<(ObjectMeta, Bytes)>> {
        let range = (most < u64::MAX).then_some(0..most);
        let options = GetOptions::new().with_range(range);
        let got = match self.store.get_opts(&self.path, options).await {
            Ok(got) => {
                let meta = got.meta.clone();
                got.bytes().await.map(|bytes| (meta, bytes))
            }
            Err(error) => Err(error),
        };
        match self.present(got, "read the file") {
            // Of an empty file no range can be asked for.
            Err(error) if most < u64::MAX => match self.head().await? {
                Some(meta) if meta.size == 0 => Ok(Some((meta, Bytes::new()))),
                _ => Err(error),
            },
            read => read,
        }
    }

    /// The file's size, date and tag, or `None` if there is none.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn head(&self) -> Result<Option<ObjectMeta>> {
        let options = GetOptions::new().with_head(true);
        let got = self.store.get_opts(&self.path, options).await;
        self.present(got.map(|got| got.meta), "look at the file")
    }

    /// Deletes the file; if it is gone already, that is fine.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn delete(&self) -> Result<()> {
        if let Some(local) = &self.local {
            return self.on_disk("delete the file", local, file::delete).await;
        }
        match self.store.delete(&self.path).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(error, "delete the file")),
        }
    }

    /// All files beneath this folder, at any depth, by name. A folder that does not exist is empty.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn list(&self) -> Result<Vec<ObjectMeta>> {
        self.sorted(self.store.list(Some(&self.path)).try_collect().await)
    }

    /// As [`Location::list`], of the files whose name comes after `name`, which need not exist.
    ///
    /// # Errors
    /// If the store is away or refuses.
    pub async fn list_after(&self, name: &str) -> Result<Vec<ObjectMeta>> {
        let offset = self.join(name).path;
        self.sorted(
            self.store
                .list_with_offset(Some(&self.path), &offset)
                .try_collect()
                .await,
        )
    }

    /// What a listing calls a file, from this folder on.
    #[must_use]
    pub fn name_of(&self, meta: &ObjectMeta) -> String {
        let parts = meta.location.prefix_match(&self.path);
        let names = parts.into_iter().flatten();
        names
            .map(|part| part.as_ref().to_owned())
            .collect::<Vec<_>>()
            .join("/")
    }

    /// Makes this file the content of the finished local file `from`, which stays and must not be
    /// written to afterwards: on one disk, a private copy may share its bytes.
    ///
    /// # Errors
    /// If `from` cannot be read, or the store is away, full or refuses.
    pub async fn upload_file(&self, from: &FilePath) -> Result<()> {
        if let Some(local) = &self.local {
            let (from, private) = (from.to_owned(), self.private.clone());
            let adopt = move |to: &FilePath| file::adopt(&from, to, private.as_deref());
            return self.on_disk("store the file", local, adopt).await;
        }
        let unreadable = |error| fault::of_disk(error, "read the file", from.display());
        let mut file = tokio::fs::File::open(from).await.map_err(unreadable)?;
        let mut writer = self.writer().await?;
        if let Err(error) = tokio::io::copy(&mut file, &mut writer).await {
            writer.abort().await;
            return Err(fault::of_disk(error, "upload the file", self));
        }
        writer.finish().await.map(|_| ())
    }

    /// What `read` makes of the file at this place, which must be one of this machine, where it may block.
    ///
    /// # Errors
    /// Whatever `read` says.
    pub async fn read_on_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce(&FilePath) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        match &self.local {
            Some(local) => self.on_disk("read the file", local, read).await,
            None => Err(Error::internal("no file of this machine")),
        }
    }

    /// Runs `work` where it may block.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        doing: &'static str,
        path: &FilePath,
        work: impl FnOnce(&FilePath) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let path: PathBuf = path.to_owned();
        let done = tokio::task::spawn_blocking(move || work(&path)).await;
        let done =
            done.map_err(|error| Error::internal("a disk task ended early").because(error))?;
        done.map_err(|error| fault::of_disk(error, doing, self))
    }

    fn present<T>(&self, got: object_store::Result<T>, doing: &str) -> Result<Option<T>> {
        match got {
            Ok(got) => Ok(Some(got)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.failed(error, doing)),
        }
    }

    fn sorted(&self, listed: object_store::Result<Vec<ObjectMeta>>) -> Result<Vec<ObjectMeta>> {
        let mut listed = match listed {
            Err(error) if is_absent(&error) => Vec::new(),
            listed => listed.map_err(|error| self.failed(error, "list the folder"))?,
        };
        listed.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(listed)
    }

    pub(super) fn failed(&self, error: StoreError, doing: &str) -> Error {
        fault::of_store(error, doing, self)
    }
}

/// Whether a file is not there, in a bucket that is.
fn is_absent(error: &StoreError) -> bool {
    matches!(error, StoreError::NotFound { .. }) && !fault::is_no_bucket(error)
}
