//! A big file, streamed: nothing is to be seen of it until [`BulkWriter::finish`].

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use object_store::buffered::BufWriter;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::file::{Staged, make_folders};
use super::{Error, Location, Result, fault};

/// What is uploaded at a time; object storage keeps a few of these in memory.
const PART_BYTES: usize = 8 << 20;
const PARTS_AT_ONCE: usize = 4;

/// Writes one file. Dropped before it is finished, it leaves nothing behind on local disk, and on
/// object storage at most an unfinished upload, which a lifecycle rule removes.
///
/// As an [`AsyncWrite`] its shutdown only flushes, so that a Parquet writer may close it and still
/// leave the last word to [`BulkWriter::finish`].
#[derive(Debug)]
#[must_use = "nothing is written until it is finished"]
pub struct BulkWriter {
    place: Location,
    target: Target,
    written: u64,
}

#[derive(Debug)]
enum Target {
    Disk {
        file: tokio::fs::File,
        staged: Staged,
        path: PathBuf,
    },
    Store(Box<BufWriter>),
}

impl Location {
    /// A writer for a big file at this place; an older file there stays until it is finished.
    ///
    /// # Errors
    /// If the local folder cannot be written to.
    pub async fn writer(&self) -> Result<BulkWriter> {
        let target = if let Some(local) = &self.local {
            let (private, path) = (self.private.clone(), local.clone());
            let (staged, file) = self
                .on_disk("create the file", local, move |path| {
                    Staged::create(path, private.as_deref())
                })
                .await?;
            Target::Disk {
                file: tokio::fs::File::from_std(file),
                staged,
                path,
            }
        } else {
            let store = Arc::clone(&self.store);
            let writer = BufWriter::with_capacity(store, self.path.clone(), PART_BYTES)
                .with_max_concurrency(PARTS_AT_ONCE);
            Target::Store(Box::new(writer))
        };
        Ok(BulkWriter {
            place: self.clone(),
            target,
            written: 0,
        })
    }

    /// Makes this folder on local disk; object storage needs none.
    ///
    /// # Errors
    /// If it cannot be made.
    pub async fn make_folder(&self) -> Result<()> {
        let private = self.private.clone();
        match &self.local {
            None => Ok(()),
            Some(local) => {
                self.on_disk("make the folder", local, move |path| {
                    make_folders(path, private.as_deref())
                })
                .await
            }
        }
    }
}

impl BulkWriter {
    /// Appends `bytes`.
    ///
    /// # Errors
    /// If the disk is full, or the store is away or refuses; the file is lost then.
    pub async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        match &mut self.target {
            Target::Disk { file, .. } => file
                .write_all(&bytes)
                .await
                .map_err(|error| fault::of_disk(error, "write the file", &self.place)),
            Target::Store(writer) => writer
                .put(bytes)
                .await
                .map_err(|error| self.place.failed(error, "write the file")),
        }
    }

    /// Makes the file visible, durably, and says how many bytes it has.
    ///
    /// # Errors
    /// If the disk is full, or the store is away or refuses; the file is lost then.
    pub async fn finish(self) -> Result<u64> {
        let BulkWriter {
            place,
            target,
            written,
        } = self;
        match target {
            Target::Disk {
                mut file,
                staged,
                path,
            } => {
                let full = |error| fault::of_disk(error, "write the file", &place);
                file.flush().await.map_err(full)?;
                file.sync_all().await.map_err(full)?;
                place
                    .on_disk("publish the file", &path, move |path| staged.publish(path))
                    .await?;
            }
            Target::Store(mut writer) => {
                let done = writer.shutdown().await;
                done.map_err(|error| upload_failed(error, &place))?;
            }
        }
        Ok(written)
    }

    /// Gives the file up, and what is uploaded of it, as far as that can be done.
    pub async fn abort(self) {
        if let Target::Store(mut writer) = self.target {
            let _ = writer.abort().await;
        }
    }
}

/// `BufWriter` wraps the store's error in an `io::Error`; here it is unwrapped.
fn upload_failed(error: io::Error, place: &Location) -> Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => place.failed(error, "upload the file"),
        Err(error) => fault::of_disk(error, "upload the file", place),
    }
}

impl AsyncWrite for BulkWriter {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.target {
            Target::Disk { file, .. } => Pin::new(file).poll_write(cx, bytes),
            Target::Store(writer) => Pin::new(writer).poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(count)) = polled {
            self.written += count as u64;
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.target {
            Target::Disk { file, .. } => Pin::new(file).poll_flush(cx),
            Target::Store(writer) => Pin::new(writer).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
