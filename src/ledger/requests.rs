//! What was sent: `plans/<plan>/requests/<chunk>.parquet`, one row a request, by ordinal.
//!
//! | column | type | what |
//! |---|---|---|
//! | `ordinal` | `UInt64` | the request's number within the plan, by first appearance |
//! | `row` | `UInt64` | the first row that asks it |
//! | `key` | `FixedSizeBinary(16)` | the request key |
//! | `prompt` | `Utf8`, null unless prompts are kept | the rendered user prompt, byte for byte |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch,
    StringArray, StringBuilder, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::bulk::{self, BulkWriter};
use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::work::RequestKey;

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("key", DataType::FixedSizeBinary(16), false),
        Field::new("prompt", DataType::Utf8, true),
    ]))
});

/// Writes the requests of one chunk.
pub struct RequestsWriter {
    writer: BulkWriter,
    ordinals: Vec<u64>,
    rows: Vec<u64>,
    keys: FixedSizeBinaryBuilder,
    prompts: StringBuilder,
}

impl std::fmt::Debug for RequestsWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestsWriter").finish_non_exhaustive()
    }
}

impl RequestsWriter {
    /// A new file at the local `path`.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn create(path: &Path) -> Result<Self> {
        let plain = ["ordinal", "row", "key", "prompt"];
        Ok(RequestsWriter {
            writer: BulkWriter::create(path, Arc::clone(&SCHEMA), &plain, &[])?,
            ordinals: Vec::new(),
            rows: Vec::new(),
            keys: bulk::key_builder(),
            prompts: StringBuilder::new(),
        })
    }

    /// Takes one more request; its prompt only if it is to be kept.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(
        &mut self,
        ordinal: u64,
        row: u64,
        key: RequestKey,
        prompt: Option<&str>,
    ) -> Result<()> {
        self.ordinals.push(ordinal);
        self.rows.push(row);
        self.keys
            .append_value(key.0)
            .or_err(ErrorKind::Internal, "a key has another length")?;
        self.prompts.append_option(prompt);
        if bulk::is_full(self.ordinals.len()) {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the file; the number of its requests.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(std::mem::take(&mut self.ordinals))),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.rows))),
            Arc::new(self.keys.finish()),
            Arc::new(self.prompts.finish()),
        ];
        self.writer.write(columns)
    }
}

/// Some requests, in order.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Their ordinals.
    pub ordinals: UInt64Array,
    /// The first row of each.
    pub rows: UInt64Array,
    keys: FixedSizeBinaryArray,
    prompts: StringArray,
}

impl Requests {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ordinals.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The request key at `at`.
    #[must_use]
    pub fn key(&self, at: usize) -> RequestKey {
        bulk::key(&self.keys, at)
    }

    /// The prompt at `at`, if it was kept.
    #[must_use]
    pub fn prompt(&self, at: usize) -> Option<&str> {
        self.prompts.is_valid(at).then(|| self.prompts.value(at))
    }

    fn from(batch: &RecordBatch) -> Result<Requests> {
        let number = |name| {
            bulk::column(batch, name)?
                .as_primitive_opt::<UInt64Type>()
                .cloned()
                .ok_or_else(|| {
                    Error::data("a column of the ledger has another type").with("column", name)
                })
        };
        let prompts = bulk::column(batch, "prompt")?.as_string_opt::<i32>();
        Ok(Requests {
            ordinals: number("ordinal")?,
            rows: number("row")?,
            keys: bulk::keys(bulk::column(batch, "key")?)?.clone(),
            prompts: prompts
                .cloned()
                .ok_or_else(|| Error::data("the prompts of the ledger have another type"))?,
        })
    }
}

/// Reads the requests of one chunk, some at a time.
pub struct RequestsReader(ParquetRecordBatchReader);

impl std::fmt::Debug for RequestsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestsReader").finish_non_exhaustive()
    }
}

impl RequestsReader {
    /// Reads `file`.
    ///
    /// # Errors
    /// `Data` if it is not such a file.
    pub fn open(file: File) -> Result<Self> {
        Ok(RequestsReader(bulk::read(file, &[])?))
    }
}

impl Iterator for RequestsReader {
    type Item = Result<Requests>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(bulk::next(&mut self.0)?.and_then(|batch| Requests::from(&batch)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let key = |n: u64| RequestKey((u128::from(n) << 64 | 9).to_be_bytes());
        let prompt = |n: u64| (!n.is_multiple_of(3)).then(|| format!("prompt\n{n} \u{0} é"));
        let mut writer = RequestsWriter::create(&path).expect("a file");
        for n in 0..5000 {
            writer
                .push(n + 10, n * 2, key(n), prompt(n).as_deref())
                .expect("written");
        }
        assert_eq!(writer.finish().expect("finished"), 5000);
        let mut n = 0;
        for some in RequestsReader::open(File::open(&path).expect("there")).expect("Parquet") {
            let some = some.expect("readable");
            for at in 0..some.len() {
                assert_eq!(some.ordinals.value(at), n + 10);
                assert_eq!(some.rows.value(at), n * 2);
                assert_eq!(some.key(at), key(n));
                assert_eq!(some.prompt(at), prompt(n).as_deref());
                n += 1;
            }
        }
        assert_eq!(n, 5000);
    }
}
