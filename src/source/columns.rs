//! A table's columns: how Arrow holds them while they are read, and those that its folders are named
//! for.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};

/// The schema with `Utf8` and `Binary` in the place of their view types, at every depth: a view is
/// how Arrow holds a string, not what the table says of it.
pub(super) fn without_views(schema: &Schema) -> Schema {
    let fields: Fields = schema.fields().iter().map(plain_field).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The schema with views in the place of the strings that `chosen` says, by column; those that lie in
/// lists or structs stay.
pub(super) fn with_views(schema: &Schema, chosen: impl Fn(usize) -> bool) -> Schema {
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
pub(super) fn all_views(schema: &Schema) -> Schema {
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

/// The files' columns, then the partition columns that are not in the files as well.
pub(super) fn with_partitions(columns: &Schema, names: &[String]) -> (Schema, Vec<usize>) {
    let mut fields: Vec<FieldRef> = columns.fields().to_vec();
    let mut places = Vec::new();
    for (place, name) in names.iter().enumerate() {
        if columns.index_of(name).is_err() {
            fields.push(Arc::new(Field::new(name, DataType::Utf8, true)));
            places.push(place);
        }
    }
    let schema = Schema::new_with_metadata(fields, columns.metadata().clone());
    (schema, places)
}
