//! One cell of an Arrow column, as a template's value.
//!
//! See the table in the [module's doc](super) for what each type becomes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, MapArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, DurationFormat, FormatOptions};
use minijinja::value::{Enumerator, Object};
use minijinja::{Error, ErrorKind, Value};

use super::missing::Notes;

/// A column of the batch that is being rendered.
#[derive(Clone, Debug)]
pub(super) struct Cells<'c> {
    /// Its name.
    pub(super) name: &'c str,
    /// Its values.
    pub(super) array: &'c ArrayRef,
    /// What stands for its nulls.
    pub(super) null: &'c Value,
    /// Where its nulls and decimals are noted.
    pub(super) notes: &'c Notes,
}

/// The column without the layouts that only save space: dictionaries and runs.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values),
        DataType::RunEndEncoded(_, values) => cast(array, values.data_type()),
        _ => Ok(Arc::clone(array)),
    }
}

impl Cells<'_> {
    /// The value of a row.
    pub(super) fn value(&self, row: usize) -> Value {
        self.cell(self.array, row)
    }

    fn cell(&self, array: &ArrayRef, row: usize) -> Value {
        if array.is_null(row) {
            return self.null.clone();
        }
        match array.data_type() {
            DataType::Null => self.null.clone(),
            DataType::Boolean => Value::from(array.as_boolean().value(row)),
            DataType::Utf8 => Value::from(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Value::from(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Value::from(array.as_string_view().value(row)),
            DataType::Binary => self.text(array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => self.text(array.as_binary::<i64>().value(row)),
            DataType::BinaryView => self.text(array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => self.text(array.as_fixed_size_binary().value(row)),
            data_type if data_type.is_numeric() => self.number(array, row),
            data_type if data_type.is_nested() => self.nested(array, row),
            _ => formatted(array, row),
        }
    }

    fn number(&self, array: &ArrayRef, row: usize) -> Value {
        match array.data_type() {
            DataType::Int8 => Value::from(array.as_primitive::<Int8Type>().value(row)),
            DataType::Int16 => Value::from(array.as_primitive::<Int16Type>().value(row)),
            DataType::Int32 => Value::from(array.as_primitive::<Int32Type>().value(row)),
            DataType::Int64 => Value::from(array.as_primitive::<Int64Type>().value(row)),
            DataType::UInt8 => Value::from(array.as_primitive::<UInt8Type>().value(row)),
            DataType::UInt16 => Value::from(array.as_primitive::<UInt16Type>().value(row)),
            DataType::UInt32 => Value::from(array.as_primitive::<UInt32Type>().value(row)),
            DataType::UInt64 => Value::from(array.as_primitive::<UInt64Type>().value(row)),
            DataType::Float16 => Value::from(widened(
                array.as_primitive::<Float16Type>().value(row).to_f32(),
            )),
            DataType::Float32 => {
                Value::from(widened(array.as_primitive::<Float32Type>().value(row)))
            }
            DataType::Float64 => Value::from(array.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal32(_, scale) => self.decimal::<Decimal32Type>(array, row, *scale),
            DataType::Decimal64(_, scale) => self.decimal::<Decimal64Type>(array, row, *scale),
            DataType::Decimal128(_, scale) => self.decimal::<Decimal128Type>(array, row, *scale),
            DataType::Decimal256(_, scale) => self.decimal::<Decimal256Type>(array, row, *scale),
            _ => formatted(array, row),
        }
    }

    /// A decimal is a number in tests and sums, and exact where it is printed.
    fn decimal<T: DecimalType>(&self, array: &ArrayRef, row: usize, scale: i8) -> Value {
        let exact = array.as_primitive::<T>().value_as_string(row);
        if scale <= 0
            && let Ok(whole) = exact.parse::<i128>()
        {
            return Value::from(whole);
        }
        let number = exact.parse::<f64>().unwrap_or(f64::NAN);
        self.notes.decimal(number, exact);
        Value::from(number)
    }

    fn text(&self, bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(Error::new(
                ErrorKind::InvalidOperation,
                format!(
                    "column `{}` holds bytes that are not UTF-8 text; decode it in a query, for example with encode({}, 'base64')",
                    self.name, self.name
                ),
            )),
        }
    }

    fn nested(&self, array: &ArrayRef, row: usize) -> Value {
        match array.data_type() {
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row)),
            DataType::FixedSizeList(_, _) => self.list(&array.as_fixed_size_list().value(row)),
            DataType::ListView(_) => self.list(&array.as_list_view::<i32>().value(row)),
            DataType::LargeListView(_) => self.list(&array.as_list_view::<i64>().value(row)),
            DataType::Struct(_) => self.record(array.as_struct(), row),
            DataType::Map(_, _) => self.map(array.as_map(), row),
            DataType::Dictionary(_, _) | DataType::RunEndEncoded(_, _) => {
                match plain(&array.slice(row, 1)) {
                    Ok(one) => self.cell(&one, 0),
                    Err(error) => invalid(&error),
                }
            }
            _ => formatted(array, row),
        }
    }

    fn list(&self, items: &ArrayRef) -> Value {
        (0..items.len())
            .map(|item| self.cell(items, item))
            .collect()
    }

    fn record(&self, array: &StructArray, row: usize) -> Value {
        let fields = array.fields().iter().zip(array.columns());
        Value::from_object(Record(
            fields
                .map(|(field, column)| (Value::from(field.name().as_str()), self.cell(column, row)))
                .collect(),
        ))
    }

    fn map(&self, array: &MapArray, row: usize) -> Value {
        let entries = array.value(row);
        let (keys, values) = (entries.column(0), entries.column(1));
        Value::from_object(Record(
            (0..entries.len())
                .map(|entry| (self.cell(keys, entry), self.cell(values, entry)))
                .collect(),
        ))
    }
}

/// A struct or a map, with its fields in their own order.
#[derive(Debug)]
struct Record(Vec<(Value, Value)>);

impl Object for Record {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| name.clone()).collect())
    }
}

/// A 32-bit float as the 64-bit float that is written the same: 0.1, not 0.10000000149011612.
fn widened(number: f32) -> f64 {
    number
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(number))
}

const FORMAT: FormatOptions<'_> = FormatOptions::new()
    .with_display_error(false)
    .with_duration_format(DurationFormat::ISO8601);

/// Dates, times and whatever else has one way to be written.
fn formatted(array: &ArrayRef, row: usize) -> Value {
    let text = ArrayFormatter::try_new(array.as_ref(), &FORMAT)
        .and_then(|formatter| formatter.value(row).try_to_string());
    match text {
        Ok(text) => Value::from(text),
        Err(error) => invalid(&error),
    }
}

fn invalid(error: &arrow::error::ArrowError) -> Value {
    Value::from(Error::new(ErrorKind::InvalidOperation, error.to_string()))
}
