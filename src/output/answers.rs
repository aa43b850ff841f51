//! The new columns: one answer per row, and beside it what became of the row.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringBuilder, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use arrow::json::reader::Decoder;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::output::provenance::{Provenance, ProvenanceColumns};
use crate::output::texts::finish;
use crate::output::vectors::VectorColumn;
use crate::output::write::schema::new_schema;
use crate::work::answer::{Kind, ValueType};
use crate::work::{AnswerRef, Precision, RowStatus, meta};

/// The columns that say how each answer came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetaColumns {
    /// Those of [`meta::MINIMAL`].
    Minimal,
    /// And those of [`meta::FULL`].
    Full,
    /// None.
    Off,
}

impl MetaColumns {
    /// The columns beside `column`.
    #[must_use]
    pub fn fields(self, column: &str) -> Vec<Field> {
        let text = |name: String, nullable| Field::new(name, DataType::Utf8, nullable);
        let [status, error] = meta::MINIMAL.map(|ending| meta::name(column, ending));
        let minimal = [text(status, false), text(error, true)];
        match self {
            MetaColumns::Off => Vec::new(),
            MetaColumns::Minimal => minimal.into(),
            MetaColumns::Full => {
                let more = ProvenanceColumns::fields(column);
                minimal.into_iter().chain(more).collect()
            }
        }
    }
}

/// What the new columns are.
#[derive(Clone, Debug)]
pub struct AnswerSpec<'a> {
    /// The answer's column.
    pub column: &'a str,
    /// What its values are; `None` if they are texts or vectors, kept as they are and not as JSON.
    pub value: Option<&'a ValueType>,
    /// Where they are vectors: how many numbers each has, and how exactly it holds them.
    pub vector: Option<(u32, Precision)>,
    /// Whether each field of a struct has a column of its own, and what its name begins with.
    pub flatten: Option<&'a str>,
    /// Whether texts lose the blanks around them.
    pub trim: bool,
    /// The columns that say how each answer came about.
    pub meta: MetaColumns,
    /// What each column's own metadata says: who answered what.
    pub about: &'a [(String, String)],
}

/// Builds the new columns, row by row.
#[derive(Debug)]
pub struct AnswerColumns {
    schema: SchemaRef,
    rows: usize,
    answers: Answers,
    meta: Option<(StringBuilder, StringBuilder)>,
    provenance: Option<ProvenanceColumns>,
}

/// Rows in one batch.
const ROWS_MAX: usize = 8192;

/// Bytes of answers and errors in one batch; of vectors fewer, for what is made of them on the way to the
/// file takes several times as much.
const BYTES_MAX: usize = 4 << 20;
const VECTORS_MAX: usize = 1 << 20;

impl AnswerColumns {
    /// The columns of `spec`.
    ///
    /// # Errors
    /// `Internal`, if no value of this type can be read from JSON.
    pub fn new(spec: &AnswerSpec<'_>) -> Result<Self> {
        let mut fields = answer_fields(spec);
        fields.extend(spec.meta.fields(spec.column));
        let has_status = spec.meta != MetaColumns::Off;
        let is_full = spec.meta == MetaColumns::Full;
        Ok(AnswerColumns {
            schema: new_schema(fields, spec.about),
            rows: 0,
            answers: Answers::of(spec)?,
            meta: has_status.then(Default::default),
            provenance: is_full.then(ProvenanceColumns::new),
        })
    }

    /// The columns of a text, for tests.
    #[cfg(test)]
    pub(crate) fn of_text(column: &str, meta: MetaColumns, about: &[(String, String)]) -> Self {
        let spec = AnswerSpec {
            column,
            value: None,
            vector: None,
            flatten: None,
            trim: false,
            meta,
            about,
        };
        AnswerColumns::new(&spec).expect("texts need no reader")
    }

    /// The columns' schema.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// Adds a row for which nothing is known of how it came about. The answer counts only where the row
    /// succeeded, the error only where it did not.
    ///
    /// # Errors
    /// `Data` if an answer in the ledger is not of its type.
    pub fn push(
        &mut self,
        status: RowStatus,
        answer: Option<AnswerRef<'_>>,
        error: Option<&str>,
    ) -> Result<()> {
        self.push_answer(status, answer, error)?;
        if let Some(columns) = &mut self.provenance {
            columns.push_null();
        }
        Ok(())
    }

    /// The same, with how it came about.
    ///
    /// # Errors
    /// `Data` if an answer in the ledger is not of its type; `Internal` if a number is larger than its column
    /// holds.
    pub fn push_known(
        &mut self,
        status: RowStatus,
        answer: Option<AnswerRef<'_>>,
        error: Option<&str>,
        provenance: &Provenance<'_>,
    ) -> Result<()> {
        self.push_answer(status, answer, error)?;
        match &mut self.provenance {
            Some(columns) => columns.push(provenance),
            None => Ok(()),
        }
    }

    fn push_answer(
        &mut self,
        status: RowStatus,
        answer: Option<AnswerRef<'_>>,
        error: Option<&str>,
    ) -> Result<()> {
        let succeeded = status == RowStatus::Succeeded;
        self.answers.push(answer.filter(|_| succeeded))?;
        if let Some((statuses, errors)) = &mut self.meta {
            statuses.append_value(status.as_str());
            errors.append_option(error.filter(|_| !succeeded));
        }
        self.rows += 1;
        Ok(())
    }

    /// How many rows wait in the batch.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether the batch is large enough to be sent on.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let errors = self
            .meta
            .as_ref()
            .map_or(0, |(_, e)| e.values_slice().len());
        let known = self.provenance.as_ref().map_or(0, ProvenanceColumns::bytes);
        let most = match self.answers {
            Answers::Vector(_) => VECTORS_MAX,
            _ => BYTES_MAX,
        };
        self.rows >= ROWS_MAX || self.answers.bytes() + errors + known >= most
    }

    /// The batch so far; the next one begins.
    ///
    /// # Errors
    /// `Data` if an answer in the ledger is not of its type; `Internal` if the columns do not fit their
    /// schema.
    pub fn finish(&mut self) -> Result<RecordBatch> {
        let mut columns = self.answers.finish(self.rows)?;
        if let Some((statuses, errors)) = &mut self.meta {
            columns.extend([finish(statuses), finish(errors)]);
        }
        if let Some(known) = &mut self.provenance {
            columns.extend(known.finish());
        }
        self.rows = 0;
        RecordBatch::try_new(self.schema(), columns).or_err(
            ErrorKind::Internal,
            "the new columns do not fit their schema",
        )
    }
}

/// The answer's own columns. They are nullable, whatever their type, for a row may have no answer.
fn answer_fields(spec: &AnswerSpec<'_>) -> Vec<Field> {
    if let Some((dimensions, precision)) = spec.vector {
        let data_type = VectorColumn::data_type(dimensions, precision);
        return vec![Field::new(spec.column, data_type, true)];
    }
    let Some(value) = spec.value else {
        return vec![Field::new(spec.column, DataType::Utf8, true)];
    };
    match (&value.kind, spec.flatten) {
        (Kind::Struct(fields), Some(prefix)) => fields
            .iter()
            .map(|(name, value)| value.field(&format!("{prefix}{name}")).with_nullable(true))
            .collect(),
        _ => vec![value.field(spec.column).with_nullable(true)],
    }
}

/// The one place where answers become Arrow's values.
#[derive(Debug)]
enum Answers {
    /// Texts, as they are or without the blanks around them.
    Text { texts: StringBuilder, trim: bool },
    /// Vectors, as they are, or in half the precision.
    Vector(VectorColumn),
    /// Values of other types, which lie in the ledger as JSON.
    Json {
        decoder: Decoder,
        /// Lines of JSON, a row each.
        lines: Vec<u8>,
        /// Whether each field has a column of its own.
        flatten: bool,
        data_type: DataType,
    },
}

impl Answers {
    fn of(spec: &AnswerSpec<'_>) -> Result<Self> {
        if let Some((dimensions, precision)) = spec.vector {
            return Ok(Answers::Vector(VectorColumn::new(dimensions, precision)));
        }
        let Some(value) = spec.value else {
            return Ok(Answers::Text {
                texts: StringBuilder::new(),
                trim: spec.trim,
            });
        };
        let field = value.field(LINE).with_nullable(true);
        let decoder = ReaderBuilder::new(Arc::new(Schema::new(vec![field])))
            .with_batch_size(ROWS_MAX)
            .build_decoder()
            .or_err(ErrorKind::Internal, "answers of this type cannot be read")?;
        Ok(Answers::Json {
            decoder,
            lines: Vec::new(),
            flatten: spec.flatten.is_some() && matches!(value.kind, Kind::Struct(_)),
            data_type: value.data_type(),
        })
    }

    fn push(&mut self, answer: Option<AnswerRef<'_>>) -> Result<()> {
        let other = || Error::data("an answer in the ledger is not of its type");
        let text = match (&mut *self, answer) {
            (Answers::Vector(column), Some(AnswerRef::Vector(vector))) => {
                return column.push(vector);
            }
            (Answers::Vector(column), None) => return column.push_null(),
            (Answers::Vector(_), Some(AnswerRef::Text(_))) | (_, Some(AnswerRef::Vector(_))) => {
                return Err(other());
            }
            (_, Some(AnswerRef::Text(text))) => Some(text),
            (_, None) => None,
        };
        match self {
            Answers::Text { texts, trim: false } => texts.append_option(text),
            Answers::Text { texts, trim: true } => texts.append_option(text.map(str::trim)),
            Answers::Json { lines, .. } => {
                lines.extend_from_slice(b"{\"a\":");
                lines.extend_from_slice(text.unwrap_or("null").as_bytes());
                lines.extend_from_slice(b"}\n");
            }
            Answers::Vector(_) => {}
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        match self {
            Answers::Text { texts, .. } => texts.values_slice().len(),
            Answers::Json { lines, .. } => lines.len(),
            Answers::Vector(column) => column.bytes(),
        }
    }

    fn finish(&mut self, rows: usize) -> Result<Vec<ArrayRef>> {
        let (decoder, lines, flatten, data_type) = match self {
            Answers::Text { texts, .. } => return Ok(vec![finish(texts)]),
            Answers::Vector(column) => return Ok(vec![column.finish()?]),
            Answers::Json {
                decoder,
                lines,
                flatten,
                data_type,
            } => (decoder, lines, *flatten, &*data_type),
        };
        let damaged = "an answer in the ledger is not of its type";
        let read = decoder.decode(lines).or_err(ErrorKind::Data, damaged)?;
        let batch = decoder.flush().or_err(ErrorKind::Data, damaged)?;
        let whole = read == lines.len();
        lines.clear();
        let column = match batch {
            Some(batch) if whole && batch.num_rows() == rows => Arc::clone(batch.column(0)),
            None if rows == 0 => new_empty_array(data_type),
            _ => return Err(Error::data(damaged)),
        };
        Ok(match column.as_struct_opt() {
            Some(fields) if flatten => fields.columns().to_vec(),
            _ => vec![column],
        })
    }
}

/// What the answer is called in the lines that are read.
const LINE: &str = "a";

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
        let column = batch.column_by_name(column).unwrap().as_string::<i32>();
        column.iter().map(|text| text.map(str::to_owned)).collect()
    }

    #[test]
    fn the_answer_is_null_unless_the_row_succeeded() {
        let metadata = [("columnist.model".to_owned(), "m".to_owned())];
        let mut columns = AnswerColumns::of_text("label", MetaColumns::Minimal, &metadata);
        columns
            .push(
                RowStatus::Succeeded,
                Some(AnswerRef::Text(" a\n")),
                Some("ignored"),
            )
            .unwrap();
        columns
            .push(
                RowStatus::Failed,
                Some(AnswerRef::Text("not stored")),
                Some("overloaded"),
            )
            .unwrap();
        columns.push(RowStatus::Skipped, None, None).unwrap();
        columns
            .push(RowStatus::Succeeded, Some(AnswerRef::Text("")), None)
            .unwrap();
        assert_eq!(columns.rows(), 4);
        let batch = columns.finish().unwrap();
        let some = |text: &str| Some(text.to_owned());
        let status = ["succeeded", "failed", "skipped", "succeeded"].map(some);
        assert_eq!(texts(&batch, "label"), [some(" a\n"), None, None, some("")]);
        assert_eq!(texts(&batch, "label_status"), status);
        assert_eq!(
            texts(&batch, "label_error"),
            [None, some("overloaded"), None, None]
        );
        assert!(!batch.schema().field(1).is_nullable());
        assert_eq!(batch.schema().field(0).metadata()["columnist.model"], "m");
        assert_eq!(columns.finish().unwrap().num_rows(), 0);
    }

    #[test]
    fn trimmed_texts_lose_the_blanks_around_them_alone() {
        let spec = AnswerSpec {
            column: "a",
            value: None,
            vector: None,
            flatten: None,
            trim: true,
            meta: MetaColumns::Off,
            about: &[],
        };
        let mut columns = AnswerColumns::new(&spec).unwrap();
        for text in [" a  b\n", "\u{a0}c", " \n", "d"] {
            columns
                .push(RowStatus::Succeeded, Some(AnswerRef::Text(text)), None)
                .unwrap();
        }
        let some = |text: &str| Some(text.to_owned());
        let texts = texts(&columns.finish().unwrap(), "a");
        assert_eq!(texts, [some("a  b"), some("c"), some(""), some("d")]);
    }

    #[test]
    fn without_meta_there_is_the_answer_alone() {
        let mut columns = AnswerColumns::of_text("label", MetaColumns::Off, &[]);
        columns
            .push(RowStatus::Expired, None, Some("expired"))
            .unwrap();
        let batch = columns.finish().unwrap();
        assert_eq!((batch.num_columns(), batch.column(0).null_count()), (1, 1));
    }

    #[test]
    fn a_batch_is_full_by_rows_or_by_bytes() {
        let mut columns = AnswerColumns::of_text("a", MetaColumns::Off, &[]);
        columns
            .push(
                RowStatus::Succeeded,
                Some(AnswerRef::Text(&"x".repeat(BYTES_MAX - 1))),
                None,
            )
            .unwrap();
        assert!(!columns.is_full());
        columns
            .push(RowStatus::Succeeded, Some(AnswerRef::Text("x")), None)
            .unwrap();
        assert!(columns.is_full());
        columns.finish().unwrap();
        (0..ROWS_MAX).for_each(|_| columns.push(RowStatus::Skipped, None, None).unwrap());
        assert!(columns.is_full());
    }
}
