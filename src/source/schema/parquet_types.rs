//! What a snapshot keeps: the types that Parquet has, for those that it has no like of.
//!
//! | Arrow | kept as |
//! |---|---|
//! | seconds (timestamps, times of day) | milliseconds |
//! | `Date64` | `Date32`; a value with a time of day is an error |
//! | views, list views, runs | strings, bytes, lists, plain values |
//! | dictionaries of anything but text | plain values |
//! | decimals of a negative scale | whole numbers of as many digits |
//! | null | text without a value |
//! | bytes of no length | bytes |
//!
//! Unions, spans of months, days and nanoseconds, and structs without fields are refused, with the name
//! of the column, when the source is opened.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, FieldRef, Fields,
    IntervalUnit, Schema, TimeUnit,
};
use arrow::error::ArrowError;
use parquet::arrow::ArrowSchemaConverter;

use crate::base::{Error, Result};

/// The schema that a snapshot of `schema` has.
///
/// # Errors
/// `Invalid`, with the name, if a column cannot be kept.
pub(crate) fn parquet_schema(schema: &Schema) -> Result<Schema> {
    let fields = schema.fields().iter().map(parquet_column);
    let fields: Fields = fields.collect::<Result<Vec<_>>>()?.into();
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

fn parquet_column(field: &FieldRef) -> Result<FieldRef> {
    let cannot = || {
        Error::invalid("Parquet has no like of a column's type")
            .with("column", field.name())
            .with("type", field.data_type())
    };
    let kept = parquet_field(field).map_err(|hint| cannot().hint(hint))?;
    if !can_cast_types(field.data_type(), kept.data_type()) {
        return Err(cannot().hint(LEAVE_OUT));
    }
    let alone = Schema::new(vec![Arc::clone(&kept)]);
    ArrowSchemaConverter::new()
        .convert(&alone)
        .map_err(|error| cannot().hint(LEAVE_OUT).because(error))?;
    Ok(kept)
}

const LEAVE_OUT: &str = "leave the column out with a query: `query` in [source] selects the others";
const CAST: &str = "write it as text in a query, for example CAST(x AS VARCHAR)";

type Converted<T> = std::result::Result<T, &'static str>;

fn parquet_field(field: &FieldRef) -> Converted<FieldRef> {
    let kept = parquet_type(field.data_type())?;
    if kept == *field.data_type() {
        return Ok(Arc::clone(field));
    }
    Ok(Arc::new(field.as_ref().clone().with_data_type(kept)))
}

fn parquet_type(data_type: &DataType) -> Converted<DataType> {
    Ok(match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Time32(TimeUnit::Second) => DataType::Time32(TimeUnit::Millisecond),
        DataType::Date64 => DataType::Date32,
        DataType::Interval(IntervalUnit::MonthDayNano) => return Err(CAST),
        DataType::Null | DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView | DataType::FixedSizeBinary(..=0) => DataType::Binary,
        DataType::Decimal32(digits, scale @ ..0)
        | DataType::Decimal64(digits, scale @ ..0)
        | DataType::Decimal128(digits, scale @ ..0)
        | DataType::Decimal256(digits, scale @ ..0) => whole(digits + scale.unsigned_abs())?,
        DataType::List(item) | DataType::ListView(item) => DataType::List(parquet_field(item)?),
        DataType::LargeList(item) | DataType::LargeListView(item) => {
            DataType::LargeList(parquet_field(item)?)
        }
        DataType::FixedSizeList(item, size) if *size > 0 => {
            DataType::FixedSizeList(parquet_field(item)?, *size)
        }
        DataType::Struct(fields) if !fields.is_empty() => {
            DataType::Struct(fields.iter().map(parquet_field).collect::<Converted<_>>()?)
        }
        DataType::Map(entries, sorted) => DataType::Map(parquet_field(entries)?, *sorted),
        DataType::FixedSizeList(_, _) | DataType::Struct(_) | DataType::Union(_, _) => {
            return Err(LEAVE_OUT);
        }
        DataType::RunEndEncoded(_, values) => parquet_type(values.data_type())?,
        DataType::Dictionary(key, values) => match parquet_type(values)? {
            text @ (DataType::Utf8 | DataType::LargeUtf8) => {
                DataType::Dictionary(key.clone(), Box::new(text))
            }
            other => other,
        },
        other => other.clone(),
    })
}

fn whole(digits: u8) -> Converted<DataType> {
    if digits <= DECIMAL128_MAX_PRECISION {
        Ok(DataType::Decimal128(digits, 0))
    } else if digits <= DECIMAL256_MAX_PRECISION {
        Ok(DataType::Decimal256(digits, 0))
    } else {
        Err(CAST)
    }
}

/// A column's values, of the type in which they are kept.
///
/// # Errors
/// If a value has no like among them; it is never made a null.
pub(crate) fn parquet_values(column: &ArrayRef, field: &Field) -> Result<ArrayRef> {
    if column.data_type() == field.data_type() {
        return Ok(Arc::clone(column));
    }
    convert(column, field.data_type()).map_err(|error| {
        Error::invalid("a value of a column has no like in Parquet")
            .with("column", field.name())
            .with("type", column.data_type())
            .hint(CAST)
            .because(error)
    })
}

fn convert(column: &ArrayRef, to: &DataType) -> std::result::Result<ArrayRef, ArrowError> {
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let kept = cast_with_options(column, to, &strict)?;
    if holds_date64(column.data_type())
        && cast_with_options(&kept, column.data_type(), &strict)?.to_data() != column.to_data()
    {
        let words = "a date has a time of day";
        return Err(ArrowError::CastError(words.to_owned()));
    }
    Ok(kept)
}

fn holds_date64(data_type: &DataType) -> bool {
    match data_type {
        DataType::Date64 => true,
        DataType::Dictionary(_, values) => holds_date64(values),
        DataType::List(field)
        | DataType::ListView(field)
        | DataType::LargeList(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::RunEndEncoded(_, field)
        | DataType::Map(field, _) => holds_date64(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_date64(field.data_type())),
        _ => false,
    }
}
