//! Words to choose from: one of them, or several.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::asked::Asked;
use super::reader;
use super::value_type::{Kind, ValueType};
use super::wrapper::PROPERTY;
use crate::base::{Json, in_short};

/// One of these words, or several. They are compared without case, and stored as written here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChoiceAnswer {
    /// The words, in the order in which the model is told them.
    pub choices: Vec<String>,
    /// What the model is told of some of them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub descriptions: BTreeMap<String, String>,
    /// Whether an answer is a list of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiple: Option<Several>,
    /// What becomes of what is none of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<Other>,
    /// How the model is told of them.
    #[serde(default, skip_serializing_if = "Asked::is_schema")]
    pub asked: Asked,
}

/// How many words an answer may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Several {
    /// At least so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<usize>,
    /// At most so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

/// What becomes of an answer that is none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Other {
    /// It stands as the model said it.
    OwnWords,
    /// It counts as this one of them.
    Label(String),
}

type Pairs = Vec<(String, Json)>;

/// The schema of one of `words`, with what the model is told of them.
pub(super) fn word_schema(words: &[String], descriptions: &BTreeMap<String, String>) -> Pairs {
    let listed = words.iter().cloned().map(Json::Text).collect();
    let mut schema = vec![
        ("type".to_owned(), Json::Text("string".to_owned())),
        ("enum".to_owned(), Json::List(listed)),
    ];
    let lines = words.iter().filter_map(|word| {
        let description = descriptions.get(word)?;
        Some(format!("{word}: {description}"))
    });
    let lines: Vec<_> = lines.collect();
    if !lines.is_empty() {
        schema.push(("description".into(), Json::Text(lines.join("\n"))));
    }
    schema
}

/// The schema of a list of values of `item`, each once.
pub(super) fn list_schema(item: Pairs, several: Several) -> Pairs {
    let count = |count: usize| Json::Number((count as u64).into());
    let mut schema = vec![
        ("type".to_owned(), Json::Text("array".to_owned())),
        ("items".to_owned(), Json::Map(item)),
    ];
    if let Some(min) = several.min.filter(|min| *min > 0) {
        schema.push(("minItems".into(), count(min)));
    }
    if let Some(max) = several.max {
        schema.push(("maxItems".into(), count(max)));
    }
    schema.push(("uniqueItems".into(), Json::Bool(true)));
    schema
}

/// What the model is told of a label that is there for what fits no other.
const NONE_FITS: &str = "none of the others fits";

/// What the model is told of a label in its own words.
const OWN_WORDS: &str = "A short label of your own, where none of the others fits";

impl ChoiceAnswer {
    /// Whether there is nothing to say but the words.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let plain = ChoiceAnswer {
            choices: self.choices.clone(),
            ..ChoiceAnswer::default()
        };
        *self == plain
    }

    /// The schema of an answer.
    pub(super) fn schema(&self) -> Json {
        let mut descriptions = Cow::Borrowed(&self.descriptions);
        if let Some(Other::Label(label)) = &self.other
            && !descriptions.contains_key(label)
        {
            let told = descriptions.to_mut();
            told.insert(label.clone(), NONE_FITS.to_owned());
        }
        let mut word = word_schema(&self.choices, &descriptions);
        if self.other == Some(Other::OwnWords) {
            let own = vec![
                ("type".to_owned(), Json::Text("string".to_owned())),
                ("description".to_owned(), Json::Text(OWN_WORDS.to_owned())),
            ];
            let both = vec![Json::Map(word), Json::Map(own)];
            word = vec![("anyOf".to_owned(), Json::List(both))];
        }
        Json::Map(match self.multiple {
            None => word,
            Some(several) => list_schema(word, several),
        })
    }

    /// The type of the values, where they are no plain texts.
    pub(super) fn value(&self) -> Option<ValueType> {
        self.multiple?;
        let words = match self.other {
            Some(Other::OwnWords) => None,
            _ => Some(self.choices.clone()),
        };
        let word = ValueType::of(Kind::Text(words));
        Some(ValueType::of(Kind::List(Box::new(word))))
    }

    /// The answer in `said`, as it is stored: a word, or a JSON list of them.
    ///
    /// # Errors
    /// What keeps it from being one.
    pub(super) fn read(&self, said: &str) -> Result<String, Cow<'static, str>> {
        let said = Said::of(said)?;
        match (self.multiple, said) {
            (None, Said::Word(word)) => self.word(&word, true).ok_or(NOT_ONE.into()),
            (None, Said::Plain(word)) => self.word(word, false).ok_or(NOT_ONE.into()),
            (None, Said::Words(_)) => Err(NOT_ONE.into()),
            (Some(several), Said::Words(words)) => self.words(&words, several, true),
            (Some(several), Said::Word(word)) => self.words(&[word], several, true),
            (Some(several), Said::Plain(word)) => self.words(&[word.to_owned()], several, false),
        }
    }

    /// The choice that `said` means. What is none counts by `other` where it `is_asked`: where it came in the
    /// form that was asked for, and is no sentence of a server that knows none.
    fn word(&self, said: &str, is_asked: bool) -> Option<String> {
        let known = reader::choose(&self.choices, said).cloned();
        let own = said.trim();
        match &self.other {
            Some(other) if is_asked && !own.is_empty() => known.or_else(|| match other {
                Other::OwnWords => Some(own.to_owned()),
                Other::Label(label) => Some(label.clone()),
            }),
            _ => known,
        }
    }

    fn words(
        &self,
        said: &[String],
        several: Several,
        is_asked: bool,
    ) -> Result<String, Cow<'static, str>> {
        let mut words: Vec<String> = Vec::new();
        for said in said {
            let Some(word) = self.word(said, is_asked) else {
                return Err(format!("{} is none of the choices", in_short(said)).into());
            };
            // Whatever is none of the choices is one label, and may be said beside it.
            let is_rest = matches!(&self.other, Some(Other::Label(label)) if *label == word);
            if !words.contains(&word) {
                words.push(word);
            } else if !is_rest {
                return Err(format!("the choice {} stands twice", in_short(&word)).into());
            }
        }
        let count = words.len();
        if let Some(min) = several.min.filter(|min| count < *min) {
            return Err(format!("it has {count} choices, fewer than {min}").into());
        }
        if let Some(max) = several.max.filter(|max| count > *max) {
            return Err(format!("it has {count} choices, more than {max}").into());
        }
        serde_json::to_string(&words).map_err(|error| error.to_string().into())
    }
}

/// Why there is no answer.
const NOT_ONE: &str = "not one of the choices";

/// What was said: in the structure that we asked for, or plainly, as servers say it that do not know
/// structured output.
enum Said<'a> {
    Word(String),
    Words(Vec<String>),
    Plain(&'a str),
}

impl<'a> Said<'a> {
    fn of(text: &'a str) -> Result<Self, Cow<'static, str>> {
        let Some(json) = Json::parse(text) else {
            return Ok(Said::Plain(text));
        };
        if let Some(key) = json.repeated_key() {
            return Err(format!("the name {} stands twice", in_short(key)).into());
        }
        let own = match &json {
            Json::Map(_) => json.get(PROPERTY).ok_or(NOT_ONE)?,
            other => other,
        };
        match own {
            Json::Text(word) => Ok(Said::Word(word.clone())),
            Json::List(items) => {
                let words = items.iter().map(|item| item.text().map(str::to_owned));
                let words: Option<_> = words.collect();
                Ok(Said::Words(words.ok_or("one of its choices is not text")?))
            }
            // A word may look like a number.
            _ if !matches!(json, Json::Map(_)) => Ok(Said::Plain(text)),
            _ => Err(NOT_ONE.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> ChoiceAnswer {
        ChoiceAnswer {
            choices: words.iter().map(|word| (*word).to_owned()).collect(),
            ..ChoiceAnswer::default()
        }
    }

    fn several(words: &[&str], min: Option<usize>, max: Option<usize>) -> ChoiceAnswer {
        ChoiceAnswer {
            multiple: Some(Several { min, max }),
            ..of(words)
        }
    }

    #[track_caller]
    fn check(answer: &ChoiceAnswer, said: &str, expect: Result<&str, &str>) {
        let read = answer.read(said);
        assert_eq!(read.as_deref().map_err(|why| &**why), expect, "{said}");
    }

    #[test]
    fn several_words_are_found_without_case_and_stored_as_written() {
        let answer = several(&["billing", "How-To", "bug"], None, None);
        for (said, expect) in [
            (r#"{"answer":["bug","billing"]}"#, r#"["bug","billing"]"#),
            (r#"{"answer":[" HOW-TO ","Bug"]}"#, r#"["How-To","bug"]"#),
            (r#"{"answer":[]}"#, "[]"),
            (r#"["bug"]"#, r#"["bug"]"#),
            (r#"{"answer":"bug"}"#, r#"["bug"]"#),
            ("Billing", r#"["billing"]"#),
        ] {
            check(&answer, said, Ok(expect));
        }
        for (said, why) in [
            (
                r#"{"answer":["bug","crash"]}"#,
                "crash is none of the choices",
            ),
            (r#"{"answer":["bug","BUG"]}"#, "the choice bug stands twice"),
            (r#"{"answer":["bug",1]}"#, "one of its choices is not text"),
            (
                r#"{"answer":["bug"],"answer":[]}"#,
                "the name answer stands twice",
            ),
            (r#"{"label":["bug"]}"#, NOT_ONE),
            ("bug, billing", "bug, billing is none of the choices"),
            ("", " is none of the choices"),
        ] {
            check(&answer, said, Err(why));
        }
    }

    #[test]
    fn there_are_as_many_words_as_the_job_allows() {
        let answer = several(&["a", "b", "c"], Some(1), Some(2));
        check(&answer, r#"["a"]"#, Ok(r#"["a"]"#));
        check(&answer, r#"["a","c"]"#, Ok(r#"["a","c"]"#));
        check(&answer, "[]", Err("it has 0 choices, fewer than 1"));
        let more = Err("it has 3 choices, more than 2");
        check(&answer, r#"["a","b","c"]"#, more);
    }

    #[test]
    fn what_is_none_of_the_choices_stands_or_counts_as_another() {
        let own = ChoiceAnswer {
            other: Some(Other::OwnWords),
            ..of(&["bug"])
        };
        check(&own, r#"{"answer":" Shipping "}"#, Ok("Shipping"));
        check(&own, r#"{"answer":"BUG"}"#, Ok("bug"));
        check(&own, r#"{"answer":" "}"#, Err(NOT_ONE));
        // A sentence is no label: it did not come as it was asked for.
        check(&own, "I think it is a bug", Err(NOT_ONE));
        check(&own, r#"{"answer":"\ud800"}"#, Err(NOT_ONE));
        let label = ChoiceAnswer {
            other: Some(Other::Label("rest".into())),
            ..of(&["bug", "rest"])
        };
        check(&label, r#"{"answer":"shipping"}"#, Ok("rest"));
        check(&label, "shipping", Err(NOT_ONE));
        let labels = ChoiceAnswer {
            multiple: Some(Several::default()),
            ..label
        };
        check(&labels, r#"["x","bug","y"]"#, Ok(r#"["rest","bug"]"#));
        check(&labels, r#"["x","rest"]"#, Ok(r#"["rest"]"#));
        check(&labels, r#"["rest","x","bug"]"#, Ok(r#"["rest","bug"]"#));
        check(
            &labels,
            r#"["bug","bug"]"#,
            Err("the choice bug stands twice"),
        );
        let owns = ChoiceAnswer {
            multiple: Some(Several::default()),
            ..own
        };
        check(&owns, r#"["x","BUG"]"#, Ok(r#"["x","bug"]"#));
        check(&owns, r#"["x","x"]"#, Err("the choice x stands twice"));
    }

    #[test]
    fn a_choice_of_one_is_read_as_ever() {
        let answer = of(&["1", "two"]);
        check(&answer, "1", Ok("1"));
        check(&answer, r#"{"answer":"TWO","why":"x"}"#, Ok("two"));
        check(&answer, r#"["two"]"#, Err(NOT_ONE));
        check(&answer, r#"{"answer":1}"#, Err(NOT_ONE));
        let twice = r#"{"answer":"1","answer":"two"}"#;
        check(&answer, twice, Err("the name answer stands twice"));
    }

    #[test]
    fn what_the_model_is_told_stands_in_the_schema() {
        let plain = r#"{"type":"string","enum":["b","a"]}"#;
        assert_eq!(of(&["b", "a"]).schema().to_string(), plain);
        let described = ChoiceAnswer {
            descriptions: BTreeMap::from([("a".into(), "first".into())]),
            other: Some(Other::Label("b".into())),
            multiple: Some(Several {
                min: Some(1),
                max: Some(2),
            }),
            ..of(&["b", "a"])
        };
        assert_eq!(
            described.schema().to_string(),
            r#"{"type":"array","items":{"type":"string","enum":["b","a"],"description":"b: none of the others fits\na: first"},"minItems":1,"maxItems":2,"uniqueItems":true}"#
        );
        let own = ChoiceAnswer {
            other: Some(Other::OwnWords),
            ..of(&["a"])
        };
        assert_eq!(
            own.schema().to_string(),
            r#"{"anyOf":[{"type":"string","enum":["a"]},{"type":"string","description":"A short label of your own, where none of the others fits"}]}"#
        );
    }
}
