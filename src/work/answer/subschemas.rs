//! Which parts of a schema are schemas themselves. Names of properties and values that are listed may look
//! like keywords, and are none.

use crate::base::Json;

/// Keywords whose value is a schema.
const ONE: [&str; 11] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
    "not",
    "if",
    "then",
    "else",
];

/// Keywords whose value is a list of schemas.
const LISTS: [&str; 5] = ["anyOf", "oneOf", "allOf", "prefixItems", "items"];

/// Keywords whose value is an object of schemas by name.
const MAPS: [&str; 5] = [
    "properties",
    "patternProperties",
    "dependentSchemas",
    "$defs",
    "definitions",
];

/// `schema` with each schema that stands in it as `change` makes it.
pub(super) fn with_each(schema: &Json, change: &dyn Fn(&Json) -> Json) -> Json {
    let Json::Map(pairs) = schema else {
        return schema.clone();
    };
    let pairs = pairs.iter().map(|(key, value)| {
        let is = |keys: &[&str]| keys.contains(&key.as_str());
        let value = match value {
            Json::List(all) if is(&LISTS) => Json::List(all.iter().map(change).collect()),
            Json::Map(all) if is(&MAPS) => {
                let all = all.iter();
                Json::Map(all.map(|(name, one)| (name.clone(), change(one))).collect())
            }
            one if is(&ONE) => change(one),
            other => other.clone(),
        };
        (key.clone(), value)
    });
    Json::Map(pairs.collect())
}
