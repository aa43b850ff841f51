//! Where bloom filters lie: by their own headers, for footers are wrong about them, and older ones do not
//! tell how long they are.

use std::ops::Range;

use parquet::file::metadata::ColumnChunkMetaData;

use crate::base::Result;
use crate::output::read::source::Source;

/// Where a chunk's bloom filter lies, by its own header; none if it is no such thing.
pub(in crate::output) fn bloom_filter_range(
    source: &Source,
    chunk: &ColumnChunkMetaData,
) -> Result<Option<Range<u64>>> {
    let start = chunk.bloom_filter_offset().map(u64::try_from);
    let Some(Ok(start)) = start else {
        return Ok(None);
    };
    let end = source
        .data_end()
        .min(start.saturating_add(BLOOM_HEADER_MAX));
    if start >= end {
        return Ok(None);
    }
    let told = chunk.bloom_filter_length().map(u64::try_from);
    let length = match told {
        // Where the footer tells a length, it is the header's own.
        Some(told) => bloom_filter_length(&source.read(start..end)?).filter(|n| Ok(*n) == told),
        None => bloom_filter_length(&source.read(start..end)?),
    };
    let range = length.and_then(|length| Some(start..start.checked_add(length)?));
    Ok(range.filter(|range| range.end <= source.data_end()))
}

/// The longest header of a bloom filter: a field of up to five bytes, and [`BLOOM_REST`].
const BLOOM_HEADER_MAX: u64 = 20;

/// What follows the length in a header: split-block, xxHash, uncompressed. There is no other kind.
const BLOOM_REST: &[u8] = &[0x1c, 0x1c, 0, 0, 0x1c, 0x1c, 0, 0, 0x1c, 0x1c, 0, 0, 0];

/// The length of a bloom filter, header included, by its header.
fn bloom_filter_length(header: &[u8]) -> Option<u64> {
    let number = header.strip_prefix(&[0x15])?;
    let last = number.iter().take(5).position(|byte| byte & 0x80 == 0)?;
    let (digits, rest) = number.split_at(last + 1);
    let zigzag = digits
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    let header_length = 1 + digits.len() + BLOOM_REST.len();
    rest.starts_with(BLOOM_REST)
        .then_some((zigzag >> 1) + header_length as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bloom_filter_tells_its_length() {
        let header = |number: &[u8]| [&[0x15], number, BLOOM_REST, b"bits"].concat();
        assert_eq!(bloom_filter_length(&header(&[0x40])), Some(32 + 15));
        assert_eq!(bloom_filter_length(&header(&[0x80, 0x10])), Some(1024 + 16));
        let mut odd = header(&[0x40]);
        odd[3] = 0x2c;
        assert_eq!(bloom_filter_length(&odd), None, "another algorithm");
        assert_eq!(bloom_filter_length(&[0x15, 0x80, 0x80]), None);
        assert_eq!(bloom_filter_length(&[]), None);
    }
}
