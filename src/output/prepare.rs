//! What publishing needs, tried before any spend: all that it does with a source, but for the bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt, stream};

use super::{Form, Layout, SourceFile, Target};
use crate::base::Result;
use crate::output::place::examine::blocking;
use crate::output::place::layout::plan;
use crate::output::place::remote;
use crate::output::write::table::TableWriter;

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
    let (writer, _until_dropped) = TableWriter::new(sources, layout, columns, Vec::new());
    let writer = Arc::new(writer);
    let tries = files.into_iter().map(|file| {
        let writer = Arc::clone(&writer);
        blocking(move || writer.try_out(&file))
    });
    let found = stream::iter(tries).buffered(FILES_AT_ONCE);
    let all = found.try_fold(BTreeMap::new(), |mut all, found| async move {
        for (what, file) in found {
            all.entry(what).or_insert(file);
        }
        Ok(all)
    });
    Ok(all
        .await?
        .iter()
        .map(|(what, file)| what.sentence(file))
        .collect())
}
