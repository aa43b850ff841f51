//! Compressed text files, read as if they were not compressed.
//!
//! DataFusion unpacks local files to their end, and what comes from a store by decoders of another
//! kind, some of which take the end of the first member for the end of the file: parallel bzip2 and
//! `cat a.xz b.xz` write more than one, and the rest would be lost without a word. Here every file
//! takes the same way, and its last byte arrives.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::mpsc;

use crate::base;

use super::blocking_reader::BlockingReader;

/// Bytes that are unpacked at once.
const PIECE: usize = 64 << 10;
/// Pieces that wait to be read.
const AHEAD: usize = 4;

/// A store whose files are all compressed in the same way; what is got from it is decompressed, and whole.
#[derive(Debug)]
pub(super) struct DecompressedStore {
    inner: Arc<dyn ObjectStore>,
    compression: FileCompressionType,
}

impl DecompressedStore {
    /// The files of `inner`, which are `packed`.
    pub(super) fn new(
        inner: Arc<dyn ObjectStore>,
        compression: FileCompressionType,
    ) -> DecompressedStore {
        DecompressedStore { inner, compression }
    }
}

impl fmt::Display for DecompressedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, unpacked", self.inner)
    }
}

#[async_trait]
impl ObjectStore for DecompressedStore {
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if options.range.is_some() {
            return Err(Error::NotSupported {
                source: "a part of a compressed file".into(),
            });
        }
        let got = self.inner.get_opts(path, options).await?;
        let (meta, range, attributes) =
            (got.meta.clone(), got.range.clone(), got.attributes.clone());
        Ok(GetResult {
            payload: GetResultPayload::Stream(decompress(got, self.compression)),
            meta,
            range,
            attributes,
        })
    }

    async fn get_ranges(&self, path: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>> {
        Err(Error::NotSupported {
            source: format!("parts of a compressed file: {path}").into(),
        })
    }

    async fn put_opts(&self, path: &Path, data: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(path, data, how).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, how).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, how).await
    }
}

/// What `got` holds, unpacked on a thread of its own, a little ahead of its reader.
fn decompress(
    got: GetResult,
    compression: FileCompressionType,
) -> BoxStream<'static, Result<Bytes>> {
    let name = got.meta.location.clone();
    let (source, failure) = BlockingReader::new(got.into_stream());
    let (sender, mut receiver) = mpsc::channel(AHEAD);
    let unpacking = tokio::task::spawn_blocking(move || {
        let broken = |cause: Box<dyn std::error::Error + Send + Sync>| {
            failure.take().unwrap_or_else(|| damaged(&name, cause))
        };
        let mut reader = match compression.convert_read(source) {
            Ok(reader) => reader,
            Err(error) => return drop(sender.blocking_send(Err(broken(error.into())))),
        };
        loop {
            let piece = read_piece(&mut reader).map_err(|error| broken(error.into()));
            let is_last = piece.as_ref().map_or(true, Bytes::is_empty);
            // The reader is gone where a limit was reached.
            if sender.blocking_send(piece).is_err() || is_last {
                return;
            }
        }
    });
    let pieces = stream::poll_fn(move |context| receiver.poll_recv(context));
    // A panic of the thread is never taken for the end of the file.
    let ended = stream::once(unpacking)
        .filter_map(|ended| async { ended.err().map(|source| Err(Error::JoinError { source })) });
    pieces.chain(ended).boxed()
}

/// A file that is not what its ending says, or is cut, as an error that says so through the store's.
fn damaged(name: &Path, cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    let error =
        base::Error::invalid("a compressed file is damaged, or not packed as its name says")
            .with("file", name)
            .because(cause)
            .hint("make it anew; `.gz`, `.bz2`, `.xz` and `.zst` are unpacked");
    Error::Generic {
        store: "compressed file",
        source: error.into(),
    }
}

/// The next bytes; none at the end.
fn read_piece(reader: &mut impl Read) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(PIECE);
    reader.take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece.into())
}

#[cfg(test)]
mod tests {
    use datafusion::common::parsers::CompressionTypeVariant as Packed;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    const TEXT: &str = "id,body\n1,\"first\nline\"\n2,\"second, of another member\"\n";
    const GZ: &[u8] = include_bytes!("../../../fixtures/tables/two-members.csv.gz");
    const BZ2: &[u8] = include_bytes!("../../../fixtures/tables/two-members.csv.bz2");
    const XZ: &[u8] = include_bytes!("../../../fixtures/tables/two-members.csv.xz");
    const ZST: &[u8] = include_bytes!("../../../fixtures/tables/two-members.csv.zst");

    async fn unpacked(bytes: &'static [u8], compression: Packed) -> Result<Bytes> {
        let (store, path) = (InMemory::new(), Path::from("t"));
        store.put(&path, Bytes::from_static(bytes).into()).await?;
        let store = DecompressedStore::new(Arc::new(store), FileCompressionType::from(compression));
        store.get(&path).await?.bytes().await
    }

    #[tokio::test]
    async fn every_member_of_a_file_arrives() {
        for (bytes, compression) in [
            (GZ, Packed::GZIP),
            (BZ2, Packed::BZIP2),
            (XZ, Packed::XZ),
            (ZST, Packed::ZSTD),
        ] {
            let text = unpacked(bytes, compression).await.expect("unpacked");
            assert_eq!(text, TEXT, "{compression:?}");
        }
    }

    #[tokio::test]
    async fn a_file_of_many_pieces_arrives_whole() {
        let text: &'static [u8] = vec![b'x'; 3 * PIECE + 7].leak();
        let whole = unpacked(text, Packed::UNCOMPRESSED).await.expect("bytes");
        assert!(whole == text, "{} bytes of {}", whole.len(), text.len());
    }

    #[tokio::test]
    async fn what_is_cut_or_not_packed_so_is_an_error_that_says_so() {
        for (bytes, compression) in [
            (&GZ[..GZ.len() - 9], Packed::GZIP),
            (&BZ2[..BZ2.len() - 9], Packed::BZIP2),
            (&XZ[..XZ.len() - 9], Packed::XZ),
            (&ZST[..ZST.len() - 9], Packed::ZSTD),
            (TEXT.as_bytes(), Packed::GZIP),
            (GZ, Packed::BZIP2),
            (TEXT.as_bytes(), Packed::XZ),
            (TEXT.as_bytes(), Packed::ZSTD),
        ] {
            let error = unpacked(bytes, compression).await.expect_err("damaged");
            assert!(
                error.to_string().contains("damaged"),
                "{compression:?}: {error}"
            );
        }
    }
}
