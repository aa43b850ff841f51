//! The order in which NDJSON records name their values, for the table's columns to keep it.
//!
//! DataFusion sorts the columns that it finds by name; a table comes back as it was.

use std::collections::HashMap;
use std::fmt;

use arrow::datatypes::Schema;
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::listing::Listing;
use crate::base::Result;

/// Bytes of the first file that are looked at.
const LOOKED_AT: u64 = 1 << 20;

/// `schema` with its columns in the order in which the first records name them; those that come only
/// later follow, by name. Compressed files are not looked at.
pub(super) async fn in_order_of_appearance(schema: Schema, listing: &Listing) -> Result<Schema> {
    let Some(first) = listing.files.first() else {
        return Ok(schema);
    };
    let bytes = first
        .location
        .get_range(0..first.object.size.min(LOOKED_AT))
        .await?;
    let mut places: HashMap<String, usize> = HashMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(Keys(keys)) = serde_json::from_slice(line) else {
            continue;
        };
        for key in keys {
            let next = places.len();
            places.entry(key).or_insert(next);
        }
    }
    let mut fields = schema.fields().to_vec();
    fields.sort_by_key(|field| places.get(field.name()).copied().unwrap_or(usize::MAX));
    Ok(Schema::new_with_metadata(fields, schema.metadata().clone()))
}

/// The names in an object, in their order.
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(
                self,
                mut map: M,
            ) -> std::result::Result<Keys, M::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Names)
    }
}
