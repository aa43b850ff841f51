//! The chunks of a row group on their way from the source to the output.

use std::ops::Range;

use crate::base::Result;
use crate::output::read::extent::{Extent, Found};
use crate::output::read::source::Source;
use crate::output::write::sink::Sink;

/// Copies `chunks`, neighbours together, and says of each what it is and by how much it moved.
///
/// Pages that are walked in passing may turn out to lie elsewhere than the footer says. Then their
/// chunk is copied once more from where it is, and nothing points to the bytes before.
pub(in crate::output) fn copy_chunks<'s>(
    source: &'s Source,
    mut chunks: Vec<Found<'s>>,
    sink: &mut Sink,
) -> Result<Vec<(Extent<'s>, i64)>> {
    let mut place = sink.written();
    let mut shifts = Vec::with_capacity(chunks.len());
    let mut neighbours: Vec<Range<u64>> = Vec::new();
    for range in chunks.iter().map(Found::range) {
        shifts.push(place.cast_signed() - range.start.cast_signed());
        place += range.end - range.start;
        match neighbours.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => neighbours.push(range.clone()),
        }
    }
    for range in neighbours {
        source.copy(range, sink, &mut |offset, piece| {
            for chunk in &mut chunks {
                chunk.pass(offset, piece);
            }
        })?;
    }
    let copied = chunks.into_iter().zip(shifts);
    copied
        .map(|(chunk, shift)| settle(source, chunk, shift, sink))
        .collect()
}

fn settle<'s>(
    source: &'s Source,
    chunk: Found<'s>,
    shift: i64,
    sink: &mut Sink,
) -> Result<(Extent<'s>, i64)> {
    let copied = chunk.range().clone();
    let extent = chunk.walked()?;
    let range = extent.range.clone();
    if copied.start <= range.start && range.end <= copied.end {
        return Ok((extent, shift));
    }
    let shift = sink.written().cast_signed() - range.start.cast_signed();
    source.copy(range, sink, &mut |_, _| {})?;
    Ok((extent, shift))
}
