//! A look at a footer's raw bytes, for what the Parquet library does not tell: which columns are
//! encrypted under a footer that is not, and whether a row group has its columns in another order
//! than the schema. Chunks would be copied without their keys' names, or under others' names.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use crate::base::{Error, Result};
use crate::output::error::{corrupt, from_parquet};
use crate::output::read::thrift::{BINARY, Compact, LIST, STRUCT};

/// The length of the magic with which a file begins.
pub(in crate::output) const MAGIC_BYTES: u64 = 4;

/// The length of the metadata's length and the magic after it.
const END_BYTES: u64 = 8;

/// How many bytes at the file's end are not data: the metadata, its length, the magic.
pub(in crate::output) fn tail_length(reader: &impl ChunkReader) -> Result<u64> {
    let end = end_of(reader, "the source")?;
    let length = [end[0], end[1], end[2], end[3]];
    Ok((u64::from(u32::from_le_bytes(length)) + END_BYTES).min(reader.len()))
}

/// Refuses what is not Parquet, is cut, or is encrypted. The paths that the first row group gives to
/// its columns, in its own order.
pub(in crate::output) fn check(reader: &impl ChunkReader, name: &str) -> Result<Vec<String>> {
    let end = end_of(reader, name)?;
    match &end[4..] {
        b"PAR1" => {}
        b"PARE" => return Err(encrypted(name)),
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
    let extras =
        FooterExtras::of(&metadata).ok_or_else(|| corrupt("the footer is damaged", name))?;
    match &extras.encrypted[..] {
        [] if extras.is_encrypted => Err(encrypted(name)),
        [] => Ok(extras.paths),
        columns => Err(encrypted(name).with("columns", columns.join(", "))),
    }
}

fn encrypted(name: &str) -> Error {
    Error::invalid("a Parquet file with encrypted columns cannot be carried over")
        .with("path", name)
        .hint("write a decrypted copy of the table, and name that as `source.table`")
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

/// What a footer says beside what the library tells. Fields are named as in `parquet.thrift`.
#[derive(Debug, Default)]
struct FooterExtras {
    /// `FileMetaData.encryption_algorithm` is there.
    is_encrypted: bool,
    /// The columns that have a `crypto_metadata`, or no `meta_data`.
    encrypted: Vec<String>,
    /// The `path_in_schema` of the first row group's columns.
    paths: Vec<String>,
}

impl FooterExtras {
    fn of(metadata: &[u8]) -> Option<FooterExtras> {
        let mut extras = FooterExtras::default();
        Compact(metadata).fields(|from, id, kind| match (id, kind) {
            (4, LIST) => {
                let (kind, count) = from.list()?;
                for at in 0..count {
                    extras.row_group(from, kind, at == 0)?;
                }
                Some(true)
            }
            (8, _) => {
                extras.is_encrypted = true;
                Some(false)
            }
            _ => Some(false),
        })?;
        Some(extras)
    }

    fn row_group(&mut self, from: &mut Compact<'_>, kind: u8, is_first: bool) -> Option<()> {
        if kind != STRUCT {
            return None;
        }
        from.fields(|from, id, kind| {
            if (id, kind) != (1, LIST) || !is_first {
                return Some(false);
            }
            let (kind, count) = from.list()?;
            if kind != STRUCT {
                return None;
            }
            (0..count).try_for_each(|_| self.column(from))?;
            Some(true)
        })
    }

    fn column(&mut self, from: &mut Compact<'_>) -> Option<()> {
        let (mut path, mut key_path, mut is_encrypted) = (None, None, false);
        from.fields(|from, id, kind| {
            match (id, kind) {
                // `meta_data`, whose third field is the path.
                (3, STRUCT) => read_path(from, 3, &mut path)?,
                // `crypto_metadata`, a union: the second kind holds the path, as its first field.
                (8, STRUCT) => {
                    is_encrypted = true;
                    from.fields(|from, id, kind| {
                        if (id, kind) == (2, STRUCT) {
                            read_path(from, 1, &mut key_path)?;
                            return Some(true);
                        }
                        Some(false)
                    })?;
                }
                _ => return Some(false),
            }
            Some(true)
        })?;
        let number = self.paths.len();
        let is_hidden = path.is_none();
        let path = path
            .or(key_path)
            .unwrap_or_else(|| format!("column {number}"));
        if is_encrypted || is_hidden {
            self.encrypted.push(path.clone());
        }
        self.paths.push(path);
        Some(())
    }
}

/// Reads the path in field `wanted` of the structure that starts here, its parts joined by dots.
fn read_path(from: &mut Compact<'_>, wanted: i64, path: &mut Option<String>) -> Option<()> {
    from.fields(|from, id, kind| {
        if (id, kind) != (wanted, LIST) {
            return Some(false);
        }
        let (kind, count) = from.list()?;
        if kind != BINARY {
            return None;
        }
        let mut parts = Vec::new();
        for _ in 0..count {
            parts.push(String::from_utf8_lossy(from.binary()?).into_owned());
        }
        *path = Some(parts.join("."));
        Some(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row group of two columns: `a` as it should be, `b` without metadata but with a key.
    const FOOTER: &[u8] = &[
        0x49, 0x1c, 0x19, 0x2c, // row_groups: one; columns: two
        0x3c, 0x39, 0x18, 1, b'a', 0, 0, // meta_data { path_in_schema: [a] }
        0x8c, 0x2c, 0x19, 0x18, 1, b'b', 0, 0, 0, // crypto_metadata { key { path: [b] } }
        0, // end of the row group
        0x4c, 0, 0, // encryption_algorithm, end
    ];

    #[test]
    fn encrypted_columns_are_named() {
        let extras = FooterExtras::of(FOOTER).unwrap();
        assert!(extras.is_encrypted);
        assert_eq!(extras.paths, ["a", "b"]);
        assert_eq!(extras.encrypted, ["b"]);
        for cut in 0..FOOTER.len() {
            assert!(FooterExtras::of(&FOOTER[..cut]).is_none(), "{cut}");
        }
    }
}
