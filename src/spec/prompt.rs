//! The `[prompt]` section: what all rows share, and what each says for itself.

use super::defaults;
use super::file::{Node, Value};
use super::job::{AnswerSpec, CacheSetting, ExamplesTable, PromptSpec};
use super::reader::{Reader, Word};
use crate::work::answer::{Asked, holds_json};
use crate::work::{AnswerType, Example};

/// The most examples: they go with every request.
pub const EXAMPLES_MAX: usize = 1000;

impl Reader<'_> {
    pub(super) fn prompt(&mut self) -> Option<PromptSpec> {
        let words = [
            ("auto", Word::Means(CacheSetting::Auto)),
            ("off", Word::Means(CacheSetting::Off)),
            ("5m", Word::Means(CacheSetting::Minutes)),
            ("1h", Word::Means(CacheSetting::Hour)),
        ];
        let cache = self.word("prompt.cache", &words).unwrap_or_default();
        let system = self.system();
        let dedupe = self.bool("prompt.dedupe").unwrap_or(defaults::DEDUPE);
        let examples = self.examples();
        let examples_table = self.examples_table();
        let assistant_prefix = self.assistant_prefix();
        let images = self.attached("prompt.images", &[]);
        let documents = self.attached("prompt.documents", &images);
        let attachments_from = self.attachments_from();
        if self.node("prompt.user").is_none() {
            self.missing("prompt.user", "");
        }
        Some(PromptSpec {
            system,
            user: self.some_text("prompt.user")?,
            dedupe,
            examples,
            examples_table,
            assistant_prefix,
            cache,
            images,
            documents,
            attachments_from,
        })
    }

    /// Columns that are attached, each once.
    fn attached(&mut self, path: &str, taken: &[String]) -> Vec<String> {
        let mut columns: Vec<String> = Vec::new();
        for (node, column) in self.texts(path).into_iter().flatten() {
            if columns.contains(&column) || taken.contains(&column) {
                let problem = format!("the column `{column}` is attached twice");
                self.wrong(
                    &node.at,
                    problem,
                    "name it in one of `images` and `documents`, once",
                );
            } else {
                columns.push(column);
            }
        }
        columns
    }

    /// The folders that paths in rows may lead into.
    fn attachments_from(&mut self) -> Vec<String> {
        let path = "prompt.attachments_from";
        let written = self.texts(path).into_iter().flatten();
        let folders: Vec<_> = written
            .filter_map(|(node, text)| self.address_of(&node.at, &text, true))
            .collect();
        let has = |reader: &Self, key| reader.node(key).is_some();
        if !folders.is_empty() && !has(self, "prompt.images") && !has(self, "prompt.documents") {
            let problem =
                format!("`{path}` is given without `prompt.images` or `prompt.documents`");
            self.refuse(
                path,
                problem,
                "name the columns that hold paths, or take it out",
            );
        }
        folders.into_iter().map(|folder| folder.text).collect()
    }

    fn system(&mut self) -> Option<String> {
        if self.node("prompt.system_file").is_none() {
            return self.text("prompt.system");
        }
        if self.node("prompt.system").is_some() {
            self.refuse(
                "prompt.system_file",
                "`prompt.system` and `prompt.system_file` are both given".into(),
                "take one of them out",
            );
            return None;
        }
        self.text_file("prompt.system_file").map(|(_, text)| text)
    }

    /// `[[prompt.examples]]`, each with what is asked and what is answered.
    fn examples(&mut self) -> Vec<Example> {
        let Some(node) = self.node("prompt.examples") else {
            return Vec::new();
        };
        let Value::List(items) = &node.value else {
            let expected = "a list of tables with `user` and `assistant`";
            self.wrong_type("prompt.examples", node, expected);
            return Vec::new();
        };
        if items.len() > EXAMPLES_MAX {
            let problem = format!("`prompt.examples` has more than {EXAMPLES_MAX} examples");
            let advice = "they go with every request: keep the best";
            self.refuse("prompt.examples", problem, advice);
        }
        let examples = items.iter().filter_map(|item| self.example(item));
        examples.collect()
    }

    fn example(&mut self, item: &Node) -> Option<Example> {
        let Value::Table(table) = &item.value else {
            let problem = format!(
                "an example must be a table with `user` and `assistant`, found {}",
                item.value.describe()
            );
            self.wrong(&item.at, problem, self.suggestion("prompt.examples"));
            return None;
        };
        for (key, node) in table {
            if !["user", "assistant"].contains(&key.as_str()) {
                let problem = format!("unknown key `prompt.examples.{key}`");
                self.wrong(&node.key, problem, "an example has `user` and `assistant`");
            }
        }
        let mut text = |key: &str| match table.get(key).map(|node| (&node.at, &node.value)) {
            Some((_, Value::Text(text))) if !text.trim().is_empty() => Some(text.clone()),
            found => {
                let at = found.map_or(&item.at, |(at, _)| at);
                let problem = match found {
                    None => format!("an example has no `{key}`"),
                    Some((_, Value::Text(_))) => format!("the `{key}` of an example is blank"),
                    Some((_, other)) => format!(
                        "the `{key}` of an example must be a text, found {}",
                        other.describe()
                    ),
                };
                self.wrong(at, problem, self.suggestion("prompt.examples"));
                None
            }
        };
        let (user, assistant) = (text("user"), text("assistant"));
        Some(Example {
            user: user?,
            assistant: assistant?,
        })
    }

    /// Where the provider is asked for a type, its structured output begins the answer itself.
    pub(super) fn check_prefix(
        &mut self,
        prompt: Option<&PromptSpec>,
        answer: Option<&AnswerSpec>,
    ) {
        let prefix = prompt.and_then(|prompt| prompt.assistant_prefix.as_deref());
        let (Some(prefix), Some(answer)) = (prefix, answer) else {
            return;
        };
        let (problem, advice) = match &answer.answer {
            AnswerType::Text | AnswerType::BoundedText(_) => return,
            AnswerType::Embedding { .. } => (
                "is given for embeddings, which begin with nothing",
                "take it out",
            ),
            answer if answer.asked() == Asked::Schema => (
                "is given for an answer that the provider's structured output holds to its type, and so begins itself",
                "take it out; or let the prompt alone ask for the type: `[model] structured_output = \"prompt\"`",
            ),
            // What the model adds to a whole answer would count for nothing.
            _ if holds_json(prefix) => (
                "holds a whole answer already",
                "leave the answer open, as in \"{\"",
            ),
            _ => return,
        };
        let path = "prompt.assistant_prefix";
        self.refuse(path, format!("`{path}` {problem}"), advice);
    }

    /// A table of examples, and the query that reads it.
    fn examples_table(&mut self) -> Option<ExamplesTable> {
        if self.node("prompt.examples_table").is_none() {
            if self.node("prompt.examples_query").is_some() {
                let problem =
                    "`prompt.examples_query` reads `prompt.examples_table`, which is missing";
                let advice = self.suggestion("prompt.examples_table");
                self.refuse("prompt.examples_query", problem.into(), advice);
            }
            return None;
        }
        if self.node("prompt.examples").is_some() {
            let problem = "`prompt.examples` and `prompt.examples_table` are both given".into();
            self.refuse("prompt.examples_table", problem, "take one of them out");
            return None;
        }
        let query = self.plain_text("prompt.examples_query");
        let address = self.address("prompt.examples_table", true)?;
        Some(ExamplesTable {
            table: address.text,
            query,
        })
    }

    /// How each answer begins. Models refuse one that ends with a blank.
    fn assistant_prefix(&mut self) -> Option<String> {
        let path = "prompt.assistant_prefix";
        let prefix = self.some_text(path)?;
        if prefix.trim_end() != prefix {
            let problem = format!("`{path}` ends with a blank, which models refuse");
            self.refuse(path, problem, "take the blank out");
            return None;
        }
        Some(prefix)
    }
}
