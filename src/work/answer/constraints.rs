//! What a schema says beyond types: bounds, lengths, patterns, formats. Checked on arrival, whatever the
//! provider was told of it.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;

use super::reader::Misfit;
use super::subschemas::with_each;
use crate::base::{Json, in_short, percent_encode_fragment};

/// The constraints of one schema.
#[derive(Clone, Debug)]
pub(super) struct Constraints(Arc<Validator>);

impl Constraints {
    /// The constraints of `schema`.
    ///
    /// # Errors
    /// What is wrong with the schema, in a sentence.
    pub(super) fn of(schema: &Json) -> Result<Self, String> {
        compiled(&relaxed(schema)).map(Constraints)
    }

    /// Passes if `text`, a value that was read by its type already and has the words of choices as the schema
    /// writes them, keeps to the constraints.
    ///
    /// # Errors
    /// What does not, and where.
    pub(super) fn check(&self, text: &str) -> Result<(), Misfit> {
        let instance: Value = serde_json::from_str(text).map_err(|error| Misfit {
            path: String::new(),
            why: format!("it is not JSON: {error}"),
        })?;
        self.0.validate(&instance).map_err(|error| Misfit {
            path: path(error.instance_path().as_str()),
            why: in_short(&error.to_string()).into_owned(),
        })
    }
}

fn compiled(schema: &Json) -> Result<Arc<Validator>, String> {
    let schema: Value =
        serde_json::from_str(&schema.to_string()).map_err(|error| error.to_string())?;
    let options = jsonschema::options().should_validate_formats(true);
    let validator = options.build(&schema);
    validator
        .map(Arc::new)
        .map_err(|error| in_short(&error.to_string()).into_owned())
}

/// Formats that the type of a value stands for; it is read more strictly, or, as for times without a
/// zone, less.
const TYPED: [&str; 3] = ["date", "date-time", "time"];

/// `schema`, in which what need not be there may be null as well, for providers want every property.
fn relaxed(schema: &Json) -> Json {
    let Json::Map(pairs) = with_each(schema, &relaxed) else {
        return schema.clone();
    };
    let required = schema.get("required").map(Json::list).unwrap_or_default();
    let is_required = |name: &str| required.iter().any(|item| item.text() == Some(name));
    let pairs = pairs.into_iter().filter_map(|(key, value)| {
        let value = match (key.as_str(), value) {
            ("format", Json::Text(name)) if TYPED.contains(&name.as_str()) => return None,
            ("properties", Json::Map(properties)) => {
                let properties = properties.into_iter().map(|(name, value)| {
                    let needed = is_required(&name);
                    (name, if needed { value } else { or_null(value) })
                });
                Json::Map(properties.collect())
            }
            // Names are written there as they are by some.
            ("$ref", Json::Text(name)) => Json::Text(match name.strip_prefix('#') {
                Some(place) => format!("#{}", percent_encode_fragment(place)),
                None => name,
            }),
            (_, value) => value,
        };
        Some((key, value))
    });
    Json::Map(pairs.collect())
}

fn or_null(schema: Json) -> Json {
    let null = Json::Map(vec![("type".into(), Json::Text("null".into()))]);
    Json::Map(vec![("anyOf".into(), Json::List(vec![schema, null]))])
}

/// A JSON pointer as our paths are written: `/lines/0/qty` as `lines[0].qty`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        let name = step.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()) {
            path = format!("{path}[{name}]");
        } else {
            path = super::json_schema::below(&path, &name);
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::{json_schema, reader};
    use super::*;

    fn check(schema: &str, text: &str) -> Result<(), String> {
        let schema = Json::parse(schema).expect("JSON");
        let value = json_schema::read(&schema).expect("a schema").value;
        let constraints = Constraints::of(&schema)?;
        let said = reader::as_asked(text, &value).expect("a value");
        constraints
            .check(&said)
            .map_err(|misfit| misfit.to_string())
    }

    #[test]
    fn what_goes_beyond_types_is_checked() {
        for (schema, good, bad, why) in [
            (
                r#"{"type":"integer","minimum":1,"maximum":5}"#,
                "5",
                "6",
                "6 is greater than the maximum of 5",
            ),
            (
                r#"{"type":"string","pattern":"^[A-Z]{2}$"}"#,
                r#""DE""#,
                r#""de""#,
                r#""de" does not match "^[A-Z]{2}$""#,
            ),
            (
                r#"{"type":"string","maxLength":2}"#,
                r#""ab""#,
                r#""abc""#,
                r#""abc" is longer than 2 characters"#,
            ),
            (
                r#"{"type":"string","format":"uuid"}"#,
                r#""67e55044-10b1-426f-9247-bb680e5fe0c8""#,
                r#""67e5""#,
                r#""67e5" is not a "uuid""#,
            ),
            (
                r#"{"type":"array","items":{"type":"integer"},"maxItems":1}"#,
                "[1]",
                "[1,2]",
                "[1,2] has more than 1 item",
            ),
            (
                r#"{"properties":{"lines":{"type":"array","items":{"properties":{"qty":{"type":"integer","minimum":0}},"required":["qty"]}}},"required":["lines"]}"#,
                r#"{"lines":[{"qty":0}]}"#,
                r#"{"lines":[{"qty":0},{"qty":-1}]}"#,
                "lines[1].qty: -1 is less than the minimum of 0",
            ),
        ] {
            assert_eq!(check(schema, good), Ok(()), "{schema}");
            assert_eq!(check(schema, bad), Err(why.into()), "{schema}");
        }
    }

    #[test]
    fn null_stands_for_what_need_not_be_there_and_a_word_may_differ_in_case() {
        let schema = r#"{"properties":{"a":{"type":"integer","minimum":3},"b":{"enum":["Yes","No"]}},"required":["b"]}"#;
        assert_eq!(check(schema, r#"{"a":null,"b":"yes"}"#), Ok(()));
        assert!(check(schema, r#"{"a":2,"b":"yes"}"#).is_err());
        let time = r#"{"type":"string","format":"time"}"#;
        assert_eq!(check(time, r#""12:30:00""#), Ok(()));
    }

    #[test]
    fn within_json_text_words_are_exact() {
        let schema = r#"{"anyOf":[{"enum":["a"]},{"type":"integer"}]}"#;
        assert_eq!(check(schema, r#""a""#), Ok(()));
        assert!(check(schema, r#""A""#).is_err());
        // Beside it they are not.
        let beside = format!(
            r#"{{"properties":{{"x":{schema},"b":{{"enum":["Yes"]}}}},"required":["x","b"]}}"#
        );
        assert_eq!(check(&beside, r#"{"x":"a","b":"yes"}"#), Ok(()));
        assert!(check(&beside, r#"{"x":"A","b":"yes"}"#).is_err());
    }

    #[test]
    fn words_that_differ_in_case_alone_are_the_same_word_twice() {
        let schema = r#"{"type":"array","items":{"enum":["Bug","ok"]},"uniqueItems":true}"#;
        assert_eq!(check(schema, r#"["bug","OK"]"#), Ok(()));
        assert!(check(schema, r#"["bug","BUG"]"#).is_err());
    }

    #[test]
    fn names_that_are_keywords_are_names() {
        let schema = r##"{"$defs":{"properties":{"type":"integer","maximum":3},"format":{"type":"string","maxLength":1},"a b/c":{"enum":["x"]}},
            "properties":{"$ref":{"$ref":"#/$defs/properties"},"required":{"$ref":"#/$defs/format"},"enum":{"$ref":"#/$defs/a b~1c"}},
            "required":["$ref","required","enum"]}"##;
        let good = r#"{"$ref":3,"required":"a","enum":"x"}"#;
        assert_eq!(check(schema, good), Ok(()));
        for bad in [
            r#"{"$ref":4,"required":"a","enum":"x"}"#,
            r#"{"$ref":3,"required":"ab","enum":"x"}"#,
        ] {
            assert!(check(schema, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_schema_that_cannot_be_compiled_is_refused() {
        let wrong = check(r#"{"type":"string","pattern":"("}"#, r#""a""#);
        assert!(wrong.is_err_and(|why| why.contains("regex") || why.contains('(')));
    }
}
