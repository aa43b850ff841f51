//! What was sent: `plans/<plan>/requests/<chunk>.parquet`, one row a request, by ordinal.
//!
//! | column | type | what |
//! |---|---|---|
//! | `ordinal` | `UInt64` | the request's number within the plan, by first appearance |
//! | `row` | `UInt64` | the first row that asks it |
//! | `key` | `FixedSizeBinary(24)` | the request key |
//! | `prompt` | `Utf8`, null unless prompts are kept | the rendered user prompt, byte for byte |
//! | `attachments` | `Utf8`, JSON; there only where requests may have some | what stands in the prompt: places, references, digests |
//! | `answer` | `Utf8`, null; there only where requests are asked again for an invalid answer | that answer, as it is sent back |
//! | `message` | `Utf8`, as `answer` | what is said to it |
//! | `line` | `UInt32`; there where a line of the body carries several requests | which line carries it |
//! | `inputs` | list of `UInt32`, as `line` | bytes of each input that it is sent as |

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, ListArray, ListBuilder,
    RecordBatch, StringBuilder, StringViewArray, UInt32Array, UInt32Builder, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::basic::Compression;
use parquet::file::properties::WriterPropertiesBuilder;

use super::bulk::{self, BulkWriter};
use super::columns::Columns;
use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::work::{Attachment, Content, Correction, RequestKey};

/// The columns of what follows a prompt where it is asked again.
const CORRECTION: [&str; 2] = ["answer", "message"];

/// The columns of all but the prompts.
const KEYS: &[&str] = &["ordinal", "row", "key"];
/// The same, and in which line of the body each request is.
const LINES: &[&str] = &["ordinal", "row", "key", "line", "inputs"];

/// The columns of requests that may have `attachments` or `corrections`, or share `lines` of their body.
fn schema(attachments: bool, corrections: bool, lines: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("key", DataType::FixedSizeBinary(bulk::KEY_LEN), false),
        Field::new("prompt", DataType::Utf8, true),
    ];
    if attachments {
        fields.push(Field::new("attachments", DataType::Utf8, true));
    }
    if corrections {
        fields.extend(CORRECTION.map(|name| Field::new(name, DataType::Utf8, true)));
    }
    if lines {
        let item = Field::new_list_field(DataType::UInt32, true);
        fields.push(Field::new("line", DataType::UInt32, false));
        fields.push(Field::new("inputs", DataType::List(Arc::new(item)), false));
    }
    Arc::new(Schema::new(fields))
}

/// Where a request is in a body whose lines carry several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinePlace<'a> {
    /// The number of the line.
    pub line: u32,
    /// Bytes of each input that the prompt is sent as, in order.
    pub inputs: &'a [u32],
}

/// The columns of [`LinePlace`] while they are filled.
#[derive(Debug, Default)]
struct LineColumns {
    lines: Vec<u32>,
    inputs: ListBuilder<UInt32Builder>,
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
    /// What follows them, where something may.
    corrections: Option<[StringBuilder; 2]>,
    places: Option<LineColumns>,
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
            corrections: None,
            places: None,
        })
    }

    /// The same, of requests that share lines of their body.
    #[must_use]
    pub fn with_lines(self) -> Self {
        RequestsWriter {
            places: Some(LineColumns::default()),
            ..self
        }
    }

    /// The same for requests that may have attachments.
    #[must_use]
    pub fn with_attachments(mut self) -> Self {
        self.attachments = Some(StringBuilder::new());
        self
    }

    /// The same for requests that may be asked again for an invalid answer. That, and what is said to it, is
    /// kept whether prompts are or not.
    #[must_use]
    pub fn with_corrections(mut self) -> Self {
        self.corrections = Some(Default::default());
        self
    }

    /// Takes one more request, and where in the body it is.
    ///
    /// # Errors
    /// As for [`push`](RequestsWriter::push).
    pub fn push_at(
        &mut self,
        place: LinePlace<'_>,
        (ordinal, row, key): (u64, u64, RequestKey),
        content: Content<'_>,
    ) -> Result<()> {
        let places = self.places.get_or_insert_default();
        places.lines.push(place.line);
        places.inputs.values().append_slice(place.inputs);
        places.inputs.append(true);
        self.push(ordinal, row, key, content)
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
        let mut bytes = self.prompts.values_slice().len();
        if let Some([answers, messages]) = &mut self.corrections {
            answers.append_option(content.correction.map(|correction| correction.answer));
            messages.append_option(content.correction.map(|correction| correction.message));
            bytes += answers.values_slice().len();
        }
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
                let schema = schema(
                    self.attachments.is_some(),
                    self.corrections.is_some(),
                    self.places.is_some(),
                );
                let writer = BulkWriter::create(&self.path, schema, properties)?;
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
        for texts in self.corrections.iter_mut().flatten() {
            columns.push(Arc::new(texts.finish()));
        }
        if let Some(places) = &mut self.places {
            let lines = std::mem::take(&mut places.lines);
            columns.push(Arc::new(UInt32Array::from(lines)));
            columns.push(Arc::new(places.inputs.finish()));
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
    corrections: Option<[StringViewArray; 2]>,
    places: Option<(UInt32Array, ListArray)>,
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

    /// What follows the prompt at `at`, where it is asked again for an invalid answer and everything was
    /// read.
    #[must_use]
    pub fn correction(&self, at: usize) -> Option<Correction<'_>> {
        let [answers, messages] = self.corrections.as_ref()?;
        let is_there = answers.is_valid(at) && messages.is_valid(at);
        is_there.then(|| Correction {
            answer: answers.value(at),
            message: messages.value(at),
        })
    }

    /// Whether requests may be asked again for an invalid answer.
    #[must_use]
    pub fn has_corrections(&self) -> bool {
        self.corrections.is_some()
    }

    /// Where in its body the request at `at` is, if lines of it carry several and that was read.
    #[must_use]
    pub fn place(&self, at: usize) -> Option<LinePlace<'_>> {
        let (lines, inputs) = self.places.as_ref()?;
        let offsets = inputs.value_offsets();
        let range = usize::try_from(offsets[at]).ok()?..usize::try_from(offsets[at + 1]).ok()?;
        let lens = inputs.values().as_primitive_opt::<UInt32Type>()?;
        Some(LinePlace {
            line: lines.value(at),
            inputs: lens.values().get(range)?,
        })
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
            corrections: match CORRECTION.map(texts) {
                [Ok(Some(answers)), Ok(Some(messages))] => Some([answers, messages]),
                [Err(error), _] | [_, Err(error)] => return Err(error),
                _ => None,
            },
            places: places(batch)?,
        })
    }
}

/// The columns that say where in its body each request is, if they are there.
fn places(batch: &RecordBatch) -> Result<Option<(UInt32Array, ListArray)>> {
    let Some((lines, inputs)) = batch
        .column_by_name("line")
        .zip(batch.column_by_name("inputs"))
    else {
        return Ok(None);
    };
    let lines = lines.as_primitive_opt::<UInt32Type>();
    let inputs = inputs.as_list_opt::<i32>();
    let whole = inputs.filter(|list| list.value_type() == DataType::UInt32);
    let places = lines.cloned().zip(whole.cloned());
    let wrong = || Error::data("the lines of the ledger's requests have another type");
    places.map(Some).ok_or_else(wrong)
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

    /// The same of requests that share lines of their body, with the places of each.
    ///
    /// # Errors
    /// As [`RequestKeys::open`].
    pub async fn open_with_lines(place: &Location) -> Result<Self> {
        Columns::open(place, LINES).await.map(RequestKeys)
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
    fn requests_that_share_lines_say_which_and_as_what_they_are_sent() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let place = |n: u64| {
            let n = u32::try_from(n).expect("small");
            (n / 3, vec![n + 1; if n % 7 == 0 { 2 } else { 1 }])
        };
        for keep in [true, false] {
            let writer = RequestsWriter::create(&path, keep).expect("a file");
            let mut writer = writer.with_lines();
            for n in 0..2500 {
                let (line, inputs) = place(n);
                let at = LinePlace {
                    line,
                    inputs: &inputs,
                };
                let request = (n, n, key(n));
                let text = prompt(n);
                writer
                    .push_at(at, request, Content::text(&text))
                    .expect("written");
            }
            assert_eq!(writer.finish().expect("finished"), 2500);
            let file = File::open(&path).expect("there");
            let mut n = 0;
            for some in RequestsReader::open(file, RequestColumns::All).expect("Parquet") {
                let some = some.expect("readable");
                for at in 0..some.len() {
                    let (line, inputs) = place(n);
                    let inputs = &inputs;
                    assert_eq!(some.place(at), Some(LinePlace { line, inputs }));
                    assert_eq!(some.prompt(at), keep.then(|| prompt(n)).as_deref());
                    n += 1;
                }
            }
            assert_eq!(n, 2500);
        }
        // Of what has a line each, none is written.
        let mut writer = RequestsWriter::create(&path, true).expect("a file");
        writer
            .push(0, 0, key(0), Content::text("alone"))
            .expect("written");
        writer.finish().expect("finished");
        let file = File::open(&path).expect("there");
        let mut reader = RequestsReader::open(file, RequestColumns::All).expect("Parquet");
        let some = reader.next().expect("one").expect("readable");
        assert_eq!((some.prompt(0), some.place(0)), (Some("alone"), None));
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
