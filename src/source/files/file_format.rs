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
        let packed = match ending {
            "gz" | "bz2" | "xz" | "zst" => CompressionTypeVariant::from_str(ending).ok()?,
            _ => CompressionTypeVariant::UNCOMPRESSED,
        };
        let ending = match packed {
            CompressionTypeVariant::UNCOMPRESSED => ending,
            _ => rest.rsplit_once('.')?.1,
        };
        match ending {
            "csv" => Some(FileFormat::Csv(packed)),
            "ndjson" | "jsonl" | "json" => Some(FileFormat::Json(packed)),
            "parquet" | "parq" | "pq" if !packed.is_compressed() => Some(FileFormat::Parquet),
            "arrow" | "feather" | "ipc" if !packed.is_compressed() => Some(FileFormat::Arrow),
            _ => None,
        }
    }

    /// The ending of a file that is packed in a way, or holds what, nobody here unpacks.
    pub(crate) fn packed_otherwise(name: &str) -> Option<&str> {
        let (_, ending) = name.rsplit_once('.')?;
        let packed = [
            "7z", "br", "bz2", "gz", "lz4", "sz", "tar", "tgz", "xz", "z", "zip", "zst",
        ];
        let is_packed = packed.contains(&ending.to_ascii_lowercase().as_str());
        (is_packed && FileFormat::of(name).is_none()).then_some(ending)
    }

    /// How the files are packed, if they are.
    pub(crate) fn packed(self) -> Option<FileCompressionType> {
        match self {
            FileFormat::Csv(packed) | FileFormat::Json(packed) if packed.is_compressed() => {
                Some(FileCompressionType::from(packed))
            }
            _ => None,
        }
    }
}
