//! What publishing needs, tried before any spend: all that it does with a source, but for the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::bridge::Bridge;
use super::examine::blocking;
use super::layout::plan;
use super::write::Common;
use super::{Form, Layout, SourceFile, Target, remote};
use crate::base::Result;

/// What an output is going to be made of.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The source's files, in the order of the table's rows.
    pub sources: Vec<SourceFile>,
    /// How the output is laid out.
    pub layout: Layout,
    /// The new columns, in order.
    pub columns: SchemaRef,
    /// Where it goes.
    pub target: Target,
}

/// What of a source does not come along. None of it changes a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dropped {
    /// The logical type of this column.
    Type(String),
    /// The bloom filters of this column.
    BloomFilter(String),
    /// The page indexes.
    Indexes,
}

/// Files that are looked at side by side.
const FILES_AT_ONCE: usize = 8;

/// Tries everything that publishing does with a source: its footers are read, its columns selected
/// and their pages walked, and the output's footers made, as [`publish`](super::publish()) will.
/// What will not come along is returned, a sentence each.
///
/// # Errors
/// `Invalid` if the source cannot be copied, with its file and column; else as storage says.
pub async fn prepare(prepared: Prepared) -> Result<Vec<String>> {
    let Prepared {
        sources,
        layout,
        columns,
        target,
    } = prepared;
    let files = plan(&layout, &target, &sources)?;
    if target.form == Form::Folder && target.location.local.is_none() {
        for file in &files {
            remote::beneath(&target.location, &file.relative)?;
        }
    }
    let abandoned = CancellationToken::new();
    let _until_dropped = abandoned.clone().drop_guard();
    let common = Arc::new(Common {
        sources,
        layout,
        columns,
        identity: Vec::new(),
        bridge: Bridge::new(abandoned),
    });
    let tries = files.into_iter().map(|file| {
        let common = Arc::clone(&common);
        blocking(move || common.try_out(&file))
    });
    let found = stream::iter(tries).buffered(FILES_AT_ONCE);
    let all = found.try_fold(BTreeMap::new(), |mut all, found| async move {
        for (what, file) in found {
            all.entry(what).or_insert(file);
        }
        Ok(all)
    });
    Ok(all.await?.iter().map(sentence).collect())
}

fn sentence((what, file): (&Dropped, &String)) -> String {
    match what {
        Dropped::Type(column) => format!(
            "the logical type of column `{column}` is not known here: the output has its plain values, without \
             that type, file=`{file}`"
        ),
        Dropped::BloomFilter(column) => format!(
            "the bloom filters of column `{column}` are not where the footer says, and are left out of the \
             output, file=`{file}`"
        ),
        Dropped::Indexes => format!(
            "the page indexes are damaged or not of all columns, and are left out of the output, file=`{file}`"
        ),
    }
}
