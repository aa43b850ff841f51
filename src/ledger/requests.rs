//! What was sent: `plans/<plan>/requests/<chunk>.parquet`, one row a request, by ordinal.
//!
//! | column | type | what |
//! |---|---|---|
//! | `ordinal` | `UInt64` | the request's number within the plan, by first appearance |
//! | `row` | `UInt64` | the first row that asks it |
//! | `key` | `FixedSizeBinary(24)` | the request key |
//! | `prompt` | `Utf8`, null unless prompts are kept | the rendered user prompt, byte for byte |
//! | `attachments` | `Utf8`, JSON; there only where requests may have some | what stands in the prompt: places, references, digests |

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch,
    StringBuilder, StringViewArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::basic::Compression;
use parquet::file::properties::WriterPropertiesBuilder;

use super::bulk::{self, BulkWriter};
use super::columns::Columns;
use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::work::{Attachment, Content, RequestKey};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema(false));
static WITH_ATTACHMENTS: LazyLock<SchemaRef> = LazyLock::new(|| schema(true));

/// The columns of all but the prompts.
const KEYS: &[&str] = &["ordinal", "row", "key"];

fn schema(attachments: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("key", DataType::FixedSizeBinary(bulk::KEY_LEN), false),
        Field::new("prompt", DataType::Utf8, true),
    ];
    if attachments {
        fields.push(Field::new("attachments", DataType::Utf8, true));
    }
    Arc::new(Schema::new(fields))
}

/// Bytes of prompts that are handed to Parquet at once: so few that they are still in the processor's cache.
const BATCH_BYTES: usize = 256 << 10;
/// Bytes of a page, for the same reason.
const PAGE_BYTES: usize = 64 << 10;
/// Encoded bytes of a row group, which is in memory until it is written.
const GROUP_BYTES: usize = 2 << 20;

/// Writes the requests of one chunk.
pub struct RequestsWriter {
    path: PathBuf,
    /// There once it is known how to write the prompts.
    writer: Option<BulkWriter>,
    keep: bool,
    ordinals: Vec<u64>,
    rows: Vec<u64>,
    keys: FixedSizeBinaryBuilder,
    prompts: StringBuilder,
    /// What stands in the prompts, where something may.
    attachments: Option<StringBuilder>,
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
    /// None today; a file that cannot be written shows when the first requests are.
    pub fn create(path: &Path, keep: bool) -> Result<Self> {
        Ok(RequestsWriter {
            path: path.to_owned(),
            writer: None,
            keep,
            ordinals: Vec::new(),
            rows: Vec::new(),
            keys: bulk::key_builder(),
            prompts: StringBuilder::new(),
            attachments: None,
        })
    }

    /// The same for requests that may have attachments.
    #[must_use]
    pub fn with_attachments(mut self) -> Self {
        self.attachments = Some(StringBuilder::new());
        self
    }

    /// Takes one more request.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(
        &mut self,
        ordinal: u64,
        row: u64,
        key: RequestKey,
        content: Content<'_>,
    ) -> Result<()> {
        self.ordinals.push(ordinal);
        self.rows.push(row);
        self.keys
            .append_value(key.0)
            .or_err(ErrorKind::Internal, "a key has another length")?;
        self.prompts
            .append_option(self.keep.then_some(content.text));
        if let Some(attachments) = &mut self.attachments {
            let listed = self
                .keep
                .then(|| serde_json::to_string(content.attachments));
            let listed = listed.transpose();
            attachments
                .append_option(listed.or_err(ErrorKind::Internal, "attachments have no JSON")?);
        }
        let bytes = self.prompts.values_slice().len();
        if bytes >= BATCH_BYTES || bulk::is_full(self.rows.len()) {
            self.flush()?;
        }
        Ok(())
    }

    /// Ends the file; the number of its requests.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.map_or(Ok(0), BulkWriter::finish)
    }

    fn flush(&mut self) -> Result<()> {
        let bytes = self.prompts.values_slice().len();
        let prompts = StringBuilder::with_capacity(self.rows.len(), bytes);
        let prompts = std::mem::replace(&mut self.prompts, prompts).finish();
        let writer = match &mut self.writer {
            Some(writer) => writer,
            empty => {
                let properties = properties(prompts.value_data());
                let schema = match &self.attachments {
                    None => &SCHEMA,
                    Some(_) => &WITH_ATTACHMENTS,
                };
                let writer = BulkWriter::create(&self.path, Arc::clone(schema), properties)?;
                empty.insert(writer.group_bytes(GROUP_BYTES))
            }
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(std::mem::take(&mut self.ordinals))),
            Arc::new(UInt64Array::from(std::mem::take(&mut self.rows))),
            Arc::new(self.keys.finish()),
            Arc::new(prompts),
        ];
        if let Some(attachments) = &mut self.attachments {
            columns.push(Arc::new(attachments.finish()));
        }
        writer.write(columns)
    }
}

/// How a file is written whose first prompts are these. What a template says in every prompt is worth
/// compressing. Prose gets smaller by a third, and that costs more time than all else that is done to it.
fn properties(prompts: &[u8]) -> WriterPropertiesBuilder {
    let sample = &prompts[..prompts.len().min(PAGE_BYTES)];
    let codec = if lz4_flex::block::compress(sample).len() * 2 < sample.len() {
        Compression::LZ4_RAW
    } else {
        Compression::UNCOMPRESSED
    };
    bulk::properties(&[], &[])
        .set_dictionary_enabled(false)
        .set_compression(codec)
        .set_data_page_size_limit(PAGE_BYTES)
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
    attachments: Option<StringViewArray>,
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

    /// What stands in the prompt at `at`, if prompts were kept and read.
    ///
    /// # Errors
    /// `Data` if it is not a list of attachments.
    pub fn attachments(&self, at: usize) -> Result<Vec<Attachment>> {
        let listed = self
            .attachments
            .as_ref()
            .filter(|listed| listed.is_valid(at));
        let wrong = "the attachments of the ledger cannot be read";
        match listed {
            None => Ok(Vec::new()),
            Some(listed) => serde_json::from_str(listed.value(at)).or_err(ErrorKind::Data, wrong),
        }
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
        let texts = |name| {
            let column = batch.column_by_name(name);
            let texts = column.map(|column| column.as_string_view_opt().cloned().ok_or_else(wrong));
            texts.transpose()
        };
        Ok(Requests {
            ordinals: number("ordinal")?,
            rows: number("row")?,
            keys: bulk::keys(bulk::column(batch, "key")?)?.clone(),
            prompts: texts("prompt")?,
            attachments: texts("attachments")?,
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
            RequestColumns::Keys => KEYS,
            RequestColumns::All => &[],
        };
        Ok(RequestsReader(bulk::read_views(file, columns)?))
    }
}

impl Iterator for RequestsReader {
    type Item = Result<Requests>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(bulk::next(&mut self.0)?.and_then(|batch| Requests::from(&batch)))
    }
}

/// The requests of one chunk without their prompts, some at a time. From object storage the prompts are
/// not fetched either: whoever lands a chunk needs no more than its ordinals and keys.
pub struct RequestKeys(Columns);

impl std::fmt::Debug for RequestKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestKeys").finish_non_exhaustive()
    }
}

impl RequestKeys {
    /// Reads the file of requests at `place`.
    ///
    /// # Errors
    /// `Data` if it is gone or is not such a file, `Unavailable` if its store is away.
    pub async fn open(place: &Location) -> Result<Self> {
        Columns::open(place, KEYS).await.map(RequestKeys)
    }

    /// The next of them; none at the end.
    ///
    /// # Errors
    /// As [`RequestKeys::open`].
    pub async fn next(&mut self) -> Result<Option<Requests>> {
        let batch = self.0.next().await?;
        batch.map(|batch| Requests::from(&batch)).transpose()
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
                .push(n + 10, n * 2, key(n), Content::text(&prompt(n)))
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
        // More than a row group, and many pages.
        const LONG: u64 = 200_000;
        let prompts = check(LONG, true, RequestColumns::All);
        let expect = (0..LONG).map(|n| Some(prompt(n)));
        assert!(prompts.into_iter().eq(expect));
        assert_eq!(check(0, true, RequestColumns::All), []);
    }

    #[test]
    fn what_prompts_share_is_compressed_and_prose_is_not() {
        let size = |shared: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("0.parquet");
            let mut writer = RequestsWriter::create(&path, true).expect("a file");
            let mut bytes = 0;
            for n in 0..3000u64 {
                let own = blake3::hash(&n.to_le_bytes()).to_hex();
                let prompt = format!("{shared}{own}");
                bytes += prompt.len() as u64;
                writer
                    .push(n, n, key(n), Content::text(&prompt))
                    .expect("written");
            }
            writer.finish().expect("finished");
            let len = std::fs::metadata(&path).expect("there").len();
            let file = File::open(&path).expect("there");
            let some = RequestsReader::open(file, RequestColumns::All)
                .expect("Parquet")
                .next();
            let some = some.expect("requests").expect("readable");
            assert!(
                some.prompt(7)
                    .is_some_and(|prompt| prompt.starts_with(shared))
            );
            (len, bytes)
        };
        let (len, bytes) = size(&"You label tickets. Answer with one word. ".repeat(20));
        assert!(len * 3 < bytes, "{len} of {bytes}");
        let (len, bytes) = size("");
        assert!(len > bytes, "{len} of {bytes}");
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
            writer
                .push(1, 2, key(3), Content::text(text))
                .expect("written");
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
