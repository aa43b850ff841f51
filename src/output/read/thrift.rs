//! Thrift's compact protocol, as far as reading a few fields and skipping the others needs it: for
//! what the Parquet library does not tell of footers and pages.

/// What stands where a structure ends.
const STOP: u8 = 0;

/// The types of values that are asked for.
pub(in crate::output) const BINARY: u8 = 8;
pub(in crate::output) const LIST: u8 = 9;
pub(in crate::output) const STRUCT: u8 = 12;

/// How deep structures may nest; the format's own need six.
const DEPTH_MAX: u32 = 32;

/// Bytes that are read from the front. `None` is damage, or an end that comes too early.
pub(in crate::output) struct Compact<'a>(pub(in crate::output) &'a [u8]);

impl<'a> Compact<'a> {
    /// The fields of the structure that starts here, one after the other: `take` is given each one's
    /// id and type, and says whether it has read the value. What it has not is skipped.
    pub(in crate::output) fn fields(
        &mut self,
        mut take: impl FnMut(&mut Self, i64, u8) -> Option<bool>,
    ) -> Option<()> {
        let mut id = 0;
        loop {
            match self.field(&mut id)? {
                STOP => return Some(()),
                kind => {
                    if !take(self, id, kind)? {
                        self.skip(kind, DEPTH_MAX, false)?;
                    }
                }
            }
        }
    }

    /// The type of the next field, or [`STOP`] at the structure's end.
    fn field(&mut self, id: &mut i64) -> Option<u8> {
        let head = self.byte()?;
        match head >> 4 {
            _ if head == STOP => {}
            0 => *id = self.integer()?,
            delta => *id = id.checked_add(i64::from(delta))?,
        }
        Some(head & 0x0f)
    }

    /// An integer of sixteen bits or more.
    pub(in crate::output) fn integer(&mut self) -> Option<i64> {
        let raw = self.varint()?;
        Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
    }

    /// Bytes, or a text.
    pub(in crate::output) fn binary(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// The type and the number of a list's values, which follow.
    pub(in crate::output) fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            short => u64::from(short),
        };
        Some((head & 0x0f, count))
    }

    /// Skips a value. A boolean is in its field's type, but takes a byte in a list.
    fn skip(&mut self, kind: u8, depth: u32, in_list: bool) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => self.advance(usize::from(in_list)),
            3 => self.advance(1),
            4..=6 => self.varint().map(drop),
            7 => self.advance(8),
            BINARY => self.binary().map(drop),
            LIST | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip(kind, depth, true))
            }
            STRUCT => self.skip_struct(depth),
            _ => None,
        }
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

    fn ids(bytes: &[u8]) -> Option<Vec<i64>> {
        let mut ids = Vec::new();
        let read = Compact(bytes).fields(|_, id, _| {
            ids.push(id);
            Some(false)
        });
        read.map(|()| ids)
    }

    #[test]
    fn a_field_is_found_behind_others_of_every_make() {
        assert_eq!(ids(FIELDS), Some(vec![1, 2, 3, 8]));
        let (mut number, mut text) = (0, &b""[..]);
        let read = Compact(FIELDS).fields(|from, id, _| {
            match id {
                1 => number = from.integer()?,
                3 => text = from.binary()?,
                _ => return Some(false),
            }
            Some(true)
        });
        assert_eq!((read, number, text), (Some(()), 5, &b"ab"[..]));
    }

    #[test]
    fn damage_is_noticed_and_never_panics() {
        for cut in 0..FIELDS.len() - 4 {
            assert_eq!(ids(&FIELDS[..cut]), None, "{cut}");
        }
        let deep = vec![0x1c; 10_000];
        assert_eq!(ids(&deep), None);
        let endless = [
            0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1,
        ];
        assert_eq!(ids(&endless), None);
    }
}
