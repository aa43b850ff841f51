//! The column chunks of a file, one row group after the other, with their pages walked or about to be.
//!
//! From a store, where a look is a request, several are looked at side by side.

use std::iter;

use futures::stream::{self, LocalBoxStream};
use futures::{StreamExt, TryStreamExt};

use crate::base::Result;
use crate::output::read::extent::{Found, Told};
use crate::output::read::source::Source;
use crate::output::read::window::{AHEAD_MAX, Window};

/// The chunks of a file's selected columns, in order.
pub(in crate::output) struct Extents<'s> {
    source: &'s Source,
    leaves: usize,
    found: LocalBoxStream<'s, Result<Found<'s>>>,
}

/// When pages are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) enum When {
    /// Before anything is copied.
    Before,
    /// While they are copied, where their bytes pass through here and their place is beyond doubt.
    InPassing,
}

/// Chunks, or neighbours of little size, that are looked at side by side. Each holds a window.
const LANES: usize = 16;

/// What a chunk counts at least.
const CHUNK_BYTES_MIN: u64 = 1 << 10;

impl<'s> Extents<'s> {
    /// The chunks of columns `leaves` of `source`.
    pub(in crate::output) fn of(source: &'s Source, leaves: &[usize], when: When) -> Extents<'s> {
        let walks = lanes(source, leaves.to_vec()).map(move |lane| walk(source, lane, when));
        let found = stream::iter(walks).buffered(LANES);
        let found = found
            .map_ok(|lane| stream::iter(lane).map(Ok))
            .try_flatten();
        Extents {
            source,
            leaves: leaves.len(),
            found: found.boxed_local(),
        }
    }

    /// Those of the next row group.
    pub(in crate::output) fn next(&mut self) -> Result<Vec<Found<'s>>> {
        let row_group = self.found.by_ref().take(self.leaves);
        self.source.wait(row_group.try_collect())
    }
}

/// Chunks by row group and leaf: a large one alone, small ones as neighbours, for one request may show
/// many of them.
fn lanes(source: &Source, leaves: Vec<usize>) -> impl Iterator<Item = Vec<(usize, usize)>> {
    let row_groups = 0..source.metadata().num_row_groups();
    let mut chunks =
        row_groups.flat_map(move |at| leaves.clone().into_iter().map(move |leaf| (at, leaf)));
    iter::from_fn(move || {
        let (mut lane, mut bytes) = (Vec::new(), 0);
        while bytes < AHEAD_MAX
            && let Some((at, leaf)) = chunks.next()
        {
            let size = source
                .metadata()
                .row_group(at)
                .column(leaf)
                .compressed_size();
            bytes += u64::try_from(size).unwrap_or_default().max(CHUNK_BYTES_MIN);
            lane.push((at, leaf));
        }
        (!lane.is_empty()).then_some(lane)
    })
}

async fn walk(source: &Source, lane: Vec<(usize, usize)>, when: When) -> Result<Vec<Found<'_>>> {
    let chunks = lane.iter().map(|(at, leaf)| Told::of(source, *at, *leaf));
    let chunks = chunks.collect::<Result<Vec<_>>>()?;
    let end = chunks.iter().map(Told::end).max().unwrap_or_default();
    let mut window = Window::over(source, lane.len() > 1, end);
    let mut found = Vec::with_capacity(lane.len());
    for told in chunks {
        found.push(match when {
            When::InPassing if told.may_pass() => told.passing(),
            _ => Found::Walked(Box::new(told.walk(&mut window).await?)),
        });
    }
    Ok(found)
}
