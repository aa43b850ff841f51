//! What of a source file is one column chunk: by its footer where its pages bear that out, else as
//! its pages say.
//!
//! Writers of old times got their footers wrong: a length that leaves out the dictionary's header, a
//! dictionary that is not told of, or told of where none is. Most readers walk the pages and never
//! notice; a copy that trusts the footer loses the end of the column.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::statistics::Statistics;

use crate::base::{Error, Result};
use crate::output::error::{corrupt, from_parquet};
use crate::output::read::chunks::told_range;
use crate::output::read::mend::mended;
use crate::output::read::pages::{Chunk, DataPage, Pages, Walk};
use crate::output::read::passing::Passing;
use crate::output::read::source::Source;
use crate::output::read::window::Window;

/// A column chunk as the footer tells of it.
#[derive(Debug)]
pub(in crate::output) struct Told<'s> {
    source: &'s Source,
    metadata: &'s ColumnChunkMetaData,
    range: Range<u64>,
    values: u64,
    is_flat: bool,
}

/// A column chunk as it is.
#[derive(Debug)]
pub(in crate::output) struct Extent<'s> {
    /// Its bytes.
    pub(in crate::output) range: Range<u64>,
    /// Its metadata, with places in the source; mended where its pages say otherwise.
    pub(in crate::output) metadata: Cow<'s, ColumnChunkMetaData>,
    /// Its data pages.
    pages: Vec<DataPage>,
    is_flat: bool,
}

/// A column chunk that is going to be copied.
#[derive(Debug)]
pub(in crate::output) enum Found<'s> {
    /// Its pages were walked.
    Walked(Box<Extent<'s>>),
    /// They are walked while it is copied.
    Passing(Box<(Told<'s>, Passing)>),
}

impl<'s> Found<'s> {
    /// The bytes to copy.
    pub(in crate::output) fn range(&self) -> &Range<u64> {
        match self {
            Found::Walked(extent) => &extent.range,
            Found::Passing(chunk) => &chunk.0.range,
        }
    }

    /// `piece` of the file, which lies at `offset`, is copied.
    pub(in crate::output) fn pass(&mut self, offset: u64, piece: &Bytes) {
        if let Found::Passing(chunk) = self {
            chunk.1.pass(offset, piece);
        }
    }

    /// The chunk as it is, once it has been copied. It is looked for again where its pages were not what the
    /// footer says.
    pub(in crate::output) fn walked(self) -> Result<Extent<'s>> {
        let (told, passing) = match self {
            Found::Walked(extent) => return Ok(*extent),
            Found::Passing(chunk) => *chunk,
        };
        match passing.end() {
            Ok(pages) if pages.range == told.range && !told.lacks_dictionary(&pages) => {
                told.extent(pages)
            }
            _ => {
                let source = told.source;
                source.wait(told.walk(&mut Window::over(source, false, source.data_end())))
            }
        }
    }
}

impl<'s> Told<'s> {
    /// The chunk of column `leaf` in row group `at`.
    pub(in crate::output) fn of(source: &'s Source, at: usize, leaf: usize) -> Result<Told<'s>> {
        let row_group = source.metadata().row_group(at);
        let metadata = row_group.column(leaf);
        let is_flat = metadata.column_descr().max_rep_level() == 0;
        let named = |error| of_column(error, metadata);
        refuse_elsewhere(metadata, source.name()).map_err(named)?;
        let values = if is_flat {
            row_group.num_rows()
        } else {
            metadata.num_values()
        };
        Ok(Told {
            source,
            metadata,
            range: told_range(metadata, source.name()).map_err(named)?,
            values: u64::try_from(values).unwrap_or_default(),
            is_flat,
        })
    }

    /// Where the footer says that it ends.
    pub(in crate::output) fn end(&self) -> u64 {
        self.range.end
    }

    /// Whether its pages may be walked while they are copied: their bytes pass through here, and the
    /// chunk begins and ends where its neighbours say so too.
    pub(in crate::output) fn may_pass(&self) -> bool {
        self.source.is_remote() && self.source.is_flush(&self.range)
    }

    /// It is going to be walked while it is copied.
    pub(in crate::output) fn passing(self) -> Found<'s> {
        let passing = Passing::over(Chunk {
            told: self.range.clone(),
            values: self.values,
            limit: self.range.end,
        });
        Found::Passing(Box::new((self, passing)))
    }

    /// Walks its pages.
    pub(in crate::output) async fn walk(self, window: &mut Window<'s>) -> Result<Extent<'s>> {
        let pages = self.find(window).await;
        let pages = pages.map_err(|error| of_column(error, self.metadata))?;
        self.extent(pages)
    }

    fn extent(self, pages: Pages) -> Result<Extent<'s>> {
        let metadata = mended(self.metadata, &pages).map_err(|error| {
            let error = from_parquet(error, "cannot mend a footer", self.source.name());
            of_column(error, self.metadata)
        })?;
        Ok(Extent {
            range: pages.range,
            metadata,
            pages: pages.data,
            is_flat: self.is_flat,
        })
    }

    /// Walks the pages from where the footer says they begin; where that does not add up, from the
    /// other places at which they may.
    async fn find(&self, window: &mut Window<'s>) -> Result<Pages> {
        let (range, source) = (&self.range, self.source);
        let data = u64::try_from(self.metadata.data_page_offset()).unwrap_or_default();
        let length = range.end - range.start;
        let odd = match self.try_from(range.clone(), window).await? {
            Ok(pages) if !self.lacks_dictionary(&pages) => return Ok(pages),
            Ok(pages) => {
                // Not told of, but counted in the length: it lies before the data.
                let end = pages.range.end;
                let before = self
                    .try_from(end.saturating_sub(length)..end, window)
                    .await?;
                let is_whole =
                    |whole: &Pages| whole.data == pages.data && whole.dictionary.is_some();
                match before {
                    Ok(whole) if is_whole(&whole) => return Ok(whole),
                    _ => "its values are numbers of a dictionary that is not there",
                }
            }
            Err(odd) => odd,
        };
        // A dictionary that is told of and is not there.
        if data != range.start
            && let Ok(pages) = self
                .try_from(data..data.saturating_add(length), window)
                .await?
            && !self.lacks_dictionary(&pages)
        {
            return Ok(pages);
        }
        let error = corrupt(
            "a column's pages are not what the footer says",
            source.name(),
        );
        Err(error.because(Odd(odd)))
    }

    async fn try_from(
        &self,
        told: Range<u64>,
        window: &mut Window<'s>,
    ) -> Result<std::result::Result<Pages, &'static str>> {
        let data = u64::try_from(self.metadata.data_page_offset()).unwrap_or_default();
        let limit = self.source.limit_of(data.max(self.range.start));
        let mut walk = Walk::over(Chunk {
            told: told.start..told.end.min(limit),
            values: self.values,
            limit,
        });
        while let Some(wanted) = walk.wants() {
            walk.take(&window.get(wanted).await?);
        }
        Ok(walk.end())
    }

    /// Whether `pages` hold numbers of a dictionary that is not among them. Where all values are null there
    /// are no numbers.
    fn lacks_dictionary(&self, pages: &Pages) -> bool {
        let needs = |count: &PageEncodingStats| {
            let encoding = count.encoding;
            encoding == Encoding::RLE_DICTIONARY || encoding == Encoding::PLAIN_DICTIONARY
        };
        let nulls = self.metadata.statistics();
        let nulls = nulls.and_then(Statistics::null_count_opt);
        pages.dictionary.is_none()
            && pages.encodings.iter().flatten().any(needs)
            && nulls != Some(self.values)
    }
}

impl Extent<'_> {
    /// Whether `index` tells of the pages that are there.
    pub(in crate::output) fn agrees_with(&self, index: &OffsetIndexMetaData) -> bool {
        let told = &index.page_locations;
        let mut row = 0;
        told.len() == self.pages.len()
            && told.iter().zip(&self.pages).all(|(told, page)| {
                let is_there = u64::try_from(told.offset) == Ok(page.offset)
                    && u64::try_from(told.compressed_page_size) == Ok(page.length);
                let is_row = !self.is_flat || u64::try_from(told.first_row_index) == Ok(row);
                row += page.values;
                is_there && is_row
            })
    }
}

fn refuse_elsewhere(chunk: &ColumnChunkMetaData, name: &str) -> Result<()> {
    if chunk.file_path().is_some_and(|path| !path.is_empty()) {
        return Err(
            Error::invalid("a Parquet file whose columns lie in other files")
                .with("path", name)
                .hint("name the folder of those files as `source.table`"),
        );
    }
    Ok(())
}

fn of_column(error: Error, chunk: &ColumnChunkMetaData) -> Error {
    error.with("column", chunk.column_path().string())
}

/// What does not add up.
#[derive(Debug)]
struct Odd(&'static str);

impl std::fmt::Display for Odd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Odd {}
