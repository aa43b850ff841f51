//! Writes one output file from its source files and the stream of new columns, on a blocking thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use parquet::file::metadata::RowGroupMetaData;
use tokio_util::sync::DropGuard;

use crate::base::{Error, Result};
use crate::output::bridge::Bridge;
use crate::output::error::from_parquet;
use crate::output::place::layout::FilePlan;
use crate::output::read::extents::{Extents, When};
use crate::output::read::source::Source;
use crate::output::write::dropped::Dropped;
use crate::output::write::encode::{Encoder, Group};
use crate::output::write::feed::RowFeed;
use crate::output::write::shape::Shape;
use crate::output::write::sink::Sink;
use crate::output::write::spill::Spill;
use crate::output::write::splice::Splicer;
use crate::output::{Layout, SourceFile};

/// Writes the files of one output: what they all have in common.
#[derive(Debug)]
pub(in crate::output) struct TableWriter {
    /// The source's files.
    pub(in crate::output) sources: Vec<SourceFile>,
    /// How they are laid out.
    layout: Layout,
    /// The new columns.
    pub(in crate::output) columns: SchemaRef,
    /// Who writes.
    pub(in crate::output) identity: Vec<(String, String)>,
    /// The way to object stores.
    pub(in crate::output) bridge: Bridge,
}

/// The columns that are neither in the source's file nor in the stream, for one source file.
struct Generated {
    fields: Vec<Field>,
    constants: Vec<Option<String>>,
    /// One array per constant, as long as the longest batch was.
    arrays: Vec<StringArray>,
}

const ENCODING: &str = "cannot encode the new columns";

impl TableWriter {
    /// A writer of the source's table with its new `columns`. It stops when the guard is dropped.
    pub(in crate::output) fn new(
        sources: Vec<SourceFile>,
        layout: Layout,
        columns: SchemaRef,
        identity: Vec<(String, String)>,
    ) -> (Self, DropGuard) {
        let (bridge, until_dropped) = Bridge::new();
        let writer = TableWriter {
            sources,
            layout,
            columns,
            identity,
            bridge,
        };
        (writer, until_dropped)
    }

    /// Writes the file that `plan` says into `sink`, up to its last byte, and says how many rows it
    /// has. Nothing is finished yet.
    pub(in crate::output) fn write(
        &self,
        plan: &FilePlan,
        feed: &mut RowFeed,
        sink: &mut Sink,
    ) -> Result<u64> {
        let mut splicer = None;
        let mut rows = 0;
        for source_file in &self.sources[plan.sources.clone()] {
            let source = self.open(source_file)?;
            let splicer = match &mut splicer {
                Some(begun) => begun,
                empty => empty.insert(self.begin(plan, &source, sink)?),
            };
            splicer.note(&source, plan.sources.len() > 1);
            self.write_source(splicer, source_file, &source, feed, sink)?;
            rows += source_file.rows;
        }
        match splicer {
            Some(splicer) => splicer.finish(sink).map(|()| rows),
            None => Err(Error::internal("an output file without a source")),
        }
    }

    /// Does what [`TableWriter::write`] does, but for the bytes: the new columns are empty, and what would be
    /// copied is counted. Says what does not come along.
    pub(in crate::output) fn try_out(&self, plan: &FilePlan) -> Result<BTreeMap<Dropped, String>> {
        let mut sink = Sink::Nowhere(0);
        let mut begun = None;
        for source_file in &self.sources[plan.sources.clone()] {
            let source = self.open(source_file)?;
            let splicer = match &mut begun {
                Some(begun) => begun,
                empty => empty.insert(self.begin(plan, &source, &mut sink)?),
            };
            let selection = splicer.shape().select(&source, &self.layout)?;
            splicer.note(&source, plan.sources.len() > 1);
            let mut extents = Extents::of(&source, &selection.leaves, When::Before);
            for at in 0..source.metadata().num_row_groups() {
                let broken = |error| from_parquet(error, ENCODING, source.name());
                let group = splicer.encoder().group().map_err(broken)?;
                let chunks = (at, extents.next()?);
                splicer.append(&source, &selection, chunks, group, &mut sink)?;
            }
        }
        let lost = || Error::internal("an output file without a source");
        let splicer = begun.ok_or_else(lost)?;
        let dropped = splicer.dropped().clone();
        splicer.finish(&mut sink).map(|()| dropped)
    }

    /// Opens a source file and checks that it is the one that was pinned.
    fn open(&self, file: &SourceFile) -> Result<Source> {
        let source = Source::open(&file.location, &self.bridge)?;
        let rows = source.metadata().file_metadata().num_rows();
        let row_groups = source.metadata().row_groups();
        let counted: i64 = row_groups.iter().map(RowGroupMetaData::num_rows).sum();
        if u64::try_from(rows) == Ok(file.rows) && rows == counted && source.size() == file.size {
            return Ok(source);
        }
        Err(Error::invalid("a source file is not what it was")
            .with("path", source.name())
            .with("rows", rows)
            .with("rows_before", file.rows)
            .with("bytes", source.size())
            .with("bytes_before", file.size)
            .hint("the table was rewritten while the job ran; run the job again"))
    }

    fn begin(&self, plan: &FilePlan, first: &Source, sink: &mut Sink) -> Result<Splicer> {
        let (layout, sources) = (&self.layout, &self.sources);
        let of_file = &sources[plan.sources.clone()];
        let new = (&*self.columns, of_file.iter().map(|file| file.rows).sum());
        let shape = Shape::new(first, layout, sources, new, &self.identity)?;
        let spill = Spill::to(sink.folder().map(Into::into));
        let encoder = Encoder::new(&shape, spill)
            .map_err(|error| from_parquet(error, ENCODING, first.name()))?;
        Splicer::begin(shape, encoder, sink)
    }

    fn write_source(
        &self,
        splicer: &mut Splicer,
        file: &SourceFile,
        source: &Source,
        feed: &mut RowFeed,
        sink: &mut Sink,
    ) -> Result<()> {
        let selection = splicer.shape().select(source, &self.layout)?;
        let mut generated = Generated::of(splicer.shape(), file);
        let mut extents = Extents::of(source, &selection.leaves, When::InPassing);
        for (at, row_group) in source.metadata().row_groups().iter().enumerate() {
            let rows = u64::try_from(row_group.num_rows()).unwrap_or_default();
            let group = fill(splicer.encoder(), &mut generated, rows, feed)
                .map_err(|error| error.with("source", source.name()))?;
            let chunks = (at, extents.next()?);
            splicer.append(source, &selection, chunks, group, sink)?;
        }
        Ok(())
    }
}

/// The new columns of a row group of `rows` rows.
fn fill(
    encoder: &Encoder,
    generated: &mut Generated,
    rows: u64,
    feed: &mut RowFeed,
) -> Result<Group> {
    let broken = |error| from_parquet(error, ENCODING, "");
    let mut group = encoder.group().map_err(broken)?;
    let mut wanted = rows;
    while wanted > 0 {
        let position = feed.position();
        let batch = feed.take(wanted)?;
        wanted -= batch.num_rows() as u64;
        group
            .write(&generated.columns(position, &batch))
            .map_err(broken)?;
    }
    Ok(group)
}

impl Generated {
    fn of(shape: &Shape, file: &SourceFile) -> Generated {
        let fields = shape.encoded.fields().iter().take(shape.generated_count);
        let fields: Vec<Field> = fields.map(|field| field.as_ref().clone()).collect();
        let value = |field: &Field| {
            let mut pairs = file.partitions.iter();
            let pair = pairs.find(|(name, _)| name == field.name());
            pair.and_then(|(_, value)| value.clone())
        };
        Generated {
            constants: fields.iter().map(value).collect(),
            arrays: vec![StringArray::new_null(0); fields.len()],
            fields,
        }
    }

    /// All columns to encode for the rows of `batch`, the first of which is at `position`.
    fn columns(&mut self, position: u64, batch: &RecordBatch) -> Vec<ArrayRef> {
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(self.fields.len() + batch.num_columns());
        for at in 0..self.fields.len() {
            columns.push(match self.fields[at].data_type() {
                DataType::Int64 => positions(position, rows),
                _ => self.constant(at, rows),
            });
        }
        columns.extend(batch.columns().iter().cloned());
        columns
    }

    fn constant(&mut self, at: usize, rows: usize) -> ArrayRef {
        if self.arrays[at].len() < rows {
            let value = self.constants[at].as_deref();
            self.arrays[at] = std::iter::repeat_n(value, rows).collect();
        }
        Arc::new(self.arrays[at].slice(0, rows))
    }
}

fn positions(first: u64, rows: usize) -> ArrayRef {
    let first = first.cast_signed();
    Arc::new(Int64Array::from_iter_values((first..).take(rows)))
}
