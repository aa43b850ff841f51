//! An Arrow value as a template's value.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use minijinja::Value;

/// The value at `at`; `None` where it is null.
///
/// A value that cannot be shown (bytes that are no text) becomes one that fails when it is used.
pub(super) fn read(array: &ArrayRef, at: usize) -> Option<Value> {
    if array.is_null(at) {
        return None;
    }
    macro_rules! number {
        ($type:ty) => {
            Value::from(array.as_primitive::<$type>().value(at))
        };
    }
    Some(match array.data_type() {
        DataType::Null => return None,
        DataType::Boolean => Value::from(array.as_boolean().value(at)),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => Value::from(array.as_primitive::<Float16Type>().value(at).to_f32()),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Value::from(text(array, at)?),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => bytes(array, at),
        DataType::List(_) => list(&array.as_list::<i32>().value(at)),
        DataType::LargeList(_) => list(&array.as_list::<i64>().value(at)),
        DataType::ListView(_) => list(&array.as_list_view::<i32>().value(at)),
        DataType::LargeListView(_) => list(&array.as_list_view::<i64>().value(at)),
        DataType::FixedSizeList(..) => list(&array.as_fixed_size_list().value(at)),
        DataType::Struct(fields) => {
            let array = array.as_struct();
            let pairs = fields.iter().zip(array.columns());
            Value::from_pairs(pairs.map(|(field, column)| {
                (
                    field.name().clone(),
                    read(column, at).unwrap_or(Value::from(())),
                )
            }))
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            Value::from_pairs((0..entries.len()).map(|at| {
                let key = read(keys, at).unwrap_or(Value::from(()));
                (key, read(values, at).unwrap_or(Value::from(())))
            }))
        }
        _ => shown(array, at),
    })
}

/// The text at `at` of a column of text, of whatever layout.
pub(super) fn text(array: &ArrayRef, at: usize) -> Option<&str> {
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(at)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(at)),
        DataType::Utf8View => Some(array.as_string_view().value(at)),
        _ => None,
    }
}

fn list(values: &ArrayRef) -> Value {
    let values = (0..values.len()).map(|at| read(values, at).unwrap_or(Value::from(())));
    Value::from(values.collect::<Vec<_>>())
}

/// Decimals, dates, times and whatever else Arrow prints better than we would.
fn shown(array: &ArrayRef, at: usize) -> Value {
    let options =
        FormatOptions::new().with_duration_format(arrow::util::display::DurationFormat::ISO8601);
    let shown = ArrayFormatter::try_new(array, &options)
        .and_then(|formatter| formatter.value(at).try_to_string());
    match shown {
        Ok(text) => Value::from(text),
        Err(error) => unusable(format!(
            "a value of type {} cannot be shown: {error}",
            array.data_type()
        )),
    }
}

fn bytes(array: &ArrayRef, at: usize) -> Value {
    let bytes = match array.data_type() {
        DataType::Binary => array.as_binary::<i32>().value(at),
        DataType::LargeBinary => array.as_binary::<i64>().value(at),
        DataType::BinaryView => array.as_binary_view().value(at),
        _ => array.as_fixed_size_binary().value(at),
    };
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => unusable(
            "a binary column holds bytes that are not UTF-8; convert it in a query, as with encode(column, 'base64')"
                .to_owned(),
        ),
    }
}

/// A value that fails, with this message, as soon as it is used.
fn unusable(message: String) -> Value {
    Value::from(minijinja::Error::new(
        minijinja::ErrorKind::BadSerialization,
        message,
    ))
}
