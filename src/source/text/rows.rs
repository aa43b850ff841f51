//! The records of a text file of either format.

use std::sync::Arc;

use object_store::{ObjectMeta, ObjectStore};
use tokio::runtime::Handle;

use crate::base::{Error, Result};

use super::csv::CsvRows;
use super::input::{Input, wrong};
use super::json::{JsonRows, Names};
use super::row::Row;

/// A file of a table.
#[derive(Debug)]
pub(super) struct TextFile {
    pub(super) object: ObjectMeta,
    pub(super) url: String,
    /// The values of the partition columns of the table.
    pub(super) partition: Vec<Option<String>>,
}

/// A file that is being read.
pub(super) enum Rows {
    Csv(CsvRows, Arc<str>),
    Json(JsonRows, Arc<str>),
}

/// How files are read.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) is_csv: bool,
    pub(super) delimiter: Option<u8>,
}

impl Rows {
    /// Opens `file`. Of JSON, only the keys in `wanted` are read, if there are any.
    ///
    /// To be called where blocking is allowed, as is everything here.
    pub(super) fn open(
        how: &Reading,
        file: &TextFile,
        wanted: Option<Vec<String>>,
        runtime: &Handle,
    ) -> Result<Rows> {
        let input = Input::open(runtime, &how.store, &file.object, &file.url)?;
        let url = file.url.as_str().into();
        if how.is_csv {
            return Ok(Rows::Csv(CsvRows::open(input, how.delimiter)?, url));
        }
        let names = wanted.map_or_else(Names::default, Names::fixed);
        Ok(Rows::Json(JsonRows::open(input, names)?, url))
    }

    pub(super) fn is_csv(&self) -> bool {
        matches!(self, Rows::Csv(..))
    }

    /// The columns that were met so far.
    pub(super) fn names(&self) -> &[String] {
        match self {
            Rows::Csv(rows, _) => rows.names(),
            Rows::Json(rows, _) => rows.names(),
        }
    }

    /// The next record; `false` behind the last one.
    pub(super) fn next(&mut self, row: &mut Row) -> Result<bool> {
        match self {
            Rows::Csv(rows, _) => rows.next(row),
            Rows::Json(rows, _) => rows.next(row),
        }
    }

    /// That a value in the record on `line` is no JSON.
    pub(super) fn wrong(&self, line: u64, error: &serde_json::Error) -> Error {
        let (Rows::Csv(_, url) | Rows::Json(_, url)) = self;
        let said = error.to_string();
        let said = said
            .rsplit_once(" at line ")
            .map_or(&*said, |(what, _)| what);
        wrong(url, line, "a record is not whole JSON")
            .with("said", said)
            .hint("mend that record, or leave it out")
    }
}
