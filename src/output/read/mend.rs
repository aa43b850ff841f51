//! What a footer says of a chunk, mended where its pages say otherwise.

use std::borrow::Cow;

use parquet::basic::PageType;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::{ColumnChunkMetaData, PageEncodingStats};

use crate::output::read::chunks::dictionary_offset;
use crate::output::read::pages::Pages;

/// The metadata as the pages have it.
pub(in crate::output) fn mended<'c>(
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
