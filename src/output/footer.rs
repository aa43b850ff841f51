//! A look at a footer's raw bytes, for what the Parquet library does not tell: whether columns are
//! encrypted under a footer that is not. Their chunks would be copied without their keys' names.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::error::{corrupt, from_parquet};
use crate::base::{Error, Result};

/// The length of the metadata's length and the magic after it.
const END_BYTES: u64 = 8;

/// `encryption_algorithm` in `FileMetaData`.
const ENCRYPTION_FIELD: i64 = 8;

/// What stands where a structure ends.
const STOP: u8 = 0;

/// How deep structures may nest; the format's own need six.
const DEPTH_MAX: u32 = 32;

/// How many bytes at the file's end are not data: the metadata, its length, the magic.
pub(super) fn tail_length(reader: &impl ChunkReader) -> Result<u64> {
    let end = end_of(reader, "the source")?;
    let length = [end[0], end[1], end[2], end[3]];
    Ok((u64::from(u32::from_le_bytes(length)) + END_BYTES).min(reader.len()))
}

/// Refuses what is not Parquet, is cut, or is encrypted.
pub(super) fn check(reader: &impl ChunkReader, name: &str) -> Result<()> {
    let encrypted = || {
        Error::invalid("an encrypted Parquet file cannot be carried over")
            .with("path", name)
            .hint("use a query, or `layout = \"keyed\"` over a decrypted copy")
    };
    let end = end_of(reader, name)?;
    match &end[4..] {
        b"PAR1" => {}
        b"PARE" => return Err(encrypted()),
        _ => return Err(corrupt("not a Parquet file, or cut at its end", name)),
    }
    let tail = tail_length(reader)?;
    if tail + 4 > reader.len() {
        return Err(corrupt("the footer is longer than the file", name));
    }
    let length = usize::try_from(tail - END_BYTES).unwrap_or(usize::MAX);
    let metadata = reader
        .get_bytes(reader.len() - tail, length)
        .map_err(|error| from_parquet(error, "cannot read the footer", name))?;
    match Compact(&metadata).has_field(ENCRYPTION_FIELD) {
        Some(false) => Ok(()),
        Some(true) => Err(encrypted()),
        None => Err(corrupt("the footer is damaged", name)),
    }
}

fn end_of(reader: &impl ChunkReader, name: &str) -> Result<Bytes> {
    let length = usize::try_from(END_BYTES.min(reader.len())).unwrap_or_default();
    let end = reader.get_bytes(reader.len() - length as u64, length);
    match end {
        Ok(end) if end.len() as u64 == END_BYTES => Ok(end),
        Ok(_) | Err(ParquetError::EOF(_)) => Err(corrupt("too short for a Parquet file", name)),
        Err(error) => Err(from_parquet(error, "cannot read the footer", name)),
    }
}

/// Thrift's compact protocol, as far as skipping needs it. `None` is damage.
struct Compact<'a>(&'a [u8]);

impl Compact<'_> {
    /// Whether the structure that starts here has the field `wanted`.
    fn has_field(&mut self, wanted: i64) -> Option<bool> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                STOP => return Some(false),
                _ if id == wanted => return Some(true),
                kind => self.skip(kind, DEPTH_MAX, false)?,
            }
        }
    }

    /// The type of the next field, or [`STOP`] at the structure's end.
    fn field(&mut self, id: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        match head >> 4 {
            _ if head == STOP => {}
            0 => *id = self.zigzag()?,
            delta => *id += i64::from(delta),
        }
        Some(head & 0x0f)
    }

    /// Skips a value. A boolean is in its field's type, but takes a byte in a list.
    fn skip(&mut self, kind: u8, depth: u32, in_list: bool) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => self.advance(usize::from(in_list)),
            3 => self.advance(1),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            8 => {
                let length = self.varint()?;
                self.advance(usize::try_from(length).ok()?)
            }
            9 | 10 => self.skip_list(depth),
            12 => self.skip_struct(depth),
            _ => None,
        }
    }

    fn skip_list(&mut self, depth: u32) -> Option<()> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        for _ in 0..count {
            self.skip(head & 0x0f, depth, true)?;
        }
        Some(())
    }

    fn skip_struct(&mut self, depth: u32) -> Option<()> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                STOP => return Some(()),
                kind => self.skip(kind, depth, false)?,
            }
        }
    }

    fn zigzag(&mut self) -> Option<i64> {
        let raw = self.varint()?;
        Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn advance(&mut self, count: usize) -> Option<()> {
        self.0 = self.0.get(count..)?;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields: 1 = i32 5, 2 = list of two structs, 3 = binary "ab", then 8 by a long field header.
    const FIELDS: &[u8] = &[
        0x15, 0x0a, 0x19, 0x2c, 0x11, 0x00, 0x17, 1, 2, 3, 4, 5, 6, 7, 8, 0x00, 0x18, 2, b'a',
        b'b', 0x0c, 0x10, 0x00, 0x00,
    ];

    #[test]
    fn a_field_is_found_behind_others_of_every_make() {
        assert_eq!(Compact(FIELDS).has_field(8), Some(true));
        assert_eq!(Compact(FIELDS).has_field(7), Some(false));
    }

    #[test]
    fn damage_is_noticed_and_never_panics() {
        for cut in 0..FIELDS.len() - 4 {
            assert_eq!(Compact(&FIELDS[..cut]).has_field(8), None, "{cut}");
        }
        let deep = vec![0x1c; 10_000];
        assert_eq!(Compact(&deep).has_field(9), None);
        let endless = [
            0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1,
        ];
        assert_eq!(Compact(&endless).has_field(9), None);
    }
}
