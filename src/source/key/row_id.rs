//! The row id: what the key columns hold, as bytes that no other key has.
//!
//! Keys are compared by value: integers of any width, strings of any layout and dictionaries of them
//! are brought to one form first, so that a table keeps its keys when a writer changes its mind about
//! widths. Several columns are encoded by Arrow's row format, in which `("a", "bc")` and
//! `("ab", "c")` differ.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use sha2::{Digest, Sha256};

use crate::base::{Error, ErrorKind, HashKey, Result, ResultExt};
use crate::source::schema::find_column;

/// Turns key columns into row ids.
#[derive(Debug)]
pub struct RowIds {
    columns: Vec<String>,
    types: Vec<DataType>,
    /// How many bytes a value has, where all have as many.
    lengths: Vec<Option<usize>>,
    converter: RowConverter,
}

impl RowIds {
    /// For the key `columns` of `schema`.
    ///
    /// # Errors
    /// `Invalid` if a column does not exist, or is of a type that makes no key.
    pub fn new(schema: &Schema, columns: &[String]) -> Result<RowIds> {
        let mut types = Vec::with_capacity(columns.len());
        let mut lengths = Vec::with_capacity(columns.len());
        for name in columns {
            let field = schema.field(find_column(schema, name)?);
            lengths.push(match field.data_type() {
                DataType::FixedSizeBinary(length) => usize::try_from(*length).ok(),
                _ => None,
            });
            types.push(key_type(field.data_type()).ok_or_else(|| unfit(name, field.data_type()))?);
        }
        let fields = types.iter().cloned().map(SortField::new).collect();
        let converter =
            RowConverter::new(fields).or_err(ErrorKind::Invalid, "these columns make no key")?;
        Ok(RowIds {
            columns: columns.to_vec(),
            types,
            lengths,
            converter,
        })
    }

    /// The names of the key columns.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The row ids of a batch that holds the key columns, and perhaps others.
    ///
    /// # Errors
    /// `Internal` if the batch does not hold them.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns = self
            .columns
            .iter()
            .zip(&self.types)
            .map(|(name, wanted)| plain_key(batch, name, wanted))
            .collect::<Result<Vec<_>>>()?;
        self.converter
            .convert_columns(&columns)
            .or_err(ErrorKind::Internal, "cannot encode the key")
    }

    /// The row id of the key that a person writes as `texts`, one for each column; `None` if one of
    /// them is no value of its column's type.
    ///
    /// # Errors
    /// `Invalid` if values of a key column cannot be written as text.
    pub fn read(&self, texts: &[String]) -> Result<Option<Vec<u8>>> {
        let mut values: Vec<ArrayRef> = Vec::with_capacity(texts.len());
        let columns = self.columns.iter().zip(&self.types).zip(&self.lengths);
        for (((name, kind), length), text) in columns.zip(texts) {
            if let Some(bytes) = length.and_then(|length| bytes_of(text, length)) {
                values.push(Arc::new(BinaryArray::from(vec![&*bytes])));
                continue;
            }
            let text = StringArray::from(vec![text.as_str()]);
            let value = cast(&text, kind)
                .or_err(
                    ErrorKind::Invalid,
                    "a key of this type cannot be given as text",
                )
                .map_err(|error| error.with("column", name).with("type", kind))?;
            if value.is_null(0) {
                return Ok(None);
            }
            values.push(value);
        }
        let rows = self.converter.convert_columns(&values);
        let rows = rows.or_err(ErrorKind::Internal, "cannot encode the key")?;
        Ok(Some(rows.row(0).as_ref().to_vec()))
    }

    /// The hashes of the row ids of a batch, appended to `hashes`.
    ///
    /// # Errors
    /// As [`RowIds::encode`].
    pub fn hash(&self, batch: &RecordBatch, hashes: &mut Vec<HashKey>) -> Result<()> {
        let rows = self.encode(batch)?;
        hashes.extend(rows.iter().map(|row| {
            let mut key = HashKey::default();
            key.copy_from_slice(&Sha256::digest(row.as_ref())[..size_of::<HashKey>()]);
            key
        }));
        Ok(())
    }

    /// Whether the key is one integer, which may need no index to be known as unique.
    pub(super) fn is_integer(&self) -> bool {
        self.types == [DataType::Int64]
    }
}

/// A key column of a batch in its one form.
pub(super) fn plain_key(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| Error::internal("a key column was not read").with("column", name))?;
    if column.data_type() == wanted {
        return Ok(Arc::clone(column));
    }
    cast(column, wanted).or_err(ErrorKind::Internal, "cannot convert a key column")
}

/// So many bytes, written as a UUID or in hexadecimal digits, as prompts and errors write them.
fn bytes_of(text: &str, length: usize) -> Option<Vec<u8>> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|letter| *letter != '-')
        .map(|letter| letter.to_digit(16))
        .collect::<Option<_>>()?;
    let both = |pair: &[u32]| u8::try_from(pair[0] << 4 | pair[1]).ok();
    let bytes: Vec<u8> = digits.chunks_exact(2).map(both).collect::<Option<_>>()?;
    (digits.len() == 2 * length).then_some(bytes)
}

/// The one form of a key's type; `None` if it makes no key.
fn key_type(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            Some(DataType::Int64)
        }
        DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Some(DataType::Int64),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Some(DataType::Binary),
        DataType::Dictionary(_, values) => key_type(values),
        DataType::RunEndEncoded(_, values) => key_type(values.data_type()),
        DataType::Boolean
        | DataType::UInt64
        | DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(_, _)
        | DataType::Duration(_)
        | DataType::Decimal32(_, _)
        | DataType::Decimal64(_, _)
        | DataType::Decimal128(_, _)
        | DataType::Decimal256(_, _) => Some(data_type.clone()),
        _ => None,
    }
}

fn unfit(name: &str, data_type: &DataType) -> Error {
    let hint = if data_type.is_floating() {
        "floats are not exact, so they make no key; use an integer, a string or a decimal"
    } else {
        "a key is made of scalars: integers, strings, dates, decimals, booleans, bytes"
    };
    Error::invalid("a column of this type cannot be a key")
        .with("column", name)
        .with("type", data_type)
        .hint(hint)
}
