//! The row id: what the key columns hold, as bytes that no other key has.
//!
//! Keys are compared by value: integers of any width, strings of any layout and dictionaries of them
//! are brought to one form first, so that a table keeps its keys when a writer changes its mind about
//! widths. Several columns are encoded by Arrow's row format, in which `("a", "bc")` and
//! `("ab", "c")` differ.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema};
use arrow::row::{RowConverter, Rows, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::base::{Error, ErrorKind, HashKey, Result, ResultExt};

use super::open::{Source, find_column};
use super::slice::{Scan, Slice};

/// How many offenders an error names.
const OFFENDERS_MAX: usize = 5;

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
    fn is_integer(&self) -> bool {
        self.types == [DataType::Int64]
    }
}

fn plain_key(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef> {
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

/// Reads the key columns once, and makes sure that no row id is null or stands twice.
///
/// `insert` puts a row id's hash and its position into an index, and returns the position that was
/// there already; the one that was there stays. It is not called while a single integer key rises
/// from row to row, which proves it unique; when it first does not, reading starts again.
///
/// # Errors
/// `Invalid` if the key is null or stands twice somewhere: the error names the first five rows.
pub async fn check_unique(
    source: &Source,
    ids: &RowIds,
    mut insert: impl FnMut(HashKey, u64) -> Result<Option<u64>>,
) -> Result<()> {
    if ids.is_integer() && rises(source, ids).await? {
        return Ok(());
    }
    let mut slices = source.scan(Scan::of(ids.columns())).await?;
    let mut hashes = Vec::new();
    let mut offenders = Vec::new();
    while let Some(slice) = slices.try_next().await? {
        // Whoever has had enough of it is to be heard.
        tokio::task::yield_now().await;
        hashes.clear();
        ids.hash(&slice.batch, &mut hashes)?;
        let nulls = null_rows(&slice.batch);
        for (index, hash) in hashes.iter().enumerate() {
            let position = slice.rows.get(index).unwrap_or_default();
            if nulls.as_ref().is_some_and(|nulls| nulls[index]) {
                offenders.push(format!(
                    "row {position} has no key: {}",
                    describe(&slice, ids, index)?
                ));
            } else if let Some(first) = insert(*hash, position)? {
                let key = describe(&slice, ids, index)?;
                offenders.push(format!("{key} in rows {first} and {position}"));
            }
            if offenders.len() == OFFENDERS_MAX {
                return Err(not_unique(ids, &offenders));
            }
        }
    }
    if offenders.is_empty() {
        Ok(())
    } else {
        Err(not_unique(ids, &offenders))
    }
}

/// Whether a single integer key is never null and rises from row to row.
async fn rises(source: &Source, ids: &RowIds) -> Result<bool> {
    let mut slices = source.scan(Scan::of(ids.columns())).await?;
    let mut last: Option<i64> = None;
    while let Some(slice) = slices.try_next().await? {
        tokio::task::yield_now().await;
        let column = plain_key(&slice.batch, &ids.columns[0], &DataType::Int64)?;
        let Some(column) = column.as_any().downcast_ref::<Int64Array>() else {
            return Ok(false);
        };
        let rising = column.values().windows(2).all(|pair| pair[0] < pair[1]);
        let first = column.values().first().copied();
        if column.null_count() > 0
            || !rising
            || last.is_some_and(|last| first.is_some_and(|first| first <= last))
        {
            return Ok(false);
        }
        last = column.values().last().copied().or(last);
    }
    Ok(true)
}

/// For each row, whether any key column is null in it; `None` if none is.
fn null_rows(batch: &RecordBatch) -> Option<Vec<bool>> {
    let nulls: Vec<_> = batch
        .columns()
        .iter()
        .filter_map(Array::logical_nulls)
        .collect();
    if nulls.iter().all(|nulls| nulls.null_count() == 0) {
        return None;
    }
    let any = |row| nulls.iter().any(|nulls| nulls.is_null(row));
    Some((0..batch.num_rows()).map(any).collect())
}

/// The key of a row, for people: `ticket_id=7, lang=en`.
fn describe(slice: &Slice, ids: &RowIds, index: usize) -> Result<String> {
    let options = FormatOptions::new().with_null("null");
    let mut text = String::new();
    for name in &ids.columns {
        let Some(column) = slice.batch.column_by_name(name) else {
            continue;
        };
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .or_err(ErrorKind::Internal, "cannot print a key")?;
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{name}={}", formatter.value(index));
    }
    Ok(text)
}

fn not_unique(ids: &RowIds, offenders: &[String]) -> Error {
    Error::invalid("the key does not name each row once")
        .with("key", ids.columns.join(", "))
        .with("rows", offenders.join("; "))
        .hint("rows are counted from 0. Choose a key that is unique and never null, add a column to it, or leave `key` out to use the row's position")
}
