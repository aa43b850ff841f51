//! A Parquet file whose footer is read.

use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use crate::base::{Error, ErrorKind, Result, ResultExt, unknown_column, written_schema};
use crate::source::error::unknown_type;
use crate::source::schema::without_views;

use super::file_bytes::FileBytes;
use super::logical_types::{loses_months, with_zones};
use super::source_file::SourceFile;

/// A file whose footer is read.
pub(super) struct OpenFile<'t> {
    pub(super) file: &'t SourceFile,
    pub(super) bytes: FileBytes,
    metadata: ArrowReaderMetadata,
}

impl<'t> OpenFile<'t> {
    pub(super) fn open(file: &'t SourceFile) -> Result<Self> {
        let url = &file.location.url;
        if file.pin.size == 0 {
            return Err(Error::invalid(
                "a file of the table is empty, not even a Parquet file without rows",
            )
            .with("file", url)
            .hint("whoever wrote it broke off: write it again, or delete it"));
        }
        let bytes = FileBytes::open(&file.location, file.pin.size, file.pin.etag.as_deref())
            .or_err(ErrorKind::Unavailable, "cannot open the file")
            .map_err(|error| error.with("file", url))?;
        if parquet::file::reader::Length::len(&bytes) != file.pin.size {
            return Err(
                Error::unavailable("the file changed while it was being read")
                    .with("file", url)
                    .hint("run again once nobody writes to it"),
            );
        }
        let broken = |error| broken(error, url.as_str());
        let read = ParquetMetaDataReader::new().parse_and_finish(&bytes);
        let read = read.map_err(broken)?;
        if let Some(column) = unknown_column(read.file_metadata()) {
            return Err(unknown_type(&column, url));
        }
        let metadata = load(Arc::new(read)).map_err(broken)?;
        Ok(OpenFile {
            file,
            bytes,
            metadata,
        })
    }

    /// The footer alone.
    pub(super) fn into_footer(self) -> ArrowReaderMetadata {
        self.metadata
    }

    pub(super) fn group_rows(&self, group: usize) -> u64 {
        let rows = self.metadata.metadata().row_group(group).num_rows();
        u64::try_from(rows).unwrap_or(0)
    }

    pub(super) fn footer(&self) -> &ArrowReaderMetadata {
        &self.metadata
    }

    pub(super) fn groups(&self) -> usize {
        self.metadata.metadata().num_row_groups()
    }

    /// An error for columns whose spans cannot be read as they are.
    pub(super) fn check_spans(&self, roots: &[usize]) -> Result<()> {
        let file = self.metadata.metadata().file_metadata();
        let mut fields = roots.iter().map(|root| self.metadata.schema().field(*root));
        match fields.find(|field| loses_months(field, file)) {
            None => Ok(()),
            Some(field) => Err(Error::invalid(
                "a column holds spans of months, days and milliseconds, which cannot be read",
            )
            .with("column", field.name())
            .with("file", &self.file.location.url)
            .hint("leave it out of the prompt, the key and the filter, or write it as text first")),
        }
    }
}

fn load(read: Arc<ParquetMetaData>) -> Result<ArrowReaderMetadata, ParquetError> {
    let metadata = ArrowReaderMetadata::try_new(read, ArrowReaderOptions::new())?;
    let plain = without_views(metadata.schema());
    let written = written_schema(metadata.metadata().file_metadata());
    let plain = match &written {
        Some(written) => with_zones(&plain, written),
        None => plain,
    };
    if plain == **metadata.schema() {
        return Ok(metadata);
    }
    let options = ArrowReaderOptions::new().with_schema(Arc::new(plain));
    ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options)
}

/// What the reader says, as an error that names the file.
pub(super) fn broken(error: ParquetError, file: &str) -> Error {
    use object_store::Error::NotSupported;
    let of_disk = |cause: &std::io::Error| {
        let within = cause.get_ref().and_then(|cause| cause.downcast_ref());
        matches!(within, Some(NotSupported { .. }))
    };
    let is_whole_only = match &error {
        ParquetError::External(cause) => {
            matches!(cause.downcast_ref(), Some(NotSupported { .. }))
                || cause.downcast_ref().is_some_and(of_disk)
        }
        _ => false,
    };
    if is_whole_only {
        return Error::invalid("the server does not send a file in parts, as Parquet is read")
            .with("file", file)
            .because(error)
            .hint("copy the file to local disk or object storage, and name it there");
    }
    let is_away = matches!(&error, ParquetError::External(cause) if cause.is::<object_store::Error>() || cause.is::<std::io::Error>());
    if is_away {
        return Error::unavailable("cannot read the file")
            .with("file", file)
            .because(error);
    }
    Error::invalid("not a Parquet file, or a damaged one")
        .with("file", file)
        .hint("the footer cannot be read: was the file written to its end? A file of another format needs its own ending (.csv, .ndjson, .arrow)")
        .because(error)
}
