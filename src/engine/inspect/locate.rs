//! Where a row is: the row that a person names, in the row map of a plan.
//!
//! A row's position means the source as it was planned, and nothing else. So a key is looked up by
//! its hash in the row map. The rows that the plan did not choose have none there; they are found in
//! what was planned, where that is still at hand: the plan's snapshot, or a source that has not
//! changed since.

use std::iter;

use arrow::datatypes::{DataType, Field, Schema};
use futures::StreamExt;

use crate::base::{Error, Result};
use crate::ledger::row_map::{RowMapReader, RowPlan};
use crate::ledger::state::PlanState;
use crate::source::{RowIds, Scan, Source};

use crate::engine::context::files::Files;
use crate::engine::context::setup::Setup;
use crate::engine::context::source::{open_snapshot, open_source};
use crate::engine::plan::input::short_hash;

/// A row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Located {
    /// Its position.
    pub row: u64,
    /// Whether that is one in the source as it was planned.
    pub planned: bool,
    /// Whether the source is another one by now, or gone.
    pub changed: bool,
}

/// The row whose key has the values `key`; without a key, the row at that position.
///
/// # Errors
/// `Invalid` if there is no such row.
pub(crate) async fn find(
    setup: &Setup,
    plan: &PlanState,
    files: &Files,
    key: &[String],
) -> Result<Located> {
    let columns = &setup.job.source.key;
    check_count(columns, key)?;
    let live = open_source(&setup.job, setup, files).await;
    let changed = live
        .as_ref()
        .map_or(true, |live| live.pins() != plan.started.pins);
    let planned = |row| Located {
        row,
        planned: true,
        changed,
    };
    if columns.is_empty() {
        let row = key.first().and_then(|row| row.parse().ok());
        let row = row.ok_or_else(|| {
            not_there(key).hint("the job has no key: a row is named by its position, from 0")
        })?;
        return match row < plan.started.rows {
            false if !changed => Err(not_there(key)),
            is_planned => Ok(Located {
                row,
                planned: is_planned,
                changed,
            }),
        };
    }
    let original = if plan.started.snapshot && !plan.prompts_gone {
        Some(open_snapshot(setup, files, plan.started.plan).await?)
    } else {
        live.as_ref().ok().filter(|_| !changed).cloned()
    };
    let known = original.as_ref().or(live.as_ref().ok());
    let known =
        known.and_then(|source| Some((source, RowIds::new(source.schema(), columns).ok()?)));
    let id = match &known {
        Some((_, ids)) => ids.read(key)?,
        None => None,
    };
    let mut hashes: Vec<u64> = id.iter().map(|id| short_hash(id)).collect();
    if original.is_none() {
        hashes.extend(guesses(columns, key)?);
    }
    if let Some(row) = in_row_map(plan.started.plan, files, &hashes).await? {
        return Ok(planned(row));
    }
    let row = match (&known, &id) {
        (Some((source, ids)), Some(id)) => in_source(source, ids, id).await?,
        _ => None,
    };
    match (row, live) {
        (Some(row), _) => Ok(Located {
            row,
            planned: original.is_some(),
            changed,
        }),
        (None, Err(error)) if original.is_none() => Err(not_there(key)
            .hint("the source is gone, and a row that the plan did not choose is nowhere else")
            .because(error)),
        _ => Err(not_there(key)),
    }
}

fn check_count(columns: &[String], key: &[String]) -> Result<()> {
    match columns {
        [] if key.len() != 1 => Err(Error::invalid(
            "the job has no key: give the row's position",
        )),
        [_, ..] if columns.len() != key.len() => {
            let error = Error::invalid("give one value for each key column");
            let flags = columns
                .iter()
                .map(|name| format!("--key {}", name.to_uppercase()));
            let hint = format!("as in {}", flags.collect::<Vec<_>>().join(" "));
            Err(error.with("columns", columns.join(", ")).hint(hint))
        }
        _ => Ok(()),
    }
}

fn not_there(key: &[String]) -> Error {
    Error::invalid("there is no such row").with("key", key.join(", "))
}

/// Types that a key may have had in a source that is gone, or has other types now.
const GUESSES: [DataType; 4] = [
    DataType::Int64,
    DataType::Utf8,
    DataType::Date32,
    DataType::Boolean,
];

/// The hashes of the key in every type that its columns may have had.
fn guesses(columns: &[String], key: &[String]) -> Result<Vec<u64>> {
    let mut schemas: Vec<Vec<Field>> = vec![Vec::new()];
    for name in columns {
        let longer = schemas.into_iter().flat_map(|fields| {
            GUESSES.map(|kind| {
                let field = Field::new(name, kind, true);
                fields.iter().cloned().chain(iter::once(field)).collect()
            })
        });
        schemas = longer.collect();
    }
    let mut hashes = Vec::new();
    for fields in schemas {
        let id = RowIds::new(&Schema::new(fields), columns)?.read(key)?;
        hashes.extend(id.map(|id| short_hash(&id)));
    }
    Ok(hashes)
}

/// The position of the row with one of these hashes.
async fn in_row_map(plan: u64, files: &Files, hashes: &[u64]) -> Result<Option<u64>> {
    let mut before = 0;
    for slice in RowMapReader::open(files.open(&files.rows(plan)).await?)? {
        let slice = slice?;
        let is_it = |at: &usize| slice.row_id(*at).is_some_and(|id| hashes.contains(&id));
        if let Some(at) = (0..slice.len()).find(is_it) {
            return Ok(Some(before + at as u64));
        }
        before += slice.len() as u64;
    }
    Ok(None)
}

/// The position of the row with this id.
async fn in_source(source: &Source, ids: &RowIds, id: &[u8]) -> Result<Option<u64>> {
    let mut slices = source.scan(Scan::of(ids.columns())).await?;
    while let Some(slice) = slices.next().await {
        let slice = slice?;
        let rows = ids.encode(&slice.batch)?;
        let at = rows.iter().position(|row| row.as_ref() == id);
        if let Some(at) = at {
            return Ok(slice.rows.get(at));
        }
    }
    Ok(None)
}

/// What `read` makes of what `plan` made of the row at that position.
///
/// # Errors
/// `Data` if the plan has no such row.
pub(crate) async fn read_row<T>(
    plan: u64,
    row: u64,
    files: &Files,
    read: impl FnOnce(RowPlan<'_>) -> T,
) -> Result<T> {
    let mut before = 0;
    for slice in RowMapReader::open(files.open(&files.rows(plan)).await?)? {
        let slice = slice?;
        let len = slice.len() as u64;
        if row < before + len {
            let at = usize::try_from(row - before).unwrap_or_default();
            return Ok(read(slice.row(at)?));
        }
        before += len;
    }
    Err(Error::data("the row map has fewer rows than the plan").with("row", row))
}
