//! What a file holds, by its name.

use std::str::FromStr;

use datafusion::common::parsers::CompressionTypeVariant;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileFormat {
    /// Arrow IPC, as a file or a stream.
    Arrow,
    /// Separated values with a header line.
    Csv(CompressionTypeVariant),
    /// JSON objects: one per line, one behind the other, or in a list.
    Json(CompressionTypeVariant),
    /// Parquet.
    Parquet,
    /// Values separated by tabs, with a header line.
    Tsv(CompressionTypeVariant),
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl FileFormat {
    /// The format that a file's name says, if it says one.
    pub(crate) fn of(name: &str) -> Option<FileFormat> {
        let name = name.to_ascii_lowercase();
        let (rest, ending) = name.rsplit_once('.')?;
        if is_number(ending) {
            // One of several pieces, as `c.parquet.0001`; each piece of Parquet is a whole file.
            let is_parquet = FileFormat::of(rest) == Some(FileFormat::Parquet);
            return is_parquet.then_some(FileFormat::Parquet);
        }
        let compression = match ending {
            "gz" | "bz2" | "xz" | "zst" => CompressionTypeVariant::from_str(ending).ok()?,
            _ => CompressionTypeVariant::UNCOMPRESSED,
        };
        let ending = match compression {
            CompressionTypeVariant::UNCOMPRESSED => ending,
            _ => rest.rsplit_once('.')?.1,
        };
        match ending {
            "csv" => Some(FileFormat::Csv(compression)),
            "tsv" | "tab" => Some(FileFormat::Tsv(compression)),
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Json(compression)),
            "parquet" | "parq" | "pq" if !compression.is_compressed() => Some(FileFormat::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" if !compression.is_compressed() => {
                Some(FileFormat::Arrow)
            }
            _ => None,
        }
    }

    /// The ending of a compressed file or an archive of a kind that is not read.
    pub(crate) fn unsupported_compression(name: &str) -> Option<&str> {
        let (_, ending) = name.rsplit_once('.')?;
        let compression = [
            "7z", "br", "bz2", "gz", "lz4", "sz", "tar", "tgz", "xz", "z", "zip", "zst",
        ];
        let is_packed = compression.contains(&ending.to_ascii_lowercase().as_str());
        (is_packed && FileFormat::of(name).is_none()).then_some(ending)
    }

    /// How the files are compressed, if they are.
    pub(crate) fn compression(self) -> Option<FileCompressionType> {
        match self {
            FileFormat::Csv(compression)
            | FileFormat::Json(compression)
            | FileFormat::Tsv(compression)
                if compression.is_compressed() =>
            {
                Some(FileCompressionType::from(compression))
            }
            _ => None,
        }
    }
}
