//! What Parquet says of a column and Arrow's types do not.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::ARROW_SCHEMA_META_KEY;
use parquet::basic::LogicalType;
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

/// The key of a field's metadata under which Arrow names an extension type.
const EXTENSION: &str = "ARROW:extension:name";

/// The schema, in which UUIDs bear Arrow's extension type for them.
pub(super) fn with_uuids(schema: &Schema, stored: &SchemaDescriptor) -> Schema {
    let mut leaves = stored.columns().iter();
    let fields = schema.fields().iter();
    let fields: Fields = fields.map(|field| marked(field, &mut leaves)).collect();
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

/// The field, and what lies in it: the leaves of both schemas stand in one order.
fn marked<'l>(field: &FieldRef, leaves: &mut impl Iterator<Item = &'l ColumnDescPtr>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| marked(field, leaves)).collect())
        }
        DataType::List(item) => DataType::List(marked(item, leaves)),
        DataType::LargeList(item) => DataType::LargeList(marked(item, leaves)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(marked(item, leaves), *size),
        DataType::Map(entries, sorted) => DataType::Map(marked(entries, leaves), *sorted),
        leaf => {
            let stored = leaves.next().and_then(|leaf| leaf.logical_type_ref());
            let is_uuid = stored == Some(&LogicalType::Uuid);
            return if is_uuid && *leaf == DataType::FixedSizeBinary(16) {
                Arc::new(as_uuid(field))
            } else {
                Arc::clone(field)
            };
        }
    };
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

fn as_uuid(field: &Field) -> Field {
    let mut metadata = field.metadata().clone();
    let name = metadata.entry(EXTENSION.to_owned());
    name.or_insert_with(|| "arrow.uuid".to_owned());
    field.clone().with_metadata(metadata)
}

/// Whether a column holds spans that cannot be read: Parquet's own have months, days and milliseconds,
/// of which the reader returns two, unless Arrow's schema says that there are no others.
pub(super) fn loses_months(field: &Field, file: &FileMetaData) -> bool {
    let pairs = file.key_value_metadata().into_iter().flatten();
    let mut keys = pairs.map(|pair| pair.key.as_str());
    !keys.any(|key| key == ARROW_SCHEMA_META_KEY) && holds_spans(field.data_type())
}

fn holds_spans(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) => true,
        DataType::Struct(fields) => fields.iter().any(|field| holds_spans(field.data_type())),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => holds_spans(field.data_type()),
        _ => false,
    }
}
