//! The pages of a column chunk, walked by their headers: where they begin and end, and what they hold.
//!
//! ```text
//!  header | dictionary | header | values | header | values | ...
//!  ▲ start             ▲ first data page                    ▲ end
//! ```
//!
//! Nothing is decompressed, and nothing is read here: a [`Walk`] says which bytes it needs next, so that they
//! can be read one by one, fetched ahead, or taken as they pass by.

use std::ops::Range;

use parquet::basic::{Encoding, PageType};
use parquet::file::metadata::PageEncodingStats;

use crate::output::read::thrift::{Compact, STRUCT};

/// What the pages of a chunk come to.
#[derive(Debug, Default)]
pub(in crate::output) struct Pages {
    /// Where they lie.
    pub(in crate::output) range: Range<u64>,
    /// Where the dictionary page is.
    pub(in crate::output) dictionary: Option<u64>,
    /// Where the data pages are, and how long they are with their headers.
    pub(in crate::output) data: Vec<DataPage>,
    /// The bytes of all pages before they were compressed, and their headers.
    pub(in crate::output) uncompressed: u64,
    /// How many pages there are of each kind and encoding; none if an encoding is not known.
    pub(in crate::output) encodings: Option<Vec<PageEncodingStats>>,
}

/// A data page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::output) struct DataPage {
    /// Where it is in the file.
    pub(in crate::output) offset: u64,
    /// Its length, header included.
    pub(in crate::output) length: u64,
    /// Its values, nulls included.
    pub(in crate::output) values: u64,
}

/// What is asked of a walk.
#[derive(Clone, Debug)]
pub(in crate::output) struct Chunk {
    /// Where its pages are said to lie.
    pub(in crate::output) told: Range<u64>,
    /// The values that it has.
    pub(in crate::output) values: u64,
    /// What it cannot reach beyond: the next chunk, or the end of all data.
    pub(in crate::output) limit: u64,
}

/// A walk over the pages of a chunk until it has its values and the end that it was said to have.
#[derive(Debug)]
pub(in crate::output) struct Walk {
    chunk: Chunk,
    /// Where the next header begins.
    at: u64,
    values: u64,
    /// How much is needed of the next header.
    window: u64,
    pages: Pages,
    end: Option<Result<(), &'static str>>,
}

impl Walk {
    /// A walk over `chunk`.
    pub(in crate::output) fn over(chunk: Chunk) -> Walk {
        let mut walk = Walk {
            at: chunk.told.start,
            values: 0,
            window: HEADER_BYTES,
            pages: Pages {
                encodings: Some(Vec::new()),
                ..Pages::default()
            },
            end: None,
            chunk,
        };
        walk.end_if_all_is_there();
        walk
    }

    /// The bytes that it needs next: from where a header begins. None once it has ended.
    pub(in crate::output) fn wants(&self) -> Option<Range<u64>> {
        let window = self.window.min(self.available());
        self.end.is_none().then(|| self.at..self.at + window)
    }

    /// Takes the bytes that it needs, and no others.
    pub(in crate::output) fn take(&mut self, bytes: &[u8]) {
        let header = Header::parse(bytes);
        if header.is_none() && self.window < self.available() {
            self.window *= 16;
            return;
        }
        self.window = HEADER_BYTES;
        // What follows the last value and is no page is no part of the chunk.
        let has_all = self.values >= self.chunk.values;
        let end = if has_all {
            self.chunk.told.end
        } else {
            self.chunk.limit
        };
        // The next chunk's dictionary, which a length that is too great reaches.
        let is_next = |page: &Header| {
            let is_first = self.at == self.chunk.told.start;
            has_all && !is_first && page.kind == PageType::DICTIONARY_PAGE
        };
        let page = header.filter(|page| self.at + page.length() <= end && !is_next(page));
        match page {
            Some(page) => self.step(&page),
            None if has_all => self.end = Some(Ok(())),
            None => self.end = Some(Err("its pages end before its values do")),
        }
    }

    /// What the pages come to, once nothing more is needed; or what does not add up.
    pub(in crate::output) fn end(self) -> Result<Pages, &'static str> {
        let unread = Err("its bytes end before its pages do");
        self.end.unwrap_or(unread)?;
        if self.values != self.chunk.values {
            return Err("its pages hold another number of values than it says");
        }
        Ok(Pages {
            range: self.chunk.told.start..self.at,
            ..self.pages
        })
    }

    fn step(&mut self, page: &Header) {
        if let Err(odd) = self.pages.take(self.at, page) {
            self.end = Some(Err(odd));
            return;
        }
        self.values += page.values;
        self.at += page.length();
        self.end_if_all_is_there();
    }

    fn end_if_all_is_there(&mut self) {
        if self.values >= self.chunk.values && self.at >= self.chunk.told.end {
            self.end = Some(Ok(()));
        }
    }

    /// The bytes in which the next header has to be.
    fn available(&self) -> u64 {
        let left = self.chunk.limit.saturating_sub(self.at);
        left.min(HEADER_BYTES_MAX)
    }
}

impl Pages {
    fn take(&mut self, at: u64, page: &Header) -> Result<(), &'static str> {
        match page.kind {
            PageType::DICTIONARY_PAGE if self.dictionary.is_some() || !self.data.is_empty() => {
                return Err("a dictionary stands among its values");
            }
            PageType::DICTIONARY_PAGE => self.dictionary = Some(at),
            PageType::INDEX_PAGE => {}
            PageType::DATA_PAGE | PageType::DATA_PAGE_V2 => self.data.push(DataPage {
                offset: at,
                length: page.length(),
                values: page.values,
            }),
        }
        self.uncompressed += page.own + page.uncompressed;
        if page.kind != PageType::INDEX_PAGE {
            self.count(page.kind, page.encoding);
        }
        Ok(())
    }

    fn count(&mut self, page_type: PageType, encoding: Option<Encoding>) {
        let Some((counts, encoding)) = self.encodings.as_mut().zip(encoding) else {
            self.encodings = None;
            return;
        };
        let same = |some: &&mut PageEncodingStats| {
            (some.page_type, some.encoding) == (page_type, encoding)
        };
        match counts.iter_mut().find(same) {
            Some(counted) => counted.count += 1,
            None => counts.push(PageEncodingStats {
                page_type,
                encoding,
                count: 1,
            }),
        }
    }
}

/// The header of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: PageType,
    /// The length of the header itself.
    own: u64,
    compressed: u64,
    uncompressed: u64,
    values: u64,
    encoding: Option<Encoding>,
}

impl Header {
    /// The page's length, header included.
    fn length(&self) -> u64 {
        self.own + self.compressed
    }

    fn parse(bytes: &[u8]) -> Option<Header> {
        let mut from = Compact(bytes);
        let (mut kind, mut compressed, mut uncompressed) = (None, None, None);
        let (mut values, mut encoding) = (None, None);
        from.fields(|from, id, thrift| {
            match id {
                1 => kind = Some(from.integer()?),
                2 => uncompressed = Some(from.integer()?),
                3 => compressed = Some(from.integer()?),
                5 | 7 | 8 if thrift == STRUCT => {
                    (values, encoding) = numbers(from, if id == 8 { 4 } else { 2 })?;
                }
                _ => return Some(false),
            }
            Some(true)
        })?;
        let size =
            |told: Option<i64>| told.and_then(|told| u64::try_from(i32::try_from(told).ok()?).ok());
        let kind = match kind? {
            0 => PageType::DATA_PAGE,
            1 => PageType::INDEX_PAGE,
            2 => PageType::DICTIONARY_PAGE,
            3 => PageType::DATA_PAGE_V2,
            _ => return None,
        };
        let is_data = matches!(kind, PageType::DATA_PAGE | PageType::DATA_PAGE_V2);
        Some(Header {
            kind,
            own: (bytes.len() - from.0.len()) as u64,
            compressed: size(compressed)?,
            uncompressed: size(uncompressed)?,
            values: if is_data { size(values)? } else { 0 },
            encoding: encoding.and_then(encoding_of),
        })
    }
}

/// The number of values and the encoding in the structure that each kind of page has of its own.
fn numbers(from: &mut Compact<'_>, encoding_field: i64) -> Option<(Option<i64>, Option<i64>)> {
    let (mut values, mut encoding) = (None, None);
    from.fields(|from, id, _| {
        match id {
            1 => values = Some(from.integer()?),
            _ if id == encoding_field => encoding = Some(from.integer()?),
            _ => return Some(false),
        }
        Some(true)
    })?;
    Some((values, encoding))
}

fn encoding_of(number: i64) -> Option<Encoding> {
    let known = [
        (0, Encoding::PLAIN),
        (2, Encoding::PLAIN_DICTIONARY),
        (3, Encoding::RLE),
        (5, Encoding::DELTA_BINARY_PACKED),
        (6, Encoding::DELTA_LENGTH_BYTE_ARRAY),
        (7, Encoding::DELTA_BYTE_ARRAY),
        (8, Encoding::RLE_DICTIONARY),
        (9, Encoding::BYTE_STREAM_SPLIT),
    ];
    let found = known.into_iter().find(|(known, _)| *known == number);
    found.map(|(_, encoding)| encoding)
}

/// A header is this long at first sight; statistics in it may make it longer.
const HEADER_BYTES: u64 = 128;

/// And never longer than this: its statistics hold two values at most.
const HEADER_BYTES_MAX: u64 = 32 << 20;

#[cfg(test)]
pub(in crate::output) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A data page of `values` values in plain encoding and `size` bytes.
    pub(in crate::output) fn data(values: u8, size: u8) -> Vec<u8> {
        let zigzag = |number: u8| number * 2;
        let mut page = vec![0x15, 0, 0x15, zigzag(size), 0x15, zigzag(size)];
        page.extend([0x2c, 0x15, zigzag(values), 0x15, 0, 0x15, 6, 0x15, 6, 0, 0]);
        page.extend(vec![0xee; usize::from(size)]);
        page
    }

    /// A dictionary page of one byte.
    pub(in crate::output) fn dictionary() -> Vec<u8> {
        vec![
            0x15, 4, 0x15, 2, 0x15, 2, 0x4c, 0x15, 2, 0x15, 4, 0, 0, 0xdd,
        ]
    }

    fn walk(bytes: &[u8], told: Range<u64>, values: u64) -> Result<Pages, &'static str> {
        let limit = bytes.len() as u64;
        let mut walk = Walk::over(Chunk {
            told,
            values,
            limit,
        });
        while let Some(wanted) = walk.wants() {
            let at = |offset| usize::try_from(offset).unwrap();
            walk.take(&bytes[at(wanted.start)..at(wanted.end)]);
        }
        walk.end()
    }

    #[test]
    fn pages_are_found_whatever_length_the_footer_tells() {
        let one = [dictionary(), data(3, 5), data(2, 9)].concat();
        let bytes = [&one[..], &data(7, 4)].concat();
        let end = one.len() as u64;
        // The length leaves out the dictionary's header, tells the truth, is zero, reaches into
        // what is no page.
        for told in [end - 13, end, 0, end + 3] {
            let pages = walk(&bytes, 0..told, 5).unwrap();
            assert_eq!((pages.range, pages.dictionary), (0..end, Some(0)), "{told}");
            let first = dictionary().len() as u64;
            assert_eq!(pages.data[0].offset, first);
            assert_eq!(pages.data[1].values, 2);
        }
        // A neighbour's page within the length is one page too many.
        assert!(walk(&bytes, 0..bytes.len() as u64, 5).is_err());
        assert!(
            walk(&bytes, 0..end, 20).is_err(),
            "more values than there are"
        );
        assert!(
            walk(&bytes, 0..end, 4).is_err(),
            "fewer than the pages have"
        );
    }

    #[test]
    fn a_dictionary_stands_first_and_alone() {
        let twice = [dictionary(), dictionary(), data(1, 1)].concat();
        assert!(walk(&twice, 0..twice.len() as u64, 1).is_err());
        let late = [data(1, 1), dictionary(), data(1, 1)].concat();
        assert!(walk(&late, 0..late.len() as u64, 2).is_err());
    }

    #[test]
    fn a_chunk_without_values_may_have_a_dictionary() {
        let pages = walk(&dictionary(), 0..dictionary().len() as u64, 0).unwrap();
        assert_eq!(pages.range, 0..dictionary().len() as u64);
        assert!(pages.data.is_empty());
    }

    proptest! {
        #[test]
        fn damage_is_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), values in 0..9_u64) {
            let end = bytes.len() as u64;
            let _ = walk(&bytes, 0..end, values);
        }
    }
}
