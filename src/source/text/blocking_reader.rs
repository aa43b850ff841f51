//! A store's bytes for readers that block: they pull, and wait where nothing has come yet.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::runtime::Handle;

/// A stream of bytes, read on a thread that may block.
pub(super) struct BlockingReader {
    runtime: Handle,
    stream: BoxStream<'static, object_store::Result<Bytes>>,
    piece: Bytes,
    failure: StoreFailure,
}

/// Why a [`BlockingReader`] failed, if it did: readers make a text of the errors beneath them, and whether the
/// store or the file is to blame would be lost.
#[derive(Clone, Default)]
pub(super) struct StoreFailure(Arc<Mutex<Option<object_store::Error>>>);

impl StoreFailure {
    /// What the store said.
    pub(super) fn take(&self) -> Option<object_store::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: object_store::Error) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl BlockingReader {
    /// Reads `stream`. To be made where the runtime is, and read where blocking is allowed.
    pub(super) fn new(
        stream: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> (BlockingReader, StoreFailure) {
        BlockingReader::on(Handle::current(), stream)
    }

    /// Reads `stream`, which `runtime` drives.
    pub(super) fn on(
        runtime: Handle,
        stream: BoxStream<'static, object_store::Result<Bytes>>,
    ) -> (BlockingReader, StoreFailure) {
        let failure = StoreFailure::default();
        let pull = BlockingReader {
            runtime,
            stream,
            piece: Bytes::new(),
            failure: failure.clone(),
        };
        (pull, failure)
    }
}

impl Read for BlockingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(error)) => {
                    self.failure.set(error);
                    return Err(io::Error::other("the store failed"));
                }
                None => return Ok(0),
            }
        }
        let taken = self.piece.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.piece.split_to(taken));
        Ok(taken)
    }
}
