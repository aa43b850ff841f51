//! The records of a text file of either format.

use std::sync::Arc;

use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::Handle;

use crate::base::{Error, Result};

use super::csv::CsvReader;
use super::input::{BufferedInput, line_error};
use super::json::{JsonReader, Keys};
use super::row::Row;

/// A file of a table.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) object: ObjectMeta,
    pub(crate) url: String,
    /// The values of the partition columns of the table.
    pub(crate) partition: Vec<Option<String>>,
}

/// A file that is being read.
pub(crate) enum RowReader {
    Csv(CsvReader, Arc<str>),
    Json(JsonReader, Arc<str>),
}

/// How files are read.
#[derive(Clone, Debug)]
pub(crate) struct ReadOptions {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) is_csv: bool,
    pub(crate) delimiter: Option<u8>,
}

impl RowReader {
    /// Opens `file`. Of JSON, only the keys in `wanted` are read, if there are any.
    ///
    /// To be called where blocking is allowed, as is everything here.
    pub(crate) fn open(
        how: &ReadOptions,
        file: &TextFile,
        wanted: Option<Vec<String>>,
        runtime: &Handle,
    ) -> Result<RowReader> {
        let input = BufferedInput::open(runtime, &how.store, &file.object, &file.url)?;
        let url = file.url.as_str().into();
        if how.is_csv {
            return Ok(RowReader::Csv(CsvReader::open(input, how.delimiter)?, url));
        }
        let names = wanted.map_or_else(Keys::default, Keys::fixed);
        Ok(RowReader::Json(JsonReader::open(input, names)?, url))
    }

    pub(crate) fn is_csv(&self) -> bool {
        matches!(self, RowReader::Csv(..))
    }

    /// The columns that were met so far.
    pub(crate) fn names(&self) -> &[String] {
        match self {
            RowReader::Csv(rows, _) => rows.names(),
            RowReader::Json(rows, _) => rows.names(),
        }
    }

    /// The next record; `false` behind the last one.
    pub(crate) fn next(&mut self, row: &mut Row) -> Result<bool> {
        match self {
            RowReader::Csv(rows, _) => rows.next(row),
            RowReader::Json(rows, _) => rows.next(row),
        }
    }

    /// That a value in the record on `line` is no JSON.
    pub(crate) fn invalid_json(&self, line: u64, error: &serde_json::Error) -> Error {
        let (RowReader::Csv(_, url) | RowReader::Json(_, url)) = self;
        let said = error.to_string();
        let said = said
            .rsplit_once(" at line ")
            .map_or(&*said, |(what, _)| what);
        line_error(url, line, "a record is not whole JSON")
            .with("said", said)
            .hint("mend that record, or leave it out")
    }
}
