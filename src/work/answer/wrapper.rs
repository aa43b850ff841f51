//! The object within which an answer that is none itself is asked for: every provider wants one.

use super::json_schema;
use crate::base::Json;

/// The property that holds the answer.
pub(super) const PROPERTY: &str = "answer";

/// The schema of an object that holds a value of `schema` alone. Definitions stay where references look
/// for them; what refers to the whole finds it where it is now.
pub(super) fn wrapped(schema: &Json) -> Json {
    let is_definition = |key: &str| json_schema::DEFINITIONS.contains(&key);
    let schema = json_schema::moved(schema, &format!("#/properties/{PROPERTY}"));
    let (definitions, own): (Vec<_>, Vec<_>) = schema
        .map()
        .iter()
        .cloned()
        .partition(|(key, _)| is_definition(key));
    let text = |text: &str| Json::Text(text.to_owned());
    let mut object = vec![
        ("type".to_owned(), text("object")),
        (
            "properties".to_owned(),
            Json::Map(vec![(PROPERTY.to_owned(), Json::Map(own))]),
        ),
        ("required".to_owned(), Json::List(vec![text(PROPERTY)])),
        ("additionalProperties".to_owned(), Json::Bool(false)),
    ];
    object.extend(definitions);
    Json::Map(object)
}
