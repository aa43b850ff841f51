//! A table's columns: those that all its files have, and those that its folders are named for.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};

use crate::base::{Error, Result};

use super::table::SourceFile;

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

/// The columns that all files have. They must agree in names, order and types; a column may be
/// missing its nulls in one file and have them in another.
pub(super) fn common_columns(footers: &[(SourceFile, SchemaRef)]) -> Result<Schema> {
    let (first_file, first) = &footers[0];
    let mut fields: Vec<Field> = first
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for (file, schema) in &footers[1..] {
        if let Some((column, here, there)) = first_difference(first, schema) {
            return Err(Error::invalid("the files of the table have different columns")
                .with("column", column)
                .with("file", &file.relative)
                .with("has", there)
                .with("first_file", &first_file.relative)
                .with("first_has", here)
                .hint("choose files of one schema with a glob, or read them with a query that casts"));
        }
        for (field, other) in fields.iter_mut().zip(schema.fields()) {
            field.set_nullable(field.is_nullable() || other.is_nullable());
        }
    }
    Ok(Schema::new_with_metadata(fields, first.metadata().clone()))
}

fn first_difference(first: &Schema, other: &Schema) -> Option<(String, String, String)> {
    let describe = |field: Option<&FieldRef>| {
        field.map_or("nothing there".to_owned(), |field| {
            format!("{} {}", field.name(), field.data_type())
        })
    };
    let count = first.fields().len().max(other.fields().len());
    (0..count)
        .map(|at| (first.fields().get(at), other.fields().get(at)))
        .find(|(a, b)| match (a, b) {
            (Some(a), Some(b)) => {
                a.name() != b.name() || !a.data_type().equals_datatype(b.data_type())
            }
            _ => true,
        })
        .map(|(a, b)| {
            let name = a.or(b).map_or("", |field| field.name()).to_owned();
            (name, describe(a), describe(b))
        })
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
