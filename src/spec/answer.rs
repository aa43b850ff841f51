//! `[answer]`: the new column, its type, and the columns beside it.

use std::collections::BTreeMap;

use super::defaults;

use super::file::{Node, Value, in_order};
use super::job::{AnswerSpec, Meta, SourceSpec};
use super::reader::{Reader, Word};
use crate::base::Json;
use crate::work::answer::{Asked, JsonAnswer, TextBounds, of_today, without_titles};
use crate::work::{AnswerType, Judge};

/// The types that `answer.type` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeWord {
    Text,
    Choice,
    Json,
    Embedding,
    /// One value of this JSON Schema.
    One(&'static str),
}

impl TypeWord {
    const ALL: [(&'static str, Word<TypeWord>); 7] = [
        ("text", Word::Means(TypeWord::Text)),
        ("choice", Word::Means(TypeWord::Choice)),
        ("number", Word::Means(TypeWord::One(r#"{"type":"number"}"#))),
        (
            "boolean",
            Word::Means(TypeWord::One(r#"{"type":"boolean"}"#)),
        ),
        (
            "date",
            Word::Means(TypeWord::One(r#"{"type":"string","format":"date"}"#)),
        ),
        ("json", Word::Means(TypeWord::Json)),
        ("embedding", Word::Means(TypeWord::Embedding)),
    ];

    /// The type of answer whose keys it has.
    fn family(self) -> &'static str {
        match self {
            TypeWord::Text => "text",
            TypeWord::Choice => "choice",
            TypeWord::Json => "json",
            TypeWord::Embedding => "embedding",
            TypeWord::One(_) => "",
        }
    }
}

/// The word of `answer.type` for one value of `schema`, if there is one.
#[must_use]
pub fn one_value(schema: &str) -> Option<&'static str> {
    let is = |word: &TypeWord| matches!(word, TypeWord::One(own) if *own == schema);
    let mut all = TypeWord::ALL.iter();
    let found = all.find(|(_, word)| matches!(word, Word::Means(word) if is(word)));
    found.map(|(name, _)| *name)
}

/// Keys that one type of answer alone has, and that type.
const APART: [(&str, &str); 16] = [
    ("answer.choices", "choice"),
    ("answer.multiple", "choice"),
    ("answer.min", "choice"),
    ("answer.max", "choice"),
    ("answer.other", "choice"),
    ("answer.trim", "text"),
    ("answer.max_chars", "text"),
    ("answer.fields", "json"),
    ("answer.schema", "json"),
    ("answer.schema_file", "json"),
    ("answer.types", "json"),
    ("answer.flatten", "json"),
    ("answer.prefix", "json"),
    ("answer.dimensions", "embedding"),
    ("answer.precision", "embedding"),
    ("answer.too_long", "embedding"),
];

/// An answer of `schema`, as it stands.
fn json_of(schema: String) -> JsonAnswer {
    JsonAnswer {
        schema,
        types: BTreeMap::new(),
        asked: Asked::default(),
    }
}

/// What of a schema makes the question.
fn asked(schema: &Json) -> String {
    without_titles(&of_today(schema)).to_string()
}

/// What is told who wrote a schema that is no JSON.
const SCHEMA_ADVICE: &str = "a schema is a JSON object, such as \
                             `{ \"type\": \"object\", \"properties\": { \"total\": { \"type\": \"number\" } } }`";

/// What says which fields a JSON answer has; one of them does.
const SCHEMAS: [&str; 3] = ["answer.fields", "answer.schema", "answer.schema_file"];

impl Reader<'_> {
    pub(super) fn answer(&mut self, source: Option<&SourceSpec>) -> Option<AnswerSpec> {
        let metas = [
            ("off", Word::Means(Meta::Off)),
            ("minimal", Word::Means(Meta::Minimal)),
            ("full", Word::Means(Meta::Full)),
        ];
        let meta = self.word("answer.meta", &metas).unwrap_or(defaults::META);
        let trim = self.bool("answer.trim").unwrap_or(false);
        let answer = self.answer_type(trim);
        if self.node("answer.column").is_none() {
            self.missing("answer.column", "");
        }
        let column = self.plain_text("answer.column");
        let flatten = self.flatten(answer.as_ref(), column.as_deref());
        let embedding = self.embedding_spec(answer.as_ref());
        let again = self.asked_again(answer.as_ref());
        let spec = AnswerSpec {
            column: column?,
            answer: answer?,
            flatten,
            trim,
            embedding,
            meta,
            reask: again.reask,
            reask_model: again.model,
            grow_output_tokens: again.grow,
        };
        self.keep_columns_apart(&spec, source);
        Some(spec)
    }

    /// Left out, the type follows from what else is there: choices, fields or a schema.
    fn answer_type(&mut self, trim: bool) -> Option<AnswerType> {
        let has = |path| self.node(path).is_some();
        let has_schema = SCHEMAS.into_iter().any(has);
        let likely = match (has("answer.choices"), has_schema) {
            (true, _) => TypeWord::Choice,
            (_, true) => TypeWord::Json,
            _ if has("answer.dimensions") => TypeWord::Embedding,
            _ => TypeWord::Text,
        };
        let written = has("answer.type");
        let word = match self.word("answer.type", &TypeWord::ALL) {
            Some(word) => word,
            None if written => return None,
            None => likely,
        };
        let before = self.mistakes.len();
        for (path, own) in APART {
            if own != word.family() {
                self.refuse_beside_type(path, (own, word));
            }
        }
        if self.mistakes.len() > before {
            return None;
        }
        let answer = match word {
            TypeWord::Text => self.text_answer(trim),
            TypeWord::Choice if self.node("answer.choices").is_none() => {
                self.missing("answer.choices", ": the answer's type is `choice`");
                return None;
            }
            TypeWord::Choice => AnswerType::Choice(self.choice()?),
            TypeWord::One(schema) => AnswerType::Json(json_of(schema.to_owned())),
            TypeWord::Json => AnswerType::Json(self.json_answer()?),
            TypeWord::Embedding => self.embedding_type(),
        };
        Some(answer.asked_by(self.asked()))
    }

    /// A text, and how long it may be.
    fn text_answer(&mut self, trimmed: bool) -> AnswerType {
        match self.count("answer.max_chars", 1, u64::MAX) {
            None => AnswerType::Text,
            Some(max_chars) => AnswerType::BoundedText(TextBounds { max_chars, trimmed }),
        }
    }

    /// How the model is told what its answer must be: a server may have no structured output.
    fn asked(&mut self) -> Asked {
        let ways = [
            ("schema", Word::Means(Asked::Schema)),
            ("prompt", Word::Means(Asked::Prompt)),
        ];
        self.word("model.structured_output", &ways)
            .unwrap_or_default()
    }

    fn refuse_beside_type(&mut self, path: &str, (own, word): (&str, TypeWord)) {
        if self.node(path).is_none() {
            return;
        }
        let mut all = TypeWord::ALL.iter();
        let name = all.find(|(_, known)| matches!(known, Word::Means(known) if *known == word));
        let name = name.map_or("", |(name, _)| *name);
        self.refuse(
            path,
            format!("`{path}` is given for an answer of type `{name}`"),
            format!("write `type = \"{own}\"`, or take it out"),
        );
    }

    fn json_answer(&mut self) -> Option<JsonAnswer> {
        let given: Vec<_> = SCHEMAS
            .into_iter()
            .filter(|path| self.node(path).is_some())
            .collect();
        let mut answer = match given[..] {
            [] => {
                self.missing("answer.fields", ": the answer's type is `json`");
                return None;
            }
            ["answer.fields"] => self.fields()?,
            ["answer.schema"] => json_of(self.schema_inline()?),
            [_] => json_of(self.schema_file()?),
            [first, second, ..] => {
                let problem = format!("`{first}` and `{second}` are both given");
                self.refuse(second, problem, "take one of them out");
                return None;
            }
        };
        answer.types.extend(self.answer_types());
        match Judge::new(&AnswerType::Json(answer.clone())) {
            Ok(_) => Some(answer),
            Err(error) => {
                let hint = match given[0] {
                    "answer.fields" => "each field has a name of its own, compared without case",
                    _ => error.hint_text().unwrap_or_default(),
                };
                let hint = hint.to_owned();
                self.refuse(given[0], error.to_string(), hint);
                None
            }
        }
    }

    fn schema_file(&mut self) -> Option<String> {
        let (_, text) = self.text_file("answer.schema_file")?;
        self.schema_text("answer.schema_file", &text)
    }

    fn schema_inline(&mut self) -> Option<String> {
        let node = self.node("answer.schema")?;
        match &node.value {
            Value::Text(text) => self.schema_text("answer.schema", text),
            Value::Table(_) => json(node).map(|json| asked(&json)),
            _ => {
                self.wrong_type(
                    "answer.schema",
                    node,
                    "a JSON Schema, as a table or as text",
                );
                None
            }
        }
    }

    fn schema_text(&mut self, path: &str, text: &str) -> Option<String> {
        let text = text.trim_start_matches('\u{feff}');
        match serde_json::from_str::<Json>(text) {
            Ok(schema) => Some(asked(&schema)),
            Err(error) => {
                let problem = format!("`{path}` is not JSON: {error}");
                self.refuse(path, problem, SCHEMA_ADVICE);
                None
            }
        }
    }

    fn answer_types(&mut self) -> BTreeMap<String, String> {
        let mut types = BTreeMap::new();
        for (place, node) in self.table("answer.types").into_iter().flatten() {
            match &node.value {
                Value::Text(name) => {
                    types.insert(place.clone(), name.clone());
                }
                other => {
                    let problem = format!(
                        "`answer.types.{place}` must be the name of a type, found {}",
                        other.describe()
                    );
                    self.wrong(&node.at, problem, self.suggestion("answer.types"));
                }
            }
        }
        types
    }

    /// What the columns of the fields begin with, where each has one.
    fn flatten(&mut self, answer: Option<&AnswerType>, column: Option<&str>) -> Option<String> {
        let flatten = self.bool("answer.flatten").unwrap_or(false);
        let prefix = self.text("answer.prefix");
        if prefix.is_some() && !flatten {
            let problem = "`answer.prefix` names the columns of `answer.flatten`".to_owned();
            self.refuse(
                "answer.prefix",
                problem,
                "write `flatten = true`, or take it out",
            );
        }
        let is_struct = matches!(answer?.value(), Ok(Some(value)) if value.is_struct());
        if flatten && !is_struct {
            let problem = "`answer.flatten` needs an answer that has fields".to_owned();
            self.refuse("answer.flatten", problem, "take it out");
            return None;
        }
        flatten.then(|| prefix.unwrap_or_else(|| format!("{}_", column.unwrap_or_default())))
    }

    /// The new columns and the key's columns stand in one table. (The other columns of the source
    /// are compared when the source is known.)
    fn keep_columns_apart(&mut self, spec: &AnswerSpec, source: Option<&SourceSpec>) {
        let new = spec.columns().unwrap_or_default();
        for (at, name) in new.iter().enumerate() {
            let is_same = |other: &String| other.to_lowercase() == name.to_lowercase();
            let key = source.map_or(&[][..], |source| &source.key);
            if key.iter().any(is_same) {
                let problem = format!("the new column `{name}` is a column of the key already");
                self.refuse("answer.column", problem, "choose another name");
            }
            if new[..at].iter().any(is_same) {
                let problem = format!("two new columns have the name `{name}`");
                self.refuse(
                    "answer.column",
                    problem,
                    "choose another name, or another prefix",
                );
            }
        }
    }
}

/// A TOML value as JSON. TOML has no null, and JSON no dates.
fn json(node: &Node) -> Option<Json> {
    Some(match &node.value {
        Value::Text(text) | Value::Date(text) => Json::Text(text.clone()),
        Value::Integer(number) => Json::Number(i64::try_from(*number).ok()?.into()),
        Value::Float(number) => Json::Number(serde_json::Number::from_f64(*number)?),
        Value::Bool(value) => Json::Bool(*value),
        Value::List(items) => Json::List(items.iter().map(json).collect::<Option<_>>()?),
        Value::Table(table) => {
            let pairs = in_order(table).into_iter();
            let pairs = pairs.map(|(name, node)| Some((name.clone(), json(node)?)));
            Json::Map(pairs.collect::<Option<_>>()?)
        }
    })
}
