//! Views: how Arrow holds texts and bytes while they are read, which is not what a table says of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema};

/// The schema with `Utf8` and `Binary` in the place of their view types, at every depth: a view is
/// how Arrow holds a string, not what the table says of it.
pub(crate) fn without_views(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The schema with views in the place of the strings that `chosen` says, by column; those that lie in
/// lists or structs stay.
pub(crate) fn with_views(schema: &Schema, chosen: impl Fn(usize) -> bool) -> Schema {
    let view = |(at, field): (usize, &FieldRef)| match field.data_type() {
        DataType::Utf8 | DataType::LargeUtf8 if chosen(at) => {
            Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View))
        }
        _ => Arc::clone(field),
    };
    let fields: Fields = schema.fields().iter().enumerate().map(view).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The schema with views in the place of texts and bytes, at every depth: a view never overflows, and
/// repeats no value of a dictionary.
pub(crate) fn all_views(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(view_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn view_field(field: &FieldRef) -> FieldRef {
    let view = view_type(field.data_type());
    if view == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(view))
}

fn view_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(field) => DataType::List(view_field(field)),
        DataType::LargeList(field) => DataType::LargeList(view_field(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(view_field(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(view_field).collect()),
        DataType::Map(field, sorted) => DataType::Map(view_field(field), *sorted),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    let plain = plain_type(field.data_type());
    if plain == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(plain))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::ListView(field) | DataType::List(field) => DataType::List(plain_field(field)),
        DataType::LargeListView(field) | DataType::LargeList(field) => {
            DataType::LargeList(plain_field(field))
        }
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(plain_field(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        DataType::Map(field, sorted) => DataType::Map(plain_field(field), *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(plain_type(value)))
        }
        // Parquet has no run-end encoding: what comes back from a snapshot is the plain values.
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        other => other.clone(),
    }
}
