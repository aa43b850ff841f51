//! One cell of an Arrow column, as a template's value.
//!
//! See the table in the [module's doc](super) for what each type becomes.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, MapArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, DecimalType, Field,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use minijinja::value::{Enumerator, Object, ObjectRepr};
use minijinja::{Error, Value};

use super::decimal::{compared, from_digits};
use super::print::{UNPRINTABLE, json};
use super::text::{bytes_text, formatted, shortest};

/// A column of the batch that is being rendered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cells<'c> {
    /// What the table says of it: its name, and what kind of value lies in its bytes.
    pub(super) field: &'c Field,
    /// Its values.
    pub(super) array: &'c ArrayRef,
    /// What stands for its nulls.
    pub(super) null: &'c Value,
}

/// The column without the layouts that only save space: dictionaries and runs, also within lists and structs.
///
/// # Errors
/// If it cannot be decoded.
pub fn plain(array: &ArrayRef) -> Result<ArrayRef, arrow::error::ArrowError> {
    match plain_type(array.data_type()) {
        Some(plain) => cast(array, &plain),
        None => Ok(Arc::clone(array)),
    }
}

/// The type of the column that [`plain`] makes; `None` where there is nothing to be done.
fn plain_type(data_type: &DataType) -> Option<DataType> {
    let or_itself = |inner: &DataType| plain_type(inner).unwrap_or_else(|| inner.clone());
    let plain_field = |field: &Arc<Field>| {
        let plain = plain_type(field.data_type())?;
        Some(Arc::new(field.as_ref().clone().with_data_type(plain)))
    };
    match data_type {
        DataType::Dictionary(_, values) => Some(or_itself(values)),
        DataType::RunEndEncoded(_, values) => Some(or_itself(values.data_type())),
        DataType::List(item) => plain_field(item).map(DataType::List),
        DataType::LargeList(item) => plain_field(item).map(DataType::LargeList),
        DataType::FixedSizeList(item, len) => {
            plain_field(item).map(|item| DataType::FixedSizeList(item, *len))
        }
        DataType::Struct(fields) if fields.iter().any(|field| plain_field(field).is_some()) => {
            let fields = fields.iter();
            let fields =
                fields.map(|field| plain_field(field).unwrap_or_else(|| Arc::clone(field)));
            Some(DataType::Struct(fields.collect()))
        }
        _ => None,
    }
}

/// Whether values of a type are [decimals](super::decimal), or hold some.
pub(super) fn holds_decimals(data_type: &DataType) -> bool {
    match data_type {
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => holds_decimals(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| holds_decimals(field.data_type())),
        DataType::Dictionary(_, values) => holds_decimals(values),
        _ => false,
    }
}

impl Cells<'_> {
    /// The value of a row.
    pub(super) fn value(&self, row: usize) -> Value {
        self.cell(self.field, self.array, row)
    }

    fn cell(&self, field: &Field, array: &ArrayRef, row: usize) -> Value {
        if array.is_null(row) {
            return self.null.clone();
        }
        match array.data_type() {
            DataType::Null => self.null.clone(),
            DataType::Boolean => Value::from(array.as_boolean().value(row)),
            DataType::Utf8 => Value::from(array.as_string::<i32>().value(row)),
            DataType::LargeUtf8 => Value::from(array.as_string::<i64>().value(row)),
            DataType::Utf8View => Value::from(array.as_string_view().value(row)),
            DataType::Binary => self.bytes(field, false, array.as_binary::<i32>().value(row)),
            DataType::LargeBinary => self.bytes(field, false, array.as_binary::<i64>().value(row)),
            DataType::BinaryView => self.bytes(field, false, array.as_binary_view().value(row)),
            DataType::FixedSizeBinary(_) => {
                self.bytes(field, true, array.as_fixed_size_binary().value(row))
            }
            data_type if data_type.is_numeric() => number(field, array, row),
            data_type if data_type.is_nested() => self.nested(field, array, row),
            _ => time(array, row),
        }
    }

    fn bytes(&self, field: &Field, is_fixed: bool, bytes: &[u8]) -> Value {
        bytes_text(field, is_fixed, bytes).map_or_else(
            || {
                let name = self.field.name();
                invalid(format!(
                    "column `{name}` holds bytes that are no text; decode it in a query, for example with encode({name}, 'base64')"
                ))
            },
            Value::from,
        )
    }

    fn nested(&self, field: &Field, array: &ArrayRef, row: usize) -> Value {
        match array.data_type() {
            DataType::List(item) => self.list(item, &array.as_list::<i32>().value(row)),
            DataType::LargeList(item) => self.list(item, &array.as_list::<i64>().value(row)),
            DataType::FixedSizeList(item, _) => {
                self.list(item, &array.as_fixed_size_list().value(row))
            }
            DataType::ListView(item) => self.list(item, &array.as_list_view::<i32>().value(row)),
            DataType::LargeListView(item) => {
                self.list(item, &array.as_list_view::<i64>().value(row))
            }
            DataType::Struct(_) => self.record(array.as_struct(), row),
            DataType::Map(_, _) => self.map(array.as_map(), row),
            DataType::Dictionary(_, _) | DataType::RunEndEncoded(_, _) => {
                match plain(&array.slice(row, 1)) {
                    Ok(one) => self.cell(field, &one, 0),
                    Err(error) => invalid(error.to_string()),
                }
            }
            _ => time(array, row),
        }
    }

    fn list(&self, field: &Field, items: &ArrayRef) -> Value {
        let item = |at| self.cell(field, items, at);
        Value::from_object(Items((0..items.len()).map(item).collect()))
    }

    fn record(&self, array: &StructArray, row: usize) -> Value {
        let fields = array.fields().iter().zip(array.columns());
        let value = |(field, column): (&Arc<Field>, &ArrayRef)| {
            let name = Value::from(field.name().as_str());
            (name, self.cell(field, column, row))
        };
        Value::from_object(Record(fields.map(value).collect()))
    }

    fn map(&self, array: &MapArray, row: usize) -> Value {
        let entries = array.value(row);
        let (keys, values) = (entries.column(0), entries.column(1));
        let (of_keys, of_values) = (&entries.fields()[0], &entries.fields()[1]);
        let entry = |at| {
            (
                self.cell(of_keys, keys, at),
                self.cell(of_values, values, at),
            )
        };
        Value::from_object(Record((0..entries.len()).map(entry).collect()))
    }
}

fn number(field: &Field, array: &ArrayRef, row: usize) -> Value {
    match array.data_type() {
        DataType::Int8 => {
            let number = primitive::<Int8Type>(array, row);
            match field.extension_type_name() {
                Some("arrow.bool8") => Value::from(number != 0),
                _ => Value::from(number),
            }
        }
        DataType::Int16 => Value::from(primitive::<Int16Type>(array, row)),
        DataType::Int32 => Value::from(primitive::<Int32Type>(array, row)),
        DataType::Int64 => Value::from(primitive::<Int64Type>(array, row)),
        DataType::UInt8 => Value::from(primitive::<UInt8Type>(array, row)),
        DataType::UInt16 => Value::from(primitive::<UInt16Type>(array, row)),
        DataType::UInt32 => Value::from(primitive::<UInt32Type>(array, row)),
        DataType::UInt64 => Value::from(primitive::<UInt64Type>(array, row)),
        DataType::Float16 => Value::from(shortest(primitive::<Float16Type>(array, row))),
        DataType::Float32 => Value::from(widened(primitive::<Float32Type>(array, row))),
        DataType::Float64 => Value::from(primitive::<Float64Type>(array, row)),
        DataType::Decimal32(_, scale) => decimal::<Decimal32Type>(array, row, *scale),
        DataType::Decimal64(_, scale) => decimal::<Decimal64Type>(array, row, *scale),
        DataType::Decimal128(_, scale) => decimal::<Decimal128Type>(array, row, *scale),
        DataType::Decimal256(_, scale) => decimal::<Decimal256Type>(array, row, *scale),
        _ => time(array, row),
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

/// A decimal, with its own digits; one without a fraction is an integer, if the engine has it.
fn decimal<T: DecimalType + ArrowPrimitiveType>(array: &ArrayRef, row: usize, scale: i8) -> Value {
    let digits = array.as_primitive::<T>().value_as_string(row);
    match digits.parse::<i128>() {
        Ok(whole) if scale <= 0 => Value::from(whole),
        _ => from_digits(digits),
    }
}

/// A 32-bit float as the 64-bit float that is written the same: 0.1, not 0.10000000149011612.
fn widened(number: f32) -> f64 {
    number
        .to_string()
        .parse()
        .unwrap_or_else(|_| f64::from(number))
}

/// Dates, times and whatever else has one way to be written.
fn time(array: &ArrayRef, row: usize) -> Value {
    match formatted(array, row) {
        Ok(text) => Value::from(text),
        Err(error) => invalid(error.to_string()),
    }
}

fn invalid(reason: String) -> Value {
    Value::from(Error::new(UNPRINTABLE, reason))
}

/// A list. It is JSON wherever its text is asked for, as it is where it is printed.
#[derive(Debug)]
struct Items(Vec<Value>);

impl Object for Items {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0.get(key.as_usize()?).cloned()
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.0.len())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        as_json(&Value::from_dyn_object(Arc::clone(self)), f)
    }
}

fn as_json(value: &Value, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    json(value, None, 0, f).map_err(|_| fmt::Error)
}

/// A struct or a map, with its fields in their own order. JSON, like a list.
#[derive(Debug)]
struct Record(Vec<(Value, Value)>);

impl Object for Record {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.0
            .iter()
            .find(|(name, _)| name == key || compared(name, key).is_some_and(Ordering::is_eq))
            .map(|(_, value)| value.clone())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Values(self.0.iter().map(|(name, _)| name.clone()).collect())
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        as_json(&Value::from_dyn_object(Arc::clone(self)), f)
    }
}
