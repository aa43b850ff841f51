//! How an answer came about, and the columns that say so.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, TimeUnit};

use crate::base::{ErrorKind, Result, ResultExt, Time};
use crate::output::texts::finish as finish_texts;
use crate::work::{RequestKey, Usage, meta};

/// How an answer came about, or that there is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Provenance<'a> {
    /// The request key.
    pub key: RequestKey,
    /// The model that answered, as the provider names it.
    pub model: Option<&'a str>,
    /// Why it stopped.
    pub finish: Option<&'a str>,
    /// What the answer used.
    pub usage: Usage,
    /// What the request cost, all attempts together, in millionths of a millionth of a US dollar; nothing
    /// where no price is known.
    pub cost: Option<u128>,
    /// The batch that it came in.
    pub batch: Option<&'a str>,
    /// How often the request was sent.
    pub attempts: u32,
    /// When the batch had ended.
    pub answered_at: Option<Time>,
    /// What the model said.
    pub raw: Option<&'a str>,
}

/// Digits of a cost, and how many of them stand behind the point: exact to the last token.
const COST: (u8, i8) = (38, 12);

const UTC: &str = "UTC";

/// Builds the columns of [`meta::FULL`], row by row.
#[derive(Debug)]
pub(super) struct ProvenanceColumns {
    /// Key, model, finish, batch, raw.
    texts: [StringBuilder; 5],
    tokens: [Int64Builder; 5],
    cost: Decimal128Builder,
    attempts: Int32Builder,
    answered_at: TimestampMicrosecondBuilder,
}

impl ProvenanceColumns {
    pub(super) fn new() -> Self {
        let (precision, scale) = COST;
        ProvenanceColumns {
            texts: Default::default(),
            tokens: Default::default(),
            cost: Decimal128Builder::new().with_data_type(DataType::Decimal128(precision, scale)),
            attempts: Int32Builder::new(),
            answered_at: TimestampMicrosecondBuilder::new().with_timezone(UTC),
        }
    }

    /// The columns of `column`. All are nullable: nothing came back for a row that asks nothing.
    pub(super) fn fields(column: &str) -> impl Iterator<Item = Field> {
        let field = |ending| Field::new(meta::name(column, ending), type_of(ending), true);
        meta::FULL.into_iter().map(field)
    }

    /// Adds a row.
    ///
    /// # Errors
    /// `Internal` if a number is larger than its column holds.
    pub(super) fn push(&mut self, row: &Provenance<'_>) -> Result<()> {
        let [key, model, finish, batch, raw] = &mut self.texts;
        let failed = "a number is larger than its column holds";
        write!(key, "{}", row.key).or_err(ErrorKind::Internal, "a key cannot be written")?;
        key.append_value("");
        model.append_option(row.model);
        finish.append_option(row.finish);
        batch.append_option(row.batch);
        raw.append_option(row.raw);
        let [
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
        ] = row.usage.classes();
        let written = cache_write_5m + cache_write_1h;
        let tokens = [input, cache_read, written, output, reasoning];
        for (column, count) in self.tokens.iter_mut().zip(tokens) {
            column.append_value(i64::try_from(count).or_err(ErrorKind::Internal, failed)?);
        }
        let cost = row.cost.map(i128::try_from).transpose();
        self.cost
            .append_option(cost.or_err(ErrorKind::Internal, failed)?);
        let attempts = i32::try_from(row.attempts).or_err(ErrorKind::Internal, failed)?;
        self.attempts.append_value(attempts);
        let at = row.answered_at.map(|at| at.timestamp_micros());
        self.answered_at.append_option(at);
        Ok(())
    }

    /// Adds a row for which nothing came back.
    pub(super) fn push_null(&mut self) {
        self.texts.iter_mut().for_each(StringBuilder::append_null);
        self.tokens.iter_mut().for_each(Int64Builder::append_null);
        self.cost.append_null();
        self.attempts.append_null();
        self.answered_at.append_null();
    }

    /// Bytes of texts so far.
    pub(super) fn bytes(&self) -> usize {
        let texts = self.texts.iter();
        texts.map(|texts| texts.values_slice().len()).sum()
    }

    /// The columns so far, in the order of [`meta::FULL`]; the next ones begin.
    pub(super) fn finish(&mut self) -> [ArrayRef; 13] {
        let [key, model, finish, batch, raw] = self.texts.each_mut().map(finish_texts);
        let [input, cached, written, output, reasoning] = self
            .tokens
            .each_mut()
            .map(|tokens| Arc::new(tokens.finish()));
        [
            key,
            model,
            finish,
            input,
            cached,
            written,
            output,
            reasoning,
            Arc::new(self.cost.finish()),
            batch,
            Arc::new(self.attempts.finish()),
            Arc::new(self.answered_at.finish()),
            raw,
        ]
    }
}

/// The type of the column that ends so.
fn type_of(ending: &str) -> DataType {
    match ending {
        "input_tokens" | "cached_tokens" | "cache_write_tokens" | "output_tokens"
        | "reasoning_tokens" => DataType::Int64,
        "cost_usd" => DataType::Decimal128(COST.0, COST.1),
        "attempts" => DataType::Int32,
        "answered_at" => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray, RecordBatch};
    use arrow::datatypes::{
        Decimal128Type, Int32Type, Int64Type, Schema, TimestampMicrosecondType,
    };

    use super::*;

    fn batch(rows: &[Option<Provenance<'_>>]) -> RecordBatch {
        let mut columns = ProvenanceColumns::new();
        for row in rows {
            match row {
                Some(row) => columns.push(row).unwrap(),
                None => columns.push_null(),
            }
        }
        let fields: Vec<_> = ProvenanceColumns::fields("a").collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.finish().to_vec()).unwrap()
    }

    #[test]
    fn each_column_has_its_own_value_and_is_null_where_nothing_came_back() {
        let row = Provenance {
            key: RequestKey([0xab; 24]),
            model: Some("m-1"),
            finish: Some("stop"),
            usage: Usage {
                input: 1,
                cache_read: 2,
                cache_write_5m: 3,
                cache_write_1h: 4,
                output: 5,
                reasoning: 6,
            },
            cost: Some(123_456_789),
            batch: Some("b-1"),
            attempts: 2,
            answered_at: Time::from_timestamp(1_800_000_000, 5_000),
            raw: Some("said"),
        };
        let batch = batch(&[Some(row), None]);
        assert_eq!(batch.num_columns(), meta::FULL.len());
        for column in batch.columns() {
            assert_eq!((column.is_null(0), column.is_null(1)), (false, true));
        }
        let column = |ending: &str| batch.column_by_name(&meta::name("a", ending)).unwrap();
        let text = |ending: &str| column(ending).as_string::<i32>().value(0).to_owned();
        let number = |ending: &str| column(ending).as_primitive::<Int64Type>().value(0);
        assert_eq!(text("key"), "ab".repeat(24));
        let texts = ["model", "finish", "batch", "raw"].map(text);
        assert_eq!(texts, ["m-1", "stop", "b-1", "said"]);
        let tokens = ["input", "cached", "cache_write", "output", "reasoning"];
        let tokens = tokens.map(|class| number(&format!("{class}_tokens")));
        assert_eq!(tokens, [1, 2, 7, 5, 6]);
        let cost = column("cost_usd").as_primitive::<Decimal128Type>();
        assert_eq!(cost.value_as_string(0), "0.000123456789");
        assert_eq!(column("attempts").as_primitive::<Int32Type>().value(0), 2);
        let at = column("answered_at").as_primitive::<TimestampMicrosecondType>();
        assert_eq!(at.value(0), 1_800_000_000_000_005);
        assert_eq!(at.timezone(), Some("UTC"));
    }

    #[test]
    fn what_no_column_holds_is_told() {
        let mut columns = ProvenanceColumns::new();
        let row = Provenance {
            key: RequestKey([0; 24]),
            model: None,
            finish: None,
            usage: Usage::default(),
            cost: Some(u128::MAX),
            batch: None,
            attempts: 1,
            answered_at: None,
            raw: None,
        };
        assert!(columns.push(&row).is_err());
    }
}
