//! `[answer]`: the new column, its type, and the columns beside it.

use std::collections::BTreeMap;

use super::defaults;
use super::file::{At, Node, Table, Value};
use super::job::{AnswerSpec, Meta, SourceSpec};
use super::reader::{Reader, Word};
use crate::base::Json;
use crate::work::answer::{FieldSpec, JsonAnswer, of_fields};
use crate::work::{AnswerType, Judge};

/// The types that `answer.type` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TypeWord {
    Text,
    Choice,
    Json,
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
        ("embedding", Word::Later),
    ];
}

/// What says which fields a JSON answer has; one of them does.
const SCHEMAS: [&str; 3] = ["answer.fields", "answer.schema", "answer.schema_file"];

impl Reader<'_> {
    pub(super) fn answer(&mut self, source: Option<&SourceSpec>) -> Option<AnswerSpec> {
        let metas = [
            ("off", Word::Means(Meta::Off)),
            ("minimal", Word::Means(Meta::Minimal)),
            ("full", Word::Later),
        ];
        let meta = self.word("answer.meta", &metas).unwrap_or(defaults::META);
        let answer = self.answer_type();
        if self.node("answer.column").is_none() {
            self.missing("answer.column", "");
        }
        let column = self.plain_text("answer.column");
        let flatten = self.flatten(answer.as_ref(), column.as_deref());
        let spec = AnswerSpec {
            column: column?,
            answer: answer?,
            flatten,
            meta,
        };
        self.keep_columns_apart(&spec, source);
        Some(spec)
    }

    /// Left out, the type follows from what else is there: choices, fields or a schema.
    fn answer_type(&mut self) -> Option<AnswerType> {
        let has = |path| self.node(path).is_some();
        let has_schema = SCHEMAS.into_iter().any(has);
        let likely = match (has("answer.choices"), has_schema) {
            (true, _) => TypeWord::Choice,
            (_, true) => TypeWord::Json,
            _ => TypeWord::Text,
        };
        let written = has("answer.type");
        let word = match self.word("answer.type", &TypeWord::ALL) {
            Some(word) => word,
            None if written => return None,
            None => likely,
        };
        let mut apart = vec![];
        if word != TypeWord::Choice {
            apart.push("answer.choices");
        }
        if word != TypeWord::Json {
            apart.extend(SCHEMAS);
            apart.extend(["answer.types", "answer.flatten", "answer.prefix"]);
        }
        let before = self.mistakes.len();
        for path in apart {
            self.refuse_beside_type(path, word);
        }
        if self.mistakes.len() > before {
            return None;
        }
        match word {
            TypeWord::Text => Some(AnswerType::Text),
            TypeWord::Choice if self.node("answer.choices").is_none() => {
                self.missing("answer.choices", ": the answer's type is `choice`");
                None
            }
            TypeWord::Choice => self.choices().map(AnswerType::choice),
            TypeWord::One(schema) => Some(AnswerType::Json(JsonAnswer {
                schema: schema.to_owned(),
                types: BTreeMap::new(),
            })),
            TypeWord::Json => self.json_answer().map(AnswerType::Json),
        }
    }

    fn refuse_beside_type(&mut self, path: &'static str, word: TypeWord) {
        if self.node(path).is_none() {
            return;
        }
        let name = |of: TypeWord| {
            let mut all = TypeWord::ALL.iter();
            let found = all.find(|(_, word)| matches!(word, Word::Means(word) if *word == of));
            found.map_or("", |(name, _)| *name)
        };
        let (word, own) = (
            name(word),
            if path == "answer.choices" {
                "choice"
            } else {
                "json"
            },
        );
        self.refuse(
            path,
            format!("`{path}` is given for an answer of type `{word}`"),
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
            ["answer.schema"] => JsonAnswer {
                schema: self.schema_inline()?,
                types: BTreeMap::new(),
            },
            [_] => JsonAnswer {
                schema: self.schema_file()?,
                types: BTreeMap::new(),
            },
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
                let hint = error.hint_text().unwrap_or_default().to_owned();
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
            Value::Table(_) => json(node).map(|json| json.to_string()),
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
            Ok(schema) => Some(schema.to_string()),
            Err(error) => {
                let problem = format!("`{path}` is not JSON: {error}");
                self.refuse(
                    path,
                    problem,
                    "a schema is a JSON object, such as `{ \"type\": \"object\" }`",
                );
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

    fn fields(&mut self) -> Option<JsonAnswer> {
        let table = self.table("answer.fields")?;
        let before = self.mistakes.len();
        let mut fields = Vec::new();
        for (name, node) in in_order(table) {
            if let Some(field) = self.field(name, node) {
                fields.push(field);
            }
        }
        if table.is_empty() {
            let advice = self.suggestion("answer.fields");
            self.refuse("answer.fields", "`answer.fields` is empty".into(), advice);
        }
        if self.mistakes.len() > before {
            return None;
        }
        match of_fields(&fields) {
            Ok(answer) => Some(answer),
            Err((name, why)) => {
                let at = table.get(&name).map(|node| node.at.clone())?;
                let problem = format!("`answer.fields.{name}` cannot be used: {why}");
                let advice = "write an SQL type, such as VARCHAR, BIGINT, DECIMAL(12,2), DATE, VARCHAR[] or STRUCT(sku VARCHAR, qty INT)[]";
                self.wrong(&at, problem, advice);
                None
            }
        }
    }

    fn field(&mut self, name: &str, node: &Node) -> Option<FieldSpec> {
        let path = format!("answer.fields.{name}");
        let mut field = FieldSpec {
            name: name.to_owned(),
            ..FieldSpec::default()
        };
        let table = match &node.value {
            Value::Text(type_name) => {
                field.type_name = Some(type_name.clone());
                return Some(field);
            }
            Value::Table(table) => table,
            other => {
                let problem = format!(
                    "`{path}` must be a type or a table, found {}",
                    other.describe()
                );
                self.wrong(&node.at, problem, self.suggestion("answer.fields"));
                return None;
            }
        };
        for (key, node) in table {
            match (key.as_str(), &node.value) {
                ("type", Value::Text(name)) => field.type_name = Some(name.clone()),
                ("description", Value::Text(text)) => field.description = Some(text.clone()),
                ("nullable", Value::Bool(nullable)) => field.nullable = *nullable,
                ("choices", Value::List(words)) => field.choices = self.words(&path, words)?,
                ("type" | "description" | "nullable" | "choices", other) => {
                    let wanted = match key.as_str() {
                        "nullable" => "true or false",
                        "choices" => "a list of texts",
                        _ => "a text",
                    };
                    let found = other.describe();
                    let problem = format!("`{path}.{key}` must be {wanted}, found {found}");
                    self.wrong(&node.at, problem, self.suggestion("answer.fields"));
                }
                _ => {
                    let problem = format!("unknown key `{path}.{key}`");
                    let advice = "a field has `type`, `choices`, `nullable` and `description`";
                    self.wrong(&node.key, problem, advice);
                }
            }
        }
        Some(field)
    }

    /// The words of a choice, each once.
    fn words(&mut self, path: &str, list: &[Node]) -> Option<Vec<String>> {
        let mut words: Vec<String> = Vec::new();
        for item in list {
            let Value::Text(word) = &item.value else {
                let problem = format!("`{path}.choices` must be a list of texts");
                self.wrong(&item.at, problem, self.suggestion("answer.fields"));
                return None;
            };
            self.add_choice(&item.at, word.clone(), &mut words);
        }
        Some(words)
    }

    fn choices(&mut self) -> Option<Vec<String>> {
        let before = self.mistakes.len();
        let mut choices: Vec<String> = Vec::new();
        let written = self.texts("answer.choices")?;
        if written.is_empty() {
            let advice = self.suggestion("answer.choices");
            self.refuse("answer.choices", "`answer.choices` is empty".into(), advice);
        }
        for (node, choice) in written {
            self.add_choice(&node.at, choice, &mut choices);
        }
        (self.mistakes.len() == before).then_some(choices)
    }

    /// Notes a choice that is blank, or there already.
    fn add_choice(&mut self, at: &At, choice: String, choices: &mut Vec<String>) {
        let folded = choice.to_lowercase();
        if choice.trim() != choice || choice.is_empty() {
            let problem = format!("the choice `{choice}` is blank, or has blanks around it");
            self.wrong(at, problem, "take the blanks out");
        } else if let Some(twin) = choices.iter().find(|c| c.to_lowercase() == folded) {
            let problem = format!("the choices `{twin}` and `{choice}` are the same");
            let advice = "choices are compared without case; take one of them out";
            self.wrong(at, problem, advice);
        } else {
            choices.push(choice);
        }
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

/// The keys of a table as they were written: a model answers in this order.
fn in_order(table: &Table) -> Vec<(&String, &Node)> {
    let mut pairs: Vec<_> = table.iter().collect();
    pairs.sort_by_key(|(_, node)| match &node.key {
        At::File(range) => range.start,
        At::Set(_) | At::Flag(_) => usize::MAX,
    });
    pairs
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
