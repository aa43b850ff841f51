//! Hive partitions: folders named `k=v`. `k` becomes a column, `v` is percent-decoded and is its value for
//! the files in the folder, and Hive's own word for null is null.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::base::{Error, Result, percent_decode};

/// What Hive and Spark write for a null partition value.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

fn folders(relative: &str) -> impl Iterator<Item = &str> {
    let folders = relative.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/')
}

/// The names of the partition columns of a file at this path.
pub(super) fn partition_names(relative: &str) -> Vec<String> {
    folders(relative)
        .filter_map(|folder| folder.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The values that the partition columns have for a file at this path.
pub(super) fn partition_values(relative: &str) -> Result<Vec<Option<String>>> {
    folders(relative)
        .filter_map(|folder| folder.split_once('='))
        .map(|(_, value)| {
            if value == HIVE_NULL {
                return Ok(None);
            }
            percent_decode(value).map(Some).ok_or_else(|| {
                Error::invalid("a partition value is not UTF-8").with("file", relative)
            })
        })
        .collect()
}

/// The files' columns, then the partition columns that are not in the files as well.
pub(crate) fn with_partitions(columns: &Schema, names: &[String]) -> (Schema, Vec<usize>) {
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
