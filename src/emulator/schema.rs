//! JSON schemas: what a vendor refuses in one.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::base::Json;

/// Schemas whose verdict is remembered.
const REMEMBERED: usize = 1024;

/// The type a schema asks for; of several the first that is not null.
pub(super) fn type_name(node: &Json) -> Option<&str> {
    match node.get("type") {
        Some(Json::Text(name)) => Some(name),
        Some(Json::List(names)) => {
            let mut names = names.iter().filter_map(Json::text);
            names
                .clone()
                .find(|name| *name != "null")
                .or_else(|| names.next())
        }
        _ if node.get("properties").is_some() => Some("object"),
        _ if node.get("items").is_some() => Some("array"),
        _ => None,
    }
}

/// A vendor's verdicts on schemas, found once: most requests of an upload share one.
#[derive(Debug)]
pub(super) struct Verdicts {
    complaint: fn(&Json) -> Option<String>,
    known: HashMap<u64, Option<String>>,
}

impl Verdicts {
    /// Verdicts of a vendor that complains like this.
    pub(super) fn new(complaint: fn(&Json) -> Option<String>) -> Self {
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
                .or_insert_with(|| match Json::parse(text) {
                    Some(schema @ Json::Map(_)) => (self.complaint)(&schema),
                    _ => Some("schema must be a JSON object.".into()),
                });
        verdict.clone()
    }
}

/// Calls `check` for every schema within `root`; the first complaint wins.
fn walk(node: &Json, path: &str, check: &dyn Fn(&Json, &str) -> Option<String>) -> Option<String> {
    if let Some(complaint) = check(node, path) {
        return Some(complaint);
    }
    let below = |(name, child): &(String, Json)| walk(child, &format!("{path}/{name}"), check);
    for key in ["properties", "$defs", "definitions"] {
        if let Some(complaint) = node
            .get(key)
            .and_then(|map| map.map().iter().find_map(below))
        {
            return Some(complaint);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        let children = node.get(key).map(Json::list).unwrap_or_default();
        if let Some(complaint) = children.iter().find_map(|child| walk(child, path, check)) {
            return Some(complaint);
        }
    }
    node.get("items").and_then(|child| walk(child, path, check))
}

fn is_open(node: &Json) -> bool {
    type_name(node) == Some("object")
        && node.get("additionalProperties") != Some(&Json::Bool(false))
}

/// What `OpenAI`'s strict mode refuses.
pub(super) fn strict_complaint(root: &Json) -> Option<String> {
    if type_name(root) != Some("object") || root.get("anyOf").is_some() {
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
        let required = node.get("required").map(Json::list).unwrap_or_default();
        let properties = node.get("properties").map(Json::map).unwrap_or_default();
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
pub(super) fn plain_complaint(root: &Json) -> Option<String> {
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
        let kind = type_name(node).unwrap_or("any");
        Some(format!(
            "For '{kind}' type, property '{key}' is not supported"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Json {
        Json::parse(text).expect("JSON")
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
