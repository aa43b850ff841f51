//! What Parquet says of a column and Arrow's types do not.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, ArrowSchemaConverter};
use parquet::basic::LogicalType;
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, Type, TypePtr};

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

/// The schema, whose moments have the zones of `written`, the schema that the file's writer had. Parquet
/// keeps moments of a zone in UTC, and Arrow's reader takes the zone back only where the unit is the same:
/// seconds, which Parquet has not, and whatever a writer was told to make coarser would lose theirs.
pub(super) fn with_zones(schema: &Schema, written: &Schema) -> Schema {
    let fields = zoned_fields(schema.fields(), written.fields());
    Schema::new_with_metadata(fields, schema.metadata().clone())
}

fn zoned_fields(fields: &Fields, written: &Fields) -> Fields {
    let zoned = |field: &FieldRef| match written.find(field.name()) {
        Some((_, written)) => zoned(field, written),
        None => Arc::clone(field),
    };
    fields.iter().map(zoned).collect()
}

fn zoned(field: &FieldRef, written: &FieldRef) -> FieldRef {
    use DataType::{
        FixedSizeList, LargeList, LargeListView, List, ListView, Map, Struct, Timestamp,
    };
    let data_type = match (field.data_type(), written.data_type()) {
        (Timestamp(unit, Some(_)), Timestamp(_, Some(zone))) => {
            Timestamp(*unit, Some(Arc::clone(zone)))
        }
        (Struct(fields), Struct(written)) => Struct(zoned_fields(fields, written)),
        (List(item), List(written) | ListView(written)) => List(zoned(item, written)),
        (LargeList(item), LargeList(written) | LargeListView(written)) => {
            LargeList(zoned(item, written))
        }
        (FixedSizeList(item, size), FixedSizeList(written, _)) => {
            FixedSizeList(zoned(item, written), *size)
        }
        (Map(entries, sorted), Map(written, _)) => Map(zoned_entries(entries, written), *sorted),
        _ => return Arc::clone(field),
    };
    if data_type == *field.data_type() {
        return Arc::clone(field);
    }
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Keys and values of a map, whatever they are called.
fn zoned_entries(entries: &FieldRef, written: &FieldRef) -> FieldRef {
    let (DataType::Struct(here), DataType::Struct(there)) =
        (entries.data_type(), written.data_type())
    else {
        return Arc::clone(entries);
    };
    let fields = here.iter().zip(there);
    let fields = DataType::Struct(fields.map(|(here, there)| zoned(here, there)).collect());
    Arc::new(entries.as_ref().clone().with_data_type(fields))
}

/// The schema under which Parquet stores `schema`, with the logical types that Arrow says by extensions.
pub(crate) fn stored_schema(schema: &Schema) -> parquet::errors::Result<SchemaDescriptor> {
    let plain = ArrowSchemaConverter::new().convert(schema)?;
    let mut said = Vec::new();
    schema
        .fields()
        .iter()
        .for_each(|field| leaves(field, &mut said));
    let stored = logical(&plain.root_schema_ptr(), &mut said.into_iter())?;
    Ok(SchemaDescriptor::new(stored))
}

/// What lies in `field`, in the order of Parquet's leaves, with the logical types that it should have.
fn leaves(field: &Field, said: &mut Vec<Option<LogicalType>>) {
    match field.data_type() {
        DataType::Struct(fields) => fields.iter().for_each(|field| leaves(field, said)),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => leaves(item, said),
        leaf => {
            let name = field.metadata().get(EXTENSION);
            said.push(match (name.map(String::as_str), leaf) {
                (Some("arrow.uuid"), DataType::FixedSizeBinary(16)) => Some(LogicalType::Uuid),
                (Some("arrow.json"), DataType::Utf8 | DataType::LargeUtf8) => {
                    Some(LogicalType::Json)
                }
                _ => None,
            });
        }
    }
}

fn logical(
    stored: &TypePtr,
    said: &mut impl Iterator<Item = Option<LogicalType>>,
) -> parquet::errors::Result<TypePtr> {
    let info = stored.get_basic_info();
    let id = info.has_id().then(|| info.id());
    if stored.is_group() {
        let fields = stored.get_fields().iter();
        let fields = fields.map(|field| logical(field, said));
        let fields: Vec<TypePtr> = fields.collect::<parquet::errors::Result<_>>()?;
        let mut group = Type::group_type_builder(stored.name())
            .with_fields(fields)
            .with_logical_type(info.logical_type_ref().cloned())
            .with_converted_type(info.converted_type())
            .with_id(id);
        if info.has_repetition() {
            group = group.with_repetition(info.repetition());
        }
        return group.build().map(Arc::new);
    }
    let Some(kind) = said.next().flatten() else {
        return Ok(Arc::clone(stored));
    };
    let length = match stored.as_ref() {
        Type::PrimitiveType { type_length, .. } => *type_length,
        Type::GroupType { .. } => -1,
    };
    Type::primitive_type_builder(stored.name(), stored.get_physical_type())
        .with_repetition(info.repetition())
        .with_length(length)
        .with_logical_type(Some(kind))
        .with_id(id)
        .build()
        .map(Arc::new)
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
