//! One entry of the index: what one outcome says of the request of its key.

use serde::{Deserialize, Deserializer, Serializer};

use crate::ledger::row_map::Place;
use crate::work::{RequestKey, RowStatus};

/// What one outcome says of the request of its key. Of one key there may be several: it was asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The request key.
    pub key: RequestKey,
    /// Where the outcome is found: the answer of a row that asks this is the answer there.
    pub place: Place,
    /// The limit of output that it came under.
    pub limit: u32,
    /// How it ended.
    pub status: RowStatus,
}

/// Bytes of an entry in a file.
pub(super) const LEN: usize = 40;

/// An entry in a file: records sort as their keys do, and those of one key by place.
pub(super) type Record = [u8; LEN];

impl Entry {
    pub(super) fn encode(&self) -> Record {
        let mut record = [0; LEN];
        record[..24].copy_from_slice(&self.key.0);
        record[24..32].copy_from_slice(&self.place.pack().to_be_bytes());
        record[32..36].copy_from_slice(&self.limit.to_be_bytes());
        record[36] = self.status.code();
        record
    }

    /// The entry of `record`; none if it is no entry.
    pub(super) fn decode(record: &Record) -> Option<Entry> {
        let mut key = [0; RequestKey::LEN];
        key.copy_from_slice(&record[..24]);
        let (mut place, mut limit) = ([0; 8], [0; 4]);
        place.copy_from_slice(&record[24..32]);
        limit.copy_from_slice(&record[32..36]);
        Some(Entry {
            key: RequestKey(key),
            place: Place::unpack(u64::from_be_bytes(place)),
            limit: u32::from_be_bytes(limit),
            status: RowStatus::from_code(record[36])?,
        })
    }
}

/// The first eight bytes of a key, which sort as keys do.
pub(super) fn prefix(key: &[u8]) -> u64 {
    word(key, 0)
}

/// The last eight bytes of a key, which a filter is asked with.
pub(super) fn filtered(key: &[u8]) -> u64 {
    word(key, RequestKey::LEN - 8)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(word)
}

/// Writes a key as hexadecimal digits.
pub(super) fn serialize<S: Serializer>(key: &RequestKey, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// Reads it again.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<RequestKey, D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut key = [0; RequestKey::LEN];
    let is_hex = text.len() == 2 * key.len() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let wrong = || serde::de::Error::custom("not a request key");
    if !is_hex {
        return Err(wrong());
    }
    for (at, byte) in key.iter_mut().enumerate() {
        let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
    }
    Ok(RequestKey(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_entry_is_read_as_it_was_written(
            key: [u8; 24], plan in 0u32..1 << 24, ordinal in 0u64..1 << 40, limit: u32, status in 0u8..11,
        ) {
            let status = RowStatus::from_code(status).expect("a status");
            let entry = Entry { key: RequestKey(key), place: Place { plan, ordinal }, limit, status };
            prop_assert_eq!(Entry::decode(&entry.encode()), Some(entry));
        }
    }

    #[test]
    fn what_is_no_status_is_no_entry() {
        let mut record = [0; LEN];
        record[36] = 200;
        assert_eq!(Entry::decode(&record), None);
    }
}
