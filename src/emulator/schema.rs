//! JSON schemas: what a vendor refuses in one.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::text::Message;
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

/// What stands between a schema and how the answer to it begins. No JSON holds it.
pub(super) const BEGUN: char = '\0';

/// The schema with which a system prompt ends, in a block of code; and, after [`BEGUN`], what the last of the
/// messages puts into the model's mouth.
pub(super) fn told(system: &str, messages: &[Message<'_>]) -> Option<String> {
    let mut schema = schema_in(system)?;
    if let Some(last) = messages.last().filter(|last| last.role == "assistant") {
        schema.push(BEGUN);
        schema.push_str(&last.content.text);
    }
    Some(schema)
}

fn schema_in(system: &str) -> Option<String> {
    let (_, block) = system
        .trim_end()
        .strip_suffix("```")?
        .rsplit_once("```json\n")?;
    let schema = Json::parse(block)?;
    let is_schema = ["type", "properties", "$ref", "anyOf", "enum"]
        .iter()
        .any(|key| schema.get(key).is_some());
    is_schema.then(|| block.trim().to_owned())
}

fn is_open(node: &Json) -> bool {
    type_name(node) == Some("object")
        && node.get("additionalProperties") != Some(&Json::Bool(false))
}

/// The first keyword of `node` that is not among `known`.
fn unknown_key<'n>(node: &'n Json, known: &[&str]) -> Option<&'n str> {
    let mut keys = node.map().iter().map(|(key, _)| key.as_str());
    keys.find(|key| !known.contains(key))
}

/// Keywords that both vendors know.
const COMMON: [&str; 17] = [
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "$defs",
    "format",
    "pattern",
    "minItems",
    "title",
    "description",
    "default",
    "$schema",
];

/// Values of `format` that both vendors know.
const FORMATS: [&str; 9] = [
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

/// What is wrong with a reference: it leads out of the schema, or nowhere.
fn reference_complaint(root: &Json, node: &Json) -> Option<String> {
    let name = node.get("$ref")?.text().unwrap_or_default();
    let is_local = name == "#" || name.starts_with("#/$defs/");
    if is_local && (name == "#" || root.at(name).is_some()) {
        return None;
    }
    Some(format!(
        "reference can only point to definitions defined at the top level of the schema, got '{name}'."
    ))
}

/// How many of them there are within `root`.
fn count(root: &Json, of: &dyn Fn(&Json) -> usize) -> usize {
    let total = std::cell::Cell::new(0);
    walk(root, "", &|node, _| {
        total.set(total.get() + of(node));
        None
    });
    total.get()
}

/// Whether objects and lists of `node`, itself `depth` deep, lie more than `most` deep within each other,
/// through references as well. A place that was reached as deep before is not looked at again.
fn is_deeper<'j>(
    (root, node): (&'j Json, &'j Json),
    (depth, most): (usize, usize),
    seen: &mut HashMap<&'j str, usize>,
    within: &mut Vec<&'j str>,
) -> bool {
    if depth > most {
        return true;
    }
    if let Some(name) = node.get("$ref").and_then(Json::text) {
        // What contains itself has no end, and counts once.
        if within.contains(&name) || seen.get(name).is_some_and(|before| *before >= depth) {
            return false;
        }
        seen.insert(name, depth);
        within.push(name);
        let target = root.at(name).unwrap_or(&Json::Null);
        let is = is_deeper((root, target), (depth, most), seen, within);
        within.pop();
        return is;
    }
    let properties = node.get("properties").map(Json::map).unwrap_or_default();
    let below = properties
        .iter()
        .map(|(_, child)| child)
        .chain(node.get("items"));
    let beside = node.get("anyOf").map(Json::list).unwrap_or_default();
    let all = below
        .map(|child| (child, 1))
        .chain(beside.iter().map(|child| (child, 0)));
    for (child, step) in all {
        if is_deeper((root, child), (depth + step, most), seen, within) {
            return true;
        }
    }
    false
}

fn listed(node: &Json) -> &[Json] {
    node.get("enum").map(Json::list).unwrap_or_default()
}

fn chars<'j>(texts: impl IntoIterator<Item = &'j Json>) -> usize {
    let texts = texts.into_iter().filter_map(Json::text);
    texts.map(|text| text.chars().count()).sum()
}

/// What `OpenAI`'s strict mode refuses.
pub(super) fn strict_complaint(root: &Json) -> Option<String> {
    if type_name(root) != Some("object") || root.get("anyOf").is_some() {
        return Some("schema must be a JSON Schema of 'type: \"object\"' at its root.".into());
    }
    strict_size_complaint(root).or_else(|| {
        walk(root, "", &|node, path| {
            strict_node_complaint(root, node, path)
        })
    })
}

/// How deep objects and lists may lie within each other.
const LEVELS_MAX: usize = 10;

fn strict_size_complaint(root: &Json) -> Option<String> {
    let names = |node: &Json| node.get("properties").map_or(0, |all| all.map().len());
    let name_chars = |node: &Json| {
        let all = node.get("properties").map(Json::map).unwrap_or_default();
        all.iter()
            .map(|(name, _)| name.chars().count())
            .sum::<usize>()
    };
    let values = |node: &Json| listed(node).len();
    let value_chars = |node: &Json| chars(listed(node).iter().chain(node.get("const")));
    let definitions = root.get("$defs").map(Json::map).unwrap_or_default();
    let mut all = definitions.iter().map(|(_, one)| one).chain([root]);
    if all.any(|one| {
        is_deeper(
            (root, one),
            (0, LEVELS_MAX),
            &mut HashMap::new(),
            &mut Vec::new(),
        )
    }) {
        return Some(format!(
            "schema is too large: more than {LEVELS_MAX} levels of nesting."
        ));
    }
    let limits = [
        (count(root, &names), 5000, "object properties"),
        (count(root, &values), 1000, "enum values"),
        (
            count(root, &name_chars) + count(root, &value_chars),
            120_000,
            "characters of names and enum values",
        ),
    ];
    let over = limits.iter().find(|(found, most, _)| found > most);
    over.map(|(found, most, what)| {
        format!("schema is too large: {found} {what}, the maximum is {most}.")
    })
}

fn strict_node_complaint(root: &Json, node: &Json, path: &str) -> Option<String> {
    const MORE: [&str; 6] = [
        "multipleOf",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "maxItems",
    ];
    let within = |text: String| Some(format!("In context=({path}), {text}"));
    if is_open(node) {
        return within("'additionalProperties' is required to be supplied and to be false.".into());
    }
    if let Some(key) = unknown_key(node, &[&COMMON[..], &MORE[..]].concat()) {
        return within(format!("'{key}' is not permitted."));
    }
    if node.get("$ref").is_some() && node.map().len() > 1 && !std::ptr::eq(root, node) {
        return within("$ref cannot have keywords beside it.".into());
    }
    if let Some(complaint) = reference_complaint(root, node) {
        return within(complaint);
    }
    let format = node.get("format").and_then(Json::text);
    if let Some(format) = format.filter(|format| !FORMATS.contains(format)) {
        return within(format!("'{format}' is not a valid format."));
    }
    if listed(node).len() > 250 && chars(listed(node)) > 15_000 {
        return within("enum has too many characters.".into());
    }
    let required = node.get("required").map(Json::list).unwrap_or_default();
    let properties = node.get("properties").map(Json::map).unwrap_or_default();
    let missing = properties
        .iter()
        .find(|(name, _)| !required.iter().any(|item| item.text() == Some(name)));
    let (name, _) = missing?;
    within(format!(
        "'required' is required to be supplied and to be an array including every key in properties. \
         Missing '{name}'."
    ))
}

/// What Anthropic's structured output refuses.
pub(super) fn plain_complaint(root: &Json) -> Option<String> {
    walk(root, "", &|node, _| plain_node_complaint(root, node)).or_else(|| {
        let optional = |node: &Json| {
            let required = node.get("required").map(Json::list).unwrap_or_default();
            let all = node.get("properties").map(Json::map).unwrap_or_default();
            let is_required = |name: &str| required.iter().any(|item| item.text() == Some(name));
            all.iter().filter(|(name, _)| !is_required(name)).count()
        };
        let unions = |node: &Json| {
            let is_several = node.get("type").is_some_and(|names| names.list().len() > 1);
            usize::from(is_several || node.get("anyOf").is_some())
        };
        let is_over = count(root, &optional) > 24 || count(root, &unions) > 16;
        is_over.then(|| "Schema is too complex for compilation".into())
    })
}

fn plain_node_complaint(root: &Json, node: &Json) -> Option<String> {
    if is_open(node) {
        let text = "For 'object' type, 'additionalProperties' must be explicitly set to false";
        return Some(text.into());
    }
    let kind = type_name(node).unwrap_or("any");
    let refused = |key: &str| {
        Some(format!(
            "For '{kind}' type, property '{key}' is not supported"
        ))
    };
    if let Some(key) = unknown_key(node, &[&COMMON[..], &["allOf"]].concat()) {
        return refused(key);
    }
    if let Some(name) = node.get("$ref").and_then(Json::text) {
        if name == "#" || is_recursive(root, name) {
            return Some("Recursive schemas are not supported".into());
        }
        return reference_complaint(root, node);
    }
    let format = node.get("format").and_then(Json::text);
    if format.is_some_and(|format| format != "uri" && !FORMATS.contains(&format)) {
        return refused("format");
    }
    let pattern = node.get("pattern").and_then(Json::text).unwrap_or_default();
    if ["(?=", "(?!", "(?<", "\\b"]
        .iter()
        .any(|part| pattern.contains(part))
    {
        return refused("pattern");
    }
    let least = node.get("minItems").and_then(Json::float);
    least
        .filter(|least| *least > 1.0)
        .and_then(|_| refused("minItems"))
}

/// Whether what `target` names refers to it, itself or through others.
fn is_recursive(root: &Json, target: &str) -> bool {
    fn names<'j>(node: &'j Json, out: &mut Vec<&'j str>) {
        out.extend(node.get("$ref").and_then(Json::text));
        let children = node.map().iter().map(|(_, child)| child);
        children
            .chain(node.list())
            .for_each(|child| names(child, out));
    }
    let (mut seen, mut open) = (Vec::new(), vec![target]);
    while let Some(name) = open.pop() {
        let mut next = Vec::new();
        names(root.at(name).unwrap_or(&Json::Null), &mut next);
        if next.contains(&target) {
            return true;
        }
        next.retain(|name| !seen.contains(name));
        seen.extend(&next);
        open.extend(next);
    }
    false
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
    fn strict_mode_counts_levels_through_references() {
        let level = |inner: &str| {
            format!(
                r#"{{"type":"object","properties":{{"a":{inner}}},"required":["a"],"additionalProperties":false}}"#
            )
        };
        let deep = |levels: usize| {
            (0..levels).fold(r#"{"type":"string"}"#.to_owned(), |inner, _| level(&inner))
        };
        let whole = |above: usize, below: &str| {
            let reference = r##"{"$ref":"#/$defs/D"}"##;
            let root = (0..above).fold(reference.to_owned(), |inner, _| level(&inner));
            root.replacen('{', &format!(r#"{{"$defs":{{"D":{below}}},"#), 1)
        };
        let says = |schema: &str| strict_complaint(&tree(schema)).unwrap_or_default();
        assert_eq!(says(&deep(10)), "");
        assert!(says(&deep(11)).contains("levels of nesting"));
        assert_eq!(says(&whole(4, &deep(6))), "");
        assert!(says(&whole(5, &deep(6))).contains("levels of nesting"));
        // What contains itself counts once.
        let round = level(&level(
            r##"{"anyOf":[{"$ref":"#/$defs/D"},{"type":"null"}]}"##,
        ));
        assert_eq!(says(&whole(8, &round)), "");
        assert!(says(&whole(9, &round)).contains("levels of nesting"));
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
