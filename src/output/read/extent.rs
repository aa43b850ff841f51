//! What of a source file is one column chunk: by its footer where its pages bear that out, else as
//! its pages say.
//!
//! Writers of old times got their footers wrong: a length that leaves out the dictionary's header, a
//! dictionary that is not told of, or told of where none is. Most readers walk the pages and never
//! notice; a copy that trusts the footer loses the end of the column.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use parquet::basic::{Encoding, PageType};
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;

use crate::base::{Error, Result};
use crate::output::error::{corrupt, from_parquet};
use crate::output::read::chunks::{dictionary_offset, told_range};
use crate::output::read::pages::{Chunk, DataPage, Pages};
use crate::output::read::source::Source;

/// A column chunk of the source.
#[derive(Debug)]
pub(in crate::output) struct Extent<'s> {
    /// Its bytes.
    pub(in crate::output) range: Range<u64>,
    /// Its metadata, with places in the source; mended where its pages say otherwise.
    pub(in crate::output) metadata: Cow<'s, ColumnChunkMetaData>,
    /// Its data pages, where they were walked.
    pages: Option<Vec<DataPage>>,
    is_flat: bool,
}

impl<'s> Extent<'s> {
    /// The chunk of column `leaf` in row group `at`.
    ///
    /// On object storage, where every page would be a request, a chunk that ends where the next one
    /// begins is taken by its footer: whatever is in it, readers find the same in its copy.
    pub(in crate::output) fn of(source: &'s Source, at: usize, leaf: usize) -> Result<Extent<'s>> {
        let row_group = source.metadata().row_group(at);
        let told = row_group.column(leaf);
        let is_flat = told.column_descr().max_rep_level() == 0;
        let named = |error: Error| error.with("column", told.column_path().string());
        refuse_elsewhere(told, source.name()).map_err(named)?;
        let range = told_range(told, source.name()).map_err(named)?;
        if source.is_remote() && source.is_flush(&range) {
            return Ok(Extent {
                range,
                metadata: Cow::Borrowed(told),
                pages: None,
                is_flat,
            });
        }
        let values = if is_flat {
            row_group.num_rows()
        } else {
            told.num_values()
        };
        let values = u64::try_from(values).unwrap_or_default();
        let pages = find(source, told, range, values).map_err(named)?;
        let metadata = mended(told, &pages)
            .map_err(|error| named(from_parquet(error, "cannot mend a footer", source.name())))?;
        Ok(Extent {
            range: pages.range,
            metadata,
            pages: Some(pages.data),
            is_flat,
        })
    }

    /// Whether `index` tells of the pages that are there.
    pub(in crate::output) fn agrees_with(&self, index: &OffsetIndexMetaData) -> bool {
        let Some(pages) = &self.pages else {
            return true;
        };
        let told = &index.page_locations;
        let mut row = 0;
        told.len() == pages.len()
            && told.iter().zip(pages).all(|(told, page)| {
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

/// Walks the chunk's pages from where the footer says they begin; where that does not add up, from
/// the other places at which they may.
fn find(
    source: &Source,
    told: &ColumnChunkMetaData,
    range: Range<u64>,
    values: u64,
) -> Result<Pages> {
    let read = |wanted: Range<u64>| -> Result<Bytes> { source.read(wanted) };
    let data = u64::try_from(told.data_page_offset()).unwrap_or_default();
    let limit = source.limit_of(data.max(range.start));
    let walk = |told: Range<u64>| {
        let told = told.start..told.end.min(limit);
        Pages::walk(
            &Chunk {
                told,
                values,
                limit,
            },
            &read,
        )
    };
    let length = range.end - range.start;
    let odd = match walk(range.clone())? {
        Ok(pages) if lacks_dictionary(&pages) => {
            // Not told of, but counted in the length: it lies before the data.
            let before = pages.range.end.saturating_sub(length);
            let whole = walk(before..pages.range.end)?.ok();
            return Ok(whole
                .filter(|whole| whole.data == pages.data)
                .unwrap_or(pages));
        }
        Ok(pages) => return Ok(pages),
        Err(odd) => odd,
    };
    // A dictionary that is told of and is not there.
    if data != range.start
        && let Ok(pages) = walk(data..data.saturating_add(length))?
    {
        return Ok(pages);
    }
    Err(corrupt(
        "a column's pages are not what the footer says",
        source.name(),
    )
    .because(Odd(odd)))
}

fn lacks_dictionary(pages: &Pages) -> bool {
    let needs = |count: &PageEncodingStats| {
        let encoding = count.encoding;
        encoding == Encoding::RLE_DICTIONARY || encoding == Encoding::PLAIN_DICTIONARY
    };
    pages.dictionary.is_none() && pages.encodings.iter().flatten().any(needs)
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

/// The metadata as the pages have it.
fn mended<'c>(
    told: &'c ColumnChunkMetaData,
    pages: &Pages,
) -> ParquetResult<Cow<'c, ColumnChunkMetaData>> {
    let length = (pages.range.end - pages.range.start).cast_signed();
    let values = pages
        .data
        .iter()
        .map(|page| page.values)
        .sum::<u64>()
        .cast_signed();
    let dictionary = pages.dictionary.map(u64::cast_signed);
    let first = pages.data.first().map(|page| page.offset.cast_signed());
    let data = first.unwrap_or(told.data_page_offset());
    let counts = pages
        .encodings
        .as_deref()
        .filter(|counts| !tells(told, counts));
    let is_right = told.compressed_size() == length
        && told.num_values() == values
        && dictionary_offset(told) == dictionary
        && told.data_page_offset() == data;
    if is_right && counts.is_none() {
        return Ok(Cow::Borrowed(told));
    }
    let mut builder = told
        .clone()
        .into_builder()
        .set_num_values(values)
        .set_dictionary_page_offset(dictionary)
        .set_data_page_offset(data);
    if told.compressed_size() != length {
        builder = builder
            .set_total_compressed_size(length)
            .set_total_uncompressed_size(pages.uncompressed.cast_signed());
    }
    if let Some(counts) = counts {
        let found = counts.iter().map(|count| count.encoding);
        let mut encodings: Vec<_> = told.encodings().collect();
        for encoding in found {
            if !encodings.contains(&encoding) {
                encodings.push(encoding);
            }
        }
        builder = builder
            .set_encodings(encodings)
            .set_page_encoding_stats(counts.to_vec());
    }
    builder.build().map(Cow::Owned)
}

/// Whether the footer tells of the encodings that the pages have: readers skip chunks by them.
fn tells(told: &ColumnChunkMetaData, counts: &[PageEncodingStats]) -> bool {
    let mask = told.encodings_mask();
    let data = || {
        counts
            .iter()
            .filter(|count| count.page_type != PageType::DICTIONARY_PAGE)
    };
    let are_listed = data().all(|count| mask.is_set(count.encoding));
    let are_counted = told.page_encoding_stats().is_none_or(|stats| {
        let has = |count: &PageEncodingStats| {
            let same = |told: &&PageEncodingStats| {
                told.page_type == count.page_type && told.encoding == count.encoding
            };
            stats.iter().any(|told| same(&told))
        };
        data().all(has)
    });
    are_listed && are_counted
}
