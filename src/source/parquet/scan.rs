//! The rows of a table in its own order, each with its position.
//!
//! A Parquet table is read by one thread, one row group after the other, the named columns alone. A
//! predicate is evaluated first, over the columns that it names; what it did not select is then
//! skipped in the other columns. What is held at a time is a page per column, a bit per row of the
//! row group, and two batches.

use std::sync::Arc;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use tokio::sync::mpsc;

use crate::base::{Error, Result};
use crate::source::scan::{
    ResolvedScan, RowNumbers, Slice, Slices, as_index, filter_rows, stream_from_thread, truncate,
};

use super::file::OpenFile;
use super::pruning::groups_to_read;
use super::row_group::{GroupRead, read_group};
use super::table::ParquetTable;

/// Beyond so many separate runs of selected rows in a row group, all its rows are decoded and
/// filtered: skipping by a list of runs would cost more, in time and in memory.
const RUNS_MAX: usize = 1 << 16;

/// Reads a Parquet table on a thread of its own, which ends when the stream is dropped.
pub(crate) fn scan_table(table: Arc<ParquetTable>, scan: ResolvedScan) -> Slices {
    stream_from_thread(move |send| {
        let sink = Sink {
            send,
            remaining: scan.limit.unwrap_or(u64::MAX),
        };
        let mut reader = TableReader {
            table: &table,
            scan: &scan,
            sink,
        };
        reader.read_files()
    })
}

/// Whether to go on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Stop,
}

struct Sink<'s> {
    send: &'s mpsc::Sender<Result<Slice>>,
    remaining: u64,
}

impl Sink<'_> {
    fn push(&mut self, slice: Slice) -> Flow {
        let slice = truncate(slice, self.remaining);
        if slice.rows.is_empty() {
            return if self.remaining == 0 {
                Flow::Stop
            } else {
                Flow::On
            };
        }
        self.remaining -= slice.rows.len() as u64;
        if self.send.blocking_send(Ok(slice)).is_err() || self.remaining == 0 {
            return Flow::Stop;
        }
        Flow::On
    }
}

struct TableReader<'t> {
    table: &'t ParquetTable,
    scan: &'t ResolvedScan,
    sink: Sink<'t>,
}

impl<'t> TableReader<'t> {
    fn read_files(&mut self) -> Result<()> {
        let mut start = 0;
        for file in &self.table.files {
            let end = start + file.rows;
            if end > self.scan.from && file.rows > 0 {
                let open = OpenFile::open(file)?;
                if self.read_groups(&open, start, file.row_groups, end)? == Flow::Stop {
                    return Ok(());
                }
            }
            start = end;
        }
        Ok(())
    }

    fn read_groups(
        &mut self,
        file: &OpenFile<'_>,
        start: u64,
        groups: usize,
        end: u64,
    ) -> Result<Flow> {
        let worth = match &self.scan.filter {
            Some(filter) => groups_to_read(filter, file.footer()),
            None => vec![true; file.groups()],
        };
        let mut at = start;
        for (group, worth) in worth.into_iter().enumerate().take(groups) {
            let end = at + file.group_rows(group);
            let wanted = worth && end > self.scan.from;
            if wanted && self.read_group(file, group, at)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
            at = end;
        }
        if at != end {
            return Err(
                Error::unavailable("a file of the table was replaced while it was read")
                    .hint("run again once nobody writes to it"),
            );
        }
        Ok(Flow::On)
    }

    fn read_group(&mut self, file: &OpenFile<'_>, group: usize, start: u64) -> Result<Flow> {
        if self.scan.filter.is_none() && self.scan.sample.is_none() {
            return self.read_all(file, group, start);
        }
        self.read_selected(file, group, start)
    }

    fn read_all(&mut self, file: &OpenFile<'_>, group: usize, start: u64) -> Result<Flow> {
        let skipped = self.scan.from.saturating_sub(start);
        let rows = as_index(file.group_rows(group));
        let selection = (skipped > 0).then(|| {
            let skip = as_index(skipped);
            vec![RowSelector::skip(skip), RowSelector::select(rows - skip)].into()
        });
        let mut at = start + skipped;
        for batch in read_group(file, self.table, self.wanted_columns(group, selection))? {
            let batch = batch?;
            let end = at + batch.num_rows() as u64;
            let slice = Slice {
                rows: RowNumbers::Range(at..end),
                batch,
            };
            if self.sink.push(slice) == Flow::Stop {
                return Ok(Flow::Stop);
            }
            at = end;
        }
        Ok(Flow::On)
    }

    fn read_selected(&mut self, file: &OpenFile<'_>, group: usize, start: u64) -> Result<Flow> {
        let selected = self.select(file, group, start)?;
        let runs = selected.set_slices().take(RUNS_MAX + 1).count();
        if runs == 0 {
            return Ok(Flow::On);
        }
        let sparse = (runs <= RUNS_MAX).then(|| {
            let ranges = selected.set_slices().map(|(from, to)| from..to);
            RowSelection::from_consecutive_ranges(ranges, selected.len())
        });
        let is_sparse = sparse.is_some();
        let mut positions = selected.set_indices().map(|at| start + at as u64);
        let mut seen = 0;
        for batch in read_group(file, self.table, self.wanted_columns(group, sparse))? {
            let mut batch = batch?;
            if !is_sparse {
                let mask = selected.slice(seen, batch.num_rows());
                seen += batch.num_rows();
                batch = filter_rows(&batch, mask)?;
            }
            let rows = RowNumbers::List(positions.by_ref().take(batch.num_rows()).collect());
            if self.sink.push(Slice { rows, batch }) == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::On)
    }

    /// One bit per row of the group: whether it is wanted.
    fn select(&self, file: &OpenFile<'_>, group: usize, start: u64) -> Result<BooleanBuffer> {
        let rows = as_index(file.group_rows(group));
        let mut selected = BooleanBufferBuilder::new(rows);
        match &self.scan.filter {
            None => selected.append_n(rows, true),
            Some(filter) => {
                for batch in read_group(
                    file,
                    self.table,
                    self.filter_columns(group, filter.columns()),
                )? {
                    selected.append_buffer(filter.select(&batch?)?.values());
                }
            }
        }
        for skipped in 0..as_index(self.scan.from.saturating_sub(start)).min(selected.len()) {
            selected.set_bit(skipped, false);
        }
        let selected = selected.finish();
        Ok(match &self.scan.sample {
            None => selected,
            Some(sample) => sample.among(&selected, start),
        })
    }

    /// How the columns that the predicate names are read.
    fn filter_columns<'s>(&self, group: usize, columns: &'s [usize]) -> GroupRead<'s> {
        GroupRead {
            group,
            columns,
            selection: None,
            batch_rows: self.scan.batch_rows,
            views: false,
        }
    }

    /// How the columns that are wanted are read.
    fn wanted_columns(&self, group: usize, selection: Option<RowSelection>) -> GroupRead<'t> {
        GroupRead {
            group,
            columns: &self.scan.columns,
            selection,
            batch_rows: self.scan.batch_rows,
            views: self.scan.views,
        }
    }
}
