//! The order in which NDJSON records name their values, for the table's columns to keep it.
//!
//! DataFusion sorts the columns that it finds by name; a table comes back as it was.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::Schema;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use super::listing::unreachable_store;
use crate::base::Result;

/// Bytes of the first file that are looked at.
const LOOKED_AT: usize = 1 << 20;

/// `schema` with its columns in the order in which the records at the beginning of `first`, a file of
/// `store`, name them; those that come only later follow, by name.
pub(super) async fn in_order_of_appearance(
    schema: Schema,
    first: &ObjectMeta,
    store: &Arc<dyn ObjectStore>,
) -> Result<Schema> {
    let away = |error| unreachable_store(error, first.location.as_ref());
    let mut stream = store
        .get(&first.location)
        .await
        .map_err(away)?
        .into_stream();
    let mut bytes = Vec::new();
    while bytes.len() < LOOKED_AT
        && let Some(piece) = stream.try_next().await.map_err(away)?
    {
        bytes.extend_from_slice(&piece);
    }
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
