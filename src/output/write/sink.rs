//! Where an output file's bytes go: a file on disk, or an upload.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use object_store::buffered::BufWriter;
use tokio::io::AsyncWriteExt;

use crate::base::{Error, Location, Result};
use crate::output::bridge::Bridge;
use crate::output::error::{from_io, from_store};

/// An output file while it is written, from a blocking thread.
#[derive(Debug)]
pub(in crate::output) enum Sink {
    /// A file on disk.
    Disk(Disk),
    /// An object that appears when it is finished.
    Upload(Box<Upload>),
    /// Nowhere: the bytes are only counted.
    Nowhere(u64),
}

/// A file on disk while it is written.
#[derive(Debug)]
pub(in crate::output) struct Disk {
    file: File,
    path: PathBuf,
    written: u64,
}

/// An upload under way.
#[derive(Debug)]
pub(in crate::output) struct Upload {
    writer: BufWriter,
    bridge: Bridge,
    url: String,
    written: u64,
}

/// Parts of an upload that are in flight at once; with one more being filled, this is its memory.
const UPLOADS_MAX: usize = 3;

/// The smallest part of an upload.
const PART_BYTES_MIN: u64 = 6 << 20;

/// Stores take 10,000 parts; the output is a little larger than the source.
const PARTS_MAX: u64 = 8_000;

const WRITING: &str = "cannot write the output";

impl Sink {
    /// A new file at `path`; its folders are made.
    pub(in crate::output) fn create(path: PathBuf) -> Result<Sink> {
        let made = path
            .parent()
            .map_or(Ok(()), std::fs::create_dir_all)
            .and_then(|()| File::create(&path));
        match made {
            Ok(file) => Ok(Sink::Disk(Disk {
                file,
                path,
                written: 0,
            })),
            Err(error) => Err(from_io(error, WRITING, path.display())),
        }
    }

    /// An upload to `location` of about `expected` bytes.
    pub(in crate::output) fn upload(location: &Location, expected: u64, bridge: Bridge) -> Sink {
        let part = (expected / PARTS_MAX).max(PART_BYTES_MIN);
        let part = usize::try_from(part).unwrap_or(usize::MAX);
        let store = Arc::clone(&location.store);
        let writer = BufWriter::with_capacity(store, location.path.clone(), part)
            .with_max_concurrency(UPLOADS_MAX);
        Sink::Upload(Box::new(Upload {
            writer,
            bridge,
            url: location.url.to_string(),
            written: 0,
        }))
    }

    /// How many bytes it has.
    pub(in crate::output) fn written(&self) -> u64 {
        match self {
            Sink::Disk(disk) => disk.written,
            Sink::Upload(upload) => upload.written,
            Sink::Nowhere(written) => *written,
        }
    }

    /// Its folder on disk, if it has one: a place for temporary files beside it.
    pub(in crate::output) fn folder(&self) -> Option<&Path> {
        match self {
            Sink::Disk(disk) => disk.path.parent(),
            Sink::Upload(_) | Sink::Nowhere(_) => None,
        }
    }

    /// Appends `bytes`.
    pub(in crate::output) fn put(&mut self, bytes: Bytes) -> Result<()> {
        match self {
            Sink::Disk(disk) => disk.append(&bytes),
            Sink::Upload(upload) => upload.append(bytes),
            Sink::Nowhere(written) => {
                *written += bytes.len() as u64;
                Ok(())
            }
        }
    }

    /// Counts `length` bytes and says so where bytes go nowhere; else they have to be read and put.
    pub(in crate::output) fn pass_by(&mut self, length: u64) -> bool {
        match self {
            Sink::Nowhere(written) => {
                *written += length;
                true
            }
            Sink::Disk(_) | Sink::Upload(_) => false,
        }
    }

    /// Appends a range of a file by the kernel alone where this is a file too; `false` where it is
    /// not, and nothing was done.
    pub(in crate::output) fn put_from_file(
        &mut self,
        source: &File,
        range: &Range<u64>,
    ) -> Result<bool> {
        match self {
            Sink::Disk(disk) => disk.append_from(source, range).map(|()| true),
            Sink::Upload(_) | Sink::Nowhere(_) => Ok(false),
        }
    }

    /// Makes it durable; an upload appears now.
    pub(in crate::output) fn finish(self) -> Result<u64> {
        match self {
            Sink::Disk(disk) => disk.finish(),
            Sink::Upload(upload) => upload.finish(),
            Sink::Nowhere(written) => Ok(written),
        }
    }

    /// Gives up: an upload's parts are dropped, as far as the store can be reached. A file is left
    /// to whoever owns its folder.
    pub(in crate::output) fn abandon(self) {
        if let Sink::Upload(mut upload) = self {
            let bridge = upload.bridge.clone();
            let aborted = bridge.wait(async {
                let aborted = upload.writer.abort().await;
                aborted.map_err(|error| from_store(error, WRITING, &upload.url))
            });
            if let Err(error) = aborted {
                tracing::warn!(%error, "an unfinished upload could not be dropped");
            }
        }
    }
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Disk(disk) => disk.append(buf),
            Sink::Upload(upload) => upload.append_slice(buf),
            Sink::Nowhere(written) => {
                *written += buf.len() as u64;
                Ok(())
            }
        }
        .map_err(io::Error::other)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Disk {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file
            .write_all(bytes)
            .map_err(|error| self.explain(error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn append_from(&mut self, mut source: &File, range: &Range<u64>) -> Result<()> {
        let length = range.end - range.start;
        // `io::copy` between two files is `copy_file_range`: the bytes never come up to us.
        let copied = source
            .seek(SeekFrom::Start(range.start))
            .and_then(|_| io::copy(&mut source.take(length), &mut self.file))
            .map_err(|error| self.explain(error))?;
        self.written += copied;
        if copied == length {
            Ok(())
        } else {
            Err(
                Error::invalid("a source file became shorter while it was copied")
                    .hint("the table is being rewritten; run the job again when it rests"),
            )
        }
    }

    fn finish(self) -> Result<u64> {
        match self.file.sync_all() {
            Ok(()) => Ok(self.written),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn explain(&self, error: io::Error) -> Error {
        from_io(error, WRITING, self.path.display())
    }
}

impl Upload {
    fn append(&mut self, bytes: Bytes) -> Result<()> {
        self.written += bytes.len() as u64;
        let put = async {
            let put = self.writer.put(bytes).await;
            put.map_err(|error| from_store(error, WRITING, &self.url))
        };
        self.bridge.wait(put)
    }

    fn append_slice(&mut self, bytes: &[u8]) -> Result<()> {
        self.written += bytes.len() as u64;
        let write = async {
            let written = self.writer.write_all(bytes).await;
            written.map_err(|error| from_upload(error, &self.url))
        };
        self.bridge.wait(write)
    }

    fn finish(mut self) -> Result<u64> {
        let shutdown = async {
            let done = self.writer.shutdown().await;
            done.map_err(|error| from_upload(error, &self.url))
        };
        self.bridge.wait(shutdown)?;
        Ok(self.written)
    }
}

/// The store's error out of the `io::Error` that the writer's trait wants.
fn from_upload(error: io::Error, url: &str) -> Error {
    match error.downcast::<object_store::Error>() {
        Ok(error) => from_store(error, WRITING, url),
        Err(error) => from_io(error, WRITING, url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ErrorKind;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_said_to_be_full() {
        let full = || Sink::create(PathBuf::from("/dev/full")).expect("it opens");
        let source = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(source.path(), "some bytes").unwrap();
        let put = full().put(Bytes::from_static(b"some bytes"));
        let copied = full().put_from_file(source.as_file(), &(0..10)).map(drop);
        for result in [put, copied] {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable);
            assert!(error.hint_text().is_some_and(|hint| hint.contains("full")));
        }
    }
}
