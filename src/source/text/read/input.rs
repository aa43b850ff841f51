//! The bytes of one text file, for readers that block, with the places that their errors name.

use std::io::Read;
use std::sync::Arc;

use datafusion::common::DataFusionError;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use crate::base::{Error, Result};
use crate::source::error::from_datafusion;
use crate::source::text::blocking_reader::{BlockingReader, StoreFailure};

/// Bytes that are asked for at once.
const PIECE: usize = 64 << 10;
/// The longest record. What is longer is a quote that was never closed, or no table.
const RECORD_MAX: usize = 128 << 20;

/// One file, read from its beginning.
pub(crate) struct BufferedInput {
    reader: Box<dyn Read>,
    failure: StoreFailure,
    url: Arc<str>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl BufferedInput {
    /// Opens `object`, which is called `url` in errors. A byte-order mark is passed over.
    ///
    /// To be called where blocking is allowed, as is everything here.
    pub(crate) fn open(
        runtime: &Handle,
        store: &Arc<dyn ObjectStore>,
        object: &ObjectMeta,
        url: &str,
    ) -> Result<BufferedInput> {
        let got = runtime
            .block_on(store.get(&object.location))
            .map_err(|error| away(error, url))?;
        let (pull, failure) = BlockingReader::on(runtime.clone(), got.into_stream());
        BufferedInput::of(Box::new(pull), failure, url)
    }

    fn of(reader: Box<dyn Read>, failure: StoreFailure, url: &str) -> Result<BufferedInput> {
        let mut input = BufferedInput {
            reader,
            failure,
            url: url.into(),
            buffer: Vec::new(),
            start: 0,
            end: 0,
        };
        while input.held().len() < 3 && input.more()? {}
        match input.held() {
            [0xef, 0xbb, 0xbf, ..] => input.consume(3),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                return Err(Error::invalid("the file is UTF-16, and only UTF-8 is read")
                    .with("file", url)
                    .hint("make it anew, as by `iconv -f UTF-16 -t UTF-8 OLD > NEW`"));
            }
            _ => {}
        }
        Ok(input)
    }

    /// These bytes, of which a few come at a time: what is at hand then ends anywhere.
    #[cfg(test)]
    pub(crate) fn of_bytes(bytes: &[u8], at_once: usize) -> Result<BufferedInput> {
        struct Drops(std::io::Cursor<Vec<u8>>, usize);
        impl Read for Drops {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let most = buffer.len().min(self.1);
                self.0.read(&mut buffer[..most])
            }
        }
        let drops = Drops(std::io::Cursor::new(bytes.to_vec()), at_once);
        BufferedInput::of(Box::new(drops), StoreFailure::default(), "memory:///t")
    }

    /// What is at hand.
    pub(crate) fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// What is at hand, after reading on if that is nothing: empty only at the end of the file.
    pub(crate) fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            self.more()?;
        }
        Ok(self.held())
    }

    /// Reads on, behind what is at hand; whether there was more.
    pub(crate) fn more(&mut self) -> Result<bool> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + PIECE {
            self.buffer.resize((2 * self.end).max(PIECE) + PIECE, 0);
        }
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.end += read;
                    return Ok(true);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// Takes `bytes` of what is at hand away.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.start = (self.start + bytes).min(self.end);
    }

    /// An error about a line of this file.
    pub(crate) fn line_error(&self, line: u64, message: &str) -> Error {
        line_error(&self.url, line, message)
    }

    /// Refuses a record of `bytes` that began on `line`, if it is too long to be one.
    pub(crate) fn bound(&self, bytes: usize, line: u64) -> Result<()> {
        if bytes <= RECORD_MAX {
            return Ok(());
        }
        Err(self
            .line_error(line, "a record is longer than 128 MiB")
            .hint(
                "is it one record? A quote that is never closed makes one of all that follows it",
            ))
    }

    /// That a line is not UTF-8.
    pub(crate) fn not_utf8(&self, line: u64) -> Error {
        self.line_error(line, "the file is not UTF-8")
            .hint("make it anew; a file of Windows or Excel often is `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`")
    }

    fn failed(&self, error: std::io::Error) -> Error {
        match self.failure.take() {
            Some(store) => away(store, &self.url),
            None => Error::unavailable("cannot read the file")
                .with("file", &self.url)
                .because(error),
        }
    }
}

/// An error about a line of a file.
pub(crate) fn line_error(url: &str, line: u64, message: &str) -> Error {
    Error::invalid(message).with("file", url).with("line", line)
}

fn away(error: object_store::Error, url: &str) -> Error {
    from_datafusion(DataFusionError::from(error), "cannot read the file").with("file", url)
}
