//! What was sent: `plans/<plan>/requests/<chunk>.parquet`, one row a request, by ordinal.
//!
//! | column | type | what |
//! |---|---|---|
//! | `ordinal` | `UInt64` | the request's number within the plan, by first appearance |
//! | `row` | `UInt64` | the first row that asks it |
//! | `key` | `FixedSizeBinary(24)` | the request key |
//! | `prompt` | `Utf8`, null unless prompts are kept | the rendered user prompt, byte for byte |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, AsArray, FixedSizeBinaryArray, RecordBatch, StringViewArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::bulk;
use super::pages::{PageBuffer, PageFile};
use crate::base::{Error, Result};
use crate::work::RequestKey;

/// The columns. The prompts are held as views of the pages that they were read from.
static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("key", DataType::FixedSizeBinary(bulk::KEY_LEN), false),
        Field::new("prompt", DataType::Utf8View, true),
    ]))
});

/// Where each column stands.
const ORDINAL: usize = 0;
const ROW: usize = 1;
const KEY: usize = 2;
const PROMPT: usize = 3;

/// The requests of a row group: their ordinals, rows and keys are held until it ends.
const GROUP_ROWS: u64 = 1 << 14;

/// Writes the requests of one chunk.
pub struct RequestsWriter {
    file: PageFile,
    keep: bool,
    /// Requests of the row group so far.
    rows: u64,
    pages: [PageBuffer; 4],
}

impl std::fmt::Debug for RequestsWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestsWriter").finish_non_exhaustive()
    }
}

impl RequestsWriter {
    /// A new file at the local `path`, of requests with their prompts if they are to be kept.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn create(path: &Path, keep: bool) -> Result<Self> {
        Ok(RequestsWriter {
            file: PageFile::create(path, &SCHEMA)?,
            keep,
            rows: 0,
            pages: Default::default(),
        })
    }

    /// Takes one more request.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(&mut self, ordinal: u64, row: u64, key: RequestKey, prompt: &str) -> Result<()> {
        self.pages[ORDINAL].push(&ordinal.to_le_bytes());
        self.pages[ROW].push(&row.to_le_bytes());
        self.pages[KEY].push(&key.0);
        if self.keep {
            self.pages[PROMPT].push_text(prompt)?;
        } else {
            self.pages[PROMPT].push_null();
        }
        self.rows += 1;
        if self.pages[PROMPT].is_full() {
            self.file.write(PROMPT, &mut self.pages[PROMPT])?;
        }
        if self.rows == GROUP_ROWS {
            self.end_group()?;
        }
        Ok(())
    }

    /// Ends the file; the number of its requests.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        if self.rows > 0 {
            self.end_group()?;
        }
        self.file.finish()
    }

    /// The prompts are written as they come, the other columns behind them.
    fn end_group(&mut self) -> Result<()> {
        for column in [PROMPT, ORDINAL, ROW, KEY] {
            self.file.write(column, &mut self.pages[column])?;
        }
        self.file.end_group(std::mem::take(&mut self.rows))
    }
}

/// Which columns of requests are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestColumns {
    /// All but the prompts.
    Keys,
    /// Everything.
    All,
}

/// Some requests, in order.
#[derive(Clone, Debug)]
pub struct Requests {
    /// Their ordinals.
    pub ordinals: UInt64Array,
    /// The first row of each.
    pub rows: UInt64Array,
    keys: FixedSizeBinaryArray,
    prompts: Option<StringViewArray>,
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

    /// The prompt at `at`, if it was kept and prompts were read.
    #[must_use]
    pub fn prompt(&self, at: usize) -> Option<&str> {
        let prompts = self.prompts.as_ref()?;
        prompts.is_valid(at).then(|| prompts.value(at))
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
        let wrong = || Error::data("the prompts of the ledger have another type");
        let prompts = batch.column_by_name("prompt");
        let prompts = prompts.map(|column| column.as_string_view_opt().cloned().ok_or_else(wrong));
        Ok(Requests {
            ordinals: number("ordinal")?,
            rows: number("row")?,
            keys: bulk::keys(bulk::column(batch, "key")?)?.clone(),
            prompts: prompts.transpose()?,
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
    /// Reads `columns` of `file`.
    ///
    /// # Errors
    /// `Data` if it is not such a file.
    pub fn open(file: File, columns: RequestColumns) -> Result<Self> {
        let columns: &[&str] = match columns {
            RequestColumns::Keys => &["ordinal", "row", "key"],
            RequestColumns::All => &[],
        };
        Ok(RequestsReader(bulk::read_with(file, columns, &SCHEMA)?))
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

    fn key(n: u64) -> RequestKey {
        RequestKey(
            [n.to_be_bytes(), [9; 8], [7; 8]]
                .concat()
                .try_into()
                .expect("24 bytes"),
        )
    }

    fn prompt(n: u64) -> String {
        format!(
            "prompt\n{n} \u{0} é{:>1$}",
            "x",
            usize::from(n.to_le_bytes()[0] % 40)
        )
    }

    /// Writes `count` requests, reads `columns` of them, and says which prompts were there.
    fn check(count: u64, keep: bool, columns: RequestColumns) -> Vec<Option<String>> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let mut writer = RequestsWriter::create(&path, keep).expect("a file");
        for n in 0..count {
            writer
                .push(n + 10, n * 2, key(n), &prompt(n))
                .expect("written");
        }
        assert_eq!(writer.finish().expect("finished"), count);
        let file = File::open(&path).expect("there");
        let (mut n, mut prompts) = (0, Vec::new());
        for some in RequestsReader::open(file, columns).expect("Parquet") {
            let some = some.expect("readable");
            for at in 0..some.len() {
                assert_eq!(some.ordinals.value(at), n + 10);
                assert_eq!(some.rows.value(at), n * 2);
                assert_eq!(some.key(at), key(n));
                prompts.push(some.prompt(at).map(str::to_owned));
                n += 1;
            }
        }
        assert_eq!(n, count);
        prompts
    }

    #[test]
    fn requests_are_read_as_they_were_written() {
        // More than a row group, and pages that end within it.
        let prompts = check(GROUP_ROWS + 5000, true, RequestColumns::All);
        let expect = (0..GROUP_ROWS + 5000).map(|n| Some(prompt(n)));
        assert!(prompts.into_iter().eq(expect));
        assert_eq!(check(0, true, RequestColumns::All), []);
    }

    #[test]
    fn prompts_that_are_not_kept_or_not_asked_for_are_not_there() {
        let not_there = vec![None; 300];
        assert_eq!(check(300, false, RequestColumns::All), not_there);
        assert_eq!(check(300, true, RequestColumns::Keys), not_there);
    }

    #[test]
    fn any_reader_of_parquet_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let mut writer = RequestsWriter::create(&path, true).expect("a file");
        let long = "long ".repeat(40_000);
        for text in ["", "short", &long] {
            writer.push(1, 2, key(3), text).expect("written");
        }
        writer.finish().expect("finished");
        let file = File::open(&path).expect("there");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(file, 10);
        let batch = reader
            .expect("Parquet")
            .next()
            .expect("a batch")
            .expect("readable");
        let prompts = batch.column_by_name("prompt").expect("a column");
        let prompts: Vec<_> = prompts.as_string::<i32>().iter().collect();
        assert_eq!(prompts, [Some(""), Some("short"), Some(&long)]);
    }
}
