//! What an Arrow file says of itself: its columns, where its batches lie, and how wide its rows are.
//!
//! A file has a footer that says where its batches lie; a stream has one message behind the other.

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::read_footer_length;
use arrow::ipc::{
    Block, MessageHeader, MetadataVersion, RecordBatch, root_as_footer, root_as_message,
};
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::base::{Error, ErrorKind, Location, Result, ResultExt, unknown_in};
use crate::source::error::unknown_type;
use crate::source::parquet::FileBytes;
use crate::work::Pin;

/// What a file, and no stream, begins and ends with.
const MAGIC: &[u8] = b"ARROW1";
/// The magic behind a file's footer, with the footer's length before it.
const TRAILER: u64 = 10;
/// Bytes that are not worth a call of their own to a store: heads of batches, not their bodies.
const FEW: usize = 64 << 10;
/// What stands before a message's length since version 0.15 of Arrow.
const CONTINUES: [u8; 4] = [0xff; 4];

/// The first word about a file.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) schema: SchemaRef,
    /// The bytes of a row, in the batch where they are most.
    pub(super) width: u64,
}

impl Head {
    /// Reads it, and finds out whether the file is whole. To be called where blocking is allowed.
    pub(super) fn read(location: &Location, pin: &Pin) -> Result<Head> {
        let file = IpcBytes::open(location, pin)?;
        if file.is_stream()? {
            return file.head_of_stream();
        }
        let footer = file.footer()?;
        let mut widest = Widest::default();
        for block in &footer.batches {
            file.look_at(block, &mut widest)?;
        }
        Ok(Head {
            schema: footer.schema,
            width: file.width(&widest)?,
        })
    }
}

/// The batch whose rows are widest, as it is stored.
#[derive(Debug, Default)]
struct Widest {
    width: u64,
    block: Option<Block>,
}

/// A file's footer.
#[derive(Debug)]
pub(super) struct Footer {
    pub(super) schema: SchemaRef,
    pub(super) version: MetadataVersion,
    pub(super) dictionaries: Vec<Block>,
    pub(super) batches: Vec<Block>,
}

/// An Arrow file's bytes.
pub(super) struct IpcBytes {
    pub(super) bytes: FileBytes,
    url: String,
    size: u64,
}

impl IpcBytes {
    pub(super) fn open(location: &Location, pin: &Pin) -> Result<IpcBytes> {
        let url = location.url.to_string();
        let bytes = FileBytes::open(location, pin.size, pin.etag.as_deref())
            .or_err(ErrorKind::Unavailable, "cannot open the file")
            .map_err(|error| error.with("file", &url))?;
        if bytes.len() != pin.size {
            return Err(
                Error::unavailable("the file changed while it was being read")
                    .with("file", &url)
                    .hint("run again once nobody writes to it"),
            );
        }
        Ok(IpcBytes {
            bytes,
            url,
            size: pin.size,
        })
    }

    /// Whether it is a stream, and no file.
    pub(super) fn is_stream(&self) -> Result<bool> {
        let first = self.get(0, self.size.min(8))?;
        if first.starts_with(b"FEA1") {
            return Err(self
                .damaged("it is a Feather file of the first version")
                .hint(WRITE_ANEW));
        }
        Ok(!first.starts_with(MAGIC))
    }

    /// The footer of a file.
    pub(super) fn footer(&self) -> Result<Footer> {
        let end = self.size.checked_sub(TRAILER);
        let end = end.ok_or_else(|| self.damaged(CUT_OFF))?;
        let mut trailer = [0; 10];
        trailer.copy_from_slice(&self.get(end, TRAILER)?);
        let length = read_footer_length(trailer).map_err(|_| self.damaged(CUT_OFF))?;
        let start = end.checked_sub(length as u64);
        let start = start.ok_or_else(|| self.damaged(CUT_OFF))?;
        let footer = self.get(start, length as u64)?;
        let footer = root_as_footer(&footer).map_err(|error| self.damaged(error.to_string()))?;
        let schema = footer.schema().ok_or_else(|| self.damaged(CUT_OFF))?;
        self.check_schema(schema)?;
        Ok(Footer {
            schema: fb_to_schema(schema).into(),
            version: footer.version(),
            dictionaries: collected(footer.dictionaries()),
            batches: collected(footer.recordBatches()),
        })
    }

    fn check_schema(&self, schema: ipc::Schema<'_>) -> Result<()> {
        if !schema.endianness().equals_to_target_endianness() {
            return Err(self.damaged("its bytes stand in the order of another kind of processor"));
        }
        match unknown_in(schema) {
            Some(column) => Err(unknown_type(&column, &self.url)),
            None => Ok(()),
        }
    }

    /// Walks the messages of a stream.
    fn head_of_stream(&self) -> Result<Head> {
        let (mut at, mut schema, mut widest) = (0, None, Widest::default());
        while let Some((block, message)) = self.message(at)? {
            let message =
                root_as_message(&message).map_err(|error| self.damaged(error.to_string()))?;
            match (message.header_type(), message.header_as_schema()) {
                (MessageHeader::Schema, Some(found)) if schema.is_none() => {
                    self.check_schema(found)?;
                    schema = Some(fb_to_schema(found).into());
                }
                (MessageHeader::RecordBatch, _) => self.look_at(&block, &mut widest)?,
                _ => {}
            }
            at = self.end_of(&block)?;
        }
        Ok(Head {
            schema: schema.ok_or_else(|| self.damaged(CUT_OFF))?,
            width: self.width(&widest)?,
        })
    }

    /// The message of a stream that begins at `at`; none behind the last.
    fn message(&self, at: u64) -> Result<Option<(Block, Bytes)>> {
        if at == self.size {
            return Ok(None);
        }
        let mut start = 4;
        let mut word = self.get(at, 4)?;
        if word[..] == CONTINUES {
            start = 8;
            word = self.get(at + 4, 4)?;
        }
        let length = number(&word);
        if length == 0 {
            return Ok(None);
        }
        let bytes = self.get(at + start, length)?;
        let message = root_as_message(&bytes).map_err(|error| self.damaged(error.to_string()))?;
        let too_long = || self.damaged(CUT_OFF);
        let meta = i32::try_from(start + length).map_err(|_| too_long())?;
        let at = i64::try_from(at).map_err(|_| too_long())?;
        Ok(Some((Block::new(at, meta, message.bodyLength()), bytes)))
    }

    /// Where a block ends, which must not be behind the file's end.
    fn end_of(&self, block: &Block) -> Result<u64> {
        let parts = [
            block.offset(),
            i64::from(block.metaDataLength()),
            block.bodyLength(),
        ];
        let parts = parts.into_iter().map(|part| u64::try_from(part).ok());
        let end = parts.reduce(|sum, part| sum?.checked_add(part?)).flatten();
        end.filter(|end| *end <= self.size)
            .ok_or_else(|| self.damaged(CUT_OFF))
    }

    /// The whole of a block, which is held once.
    pub(super) fn block(&self, block: &Block) -> Result<Buffer> {
        let end = self.end_of(block)?;
        let start = u64::try_from(block.offset()).unwrap_or(0);
        self.get(start, end - start).map(Buffer::from)
    }

    fn head_of(&self, block: &Block) -> Result<Bytes> {
        self.end_of(block)?;
        let start = u64::try_from(block.offset()).unwrap_or(0);
        let length = u64::try_from(block.metaDataLength()).unwrap_or(0);
        self.get(start, length)
    }

    fn look_at(&self, block: &Block, widest: &mut Widest) -> Result<()> {
        let head = self.head_of(block)?;
        let rows = self.batch_in(&head)?.length();
        let rows = u64::try_from(rows).unwrap_or(0).max(1);
        let bytes = u64::try_from(block.bodyLength()).unwrap_or(0);
        let width = bytes.div_ceil(rows);
        if widest.block.is_none() || width > widest.width {
            *widest = Widest {
                width,
                block: Some(*block),
            };
        }
        Ok(())
    }

    /// What a row of the widest batch holds, unpacked: before each packed buffer stands its length.
    fn width(&self, widest: &Widest) -> Result<u64> {
        let Some(block) = &widest.block else {
            return Ok(0);
        };
        let head = self.head_of(block)?;
        let batch = self.batch_in(&head)?;
        if batch.compression().is_none() {
            return Ok(widest.width);
        }
        let body = u64::try_from(block.offset()).unwrap_or(0) + head.len() as u64;
        let mut bytes = 0_u64;
        for buffer in batch.buffers().into_iter().flatten() {
            let (at, length) = (
                u64::try_from(buffer.offset()),
                u64::try_from(buffer.length()),
            );
            if let (Ok(at), Ok(8..)) = (at, length) {
                let word = self.get(body.saturating_add(at), 8)?;
                // All bits set: this one is not packed.
                let stored = length.unwrap_or(0);
                let unpacked = Some(number(&word)).filter(|length| *length != u64::MAX);
                bytes = bytes.saturating_add(unpacked.unwrap_or(stored));
            }
        }
        let rows = u64::try_from(batch.length()).unwrap_or(0).max(1);
        Ok(bytes.div_ceil(rows))
    }

    fn batch_in<'b>(&self, head: &'b [u8]) -> Result<RecordBatch<'b>> {
        let message = match head.strip_prefix(&CONTINUES) {
            Some(rest) => rest.get(4..),
            None => head.get(4..),
        };
        let message = root_as_message(message.unwrap_or_default());
        let message = message.map_err(|error| self.damaged(error.to_string()))?;
        let notes = message.custom_metadata().into_iter().flatten();
        if notes.into_iter().any(|note| note.key() == Some(EXPERIMENT)) {
            return Err(self.experiment());
        }
        message
            .header_as_record_batch()
            .ok_or_else(|| self.damaged("where a batch should be is something else"))
    }

    /// Arrow's reader would take the packed bytes for values.
    fn experiment(&self) -> Error {
        Error::invalid("an Arrow file of version 0.17 is packed in a way that did not stay")
            .with("file", &self.url)
            .hint(WRITE_ANEW)
    }

    fn get(&self, start: u64, length: u64) -> Result<Bytes> {
        let end = start.checked_add(length);
        if end.is_none_or(|end| end > self.size) {
            return Err(self.damaged(CUT_OFF));
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let length = usize::try_from(length).or_err(ErrorKind::Internal, "a file is too long")?;
        let got = if length < FEW {
            self.bytes.get_few(start, length)
        } else {
            self.bytes.get_bytes(start, length)
        };
        got.map_err(|error| match error {
            ParquetError::EOF(_) => self.damaged(CUT_OFF),
            error => self.away(error),
        })
    }

    pub(super) fn away(&self, cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        Error::unavailable("cannot read the file")
            .with("file", &self.url)
            .because(cause)
    }

    pub(super) fn damaged(
        &self,
        why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        damaged(&self.url, why)
    }
}

fn collected<'b>(blocks: Option<impl IntoIterator<Item = &'b Block>>) -> Vec<Block> {
    blocks.into_iter().flatten().copied().collect()
}

/// A number whose lowest byte stands first.
fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// What Arrow 0.17 noted of a message whose buffers it had compressed, before the format had a place for it.
const EXPERIMENT: &str = "ARROW:experimental_compression";
const WRITE_ANEW: &str =
    "write it anew: `pyarrow.feather.write_feather(pyarrow.feather.read_table(\"OLD\"), \"NEW\")`";
const CUT_OFF: &str = "it is neither an Arrow file nor an Arrow stream, or not a whole one";

/// That the file cannot be read as what it is called.
pub(super) fn damaged(
    url: &str,
    why: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::invalid("a file of the source cannot be read as what it is called")
        .with("file", url)
        .hint("make it anew, or give it the ending of its real format")
        .because(why)
}
