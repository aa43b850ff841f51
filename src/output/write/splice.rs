//! One output file: old column chunks copied as they are, new ones encoded beside them, row group by
//! row group, and a footer for both.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataBuilder,
    ParquetMetaDataReader, ParquetMetaDataWriter, RowGroupMetaData, SortingColumn,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;

use crate::base::Result;
use crate::output::error::from_parquet;
use crate::output::read::bloom_filter::bloom_filter_range;
use crate::output::read::extent::{Extent, Found};
use crate::output::read::source::Source;
use crate::output::write::copy::copy_chunks;
use crate::output::write::dropped::Dropped;
use crate::output::write::encode::{Encoder, Group, Placed, moved, shifted};
use crate::output::write::shape::{Selection, Shape};
use crate::output::write::sink::Sink;
use crate::output::write::types::{Trust, unknown_types};

/// An output file while it is written, on a blocking thread.
#[derive(Debug)]
pub(in crate::output) struct Splicer {
    shape: Shape,
    encoder: Encoder,
    row_groups: Vec<RowGroupMetaData>,
    column_index: Vec<Vec<ColumnIndexMetaData>>,
    /// One entry per row group, as long as every chunk of every one has an index: readers take all
    /// of it or none.
    offset_index: Option<Vec<Vec<OffsetIndexMetaData>>>,
    /// Whoever wrote the sources, if they agree: readers judge statistics by it.
    created_by: Option<String>,
    sources: usize,
    version: i32,
    trust: Trust,
    /// What does not come along, and of which file.
    dropped: BTreeMap<Dropped, String>,
}

const MAGIC: &[u8] = b"PAR1";

const WRITING: &str = "cannot write the output";

/// Written where several source files have several creators.
const CREATED_BY: &str = concat!("columnist version ", env!("CARGO_PKG_VERSION"));

impl Splicer {
    /// Begins a file of `shape` in `sink`.
    pub(in crate::output) fn begin(
        shape: Shape,
        encoder: Encoder,
        sink: &mut Sink,
    ) -> Result<Splicer> {
        sink.put(Bytes::from_static(MAGIC))?;
        Ok(Splicer {
            shape,
            encoder,
            row_groups: Vec::new(),
            column_index: Vec::new(),
            offset_index: Some(Vec::new()),
            created_by: None,
            sources: 0,
            version: 1,
            trust: Trust::default(),
            dropped: BTreeMap::new(),
        })
    }

    /// What the file looks like.
    pub(in crate::output) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What encodes its new columns.
    pub(in crate::output) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Notes what `source` says of itself as a file, be it the only one here or one `among_others`.
    pub(in crate::output) fn note(&mut self, source: &Source, among_others: bool) {
        let file = source.metadata().file_metadata();
        let creator = file.created_by().map(str::to_owned);
        self.trust = Trust::of(file, among_others);
        if source.lost_indexes {
            self.drop(Dropped::Indexes, source.name());
        }
        for column in unknown_types(file.schema()) {
            self.drop(Dropped::Type(column), source.name());
        }
        self.version = self.version.max(file.version());
        self.created_by = match self.sources {
            0 => creator,
            _ if self.created_by == creator => creator,
            _ => Some(CREATED_BY.to_owned()),
        };
        self.sources += 1;
    }

    /// Appends row group `at` of `source`: `chunks`, which are its selected columns, copied, and
    /// `group` beside them.
    pub(in crate::output) fn append(
        &mut self,
        source: &Source,
        selection: &Selection,
        (at, chunks): (usize, Vec<Found<'_>>),
        group: Group,
        sink: &mut Sink,
    ) -> Result<()> {
        let begin = sink.written();
        let columns = self.shape.schema.columns().to_vec();
        let (old, new) = columns.split_at(selection.leaves.len());
        let copied = copy_chunks(source, chunks, sink)?;
        let broken = |error| from_parquet(error, WRITING, source.name());
        let placed = self.encoder.place(group, new, sink).map_err(broken)?;
        let mut all = Vec::with_capacity(columns.len());
        let olds = selection.leaves.iter().zip(old).zip(&copied);
        for ((leaf, column), (extent, shift)) in olds {
            let shift = *shift;
            let trusted = self.trust.statistics_of(*leaf);
            let chunk = moved(&extent.metadata, Arc::clone(column), shift, trusted);
            let chunk = chunk.map_err(broken)?;
            let chunk = self.copy_bloom_filter(source, (at, *leaf), chunk, sink)?;
            all.push(self.place_old(source, (at, *leaf), (chunk, shift), extent));
        }
        all.extend(placed);
        let row_group = source.metadata().row_group(at);
        self.close_row_group(row_group, selection, begin, all)
            .map_err(broken)
    }

    /// An old chunk with the indexes that it had, as far as they are true of its pages.
    fn place_old(
        &mut self,
        source: &Source,
        (at, leaf): (usize, usize),
        (chunk, shift): (ColumnChunkMetaData, i64),
        extent: &Extent<'_>,
    ) -> Placed {
        let metadata = source.metadata();
        let pages = metadata.offset_index().map(|all| &all[at][leaf]);
        let offset_index = pages.filter(|index| extent.agrees_with(index));
        if pages.is_some() && offset_index.is_none() {
            self.drop(Dropped::Indexes, source.name());
        }
        let column_index = metadata.column_index().map(|all| &all[at][leaf]);
        let column_index = column_index.filter(|_| self.trust.statistics_of(leaf));
        Placed {
            chunk,
            column_index: column_index.cloned().unwrap_or(ColumnIndexMetaData::NONE),
            offset_index: offset_index.cloned().map(|index| shifted(index, shift)),
        }
    }

    /// Carries a chunk's bloom filter over. One that cannot be told apart is left behind: it only
    /// ever saves time.
    fn copy_bloom_filter(
        &mut self,
        source: &Source,
        (at, leaf): (usize, usize),
        chunk: ColumnChunkMetaData,
        sink: &mut Sink,
    ) -> Result<ColumnChunkMetaData> {
        let told = source.metadata().row_group(at).column(leaf);
        if told.bloom_filter_offset().is_none_or(|offset| offset == 0) {
            return Ok(chunk);
        }
        let Some(range) = bloom_filter_range(source, told)? else {
            let column = told.column_path().string();
            self.drop(Dropped::BloomFilter(column), source.name());
            return Ok(chunk);
        };
        let place = sink.written().cast_signed();
        let length = i32::try_from(range.end - range.start).ok();
        source.copy(range, sink, &mut |_, _| {})?;
        let builder = chunk.into_builder().set_bloom_filter_offset(Some(place));
        let built = builder.set_bloom_filter_length(length).build();
        built.map_err(|error| from_parquet(error, WRITING, source.name()))
    }

    /// Notes that something of `file` does not come along.
    pub(in crate::output) fn drop(&mut self, what: Dropped, file: &str) {
        self.dropped.entry(what).or_insert_with(|| file.to_owned());
    }

    /// What did not come along, each with the first file in which it was.
    pub(in crate::output) fn dropped(&self) -> &BTreeMap<Dropped, String> {
        &self.dropped
    }

    fn close_row_group(
        &mut self,
        source: &RowGroupMetaData,
        selection: &Selection,
        begin: u64,
        columns: Vec<Placed>,
    ) -> ParquetResult<()> {
        let uncompressed = columns
            .iter()
            .map(|column| column.chunk.uncompressed_size());
        let mut builder = RowGroupMetaData::builder(Arc::clone(&self.shape.schema))
            .set_num_rows(source.num_rows())
            .set_total_byte_size(uncompressed.sum())
            .set_sorting_columns(sorting(source, selection))
            .set_file_offset(begin.cast_signed());
        if let Ok(ordinal) = i16::try_from(self.row_groups.len()) {
            builder = builder.set_ordinal(ordinal);
        }
        let mut chunks = Vec::with_capacity(columns.len());
        let mut contents = Vec::with_capacity(columns.len());
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            chunks.push(column.chunk);
            contents.push(column.column_index);
            places.extend(column.offset_index);
        }
        match &mut self.offset_index {
            Some(all) if places.len() == chunks.len() => all.push(places),
            _ => self.offset_index = None,
        }
        self.column_index.push(contents);
        self.row_groups
            .push(builder.set_column_metadata(chunks).build()?);
        Ok(())
    }

    /// Writes the indexes and the footer.
    pub(in crate::output) fn finish(mut self, sink: &mut Sink) -> Result<()> {
        let place = sink.written();
        let footer = self.footer(place);
        let (indexes, footer) = footer.map_err(|error| from_parquet(error, WRITING, "footer"))?;
        sink.put(indexes)?;
        sink.put(footer)
    }

    /// The indexes' bytes, which are to lie at `place`, and the footer's.
    fn footer(&mut self, place: u64) -> ParquetResult<(Bytes, Bytes)> {
        let indexes = match self.offset_index.take() {
            Some(offsets) => self.write_indexes(offsets, place)?,
            None => Bytes::new(),
        };
        let row_groups = std::mem::take(&mut self.row_groups);
        let metadata = ParquetMetaData::new(self.file_metadata(&row_groups), row_groups);
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata).finish()?;
        Ok((indexes, footer.into()))
    }

    /// The library writes indexes only together with a footer, and as if the file began with them.
    /// So it does, once for the indexes, and what it says of their places is moved to where they
    /// will be.
    fn write_indexes(
        &mut self,
        offsets: Vec<Vec<OffsetIndexMetaData>>,
        place: u64,
    ) -> ParquetResult<Bytes> {
        let row_groups = std::mem::take(&mut self.row_groups);
        let file = self.file_metadata(&row_groups);
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(row_groups)
            .set_column_index(Some(std::mem::take(&mut self.column_index)))
            .set_offset_index(Some(offsets))
            .build();
        let mut bytes = Vec::new();
        ParquetMetaDataWriter::new(&mut bytes, &metadata).finish()?;
        let bytes = Bytes::from(bytes);
        let written = ParquetMetaDataReader::new().parse_and_finish(&bytes)?;
        let mut end = 0;
        for (row_group, told) in metadata.row_groups().iter().zip(written.row_groups()) {
            let (row_group, used) = with_indexes(row_group.clone(), told, place)?;
            end = end.max(used);
            self.row_groups.push(row_group);
        }
        Ok(bytes.slice(..usize::try_from(end)?))
    }

    fn file_metadata(&self, row_groups: &[RowGroupMetaData]) -> FileMetaData {
        FileMetaData::new(
            self.version,
            row_groups.iter().map(RowGroupMetaData::num_rows).sum(),
            self.created_by.clone(),
            Some(self.shape.key_values.clone()),
            Arc::clone(&self.shape.schema),
            None,
        )
    }
}

/// `row_group` with its indexes as `told`, moved to `place`; and where the last of them ends.
fn with_indexes(
    mut row_group: RowGroupMetaData,
    told: &RowGroupMetaData,
    place: u64,
) -> ParquetResult<(RowGroupMetaData, i64)> {
    let place = place.cast_signed();
    let mut end = 0;
    for (column, told) in row_group.columns_mut().iter_mut().zip(told.columns()) {
        let (content, pages) = (told.column_index_offset(), told.offset_index_offset());
        let (content_length, pages_length) =
            (told.column_index_length(), told.offset_index_length());
        for (offset, length) in [(content, content_length), (pages, pages_length)] {
            end = end.max(offset.unwrap_or(0) + i64::from(length.unwrap_or(0)));
        }
        *column = column
            .clone()
            .into_builder()
            .set_column_index_offset(content.map(|offset| offset + place))
            .set_column_index_length(content_length)
            .set_offset_index_offset(pages.map(|offset| offset + place))
            .set_offset_index_length(pages_length)
            .build()?;
    }
    Ok((row_group, end))
}

/// How the rows are sorted, as far as the columns that say so are still there.
fn sorting(source: &RowGroupMetaData, selection: &Selection) -> Option<Vec<SortingColumn>> {
    let renumbered = |column: &SortingColumn| {
        let old = usize::try_from(column.column_idx).ok()?;
        let new = selection.leaves.iter().position(|leaf| *leaf == old)?;
        let column_idx = i32::try_from(new).ok()?;
        Some(SortingColumn {
            column_idx,
            ..*column
        })
    };
    let columns = source.sorting_columns()?.iter().map_while(renumbered);
    let columns: Vec<_> = columns.collect();
    (!columns.is_empty()).then_some(columns)
}
