//! A Parquet file that is written page by page.
//!
//! Arrow's own writer copies a text three times on its way into a page, and keeps a row group in
//! memory. Here a page is filled by whoever has the values, compressed, and written; what is held is
//! the page that is being filled. All values are plain, without statistics or indexes.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding};
use parquet::column::page::{CompressedPage, Page, PageWriter as _};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::SchemaDescPtr;

use super::bulk::folder_of;
use crate::base::{ErrorKind, Lz4, Result, ResultExt, scratch_error};

/// Bytes of a page before it is compressed: small enough to stay in the processor's own memory
/// while it is filled, compressed and read back.
const PAGE_BYTES: usize = 64 << 10;
/// Room before the values for the levels of a column that may be null.
const LEVELS_MAX: usize = 4 + 5 + 1;
const MAGIC: &[u8] = b"PAR1";

/// A page while it is filled.
#[derive(Debug)]
pub(super) struct PageBuffer {
    bytes: Vec<u8>,
    values: u32,
}

impl Default for PageBuffer {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(PAGE_BYTES + PAGE_BYTES / 8);
        bytes.resize(LEVELS_MAX, 0);
        PageBuffer { bytes, values: 0 }
    }
}

impl PageBuffer {
    /// Takes a value of fixed length.
    pub(super) fn push(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
        self.values += 1;
    }

    /// Takes a text.
    pub(super) fn push_text(&mut self, text: &str) -> Result<()> {
        let len =
            u32::try_from(text.len()).or_err(ErrorKind::Invalid, "a text of four gigabytes")?;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.push(text.as_bytes());
        Ok(())
    }

    /// Takes a null; of a page either all values are null or none.
    pub(super) fn push_null(&mut self) {
        self.values += 1;
    }

    /// Whether it is time to write it.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= PAGE_BYTES
    }

    /// The page's bytes. One whose column may be null says first that all values are there, or none:
    /// a run of levels.
    fn content(&mut self, has_levels: bool) -> &[u8] {
        if !has_levels {
            return &self.bytes[LEVELS_MAX..];
        }
        let is_there = self.bytes.len() > LEVELS_MAX;
        let mut run = Vec::with_capacity(LEVELS_MAX);
        let mut count = u64::from(self.values) << 1;
        while count >= 0x80 {
            run.push(count.to_le_bytes()[0] | 0x80);
            count >>= 7;
        }
        run.extend_from_slice(&[count.to_le_bytes()[0], u8::from(is_there)]);
        let start = LEVELS_MAX - 4 - run.len();
        let len = u32::try_from(run.len()).unwrap_or_default();
        self.bytes[start..start + 4].copy_from_slice(&len.to_le_bytes());
        self.bytes[start + 4..LEVELS_MAX].copy_from_slice(&run);
        &self.bytes[start..]
    }

    fn clear(&mut self) {
        self.bytes.truncate(LEVELS_MAX);
        self.values = 0;
    }
}

/// A column of the open row group, as far as it is written.
#[derive(Clone, Copy, Debug, Default)]
struct Chunk {
    start: u64,
    values: u64,
    compressed: u64,
    uncompressed: u64,
}

/// A file while it is written. The columns of a row group may come in any order, each at once.
pub(super) struct PageFile {
    sink: TrackedWrite<File>,
    /// Where the file lies, for errors.
    folder: PathBuf,
    schema: SchemaDescPtr,
    chunks: Vec<Chunk>,
    groups: Vec<RowGroupMetaData>,
    rows: u64,
    lz4: Lz4,
}

impl PageFile {
    /// A new file of `schema` at `path`.
    pub(super) fn create(path: &Path, schema: &Schema) -> Result<Self> {
        let folder = folder_of(path);
        let file = File::create(path).map_err(|error| scratch_error(&folder, error))?;
        let schema = ArrowSchemaConverter::new()
            .convert(schema)
            .or_err(ErrorKind::Internal, "the columns have no place in Parquet")?;
        let mut sink = TrackedWrite::new(file);
        sink.write_all(MAGIC)
            .map_err(|error| scratch_error(&folder, error))?;
        Ok(PageFile {
            sink,
            folder,
            chunks: vec![Chunk::default(); schema.num_columns()],
            schema: Arc::new(schema),
            groups: Vec::new(),
            rows: 0,
            lz4: Lz4::default(),
        })
    }

    /// Appends a page to `column`, and empties the buffer.
    pub(super) fn write(&mut self, column: usize, page: &mut PageBuffer) -> Result<()> {
        if page.values > 0 {
            self.write_page(column, page)
                .map_err(|error| scratch_error(&self.folder, error))?;
            page.clear();
        }
        Ok(())
    }

    fn write_page(&mut self, column: usize, page: &mut PageBuffer) -> ParquetResult<()> {
        let values = page.values;
        let content = page.content(self.schema.column(column).max_def_level() > 0);
        let uncompressed = content.len();
        let mut compressed = Vec::with_capacity(uncompressed + uncompressed / 128 + 32);
        self.lz4.compress(content, &mut compressed);
        let page = Page::DataPage {
            buf: Bytes::from(compressed),
            num_values: values,
            encoding: Encoding::PLAIN,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = CompressedPage::new(page, uncompressed);
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        let chunk = &mut self.chunks[column];
        if chunk.values == 0 {
            chunk.start = written.offset;
        }
        chunk.values += u64::from(values);
        chunk.compressed += written.bytes_written;
        chunk.uncompressed += written.uncompressed_size as u64;
        Ok(())
    }

    /// Ends a row group, whose columns have `rows` values each.
    pub(super) fn end_group(&mut self, rows: u64) -> Result<()> {
        self.rows += rows;
        let group = self.group(rows);
        self.groups
            .push(group.or_err(ErrorKind::Internal, "a row group is not whole")?);
        self.chunks.fill(Chunk::default());
        Ok(())
    }

    fn group(&self, rows: u64) -> ParquetResult<RowGroupMetaData> {
        let columns = self.chunks.iter().enumerate().map(|(at, chunk)| {
            ColumnChunkMetaData::builder(self.schema.column(at))
                .set_encodings(vec![Encoding::PLAIN, Encoding::RLE])
                .set_compression(Compression::LZ4_RAW)
                .set_num_values(chunk.values.cast_signed())
                .set_total_compressed_size(chunk.compressed.cast_signed())
                .set_total_uncompressed_size(chunk.uncompressed.cast_signed())
                .set_data_page_offset(chunk.start.cast_signed())
                .build()
        });
        let size: u64 = self.chunks.iter().map(|chunk| chunk.uncompressed).sum();
        RowGroupMetaData::builder(Arc::clone(&self.schema))
            .set_num_rows(rows.cast_signed())
            .set_total_byte_size(size.cast_signed())
            .set_column_metadata(columns.collect::<ParquetResult<_>>()?)
            .build()
    }

    /// Writes the footer; the number of rows.
    pub(super) fn finish(mut self) -> Result<u64> {
        self.write_footer()
            .map_err(|error| scratch_error(&self.folder, error))?;
        Ok(self.rows)
    }

    fn write_footer(&mut self) -> ParquetResult<()> {
        let created_by = concat!("columnist version ", env!("CARGO_PKG_VERSION")).to_owned();
        let schema = Arc::clone(&self.schema);
        let rows = self.rows.cast_signed();
        let file = FileMetaData::new(1, rows, Some(created_by), None, schema, None);
        let metadata = ParquetMetaData::new(file, std::mem::take(&mut self.groups));
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish()?;
        self.sink.write_all(&footer)?;
        self.sink.flush()?;
        Ok(())
    }
}
