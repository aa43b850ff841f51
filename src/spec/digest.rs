//! Fingerprints of a job: what makes it the same job as last time.
//!
//! | part | holds | a change means |
//! |---|---|---|
//! | plan | source, prompt, answer, model and params, service, vars | a new plan |
//! | output | path and layout | the same answers, published again |
//!
//! Connection, polling, caching, ledger and budget settings are in neither: they take effect at once. A
//! fingerprint is a hash of canonical JSON, in which every field is named here and not derived, so
//! that a field added to [`Job`] later changes no old fingerprint.

use serde_json::{Map, Value, json};
use url::Url;

use crate::work::{AnswerType, Precision};

use super::job::{Job, LayoutSpec, Meta, SourceInput};

/// The fingerprints of a job, by part. Hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// Changes when a new plan is needed.
    pub plan: String,
    /// Changes when the same answers are to be published in another way.
    pub output: String,
}

/// The version of the rule by which a plan's fingerprint is made.
const PLAN_VERSION: &str = "columnist plan fingerprint 1";
/// The version of the rule by which an output's fingerprint is made.
const OUTPUT_VERSION: &str = "columnist output fingerprint 1";

impl Job {
    /// The fingerprints of this job.
    ///
    /// A vendor's own environment variable for its base URL is not seen here: whoever compares
    /// plans compares the service that the provider reports as well.
    #[must_use]
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints {
            plan: hash(PLAN_VERSION, &self.plan_part()),
            output: hash(OUTPUT_VERSION, &self.output_part()),
        }
    }

    fn plan_part(&self) -> Value {
        let mut part = json!({
            "source": self.source_part(),
            "prompt": self.prompt_part(),
            "answer": {
                "column": self.answer.column,
                "type": answer_part(&self.answer.answer),
                "meta": match self.answer.meta {
                    Meta::Off => "off",
                    Meta::Minimal => "minimal",
                    Meta::Full => "full",
                },
            },
            "model": {
                "model": self.model.model,
                "max_output_tokens": self.model.max_output_tokens,
                "temperature": self.model.temperature,
                "params": self.model.params,
                "provider": self.model.provider,
                "service": self.service(),
            },
            "vars": self.vars,
        });
        if let Some(embedding) = &self.answer.embedding {
            let asked = (embedding.too_long, embedding.max_input_tokens);
            part["answer"]["too_long"] = json!(asked);
        }
        part
    }

    /// What is newer than the first version is left out where nothing is said. The examples of a table
    /// are part of what requests share, and compared there.
    fn prompt_part(&self) -> Value {
        let prompt = &self.prompt;
        let mut part = json!({
            "system": prompt.system,
            "user": prompt.user,
            "dedupe": prompt.dedupe,
        });
        if !prompt.examples.is_empty() {
            part["examples"] = json!(prompt.examples);
        }
        if let Some(prefix) = &prompt.assistant_prefix {
            part["assistant_prefix"] = json!(prefix);
        }
        for (name, columns) in [("images", &prompt.images), ("documents", &prompt.documents)] {
            if !columns.is_empty() {
                part[name] = json!(columns);
            }
        }
        part
    }

    fn source_part(&self) -> Value {
        let source = &self.source;
        let mut part = json!({
            "input": input_part(&source.input),
            "key": source.key,
            "where": source.filter,
            "limit": source.limit,
        });
        if let Some(sample) = source.sample {
            part["sample"] = json!({ "rows": sample.rows, "seed": sample.seed });
        }
        // Left out where nothing is said, so that older plans keep their fingerprints.
        if !source.types.is_empty() {
            part["types"] = json!(source.types);
        }
        if let Some(delimiter) = source.delimiter {
            part["delimiter"] = json!(delimiter);
        }
        part
    }

    fn output_part(&self) -> Value {
        let layout = self.output.layout.map(|layout| match layout {
            LayoutSpec::Mirror => "mirror",
            LayoutSpec::Single => "single",
            // Its older name: a fingerprint does not change with a word.
            LayoutSpec::Keyed => "delta",
        });
        let mut part = json!({ "path": self.output.path, "layout": layout });
        // What is new stands there only where it is used, so that older outputs are known again.
        if let Some(prefix) = &self.answer.flatten {
            part["flatten"] = json!(prefix);
        }
        if self.answer.trim {
            part["trim"] = json!(true);
        }
        if let Some((_, precision @ Precision::Half)) = self.answer.vector() {
            part["precision"] = json!(precision);
        }
        part
    }

    /// Whose model it is, as far as the job says: a name, the origin of a base URL, or the
    /// provider itself.
    fn service(&self) -> String {
        let origin = |url: &String| Url::parse(url).map(|url| url.origin().ascii_serialization());
        self.model
            .service
            .clone()
            .or_else(|| {
                self.model
                    .base_url
                    .as_ref()
                    .and_then(|url| origin(url).ok())
            })
            .unwrap_or_else(|| self.model.provider.clone())
    }
}

/// The file that a query was read from is not part of it: its text is.
fn input_part(input: &SourceInput) -> Value {
    match input {
        SourceInput::Table(table) => json!({ "table": table }),
        SourceInput::Query { sql, tables, .. } => json!({ "sql": sql, "tables": tables }),
    }
}

fn answer_part(answer: &AnswerType) -> Value {
    match answer {
        AnswerType::Text => json!("text"),
        AnswerType::BoundedText(bounds) => json!({ "bounded_text": bounds }),
        // As it was before there was more to say of a choice.
        AnswerType::Choice(answer) if answer.is_plain() => json!({ "choice": answer.choices }),
        AnswerType::Choice(answer) => json!({ "choice": answer }),
        AnswerType::Json(answer) => json!({ "json": answer }),
        AnswerType::Embedding {
            dimensions,
            shortened,
        } => json!({ "embedding": { "dimensions": dimensions, "shortened": shortened } }),
    }
}

fn hash(version: &str, part: &Value) -> String {
    let mut text = String::new();
    canonical(part, &mut text);
    let mut hasher = blake3::Hasher::new_derive_key(version);
    hasher.update(text.as_bytes());
    hasher.finalize().to_hex()[..32].to_owned()
}

/// JSON without blanks, the keys of every object sorted.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(object) => canonical_object(object, out),
        Value::Array(list) => {
            out.push('[');
            for (n, item) in list.iter().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

fn canonical_object(object: &Map<String, Value>, out: &mut String) {
    let mut keys: Vec<&String> = object.keys().collect();
    keys.sort();
    out.push('{');
    for (n, key) in keys.into_iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(key.as_str()).to_string());
        out.push(':');
        canonical(&object[key], out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_is_sorted_at_every_depth() {
        let value = json!({ "b": [{ "z": 1, "a": null }], "a": { "y": 0.0, "x": "\"\n" } });
        let mut text = String::new();
        canonical(&value, &mut text);
        assert_eq!(text, r#"{"a":{"x":"\"\n","y":0.0},"b":[{"a":null,"z":1}]}"#);
    }
}
