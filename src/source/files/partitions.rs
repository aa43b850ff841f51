//! Hive partitions: folders named `k=v`. `k` becomes a column, `v` is percent-decoded and is its value for
//! the files in the folder, and Hive's own word for null is null.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};

use crate::base::{Error, Result};

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

/// `%XX` into bytes; a `%` that is not followed by two digits stands for itself.
fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
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
