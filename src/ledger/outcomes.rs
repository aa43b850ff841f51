//! What came back: `plans/<plan>/outcomes/<chunk>-<attempt>.parquet`, one row for each request of
//! the attempt, by ordinal; those of which the provider says nothing included.
//!
//! | column | type | what |
//! |---|---|---|
//! | `ordinal` | `UInt64` | the request's number within the plan |
//! | `key` | `FixedSizeBinary(24)` | the request key |
//! | `status` | word | a row status |
//! | `answer` | `Utf8`, null unless succeeded | the answer, in its final form |
//! | `raw` | `Utf8`, null | what the model said where that is not the answer |
//! | `error` | `Utf8`, null | why there is no answer |
//! | `transient` | `Boolean` | whether sending it again can help |
//! | `finish`, `model` | `Utf8`, null | why the model stopped, and which it was |
//! | `input` … `reasoning` | `UInt64` | tokens by class of price |
//! | `vector` | `FixedSizeBinary`, null unless succeeded; there where answers are vectors | 32-bit floats, little-endian |

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, FixedSizeBinaryArray,
    FixedSizeBinaryBuilder, RecordBatch, StringArray, StringBuilder, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt64Type};
use parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use parquet::basic::Compression;
use parquet::schema::types::ColumnPath;

use super::bulk::{self, BulkWriter};
use super::columns::Columns;
use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::work::{Outcome, RequestKey, RowStatus, Usage};

/// The columns of tokens, in order.
const TOKENS: [&str; 6] = [
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
];

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| schema(None));

/// The column of answers that are vectors.
const VECTOR: &str = "vector";

fn schema(vector_bytes: Option<i32>) -> SchemaRef {
    let mut fields = vec![
        Field::new("ordinal", DataType::UInt64, false),
        Field::new("key", DataType::FixedSizeBinary(bulk::KEY_LEN), false),
        bulk::status_field("status"),
        Field::new("answer", DataType::Utf8, true),
        Field::new("raw", DataType::Utf8, true),
        Field::new("error", DataType::Utf8, true),
        Field::new("transient", DataType::Boolean, false),
        Field::new("finish", DataType::Utf8, true),
        Field::new("model", DataType::Utf8, true),
    ];
    fields.extend(TOKENS.map(|name| Field::new(name, DataType::UInt64, false)));
    fields.extend(vector_bytes.map(|n| Field::new(VECTOR, DataType::FixedSizeBinary(n), true)));
    Arc::new(Schema::new(fields))
}

/// Bytes of vectors that are handed to Parquet at once, and read at once.
const VECTORS_BYTES: usize = 512 << 10;
/// Bytes of all but the texts that are read at once where every text may be a long one: about a hundred rows.
const REASONS_BYTES: usize = 4 << 10;
/// Encoded bytes of a row group of vectors: what is in memory of each batch that lands.
const VECTORS_GROUP: usize = 4 << 20;

/// Writes the outcomes of one attempt.
pub struct OutcomesWriter {
    writer: BulkWriter,
    ordinals: Vec<u64>,
    keys: FixedSizeBinaryBuilder,
    statuses: Vec<u8>,
    /// Answer, raw, error, finish, model.
    texts: [StringBuilder; 5],
    transient: BooleanBuilder,
    tokens: [Vec<u64>; 6],
    /// Where answers are vectors.
    vectors: Option<FixedSizeBinaryBuilder>,
    rows_max: usize,
}

impl std::fmt::Debug for OutcomesWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomesWriter").finish_non_exhaustive()
    }
}

impl OutcomesWriter {
    /// A new file at the local `path`, that says which attempt and batch it is of; of vectors of so many
    /// numbers, where answers are vectors.
    ///
    /// # Errors
    /// `Unavailable` if it cannot be written.
    pub fn create(
        path: &Path,
        (attempt, batch): (&str, &str),
        dimensions: Option<u32>,
    ) -> Result<Self> {
        let notes = [
            ("columnist.attempt", attempt.to_owned()),
            ("columnist.batch", batch.to_owned()),
        ];
        let mut properties = bulk::properties(&["ordinal", "key", VECTOR], &notes);
        let bytes = dimensions
            .map(|n| i32::try_from(u64::from(n) * 4))
            .transpose();
        let bytes = bytes.or_err(ErrorKind::Internal, "a vector is too long")?;
        let schema = match bytes {
            Some(bytes) => {
                // Nothing in them repeats: whoever compresses them loses time.
                let column = ColumnPath::from(VECTOR);
                properties = properties
                    .set_column_compression(column, Compression::UNCOMPRESSED)
                    .set_data_page_size_limit(VECTORS_BYTES)
                    .set_write_batch_size(vectors_at_once(dimensions));
                schema(Some(bytes))
            }
            None => Arc::clone(&SCHEMA),
        };
        Ok(OutcomesWriter {
            writer: match bytes {
                Some(_) => BulkWriter::create(path, schema, properties)?.group_bytes(VECTORS_GROUP),
                None => BulkWriter::create(path, schema, properties)?,
            },
            vectors: bytes.map(FixedSizeBinaryBuilder::new),
            rows_max: vectors_at_once(dimensions),
            ordinals: Vec::new(),
            keys: bulk::key_builder(),
            statuses: Vec::new(),
            texts: Default::default(),
            transient: BooleanBuilder::new(),
            tokens: Default::default(),
        })
    }

    /// Takes the next outcome; ordinals must ascend.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn push(&mut self, ordinal: u64, key: RequestKey, outcome: &Outcome<'_>) -> Result<()> {
        self.ordinals.push(ordinal);
        self.keys
            .append_value(key.0)
            .or_err(ErrorKind::Internal, "a key has another length")?;
        self.statuses.push(outcome.status.code());
        let texts = [
            outcome.answer.as_deref(),
            outcome.raw.as_deref(),
            outcome.error.as_deref(),
            outcome.finish.map(crate::work::Finish::as_str),
            outcome.model.as_deref(),
        ];
        for (builder, text) in self.texts.iter_mut().zip(texts) {
            builder.append_option(text);
        }
        self.transient.append_value(outcome.transient);
        for (column, count) in self.tokens.iter_mut().zip(outcome.usage.classes()) {
            column.push(count);
        }
        if let Some(vectors) = &mut self.vectors {
            match &outcome.vector {
                Some(vector) => {
                    let wrong = "a vector has another length";
                    vectors
                        .append_value(vector)
                        .or_err(ErrorKind::Internal, wrong)?;
                }
                None => vectors.append_null(),
            }
        }
        let rows = self.ordinals.len();
        if bulk::is_full(rows) || rows >= self.rows_max {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Ends the file; the number of its outcomes.
    ///
    /// # Errors
    /// `Unavailable` if the file cannot be written.
    pub fn finish(mut self) -> Result<u64> {
        self.flush()?;
        self.writer.finish()
    }

    fn flush(&mut self) -> Result<()> {
        let [answer, raw, error, finish, model] = &mut self.texts;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt64Array::from(std::mem::take(&mut self.ordinals))),
            Arc::new(self.keys.finish()),
            bulk::status_column(&mut self.statuses),
            Arc::new(answer.finish()),
            Arc::new(raw.finish()),
            Arc::new(error.finish()),
            Arc::new(self.transient.finish()),
            Arc::new(finish.finish()),
            Arc::new(model.finish()),
        ];
        for tokens in &mut self.tokens {
            columns.push(Arc::new(UInt64Array::from(std::mem::take(tokens))));
        }
        if let Some(vectors) = &mut self.vectors {
            columns.push(Arc::new(vectors.finish()));
        }
        self.writer.write(columns)
    }
}

/// How many vectors of so many numbers are taken at once; any number where answers are none.
fn vectors_at_once(dimensions: Option<u32>) -> usize {
    dimensions.map_or(usize::MAX, |n| {
        (VECTORS_BYTES / (4 * n.max(1) as usize)).max(1)
    })
}

/// Which columns of outcomes are read. Ordinal, key, status and transience always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeColumns {
    /// No more than those.
    Verdicts,
    /// What the model said that is no answer, why it is none, and why the model stopped.
    Reasons,
    /// Answers and errors too.
    Answers,
    /// Everything.
    All,
}

const VERDICTS: &[&str] = &["ordinal", "key", "status", "transient"];
/// The same, and what an answer is asked again with.
const REASONS: &[&str] = &[
    "ordinal",
    "key",
    "status",
    "transient",
    "raw",
    "error",
    "finish",
];

/// Some outcomes, in order.
#[derive(Clone, Debug)]
pub struct Outcomes {
    ordinals: UInt64Array,
    keys: FixedSizeBinaryArray,
    statuses: Vec<RowStatus>,
    transient: BooleanArray,
    batch: RecordBatch,
    answers: Option<StringArray>,
    vectors: Option<FixedSizeBinaryArray>,
    errors: Option<StringArray>,
}

impl Outcomes {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.statuses.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.statuses.is_empty()
    }

    /// The request's number within its plan.
    #[must_use]
    pub fn ordinal(&self, at: usize) -> u64 {
        self.ordinals.value(at)
    }

    /// The request key.
    #[must_use]
    pub fn key(&self, at: usize) -> RequestKey {
        bulk::key(&self.keys, at)
    }

    /// The status.
    #[must_use]
    pub fn status(&self, at: usize) -> RowStatus {
        self.statuses[at]
    }

    /// Whether sending the request again can help.
    #[must_use]
    pub fn is_transient(&self, at: usize) -> bool {
        self.transient.value(at)
    }

    /// The answer, if there is one and answers were read.
    #[must_use]
    pub fn answer(&self, at: usize) -> Option<&str> {
        text(self.answers.as_ref(), at)
    }

    /// The answer where it is a vector, if there is one and answers were read: 32-bit floats,
    /// little-endian.
    #[must_use]
    pub fn vector(&self, at: usize) -> Option<&[u8]> {
        let vectors = self.vectors.as_ref()?;
        vectors.is_valid(at).then(|| vectors.value(at))
    }

    /// Why there is no answer.
    #[must_use]
    pub fn error(&self, at: usize) -> Option<&str> {
        text(self.errors.as_ref(), at)
    }

    /// Another column of text, such as `raw`, `finish` or `model`.
    #[must_use]
    pub fn text(&self, name: &str, at: usize) -> Option<&str> {
        let column = self.batch.column_by_name(name)?.as_string_opt::<i32>()?;
        column.is_valid(at).then(|| column.value(at))
    }

    /// What was used, if everything was read.
    #[must_use]
    pub fn usage(&self, at: usize) -> Usage {
        Usage::of_classes(TOKENS.map(|name| {
            let column = self.batch.column_by_name(name);
            let column = column.and_then(|column| column.as_primitive_opt::<UInt64Type>());
            column.map_or(0, |column| column.value(at))
        }))
    }

    fn from(batch: RecordBatch) -> Result<Outcomes> {
        let wrong = || Error::data("a column of the outcomes has another type");
        let texts = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>().cloned();
        let ordinals = bulk::column(&batch, "ordinal")?.as_primitive_opt::<UInt64Type>();
        let transient = bulk::column(&batch, "transient")?.as_boolean_opt();
        Ok(Outcomes {
            ordinals: ordinals.cloned().ok_or_else(wrong)?,
            keys: bulk::keys(bulk::column(&batch, "key")?)?.clone(),
            statuses: bulk::statuses(bulk::column(&batch, "status")?)?,
            transient: transient.cloned().ok_or_else(wrong)?,
            answers: texts("answer"),
            vectors: vectors(&batch)?,
            errors: texts("error"),
            batch,
        })
    }
}

/// The column of vectors, if it is there.
fn vectors(batch: &RecordBatch) -> Result<Option<FixedSizeBinaryArray>> {
    let column = batch.column_by_name(VECTOR);
    let wrong = || Error::data("the vectors of the outcomes have another type");
    let column = column.map(|c| c.as_fixed_size_binary_opt().cloned().ok_or_else(wrong));
    column.transpose()
}

fn text(column: Option<&StringArray>, at: usize) -> Option<&str> {
    column
        .filter(|column| column.is_valid(at))
        .map(|column| column.value(at))
}

/// Reads the outcomes of one attempt, some at a time.
pub struct OutcomesReader(ParquetRecordBatchReader);

impl std::fmt::Debug for OutcomesReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomesReader").finish_non_exhaustive()
    }
}

impl OutcomesReader {
    /// Reads `columns` of `file`.
    ///
    /// # Errors
    /// `Data` if it is not such a file.
    pub fn open(file: File, columns: OutcomeColumns) -> Result<Self> {
        let wanted = columns;
        let columns: &[&str] = match columns {
            OutcomeColumns::Verdicts => VERDICTS,
            OutcomeColumns::Reasons => REASONS,
            OutcomeColumns::Answers => &[
                "ordinal",
                "key",
                "status",
                "transient",
                "answer",
                "error",
                VECTOR,
            ],
            OutcomeColumns::All => &[],
        };
        let bytes = match wanted {
            OutcomeColumns::Reasons => REASONS_BYTES,
            _ => VECTORS_BYTES,
        };
        Ok(OutcomesReader(bulk::read_within(file, columns, bytes)?))
    }
}

impl Iterator for OutcomesReader {
    type Item = Result<Outcomes>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(bulk::next(&mut self.0)?.and_then(Outcomes::from))
    }
}

/// The verdicts on the requests of one attempt, some at a time. From object storage the answers are not
/// fetched: whoever plans needs none, and reads the verdicts of every earlier plan.
pub struct OutcomeVerdicts(Columns);

impl std::fmt::Debug for OutcomeVerdicts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutcomeVerdicts").finish_non_exhaustive()
    }
}

impl OutcomeVerdicts {
    /// Reads the file of outcomes at `place`.
    ///
    /// # Errors
    /// `Data` if it is gone or is not such a file, `Unavailable` if its store is away.
    pub async fn open(place: &Location) -> Result<Self> {
        Columns::open(place, VERDICTS).await.map(OutcomeVerdicts)
    }

    /// The next of them; none at the end.
    ///
    /// # Errors
    /// As [`OutcomeVerdicts::open`].
    pub async fn next(&mut self) -> Result<Option<Outcomes>> {
        self.0.next().await?.map(Outcomes::from).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Finish;

    fn outcome(n: u64) -> Outcome<'static> {
        let usage = Usage {
            input: n,
            output: 2,
            reasoning: 1,
            ..Usage::default()
        };
        let model = Some("m-1".into());
        match n % 3 {
            0 => Outcome {
                usage,
                model,
                finish: Some(Finish::Stop),
                ..Outcome::succeeded(format!("a{n}").into())
            },
            1 => Outcome::without_answer(RowStatus::Missing, "missing".into()),
            _ => Outcome {
                usage,
                raw: Some("half".into()),
                finish: Some(Finish::Length),
                ..Outcome::without_answer(RowStatus::Truncated, "cut".into())
            },
        }
    }

    #[test]
    fn outcomes_are_read_as_they_were_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let key = |n: u64| RequestKey([n.to_be_bytes(); 3].concat().try_into().expect("24 bytes"));
        let mut writer = OutcomesWriter::create(&path, ("a1", "batch_1"), None).expect("a file");
        for n in 0..2500 {
            writer.push(n, key(n), &outcome(n)).expect("written");
        }
        assert_eq!(writer.finish().expect("finished"), 2500);
        let open = |columns| {
            OutcomesReader::open(File::open(&path).expect("there"), columns).expect("Parquet")
        };
        let mut n = 0;
        for some in open(OutcomeColumns::All) {
            let some = some.expect("readable");
            for at in 0..some.len() {
                let expect = outcome(n);
                assert_eq!((some.ordinal(at), some.key(at)), (n, key(n)));
                assert_eq!(some.status(at), expect.status);
                assert_eq!(some.is_transient(at), expect.transient);
                assert_eq!(some.answer(at), expect.answer.as_deref());
                assert_eq!(some.error(at), expect.error.as_deref());
                assert_eq!(some.text("raw", at), expect.raw.as_deref());
                assert_eq!(some.text("model", at), expect.model.as_deref());
                assert_eq!(some.text("finish", at), expect.finish.map(Finish::as_str));
                assert_eq!(some.usage(at), expect.usage);
                n += 1;
            }
        }
        assert_eq!(n, 2500);
        let verdicts: Vec<_> = open(OutcomeColumns::Verdicts)
            .collect::<Result<_>>()
            .expect("readable");
        assert_eq!(verdicts[0].answer(0), None, "answers were not asked for");
        assert_eq!(verdicts.iter().map(Outcomes::len).sum::<usize>(), 2500);
    }

    const DIMENSIONS: u32 = 1536;

    #[test]
    fn vectors_are_kept_as_they_are_and_read_a_few_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("0.parquet");
        let key = RequestKey([1; RequestKey::LEN]);
        let vector = |n: u64| -> Vec<u8> {
            let seed = blake3::hash(&n.to_le_bytes());
            let word = |at: usize| seed.as_bytes()[at % 32] ^ at.to_le_bytes()[0];
            (0..4 * DIMENSIONS as usize).map(word).collect()
        };
        let mut writer =
            OutcomesWriter::create(&path, ("a", "b"), Some(DIMENSIONS)).expect("a file");
        for n in 0..1000 {
            let outcome = if n % 5 == 4 {
                Outcome::without_answer(RowStatus::Missing, "missing".into())
            } else {
                Outcome::embedded(vector(n).into())
            };
            writer.push(n, key, &outcome).expect("written");
            assert!(writer.ordinals.len() <= 200, "they are not collected");
        }
        assert_eq!(writer.finish().expect("finished"), 1000);
        for columns in [OutcomeColumns::Answers, OutcomeColumns::All] {
            let file = File::open(&path).expect("there");
            let mut n = 0;
            for some in OutcomesReader::open(file, columns).expect("Parquet") {
                let some = some.expect("readable");
                assert!(some.len() <= 200, "{} are held at once", some.len());
                for at in 0..some.len() {
                    let expect = (n % 5 != 4).then(|| vector(n));
                    assert_eq!(some.vector(at), expect.as_deref());
                    assert_eq!(some.answer(at), None);
                    n += 1;
                }
            }
            assert_eq!(n, 1000);
        }
        let file = File::open(&path).expect("there");
        let wrong = Outcome::embedded(vec![0; 4].into());
        let mut writer = OutcomesWriter::create(&path, ("a", "b"), Some(2)).expect("a file");
        assert!(writer.push(0, key, &wrong).is_err(), "another length");
        drop(file);
    }
}
