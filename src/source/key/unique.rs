//! Whether the key names each row once.

use std::fmt::Write;

use arrow::array::{Array, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;

use crate::base::{Error, ErrorKind, HashKey, Result, ResultExt};
use crate::source::open::Source;
use crate::source::scan::{Scan, Slice};

use super::row_id::{RowIds, plain_key};

/// How many offenders an error names.
const OFFENDERS_MAX: usize = 5;

/// Reads the key columns once, and makes sure that no row id is null or stands twice.
///
/// `insert` puts a row id's hash and its position into an index, and returns the position that was
/// there already; the one that was there stays. It is not called while a single integer key rises
/// from row to row, which proves it unique; when it first does not, reading starts again.
///
/// # Errors
/// `Invalid` if the key is null or stands twice somewhere: the error names the first five rows.
pub async fn check_unique(
    source: &Source,
    ids: &RowIds,
    mut insert: impl FnMut(HashKey, u64) -> Result<Option<u64>>,
) -> Result<()> {
    if ids.is_integer() && rises(source, ids).await? {
        return Ok(());
    }
    let mut slices = source.scan(Scan::of(ids.columns())).await?;
    let mut hashes = Vec::new();
    let mut offenders = Vec::new();
    while let Some(slice) = slices.try_next().await? {
        // Reading from disk never waits, and a cancellation must get its turn all the same.
        tokio::task::yield_now().await;
        hashes.clear();
        ids.hash(&slice.batch, &mut hashes)?;
        let nulls = null_rows(&slice.batch);
        for (index, hash) in hashes.iter().enumerate() {
            let position = slice.rows.get(index).unwrap_or_default();
            if nulls.as_ref().is_some_and(|nulls| nulls[index]) {
                offenders.push(format!(
                    "row {position} has no key: {}",
                    describe(&slice, ids, index)?
                ));
            } else if let Some(first) = insert(*hash, position)? {
                let key = describe(&slice, ids, index)?;
                offenders.push(format!("{key} in rows {first} and {position}"));
            }
            if offenders.len() == OFFENDERS_MAX {
                return Err(not_unique(ids, &offenders));
            }
        }
    }
    if offenders.is_empty() {
        Ok(())
    } else {
        Err(not_unique(ids, &offenders))
    }
}

/// Whether a single integer key is never null and rises from row to row.
async fn rises(source: &Source, ids: &RowIds) -> Result<bool> {
    let mut slices = source.scan(Scan::of(ids.columns())).await?;
    let mut last: Option<i64> = None;
    while let Some(slice) = slices.try_next().await? {
        tokio::task::yield_now().await;
        let column = plain_key(&slice.batch, &ids.columns()[0], &DataType::Int64)?;
        let Some(column) = column.as_any().downcast_ref::<Int64Array>() else {
            return Ok(false);
        };
        let rising = column.values().windows(2).all(|pair| pair[0] < pair[1]);
        let first = column.values().first().copied();
        if column.null_count() > 0
            || !rising
            || last.is_some_and(|last| first.is_some_and(|first| first <= last))
        {
            return Ok(false);
        }
        last = column.values().last().copied().or(last);
    }
    Ok(true)
}

/// For each row, whether any key column is null in it; `None` if none is.
fn null_rows(batch: &RecordBatch) -> Option<Vec<bool>> {
    let nulls: Vec<_> = batch
        .columns()
        .iter()
        .filter_map(Array::logical_nulls)
        .collect();
    if nulls.iter().all(|nulls| nulls.null_count() == 0) {
        return None;
    }
    let any = |row| nulls.iter().any(|nulls| nulls.is_null(row));
    Some((0..batch.num_rows()).map(any).collect())
}

/// The key of a row, for people: `ticket_id=7, lang=en`.
fn describe(slice: &Slice, ids: &RowIds, index: usize) -> Result<String> {
    let options = FormatOptions::new().with_null("null");
    let mut text = String::new();
    for name in ids.columns() {
        let Some(column) = slice.batch.column_by_name(name) else {
            continue;
        };
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .or_err(ErrorKind::Internal, "cannot print a key")?;
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{name}={}", formatter.value(index));
    }
    Ok(text)
}

fn not_unique(ids: &RowIds, offenders: &[String]) -> Error {
    Error::invalid("the key does not name each row once")
        .with("key", ids.columns().join(", "))
        .with("rows", offenders.join("; "))
        .hint("rows are counted from 0. Choose a key that is unique and never null, add a column to it, or leave `key` out to use the row's position")
}
