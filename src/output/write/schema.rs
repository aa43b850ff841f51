//! The Arrow schema of the output, and the key-values around it.
//!
//! `ARROW:schema` is how Arrow's readers learn what Parquet cannot say: view types, dictionaries,
//! fixed sizes, field metadata. The old fields are taken from the source's own, exactly; where the
//! source has none, the fields are those that readers would make up, so that they stay the same.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use parquet::arrow::{ARROW_SCHEMA_META_KEY, encode_arrow_schema, parquet_to_arrow_schema};
use parquet::errors::ParquetError;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use crate::base::pandas::{PANDAS_KEY, fitting};
use crate::base::{Error, Result, written_schema};
use crate::output::{Layout, ROW_COLUMN, SourceFile};

/// What other engines wrote about columns and would now be wrong.
const STALE_KEYS: [&str; 2] = ["org.apache.spark.sql.parquet.row.metadata", "huggingface"];

/// The prefix of our own key-values.
const OUR_PREFIX: &str = "columnist.";

/// The schema of new columns: `fields`, each with `metadata` beside its own.
#[must_use]
pub fn new_schema(fields: Vec<Field>, metadata: &[(String, String)]) -> SchemaRef {
    let with_metadata = fields.into_iter().map(|field| {
        let mut all = field.metadata().clone();
        all.extend(metadata.iter().cloned());
        field.with_metadata(all)
    });
    Arc::new(Schema::new(with_metadata.collect::<Vec<_>>()))
}

/// Checks that no new column has the name of a column that the output already has, or of another
/// new one. Names are compared without case, for most engines do.
///
/// # Errors
/// `Invalid`, with the name.
pub fn check_names<'a>(
    old: impl IntoIterator<Item = &'a str>,
    new: impl IntoIterator<Item = &'a str>,
) -> Result<()> {
    let mut taken: HashMap<String, &str> = old
        .into_iter()
        .map(|name| (name.to_lowercase(), name))
        .collect();
    for name in new {
        if let Some(there) = taken.insert(name.to_lowercase(), name) {
            return Err(
                Error::invalid("the table already has a column of this name")
                    .with("column", name)
                    .with("existing", there)
                    .hint("choose another `column` in [answer]; names are compared without case"),
            );
        }
    }
    Ok(())
}

/// The fields of a source file as readers see them, and the schema's own metadata; `readable` is its
/// schema without what this program does not know.
pub(in crate::output) fn source_schema(
    file: &FileMetaData,
    readable: &SchemaDescriptor,
    name: &str,
) -> Result<Schema> {
    if let Some(hint) = written_schema(file).filter(|hint| fits(hint, file)) {
        return Ok(hint);
    }
    let schema = parquet_to_arrow_schema(readable, None).map_err(|error: ParquetError| {
        Error::invalid("the source's columns have no Arrow types")
            .with("path", name)
            .because(error)
    })?;
    let mut leaves = readable.columns().iter();
    let fields = schema.fields().iter();
    let fields = fields.map(|field| without_zone(field, &mut leaves));
    let fields: Vec<FieldRef> = fields.collect();
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// `field` without the zone that is made up for a moment of the older, converted type: other readers
/// make up none, and would take ours for the writer's.
fn without_zone(field: &FieldRef, leaves: &mut std::slice::Iter<'_, ColumnDescPtr>) -> FieldRef {
    let kind = match field.data_type() {
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| without_zone(field, leaves));
            DataType::Struct(fields.collect())
        }
        DataType::List(item) => DataType::List(without_zone(item, leaves)),
        DataType::Map(entries, sorted) => DataType::Map(without_zone(entries, leaves), *sorted),
        other => {
            let leaf = leaves.next();
            let is_older = leaf.is_some_and(|leaf| leaf.logical_type_ref().is_none());
            match other {
                DataType::Timestamp(unit, Some(_)) if is_older => DataType::Timestamp(*unit, None),
                other => other.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(kind))
}

/// The columns that are not in the source's files but come beside the new ones: Hive partitions
/// where all files become one, and the row's position where there is no key.
pub(in crate::output) fn generated_fields(layout: &Layout, sources: &[SourceFile]) -> Vec<Field> {
    let partitions = sources.first().map_or(&[][..], |first| &first.partitions);
    let text = |name: &String| Field::new(name, DataType::Utf8, true);
    match layout {
        Layout::Mirror => Vec::new(),
        Layout::Single => partitions.iter().map(|(name, _)| text(name)).collect(),
        Layout::Keyed { key } if key.is_empty() => {
            vec![Field::new(ROW_COLUMN, DataType::Int64, false)]
        }
        Layout::Keyed { key } => key
            .iter()
            .filter(|column| partitions.iter().any(|(name, _)| name == *column))
            .map(text)
            .collect(),
    }
}

/// The output's key-values: the source's without what would be wrong of `rows` rows in this new Arrow
/// schema, that schema, and who wrote it.
pub(in crate::output) fn key_values(
    file: &FileMetaData,
    (schema, rows): (&Schema, u64),
    identity: &[(String, String)],
) -> Vec<KeyValue> {
    let ours: HashSet<&str> = identity.iter().map(|(key, _)| key.as_str()).collect();
    let stays = |pair: &&KeyValue| {
        let key = pair.key.as_str();
        key != ARROW_SCHEMA_META_KEY
            && !STALE_KEYS.contains(&key)
            && !key.starts_with(OUR_PREFIX)
            && !ours.contains(key)
    };
    let kept = file.key_value_metadata().into_iter().flatten();
    kept.filter(stays)
        .filter_map(|pair| match &pair.value {
            Some(notes) if pair.key == PANDAS_KEY => {
                fitted(notes, schema, rows).map(|notes| KeyValue::new(pair.key.clone(), notes))
            }
            _ => Some(pair.clone()),
        })
        .chain(identity.iter().map(|(key, value)| pair(key, value.clone())))
        .chain([pair(ARROW_SCHEMA_META_KEY, encode_arrow_schema(schema))])
        .collect()
}

/// `old`, of which only `roots` stay, and `new` after them: the schema of `rows` rows.
pub(in crate::output) fn joined(old: &Schema, roots: &[usize], new: &Schema, rows: u64) -> Schema {
    let kept = roots.iter().map(|root| Arc::clone(&old.fields()[*root]));
    let fields: Vec<FieldRef> = kept.chain(new.fields().iter().cloned()).collect();
    let mut metadata = old.metadata().clone();
    metadata.retain(|key, _| !STALE_KEYS.contains(&key.as_str()));
    let schema = Schema::new(Fields::from(fields));
    if let Some(notes) = metadata.remove(PANDAS_KEY) {
        let notes = fitted(&notes, &schema, rows);
        metadata.extend(notes.map(|notes| (PANDAS_KEY.to_owned(), notes)));
    }
    schema.with_metadata(metadata)
}

/// What pandas noted of the source, as it is true of `rows` rows of `schema`.
fn fitted(notes: &str, schema: &Schema, rows: u64) -> Option<String> {
    let columns: Vec<&str> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    fitting(notes, &columns, rows).map(Cow::into_owned)
}

/// The identity in a file's key-values, if it is one of ours.
pub(in crate::output) fn identity_of(file: &FileMetaData) -> Vec<(String, String)> {
    let pairs = file.key_value_metadata().into_iter().flatten();
    pairs
        .filter(|pair| pair.key.starts_with(OUR_PREFIX))
        .filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?)))
        .collect()
}

fn pair(key: &str, value: String) -> KeyValue {
    KeyValue::new(key.to_owned(), value)
}

fn fits(hint: &Schema, file: &FileMetaData) -> bool {
    let roots = file.schema().get_fields();
    let same =
        |(field, root): (&FieldRef, &parquet::schema::types::TypePtr)| field.name() == root.name();
    hint.fields().len() == roots.len() && hint.fields().iter().zip(roots).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_without_case() {
        assert!(check_names(["id", "Body"], ["answer", "answer_status"]).is_ok());
        let error = check_names(["id", "Body"], ["body"]).unwrap_err();
        assert!(error.to_string().contains("existing=`Body`"), "{error}");
        assert!(check_names(["id"], ["a", "A"]).is_err());
        assert!(check_names(["STRASSE", "ÄRGER"], ["ärger"]).is_err());
    }
}
