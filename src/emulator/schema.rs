//! JSON schemas: JSON whose objects keep their order, what a vendor refuses in one, and an instance
//! of one drawn from a number.

use std::collections::HashMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use xxhash_rust::xxh3::xxh3_64;

/// Schemas whose verdict is remembered.
const REMEMBERED: usize = 1024;

/// A JSON value. Objects keep the order of their keys: answers follow the schema's.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(String, Tree)>),
}

impl Tree {
    pub(super) fn parse(text: &str) -> Option<Tree> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn get(&self, key: &str) -> Option<&Tree> {
        self.map()
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value)
    }

    pub(super) fn map(&self) -> &[(String, Tree)] {
        if let Tree::Map(pairs) = self {
            pairs
        } else {
            &[]
        }
    }

    pub(super) fn list(&self) -> &[Tree] {
        if let Tree::List(items) = self {
            items
        } else {
            &[]
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self {
            Some(text)
        } else {
            None
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        if let Tree::Number(number) = self {
            number.as_f64()
        } else {
            None
        }
    }

    /// The value that a local reference (`#/$defs/name`) points at.
    pub(super) fn at(&self, reference: &str) -> Option<&Tree> {
        let path = reference.strip_prefix('#')?;
        path.split('/').skip(1).try_fold(self, |node, key| {
            node.get(&key.replace("~1", "/").replace("~0", "~"))
        })
    }

    /// The type a schema asks for; of several the first that is not null.
    pub(super) fn type_name(&self) -> Option<&str> {
        match self.get("type") {
            Some(Tree::Text(name)) => Some(name),
            Some(Tree::List(names)) => {
                let mut names = names.iter().filter_map(Tree::text);
                names
                    .clone()
                    .find(|name| *name != "null")
                    .or_else(|| names.next())
            }
            _ if self.get("properties").is_some() => Some("object"),
            _ if self.get("items").is_some() => Some("array"),
            _ => None,
        }
    }
}

/// A vendor's verdicts on schemas, found once: most requests of an upload share one.
#[derive(Debug)]
pub(super) struct Verdicts {
    complaint: fn(&Tree) -> Option<String>,
    known: HashMap<u64, Option<String>>,
}

impl Verdicts {
    /// Verdicts of a vendor that complains like this.
    pub(super) fn new(complaint: fn(&Tree) -> Option<String>) -> Self {
        Verdicts {
            complaint,
            known: HashMap::new(),
        }
    }

    /// What is wrong with the schema in `text`.
    pub(super) fn of(&mut self, text: &str) -> Option<String> {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let verdict =
            self.known
                .entry(xxh3_64(text.as_bytes()))
                .or_insert_with(|| match Tree::parse(text) {
                    Some(schema @ Tree::Map(_)) => (self.complaint)(&schema),
                    _ => Some("schema must be a JSON object.".into()),
                });
        verdict.clone()
    }
}

/// Calls `check` for every schema within `root`; the first complaint wins.
fn walk(node: &Tree, path: &str, check: &dyn Fn(&Tree, &str) -> Option<String>) -> Option<String> {
    if let Some(complaint) = check(node, path) {
        return Some(complaint);
    }
    let below = |(name, child): &(String, Tree)| walk(child, &format!("{path}/{name}"), check);
    for key in ["properties", "$defs", "definitions"] {
        if let Some(complaint) = node
            .get(key)
            .and_then(|map| map.map().iter().find_map(below))
        {
            return Some(complaint);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let children = node.get(key).map(Tree::list).unwrap_or_default();
        if let Some(complaint) = children.iter().find_map(|child| walk(child, path, check)) {
            return Some(complaint);
        }
    }
    node.get("items").and_then(|child| walk(child, path, check))
}

fn is_open(node: &Tree) -> bool {
    node.type_name() == Some("object")
        && node.get("additionalProperties") != Some(&Tree::Bool(false))
}

/// What `OpenAI`'s strict mode refuses.
pub(super) fn strict_complaint(root: &Tree) -> Option<String> {
    if root.type_name() != Some("object") || root.get("anyOf").is_some() {
        return Some("schema must be a JSON Schema of 'type: \"object\"' at its root.".into());
    }
    walk(root, "", &|node, path| {
        if is_open(node) {
            return Some(format!(
                "In context=({path}), 'additionalProperties' is required to be supplied and to be false."
            ));
        }
        if let Some(key) = ["allOf", "oneOf", "not", "patternProperties", "if"]
            .into_iter()
            .find(|key| node.get(key).is_some())
        {
            return Some(format!("In context=({path}), '{key}' is not permitted."));
        }
        let required = node.get("required").map(Tree::list).unwrap_or_default();
        let properties = node.get("properties").map(Tree::map).unwrap_or_default();
        properties
            .iter()
            .find(|(name, _)| !required.iter().any(|item| item.text() == Some(name)))
            .map(|(name, _)| {
                format!(
                    "In context=({path}), 'required' is required to be supplied and to be an array \
                     including every key in properties. Missing '{name}'."
                )
            })
    })
}

/// What Anthropic's structured output refuses.
pub(super) fn plain_complaint(root: &Tree) -> Option<String> {
    const UNSUPPORTED: [&str; 9] = [
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "oneOf",
    ];
    walk(root, "", &|node, _| {
        if is_open(node) {
            return Some(
                "For 'object' type, 'additionalProperties' must be explicitly set to false".into(),
            );
        }
        let key = UNSUPPORTED
            .into_iter()
            .find(|key| node.get(key).is_some())?;
        let kind = node.type_name().unwrap_or("any");
        Some(format!(
            "For '{kind}' type, property '{key}' is not supported"
        ))
    })
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Tree::Null, Tree::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(pair) = pairs.next_entry()? {
            map.push(pair);
        }
        Ok(Tree::Map(map))
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Null => serializer.serialize_unit(),
            Tree::Bool(value) => serializer.serialize_bool(*value),
            Tree::Number(value) => value.serialize(serializer),
            Tree::Text(value) => serializer.serialize_str(value),
            Tree::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Tree::Map(pairs) => {
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

    fn tree(text: &str) -> Tree {
        Tree::parse(text).expect("JSON")
    }

    #[test]
    fn order_survives_reading_and_writing() {
        let text = r#"{"z":1,"a":[true,null,-2,0.5],"m":{"y":"é","b":{}}}"#;
        assert_eq!(serde_json::to_string(&tree(text)).expect("a value"), text);
    }

    #[test]
    fn strict_mode_wants_closed_objects_with_every_property_required() {
        let check = |schema: &str, complaint: Option<&str>| {
            let found = strict_complaint(&tree(schema));
            match complaint {
                None => assert_eq!(found, None, "{schema}"),
                Some(part) => assert!(found.is_some_and(|text| text.contains(part)), "{schema}"),
            }
        };
        let closed = r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
        check(closed, None);
        check(r#"{"type":"string"}"#, Some("at its root"));
        check(
            &closed.replace(r#","additionalProperties":false"#, ""),
            Some("additionalProperties"),
        );
        check(&closed.replace(r#"["a"]"#, "[]"), Some("Missing 'a'"));
        check(
            &closed.replace(
                r#"{"type":"string"}"#,
                r#"{"type":"array","items":{"type":"object"}}"#,
            ),
            Some("context=(/a)"),
        );
    }

    #[test]
    fn anthropic_refuses_bounds_and_open_objects() {
        let bounded = tree(r#"{"type":"integer","minimum":1}"#);
        let complaint = plain_complaint(&bounded).expect("bounds");
        assert!(
            complaint.contains("property 'minimum' is not supported"),
            "{complaint}"
        );
        assert!(plain_complaint(&tree(r#"{"type":"object"}"#)).is_some());
        assert_eq!(plain_complaint(&tree(r#"{"enum":["a","b"]}"#)), None);
    }
}
