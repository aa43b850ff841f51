//! Choices: a list of words, or a table of words with what the model is told of each; how many of them an
//! answer may have, and what becomes of what is none of them.

use std::collections::BTreeMap;

use super::file::{At, Node, Value, in_order};
use super::reader::Reader;
use crate::work::answer::{ChoiceAnswer, Other, Several};

/// Words to choose from, in the order in which they were written, and what is said of some of them.
#[derive(Debug, Default)]
pub(super) struct Choices {
    pub(super) words: Vec<String>,
    pub(super) descriptions: BTreeMap<String, String>,
}

impl Reader<'_> {
    /// The answer that `answer.choices` and the keys beside it say.
    pub(super) fn choice(&mut self) -> Option<ChoiceAnswer> {
        let node = self.node("answer.choices")?;
        let before = self.mistakes.len();
        let mut choices = match &node.value {
            Value::Table(_) => self.choices("answer.choices", node),
            _ => self.listed_choices(),
        }?;
        let other = self.other(&mut choices);
        let multiple = self.bool("answer.multiple").unwrap_or(false);
        let mut count = |path| {
            let count = self.count(path, 0, u64::MAX)?;
            usize::try_from(count).ok()
        };
        let (min, max) = (count("answer.min"), count("answer.max"));
        let several = Several { min, max };
        let place = |name: &str| format!("answer.{name}");
        let at = |reader: &Self, name: &str| {
            let node = reader.node(&place(name)).unwrap_or(node);
            node.at.clone()
        };
        let known = match other {
            Some(Other::OwnWords) => usize::MAX,
            _ => choices.words.len(),
        };
        if let Some((name, problem, advice)) = wrong_count(multiple.then_some(known), several) {
            let at = at(self, name);
            self.wrong(&at, format!("`{}` {problem}", place(name)), advice);
        }
        (self.mistakes.len() == before).then(|| ChoiceAnswer {
            choices: choices.words,
            descriptions: choices.descriptions,
            multiple: multiple.then_some(several),
            other,
            ..ChoiceAnswer::default()
        })
    }

    /// The choices in `node`, which is `path`: a list or a table.
    pub(super) fn choices(&mut self, path: &str, node: &Node) -> Option<Choices> {
        let mut choices = Choices::default();
        match &node.value {
            Value::List(list) => {
                for item in list {
                    let Value::Text(word) = &item.value else {
                        let problem = format!("`{path}` must be a list of texts");
                        self.wrong(&item.at, problem, ADVICE);
                        return None;
                    };
                    self.add_choice(&item.at, word.clone(), &mut choices.words);
                }
            }
            Value::Table(table) => {
                for (word, node) in in_order(table) {
                    let Value::Text(told) = &node.value else {
                        let found = node.value.describe();
                        let problem = format!(
                            "`{path}.{word}` must be what the model is told of it, found {found}"
                        );
                        self.wrong(&node.at, problem, "write a text; an empty one says nothing");
                        return None;
                    };
                    self.add_choice(&node.key, word.clone(), &mut choices.words);
                    if !told.is_empty() {
                        choices.descriptions.insert(word.clone(), told.clone());
                    }
                }
            }
            other => {
                let found = other.describe();
                let problem = format!("`{path}` must be a list of texts or a table, found {found}");
                self.wrong(&node.at, problem, ADVICE);
                return None;
            }
        }
        self.refuse_no_choices(path, &node.at, &choices.words);
        Some(choices)
    }

    /// The words of `answer.choices`, which may also stand in a flag.
    fn listed_choices(&mut self) -> Option<Choices> {
        let at = self.node("answer.choices")?.at.clone();
        let mut choices = Choices::default();
        let before = self.mistakes.len();
        for (node, word) in self.texts("answer.choices")? {
            self.add_choice(&node.at, word, &mut choices.words);
        }
        if self.mistakes.len() == before {
            self.refuse_no_choices("answer.choices", &at, &choices.words);
        }
        Some(choices)
    }

    fn refuse_no_choices(&mut self, path: &str, at: &At, words: &[String]) {
        if words.is_empty() {
            let advice = match path {
                "answer.choices" => self.suggestion(path),
                _ => ADVICE.to_owned(),
            };
            self.wrong(at, format!("`{path}` is empty"), advice);
        }
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
        }
        // It is there all the same, so that nothing else is said of what is left.
        choices.push(choice);
    }

    /// What becomes of what is none of the choices. A label for it is one of them.
    fn other(&mut self, choices: &mut Choices) -> Option<Other> {
        let path = "answer.other";
        let node = self.node(path)?;
        match &node.value {
            Value::Bool(own_words) => own_words.then_some(Other::OwnWords),
            Value::Text(label) => {
                if let Some(known) = choices.words.iter().find(|word| *word == label) {
                    return Some(Other::Label(known.clone()));
                }
                self.add_choice(&node.at, label.clone(), &mut choices.words);
                Some(Other::Label(label.clone()))
            }
            found => {
                let found = found.describe();
                let problem = format!("`{path}` must be a label or `true`, found {found}");
                let advice = "with `true` the model may answer in its own words; a label, such as \"other\", \
                              stands for all that fits no other";
                self.wrong(&node.at, problem, advice);
                None
            }
        }
    }
}

const ADVICE: &str = "write a list of words, such as [\"billing\", \"bug\"], or a table of words with what they mean, \
                      such as { billing = \"about invoices\", bug = \"it fails\" }";

/// What is wrong with how many choices an answer may have, of `known` ones; `None` where it has one. The key,
/// the problem and the advice.
pub(super) fn wrong_count(
    known: Option<usize>,
    several: Several,
) -> Option<(&'static str, String, &'static str)> {
    let Some(known) = known else {
        let named = [("min", several.min), ("max", several.max)];
        let (name, _) = named.into_iter().find(|(_, count)| count.is_some())?;
        let problem = "says how many choices an answer has, and it has one".to_owned();
        return Some((name, problem, "write `multiple = true`, or take it out"));
    };
    match (several.min, several.max) {
        (_, Some(0)) => Some((
            "max",
            "must be at least 1".into(),
            "write `max = 1`, or take it out",
        )),
        (Some(min), Some(max)) if min > max => {
            let problem = format!("is {min}, and `max` is {max}");
            Some(("min", problem, "write the smaller one as `min`"))
        }
        (Some(min), _) if min > known => {
            let problem = format!("is {min}, and there are {known} choices");
            Some(("min", problem, "write a smaller one, or more choices"))
        }
        _ => None,
    }
}
