//! What `OpenAPI` 3.0 and draft 4 say otherwise than JSON Schema does today: generators still write it, and a
//! validator that knows nothing of it would let no null pass, or refuse the schema.

use super::subschemas::with_each;
use crate::base::Json;

/// `schema` in the words of today: `nullable: true` as null beside the other types, and
/// `exclusiveMinimum: true` as a bound. A schema that has neither is the same.
#[must_use]
pub fn of_today(schema: &Json) -> Json {
    let schema = with_each(schema, &of_today);
    let Json::Map(mut pairs) = schema else {
        return schema;
    };
    for (key, bound) in [
        ("exclusiveMinimum", "minimum"),
        ("exclusiveMaximum", "maximum"),
    ] {
        exclude(&mut pairs, key, bound);
    }
    let Some(Json::Bool(nullable)) = get(&pairs, "nullable") else {
        return Json::Map(pairs);
    };
    let nullable = *nullable;
    pairs.retain(|(key, _)| key != "nullable");
    Json::Map(if nullable { or_null(pairs) } else { pairs })
}

type Pairs = Vec<(String, Json)>;

fn get<'p>(pairs: &'p Pairs, key: &str) -> Option<&'p Json> {
    let mut pairs = pairs.iter();
    pairs.find(|(name, _)| name == key).map(|(_, value)| value)
}

/// Where `key` is a flag, it says whether the bound itself is out.
fn exclude(pairs: &mut Pairs, key: &str, bound: &str) {
    let Some(Json::Bool(is_out)) = get(pairs, key) else {
        return;
    };
    let is_out = *is_out;
    pairs.retain(|(name, _)| name != key);
    if let Some((name, _)) = pairs.iter_mut().find(|(name, _)| name == bound)
        && is_out
    {
        key.clone_into(name);
    }
}

/// The same, or null.
fn or_null(mut pairs: Pairs) -> Pairs {
    let null = || Json::Text("null".into());
    let of_null = || Json::Map(vec![("type".into(), null())]);
    let is_plain = !["$ref", "anyOf", "oneOf", "allOf", "const"]
        .iter()
        .any(|key| get(&pairs, key).is_some());
    if !is_plain {
        let (beside, own): (Pairs, Pairs) = pairs.into_iter().partition(|(key, _)| {
            ["title", "description", "default", "$defs", "definitions"].contains(&key.as_str())
        });
        let either = Json::List(vec![Json::Map(own), of_null()]);
        return beside
            .into_iter()
            .chain([("anyOf".into(), either)])
            .collect();
    }
    for (key, value) in &mut pairs {
        match (key.as_str(), value) {
            ("type", value @ Json::Text(_)) if *value != null() => {
                *value = Json::List(vec![value.clone(), null()]);
            }
            ("type", Json::List(all)) if !all.contains(&null()) => all.push(null()),
            ("enum", Json::List(all)) if !all.contains(&Json::Null) => all.push(Json::Null),
            _ => {}
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schema: &str, expect: &str) {
        let schema = Json::parse(schema).expect("JSON");
        let today = of_today(&schema);
        assert_eq!(today.to_string(), expect);
        assert_eq!(of_today(&today), today, "it is of today");
    }

    #[test]
    fn nullable_is_null_beside_the_other_types() {
        check(
            r#"{"type":"string","nullable":true}"#,
            r#"{"type":["string","null"]}"#,
        );
        check(
            r#"{"type":"string","nullable":false}"#,
            r#"{"type":"string"}"#,
        );
        check(
            r#"{"type":"string","enum":["a"],"nullable":true}"#,
            r#"{"type":["string","null"],"enum":["a",null]}"#,
        );
        check(
            r##"{"properties":{"a":{"$ref":"#/x","nullable":true,"description":"d"}}}"##,
            r##"{"properties":{"a":{"description":"d","anyOf":[{"$ref":"#/x"},{"type":"null"}]}}}"##,
        );
        check(
            r##"{"items":{"allOf":[{"$ref":"#/x"}],"nullable":true}}"##,
            r##"{"items":{"anyOf":[{"allOf":[{"$ref":"#/x"}]},{"type":"null"}]}}"##,
        );
        check(
            r#"{"anyOf":[{"type":"string"},{"type":"string","nullable":true,"enum":[null]}]}"#,
            r#"{"anyOf":[{"type":"string"},{"type":["string","null"],"enum":[null]}]}"#,
        );
    }

    #[test]
    fn a_flag_is_a_bound_of_its_own() {
        check(
            r#"{"minimum":0,"exclusiveMinimum":true,"maximum":9,"exclusiveMaximum":false}"#,
            r#"{"exclusiveMinimum":0,"maximum":9}"#,
        );
        check(r#"{"exclusiveMinimum":0}"#, r#"{"exclusiveMinimum":0}"#);
    }

    #[test]
    fn names_and_values_stay() {
        let schema = r#"{"properties":{"nullable":{"type":"boolean"},"b":{"enum":[{"nullable":true}]}},"default":{"nullable":true}}"#;
        check(schema, schema);
    }
}
