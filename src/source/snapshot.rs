//! A query's result, or a table of another format, written once as Parquet, in its order.
//!
//! From there on there is one path: everything after it reads Parquet files. Row groups are bounded
//! in rows and in bytes, for the writer holds one in memory; files are bounded in rows.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::TryStreamExt;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, AsyncArrowWriter};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::source::parquet::stored_schema;
use crate::source::scan::Slices;

/// The rows of a file.
const FILE_ROWS: u64 = 1 << 20;
/// The rows of a row group.
const GROUP_ROWS: usize = 1 << 16;
/// The bytes of a row group, encoded. What is being written is in memory.
const GROUP_BYTES: usize = 4 << 20;
/// The bytes of a page, and of a dictionary, before they are encoded. Buffers of each column grow with
/// them, and what the allocator keeps of those grows with their size.
const PAGE_BYTES: usize = 256 << 10;
/// What is handed to a store at once.
const UPLOAD_BYTES: usize = 8 << 20;

/// What encodes the rows. On local disk the pages go straight into the file; on their way to a store
/// they are held twice.
enum Writer {
    Local(Box<ArrowWriter<File>>),
    Stored(Box<AsyncArrowWriter<BufWriter>>),
}

/// Writes `rows` into files beneath `folder`, and returns their places. There is at least one file,
/// even of an empty table.
pub(crate) async fn write(
    mut rows: Slices,
    schema: &SchemaRef,
    folder: &Location,
) -> Result<Vec<Location>> {
    let mut files = Vec::new();
    let mut open: Option<(OpenPart, u64)> = None;
    while let Some(slice) = rows.try_next().await? {
        let (mut part, written) = match open.take() {
            Some(open) => open,
            None => (OpenPart::create(folder, files.len(), schema)?, 0),
        };
        let written = written + slice.batch.num_rows() as u64;
        part.write(&slice.batch).await?;
        // Writing to disk never waits, and a cancellation must get its turn all the same.
        tokio::task::yield_now().await;
        if written >= FILE_ROWS {
            files.push(part.finish().await?);
        } else {
            open = Some((part, written));
        }
    }
    match open {
        Some((part, _)) => files.push(part.finish().await?),
        None if files.is_empty() => {
            files.push(OpenPart::create(folder, 0, schema)?.finish().await?);
        }
        None => {}
    }
    Ok(files)
}

/// A file that is being written.
struct OpenPart {
    writer: Writer,
    place: Location,
}

impl OpenPart {
    fn create(folder: &Location, number: usize, schema: &SchemaRef) -> Result<OpenPart> {
        let place = folder.join(&format!("part-{number:05}.parquet"));
        let unlike = |error| {
            Error::invalid("a column's type cannot be kept as Parquet")
                .hint("cast it in the query")
                .because(error)
        };
        let stored_schema = stored_schema(schema).map_err(unlike)?;
        let options = ArrowWriterOptions::new()
            .with_properties(properties())
            .with_parquet_schema(stored_schema);
        let schema = Arc::clone(schema);
        let writer = match &place.local {
            Some(local) => {
                let file = create(local, place.private.is_some())
                    .map_err(|error| cannot_write(error, &place))?;
                ArrowWriter::try_new_with_options(file, schema, options)
                    .map(|writer| Writer::Local(Box::new(writer)))
            }
            None => AsyncArrowWriter::try_new_with_options(stored(&place), schema, options)
                .map(|writer| Writer::Stored(Box::new(writer))),
        };
        let writer = writer.map_err(unlike)?;
        Ok(OpenPart { writer, place })
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        match &mut self.writer {
            Writer::Local(writer) => writer.write(batch),
            Writer::Stored(writer) => writer.write(batch).await,
        }
        .map_err(|error| cannot_write(error, &self.place))
    }

    /// Makes the file whole, durable, and visible under its name.
    async fn finish(self) -> Result<Location> {
        let place = self.place;
        match self.writer {
            Writer::Local(writer) => writer.close().map(drop),
            Writer::Stored(writer) => writer.close().await.map(drop),
        }
        .map_err(|error| cannot_write(error, &place))?;
        if let Some(local) = place.local.clone() {
            tokio::task::spawn_blocking(move || settle(&local))
                .await
                .or_err(ErrorKind::Internal, "writing the snapshot was cut off")?
                .map_err(|error| cannot_write(error, &place))?;
        }
        Ok(place)
    }
}

/// A new file, to be read by its owner alone if its place is private.
fn create(local: &std::path::Path, private: bool) -> std::io::Result<File> {
    let (of_folder, of_file) = if private {
        (0o700, 0o600)
    } else {
        (0o777, 0o666)
    };
    let mut folder = DirBuilder::new();
    folder.recursive(true).mode(of_folder);
    folder.create(local.parent().unwrap_or(local))?;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(of_file);
    options.open(aside(local))
}

fn stored(place: &Location) -> BufWriter {
    let path: Path = place.path.clone();
    BufWriter::with_capacity(Arc::clone(&place.store), path, UPLOAD_BYTES)
}

/// Where a local file is written before it has its name.
fn aside(local: &std::path::Path) -> std::path::PathBuf {
    let mut name = std::ffi::OsString::from("_");
    name.push(local.file_name().unwrap_or_default());
    local.with_file_name(name)
}

fn settle(local: &std::path::Path) -> std::io::Result<()> {
    std::fs::File::open(aside(local))?.sync_all()?;
    std::fs::rename(aside(local), local)?;
    match local.parent() {
        Some(parent) => std::fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(CODEC)
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_data_page_size_limit(PAGE_BYTES)
        .set_dictionary_page_size_limit(PAGE_BYTES)
        .set_write_batch_size(128)
        .build()
}

/// The snapshot's codec is the output's, where the output is spliced from it. On tickets of 1 KB it
/// takes two thirds of the time of snappy and of zstd's level 1, and less than half of it to read; the
/// file is as large as with snappy, and half as large again as with zstd. Readers have known it since
/// 2021.
const CODEC: Compression = Compression::LZ4_RAW;

fn cannot_write(
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    place: &Location,
) -> Error {
    Error::unavailable("cannot write the snapshot of the source")
        .with("file", &place.url)
        .hint("is there room, and may it be written to?")
        .because(error)
}
