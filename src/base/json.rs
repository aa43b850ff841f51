//! JSON values whose objects keep the order of their keys, and whatever stands in them twice.

use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::percent_decode;

/// A JSON value. Objects keep the order of their keys: answers follow the schema's.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Json>),
    /// An object, as it was written: a key that stands there twice is here twice.
    Map(Vec<(String, Json)>),
}

impl Json {
    /// The value that `text` is; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Json> {
        serde_json::from_str(text).ok()
    }

    /// The value under the first `key` of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        self.map()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    /// The pairs of an object; of anything else, none.
    #[must_use]
    pub fn map(&self) -> &[(String, Json)] {
        if let Json::Map(pairs) = self {
            pairs
        } else {
            &[]
        }
    }

    /// The items of an array; of anything else, none.
    #[must_use]
    pub fn list(&self) -> &[Json] {
        if let Json::List(items) = self {
            items
        } else {
            &[]
        }
    }

    /// A string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        if let Json::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    /// A number, as near as a float comes to it.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        if let Json::Number(number) = self {
            number.as_f64()
        } else {
            None
        }
    }

    /// The value that a local reference (`#/$defs/name`) points at. It is part of an address, in which some
    /// characters stand as `%20`; not all that write schemas keep to it.
    #[must_use]
    pub fn at(&self, reference: &str) -> Option<&Json> {
        let path = reference.strip_prefix('#')?;
        path.split('/').skip(1).try_fold(self, |node, step| {
            let plain = |step: &str| step.replace("~1", "/").replace("~0", "~");
            let own = percent_decode(step).and_then(|step| node.get(&plain(&step)));
            own.or_else(|| node.get(&plain(step)))
        })
    }

    /// Puts `value` where `path` leads, through objects that are there, in place of what stands there.
    pub fn put(&mut self, path: &[&str], value: Json) {
        let [first, rest @ ..] = path else {
            *self = value;
            return;
        };
        if let Json::Map(pairs) = self
            && let Some((_, inner)) = pairs.iter_mut().find(|(key, _)| key == first)
        {
            inner.put(rest, value);
        }
    }

    /// A key that stands twice in one object, anywhere within.
    #[must_use]
    pub fn repeated_key(&self) -> Option<&str> {
        let pairs = self.map();
        let mut names = HashSet::with_capacity(pairs.len());
        let twice = pairs.iter().find(|(key, _)| !names.insert(key.as_str()));
        let twice = twice.map(|(key, _)| key.as_str());
        let within = pairs.iter().map(|(_, value)| value).chain(self.list());
        twice.or_else(|| within.into_iter().find_map(Json::repeated_key))
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Json {
        use serde_json::Value;
        match value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(value),
            Value::Number(number) => Json::Number(number),
            Value::String(text) => Json::Text(text),
            Value::Array(items) => Json::List(items.into_iter().map(Json::from).collect()),
            Value::Object(pairs) => {
                let pairs = pairs.into_iter();
                Json::Map(pairs.map(|(key, value)| (key, value.into())).collect())
            }
        }
    }
}

impl std::fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Json, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Json::Map(map))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Number(value) => value.serialize(serializer),
            Json::Text(value) => serializer.serialize_str(value),
            Json::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Json::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_followed_as_it_is_written() {
        let json = Json::parse(r#"{"$defs":{"a b/c~d":1,"x%20y":2}}"#).expect("JSON");
        let at = |name: &str| json.at(name).and_then(Json::float);
        assert_eq!(at("#/$defs/a b~1c~0d"), Some(1.0));
        assert_eq!(at("#/$defs/a%20b~1c%7E0d"), Some(1.0));
        assert_eq!(at("#/$defs/x%20y"), Some(2.0));
        assert_eq!(at("#/$defs/x y"), None);
        assert_eq!(json.at("#"), Some(&json));
    }

    #[test]
    fn order_survives_reading_and_writing() {
        let text = r#"{"z":1,"a":[true,null,-2,0.5],"m":{"y":"é","b":{}}}"#;
        assert_eq!(
            serde_json::to_string(&Json::parse(text).expect("JSON")).expect("a value"),
            text
        );
    }
}
