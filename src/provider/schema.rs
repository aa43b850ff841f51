//! A JSON Schema as a vendor takes it.
//!
//! Vendors take a part of JSON Schema each, and refuse a request whose schema goes beyond it, in a batch
//! every request. So what a vendor does not know is left out here and said in the description, where the
//! model reads it; what comes back is checked against the whole schema all the same. A schema that
//! cannot be said in a vendor's part at all is refused, with the nearest one that can.

use std::collections::{HashMap, HashSet};

use crate::base::{Error, Json, Result};

/// What a vendor takes of JSON Schema, beside the words that give a value its shape.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The keywords that it knows, such as `minimum`.
    pub keywords: &'static [&'static str],
    /// The values of `format` that it knows.
    pub formats: &'static [&'static str],
    /// Whether each property must be required; one that is not may then be null instead.
    pub all_required: bool,
    /// Whether a schema may refer to itself.
    pub recursion: bool,
    /// Whether `type` may stand beside `enum` and `const`.
    pub typed_enums: bool,
    /// How many properties need not be required.
    pub optional_max: usize,
    /// How many places may be of several types, null included.
    pub unions_max: usize,
    /// How deep objects and lists may lie within each other.
    pub depth_max: usize,
    /// How many properties there may be.
    pub properties_max: usize,
    /// How many values all enumerations may list.
    pub enum_values_max: usize,
    /// How many characters the texts of one enumeration may have, if it lists more than so many.
    pub long_enum: Option<(usize, usize)>,
    /// How many characters all names and listed texts may have.
    pub chars_max: usize,
    /// Refuses a value of `pattern` that it does not know, by a word on it.
    pub knows_pattern: fn(&str) -> bool,
}

/// `schema` in the vendor's part of JSON Schema.
///
/// # Errors
/// `Invalid` if it cannot be said there; the error says how else.
pub(super) fn reduce(schema: &Json, dialect: &Dialect) -> Result<Json> {
    let mut reducer = Reducer {
        root: schema,
        dialect,
        counts: Counts::default(),
        depths: Depths::of(schema, dialect.depth_max),
    };
    let reduced = reducer.reduce(schema, "", 0)?;
    reducer.check_counts()?;
    Ok(reduced)
}

struct Reducer<'a> {
    root: &'a Json,
    dialect: &'a Dialect,
    counts: Counts,
    depths: Depths<'a>,
}

/// What a vendor takes so many of.
#[derive(Debug, Default)]
struct Counts {
    optional: usize,
    unions: usize,
    properties: usize,
    values: usize,
    chars: usize,
}

type Pairs = Vec<(String, Json)>;

impl Reducer<'_> {
    fn reduce(&mut self, schema: &Json, path: &str, depth: usize) -> Result<Json> {
        self.refuse_beyond_depth(path, depth)?;
        if let [one] = schema.get("allOf").map(Json::list).unwrap_or_default() {
            let joined = beside(one, schema, "allOf");
            return self.reduce(&joined, path, depth);
        }
        refuse_shapeless(schema, path)?;
        let mut out = Pairs::new();
        let mut unsaid = Pairs::new();
        for (key, value) in schema.map() {
            self.keyword((key, value), schema, (path, depth), &mut out, &mut unsaid)?;
        }
        self.close_object(schema, &mut out);
        describe(&mut out, &unsaid);
        self.part_reference(&mut out);
        Ok(Json::Map(out))
    }

    fn keyword(
        &mut self,
        (key, value): (&str, &Json),
        schema: &Json,
        (path, depth): (&str, usize),
        out: &mut Pairs,
        unsaid: &mut Pairs,
    ) -> Result<()> {
        let put = |out: &mut Pairs, key: &str, value: Json| out.push((key.to_owned(), value));
        match key {
            "type" => {
                let is_enum = schema.get("enum").or(schema.get("const")).is_some();
                if !is_enum || self.dialect.typed_enums {
                    self.counts.unions += usize::from(value.list().len() > 1);
                    put(out, key, value.clone());
                }
            }
            "enum" => {
                self.listed(value.list(), path)?;
                put(out, key, value.clone());
            }
            "const" => {
                self.listed(std::slice::from_ref(value), path)?;
                put(out, key, value.clone());
            }
            "description" => put(out, key, value.clone()),
            "$ref" => {
                self.check_depth(value, (path, depth))?;
                put(out, key, self.reference(value, path)?);
            }
            "anyOf" | "oneOf" => {
                self.counts.unions += 1;
                let all = value.list().iter();
                let all = all.map(|one| self.reduce(one, path, depth));
                put(out, "anyOf", Json::List(all.collect::<Result<_>>()?));
            }
            "items" => {
                let items = self.reduce(value, &format!("{path}[]"), depth + 1)?;
                put(out, key, items);
            }
            "properties" => {
                let properties = self.properties(value, schema, (path, depth))?;
                put(out, key, Json::Map(properties));
            }
            "$defs" | "definitions" => {
                let all = value.map().iter();
                let all = all.map(|(name, one)| {
                    self.counts.chars += name.chars().count();
                    Ok((name.clone(), self.reduce(one, name, 0)?))
                });
                put(out, DEFINITIONS, Json::Map(all.collect::<Result<_>>()?));
            }
            "format" if self.knows_format(value) => put(out, key, value.clone()),
            "pattern" if self.knows_pattern(value) => put(out, key, value.clone()),
            "minItems" if self.knows(key) || is_one(value) => put(out, key, value.clone()),
            // It says that what need not be there may be left out, which `required` says already.
            "default" if *value == Json::Null && !self.knows(key) => {}
            // They are written anew, or say nothing to a model.
            "required"
            | "additionalProperties"
            | "title"
            | "$schema"
            | "$id"
            | "$comment"
            | "$anchor"
            | "discriminator"
            | "examples"
            | "deprecated"
            | "readOnly"
            | "writeOnly" => {}
            _ if self.knows(key) => put(out, key, value.clone()),
            _ => put(unsaid, key, value.clone()),
        }
        Ok(())
    }

    fn properties(
        &mut self,
        all: &Json,
        schema: &Json,
        (path, depth): (&str, usize),
    ) -> Result<Pairs> {
        let required = schema.get("required").map(Json::list).unwrap_or_default();
        let mut properties = Pairs::new();
        for (name, value) in all.map() {
            let place = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            self.counts.properties += 1;
            self.counts.chars += name.chars().count();
            let reduced = self.reduce(value, &place, depth + 1)?;
            let is_required = required.iter().any(|item| item.text() == Some(name));
            properties.push((name.clone(), self.optional(reduced, is_required)));
        }
        Ok(properties)
    }

    fn knows(&self, keyword: &str) -> bool {
        self.dialect.keywords.contains(&keyword)
    }

    fn knows_format(&self, value: &Json) -> bool {
        let format = value.text().unwrap_or_default();
        self.dialect.formats.contains(&format)
    }

    fn knows_pattern(&self, value: &Json) -> bool {
        value.text().is_some_and(self.dialect.knows_pattern)
    }

    /// A property that need not be there: as such, or as one that may be null.
    fn optional(&mut self, value: Json, is_required: bool) -> Json {
        if is_required {
            return value;
        }
        if self.dialect.all_required {
            self.counts.unions += 1;
            return or_null(value);
        }
        self.counts.optional += 1;
        value
    }

    /// Counts values that are listed one by one.
    fn listed(&mut self, values: &[Json], path: &str) -> Result<()> {
        let chars = values.iter().filter_map(Json::text);
        let chars: usize = chars.map(|text| text.chars().count()).sum();
        self.counts.values += values.len();
        self.counts.chars += chars;
        match self.dialect.long_enum {
            Some((values_max, chars_max)) if values.len() > values_max && chars > chars_max => {
                let why = format!(
                    "its {} values have {chars} characters, and more than {values_max} values may have \
                     {chars_max}",
                    values.len()
                );
                Err(unsaid(path, &why, "list fewer values, or shorter ones"))
            }
            _ => Ok(()),
        }
    }

    /// The name of what is referred to, among the definitions.
    fn reference(&self, value: &Json, path: &str) -> Result<Json> {
        let name = value.text().unwrap_or_default();
        if !self.dialect.recursion && self.contains_itself(name) {
            let why = "it contains itself, which the provider does not take";
            let hint = "say how deep it goes, by a type of its own for each level";
            return Err(unsaid(path, why, hint));
        }
        let name = name.replacen("#/definitions/", "#/$defs/", 1);
        if name == "#" || name.starts_with("#/$defs/") {
            return Ok(Json::Text(name));
        }
        let why =
            format!("it refers to `{name}`, and the provider takes references into `$defs` alone");
        let hint = "move what it refers to into `$defs`";
        Err(unsaid(path, &why, hint))
    }

    fn refuse_beyond_depth(&self, path: &str, depth: usize) -> Result<()> {
        let max = self.dialect.depth_max;
        if depth <= max {
            return Ok(());
        }
        let why = format!("objects and lists may lie {max} deep within each other at most");
        Err(unsaid(path, &why, "make it flatter"))
    }

    /// Refuses what goes too deep by what it refers to.
    fn check_depth(&mut self, reference: &Json, (path, depth): (&str, usize)) -> Result<()> {
        let name = reference.text().unwrap_or_default();
        if self.depths.is_reference_too_deep(name, depth) {
            return self.refuse_beyond_depth(path, usize::MAX);
        }
        Ok(())
    }

    /// Beside a reference nothing else may stand.
    fn part_reference(&mut self, out: &mut Pairs) {
        let has_more = out
            .iter()
            .any(|(key, _)| ![DEFINITIONS, "$ref"].contains(&&**key));
        if let Some(at) = out.iter().position(|(key, _)| key == "$ref")
            && has_more
        {
            let reference = Json::Map(vec![out.remove(at)]);
            out.insert(at, ("anyOf".into(), Json::List(vec![reference])));
            self.counts.unions += 1;
        }
    }

    /// Whether what `target` names refers to it, itself or by others.
    fn contains_itself(&self, target: &str) -> bool {
        let mut seen = HashSet::new();
        let mut open = vec![target];
        while let Some(name) = open.pop() {
            let names = references(self.root.at(name).unwrap_or(&Json::Null));
            if names.contains(&target) {
                return true;
            }
            open.extend(names.into_iter().filter(|name| seen.insert(*name)));
        }
        false
    }

    /// Says of an object which of its properties must be there, and that there are no others.
    fn close_object(&self, schema: &Json, out: &mut Pairs) {
        let Some(properties) = schema.get("properties") else {
            return;
        };
        let required = schema.get("required").map(Json::list).unwrap_or_default();
        let names = properties.map().iter().map(|(name, _)| name);
        let is_required = |name: &&String| {
            self.dialect.all_required || required.iter().any(|item| item.text() == Some(name))
        };
        let names = names
            .filter(is_required)
            .map(|name| Json::Text(name.clone()));
        if schema.get("type").is_none() {
            out.push(("type".into(), Json::Text("object".into())));
        }
        out.push(("required".into(), Json::List(names.collect())));
        out.push(("additionalProperties".into(), Json::Bool(false)));
    }

    fn check_counts(&self) -> Result<()> {
        let counts = [
            (
                self.counts.optional,
                self.dialect.optional_max,
                "properties that need not be there",
            ),
            (
                self.counts.unions,
                self.dialect.unions_max,
                "places of several types, or that may be null",
            ),
            (
                self.counts.values,
                self.dialect.enum_values_max,
                "values in its lists of choices",
            ),
            (
                self.counts.properties,
                self.dialect.properties_max,
                "properties",
            ),
            (
                self.counts.chars,
                self.dialect.chars_max,
                "characters in its names and choices",
            ),
        ];
        match counts.iter().find(|(count, max, _)| count > max) {
            None => Ok(()),
            Some((count, max, what)) => {
                let why = format!("it has {count} {what}, of which the provider takes {max}");
                Err(unsaid(
                    "",
                    &why,
                    "make some of them required, or split the job in two",
                ))
            }
        }
    }
}

/// Whether objects and lists lie too deep within each other below a reference.
#[derive(Debug)]
struct Depths<'a> {
    root: &'a Json,
    max: usize,
    /// How deep the schemas of these names lay where all below was found to be in order.
    known: HashMap<String, usize>,
    /// Those that are looked at: what contains itself is followed once round.
    within: Vec<String>,
}

impl<'a> Depths<'a> {
    fn of(root: &'a Json, max: usize) -> Self {
        Depths {
            root,
            max,
            known: HashMap::new(),
            within: Vec::new(),
        }
    }

    fn is_reference_too_deep(&mut self, name: &str, depth: usize) -> bool {
        let is_known = self.known.get(name).is_some_and(|known| *known >= depth);
        if is_known || self.within.iter().any(|one| one == name) {
            return false;
        }
        self.within.push(name.to_owned());
        let target = self.root.at(name);
        let is = target.is_some_and(|target| self.is_too_deep(target, depth));
        self.within.pop();
        self.known.insert(name.to_owned(), depth);
        is
    }

    fn is_too_deep(&mut self, schema: &Json, depth: usize) -> bool {
        if depth > self.max {
            return true;
        }
        schema.map().iter().any(|(key, value)| match key.as_str() {
            "$ref" => self.is_reference_too_deep(value.text().unwrap_or_default(), depth),
            "anyOf" | "oneOf" | "allOf" => {
                let mut all = value.list().iter();
                all.any(|one| self.is_too_deep(one, depth))
            }
            "items" => self.is_too_deep(value, depth + 1),
            "properties" => {
                let mut all = value.map().iter();
                all.any(|(_, one)| self.is_too_deep(one, depth + 1))
            }
            _ => false,
        })
    }
}

/// What has no shape of its own cannot be asked for where every property has to be named.
fn refuse_shapeless(schema: &Json, path: &str) -> Result<()> {
    let has = |key| schema.get(key).is_some();
    let is_object = schema.get("type").and_then(Json::text) == Some("object");
    if is_object && !has("properties") {
        let is_map = schema
            .get("additionalProperties")
            .is_some_and(|a| !a.map().is_empty());
        return Err(if is_map {
            unsaid(
                path,
                "its names are not known before, and the provider wants each to be named",
                "make it a list of objects with a name and a value",
            )
        } else {
            unsaid(
                path,
                "it is an object of any form, and the provider wants each property to be named",
                "name its properties, or make it a text",
            )
        });
    }
    let has_items = matches!(schema.get("items"), Some(Json::Map(_)));
    let is_array = schema.get("type").and_then(Json::text) == Some("array");
    if (is_array || has("items")) && !has_items && !has("prefixItems") {
        let why = "its items have no one schema, and the provider wants one for all";
        let hint = "give it `items`, a schema that all of them have";
        return Err(unsaid(path, why, hint));
    }
    let shapes = [
        "type",
        "enum",
        "const",
        "$ref",
        "anyOf",
        "oneOf",
        "properties",
        "items",
    ];
    if !shapes.iter().any(|key| has(key)) {
        let why = "it may be anything, and the provider wants a type";
        return Err(unsaid(path, why, "give it a type"));
    }
    for key in [
        "not",
        "if",
        "patternProperties",
        "prefixItems",
        "allOf",
        "dependentSchemas",
    ] {
        if has(key) {
            let why = format!("the provider does not take `{key}`");
            return Err(unsaid(
                path,
                &why,
                "take it out, or say it in the description",
            ));
        }
    }
    Ok(())
}

/// Where definitions stand.
const DEFINITIONS: &str = "$defs";

/// `schema`, with what stands beside `key` in `outer`.
fn beside(schema: &Json, outer: &Json, key: &str) -> Json {
    let own = schema.map().iter();
    let more = outer.map().iter();
    let more = more.filter(|(name, _)| name != key && schema.get(name).is_none());
    Json::Map(own.chain(more).cloned().collect())
}

fn is_one(value: &Json) -> bool {
    value.float().is_some_and(|items| items <= 1.0)
}

/// All references within `schema`.
fn references(schema: &Json) -> Vec<&str> {
    let own = schema.get("$ref").and_then(Json::text);
    let pairs = schema.map().iter().map(|(_, value)| value);
    let within = pairs.chain(schema.list()).flat_map(references);
    own.into_iter().chain(within).collect()
}

/// The same value, or null.
fn or_null(schema: Json) -> Json {
    let null = || Json::Text("null".into());
    let Json::Map(mut pairs) = schema else {
        return schema;
    };
    let listed = pairs.iter().any(|(key, _)| key == "enum" || key == "const");
    let types = pairs.iter_mut().find(|(key, _)| key == "type");
    match types {
        Some((_, value @ Json::Text(_))) if !listed => {
            *value = Json::List(vec![value.clone(), null()]);
            Json::Map(pairs)
        }
        Some((_, Json::List(all))) if !listed => {
            if !all.contains(&null()) {
                all.push(null());
            }
            Json::Map(pairs)
        }
        _ => {
            let is_null = |one: &Json| one.get("type") == Some(&null());
            if let Some((_, Json::List(all))) = pairs.iter_mut().find(|(key, _)| key == "anyOf") {
                if !all.iter().any(is_null) {
                    all.push(Json::Map(vec![("type".into(), null())]));
                }
                return Json::Map(pairs);
            }
            let one = Json::Map(pairs);
            let null = Json::Map(vec![("type".into(), null())]);
            Json::Map(vec![("anyOf".into(), Json::List(vec![one, null]))])
        }
    }
}

/// Says in the description what the vendor has no word for.
fn describe(out: &mut Pairs, unsaid: &[(String, Json)]) {
    if unsaid.is_empty() {
        return;
    }
    let said = unsaid.iter().map(|(key, value)| format!("{key}: {value}"));
    let said = format!("{{{}}}", said.collect::<Vec<_>>().join(", "));
    match out.iter_mut().find(|(key, _)| key == "description") {
        Some((_, Json::Text(text))) => *text = format!("{text}\n\n{said}"),
        _ => out.push(("description".into(), Json::Text(said))),
    }
}

fn unsaid(path: &str, why: &str, hint: &str) -> Error {
    let place = if path.is_empty() { "the answer" } else { path };
    Error::invalid("the provider does not take this schema")
        .with("place", place)
        .with("reason", why)
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Vendor;
    use crate::work::AnswerType;
    use crate::work::answer::JsonAnswer;

    /// What `vendor` is asked for where the answer has `schema`, or the place and the reason of its refusal.
    fn wire(vendor: &str, schema: &str) -> std::result::Result<String, String> {
        let answer = AnswerType::Json(JsonAnswer {
            schema: schema.to_owned(),
            types: std::collections::BTreeMap::new(),
            asked: crate::work::answer::Asked::Schema,
        });
        let provider = Vendor::new([]).open(vendor);
        match provider.schema(&answer) {
            Ok(schema) => Ok(schema.expect("it is no text").to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[track_caller]
    fn both(schema: &str, expect: &str) {
        for vendor in ["openai", "anthropic"] {
            assert_eq!(
                wire(vendor, schema).as_deref(),
                Ok(expect),
                "{vendor} {schema}"
            );
        }
    }

    #[track_caller]
    fn each(schema: &str, openai: &str, anthropic: &str) {
        assert_eq!(wire("openai", schema).as_deref(), Ok(openai), "{schema}");
        assert_eq!(
            wire("anthropic", schema).as_deref(),
            Ok(anthropic),
            "{schema}"
        );
    }

    #[track_caller]
    fn refused(vendor: &str, schema: &str, why: &str) {
        let said = wire(vendor, schema).expect_err(schema);
        assert!(said.contains(why), "{said}");
    }

    /// A schema of one property `a`, and what is asked for it.
    fn of_one(property: &str) -> String {
        format!(
            r#"{{"type":"object","properties":{{"a":{property}}},"required":["a"],"additionalProperties":false}}"#
        )
    }

    #[test]
    fn what_both_take_goes_out_in_its_order() {
        let schema = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":["integer","null"]}},"required":["z","a"],"additionalProperties":false}"#;
        both(schema, schema);
        for property in [
            r#"{"type":"boolean"}"#,
            r#"{"type":"string","format":"date"}"#,
            r#"{"type":"array","items":{"type":"number"}}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            r#"{"const":"x"}"#,
        ] {
            both(&of_one(property), &of_one(property));
        }
    }

    #[test]
    fn an_answer_that_is_no_object_is_asked_for_within_one() {
        let wrapped = r#"{"type":"object","properties":{"answer":{"type":"integer"}},"required":["answer"],"additionalProperties":false}"#;
        both(r#"{"type":"integer"}"#, wrapped);
        both(
            r##"{"$defs":{"E":{"type":"integer"}},"type":"array","items":{"$ref":"#/$defs/E"}}"##,
            r##"{"type":"object","properties":{"answer":{"type":"array","items":{"$ref":"#/$defs/E"}}},"$defs":{"E":{"type":"integer"}},"required":["answer"],"additionalProperties":false}"##,
        );
    }

    #[test]
    fn what_a_vendor_has_no_word_for_is_said_in_the_description() {
        each(
            &of_one(r#"{"type":"integer","minimum":1,"description":"Stars"}"#),
            &of_one(r#"{"type":"integer","minimum":1,"description":"Stars"}"#),
            &of_one(r#"{"type":"integer","description":"Stars\n\n{minimum: 1}"}"#),
        );
        both(
            &of_one(r#"{"type":"string","minLength":2,"maxLength":3}"#),
            &of_one(r#"{"type":"string","description":"{minLength: 2, maxLength: 3}"}"#),
        );
        each(
            &of_one(r#"{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":3}"#),
            &of_one(r#"{"type":"array","items":{"type":"string"},"minItems":1,"maxItems":3}"#),
            &of_one(
                r#"{"type":"array","items":{"type":"string"},"minItems":1,"description":"{maxItems: 3}"}"#,
            ),
        );
        each(
            &of_one(r#"{"type":"string","format":"uri"}"#),
            &of_one(r#"{"type":"string","description":"{format: \"uri\"}"}"#),
            &of_one(r#"{"type":"string","format":"uri"}"#),
        );
        each(
            &of_one(r#"{"type":"string","pattern":"^[A-Z]{2}$"}"#),
            &of_one(r#"{"type":"string","pattern":"^[A-Z]{2}$"}"#),
            &of_one(r#"{"type":"string","description":"{pattern: \"^[A-Z]{2}$\"}"}"#),
        );
        each(
            &of_one(r#"{"type":"string","title":"A","default":"x"}"#),
            &of_one(r#"{"type":"string","description":"{default: \"x\"}"}"#),
            &of_one(r#"{"type":"string","default":"x"}"#),
        );
    }

    #[test]
    fn the_same_is_said_in_the_vendors_words() {
        each(
            &of_one(r#"{"type":"string","enum":["x","y"]}"#),
            &of_one(r#"{"type":"string","enum":["x","y"]}"#),
            &of_one(r#"{"enum":["x","y"]}"#),
        );
        both(
            &of_one(r#"{"oneOf":[{"type":"string"},{"type":"integer"}]}"#),
            &of_one(r#"{"anyOf":[{"type":"string"},{"type":"integer"}]}"#),
        );
        both(
            r##"{"$defs":{"E":{"type":"integer"}},"type":"object","properties":{"a":{"allOf":[{"$ref":"#/$defs/E"}],"description":"D"}},"required":["a"]}"##,
            r##"{"$defs":{"E":{"type":"integer"}},"type":"object","properties":{"a":{"anyOf":[{"$ref":"#/$defs/E"}],"description":"D"}},"required":["a"],"additionalProperties":false}"##,
        );
        // What need not be there may be null instead, where all has to be there.
        each(
            r#"{"properties":{"a":{"type":"string"},"b":{"enum":["x"]},"c":{"anyOf":[{"type":"string"}]}},"required":["a"]}"#,
            r#"{"properties":{"a":{"type":"string"},"b":{"anyOf":[{"enum":["x"]},{"type":"null"}]},"c":{"anyOf":[{"type":"string"},{"type":"null"}]}},"type":"object","required":["a","b","c"],"additionalProperties":false}"#,
            r#"{"properties":{"a":{"type":"string"},"b":{"enum":["x"]},"c":{"anyOf":[{"type":"string"}]}},"type":"object","required":["a"],"additionalProperties":false}"#,
        );
    }

    #[test]
    fn what_cannot_be_said_is_refused_with_its_place() {
        for vendor in ["openai", "anthropic"] {
            refused(vendor, &of_one(r#"{"type":"object"}"#), "place=`a`");
            refused(
                vendor,
                &of_one(r#"{"type":"object","additionalProperties":{"type":"number"}}"#),
                "names are not known before",
            );
            refused(vendor, &of_one("{}"), "it may be anything");
            refused(
                vendor,
                &of_one(r#"{"type":"array","items":{}}"#),
                "place=`a[]`",
            );
            refused(
                vendor,
                &of_one(r#"{"type":"object","properties":{},"patternProperties":{"^x":{}}}"#),
                "`patternProperties`",
            );
        }
        let tree = r##"{"$defs":{"N":{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/N"}}},"required":["kids"]}},"type":"object","properties":{"a":{"$ref":"#/$defs/N"}},"required":["a"]}"##;
        refused("anthropic", tree, "it contains itself");
        assert!(wire("openai", tree).is_ok());
        let deep = (0..11).fold(r#"{"type":"string"}"#.to_owned(), |inner, _| of_one(&inner));
        refused("openai", &deep, "10 deep");
        assert!(wire("anthropic", &deep).is_ok());
        let flatter = (0..10).fold(r#"{"type":"string"}"#.to_owned(), |inner, _| of_one(&inner));
        assert!(wire("openai", &flatter).is_ok());
        let many = |count: usize, property: &str| {
            let all = (0..count).map(|n| format!(r#""p{n}":{property}"#));
            let all = all.collect::<Vec<_>>().join(",");
            format!(r#"{{"type":"object","properties":{{{all}}}}}"#)
        };
        assert!(wire("anthropic", &many(24, r#"{"type":"string"}"#)).is_ok());
        refused(
            "anthropic",
            &many(25, r#"{"type":"string"}"#),
            "it has 25 properties that need not be there, of which the provider takes 24",
        );
        assert!(wire("anthropic", &many(16, r#"{"type":["string","null"]}"#)).is_ok());
        refused(
            "anthropic",
            &many(17, r#"{"type":["string","null"]}"#),
            "it has 17 places of several types",
        );
    }

    /// A schema that refers to the first of `levels` definitions, of which each has two places for the next.
    fn staircase(levels: usize, last: &str) -> String {
        let step = |n: usize| {
            let next = match n + 1 {
                next if next < levels => format!(r##"{{"$ref":"#/$defs/L{next}"}}"##),
                _ => last.to_owned(),
            };
            let properties =
                format!(r#"{{"a":{next},"b":{{"anyOf":[{next},{{"type":"null"}}]}}}}"#);
            format!(r#""L{n}":{{"type":"object","properties":{properties},"required":["a","b"]}}"#)
        };
        let all = (0..levels).map(step).collect::<Vec<_>>().join(",");
        format!(
            r##"{{"$defs":{{{all}}},"type":"object","properties":{{"a":{{"$ref":"#/$defs/L0"}}}},"required":["a"]}}"##
        )
    }

    #[test]
    fn depth_is_counted_through_references() {
        assert!(wire("openai", &staircase(9, r#"{"type":"string"}"#)).is_ok());
        refused("openai", &staircase(10, r#"{"type":"string"}"#), "10 deep");
        refused(
            "openai",
            &staircase(9, r#"{"type":"array","items":{"type":"string"}}"#),
            "place=`a`, reason=`objects and lists may lie 10 deep",
        );
        let anthropic = wire("anthropic", &staircase(12, r#"{"type":"string"}"#));
        assert!(anthropic.is_ok(), "{anthropic:?}");
        // What contains itself has no end, and goes round once.
        assert!(wire("openai", &staircase(9, r##"{"$ref":"#/$defs/L0"}"##)).is_ok());
        refused("openai", &staircase(10, r##"{"$ref":"#"}"##), "10 deep");
    }

    /// A schema of one property that is a list of choices.
    fn choices(values: impl Iterator<Item = String>) -> String {
        let values = values
            .map(|value| format!("\"{value}\""))
            .collect::<Vec<_>>();
        of_one(&format!(r#"{{"enum":[{}]}}"#, values.join(",")))
    }

    #[test]
    fn sizes_are_counted_as_strict_mode_counts_them() {
        assert!(wire("openai", &choices((0..1000).map(|n| format!("w{n}")))).is_ok());
        refused(
            "openai",
            &choices((0..1001).map(|n| format!("w{n}"))),
            "1001 values",
        );
        // More than 250 choices have 15,000 characters in all.
        let words =
            |count: usize, chars: usize| choices((0..count).map(move |n| format!("{n:0chars$}")));
        assert!(wire("openai", &words(250, 100)).is_ok());
        assert!(wire("openai", &words(300, 50)).is_ok());
        refused(
            "openai",
            &words(251, 100),
            "its 251 values have 25100 characters",
        );
        let properties = |count: usize, chars: usize| {
            let all = (0..count).map(|n| format!(r#""{n:0chars$}":{{"type":"string"}}"#));
            let all = all.collect::<Vec<_>>().join(",");
            format!(r#"{{"type":"object","properties":{{{all}}}}}"#)
        };
        assert!(wire("openai", &properties(5000, 4)).is_ok());
        refused("openai", &properties(5001, 4), "it has 5001 properties");
        assert!(wire("openai", &properties(1200, 100)).is_ok());
        refused(
            "openai",
            &properties(1201, 100),
            "it has 120100 characters in its names and choices",
        );
        // Anthropic sets no such limits.
        assert!(wire("anthropic", &words(1001, 100)).is_ok());
    }
}
