//! The answer of an example, as the model is asked to give it.

use std::borrow::Cow;

use super::judge::unwrapped;
use super::wrapper::PROPERTY;
use super::{AnswerType, Asked, Judge};
use crate::base::Json;

impl AnswerType {
    /// The answer `text` of an example, as the provider is asked to give it: what is no object is said within
    /// one there, and an example that says it plainly would teach the model otherwise. A word, a date or
    /// another text may be written without its quotes.
    ///
    /// # Errors
    /// Why it is no answer of this type.
    pub fn example(&self, text: &str) -> Result<String, String> {
        if matches!(self, AnswerType::Text) {
            return Ok(text.to_owned());
        }
        // However it is asked for, an example says the answer and nothing else.
        let plain = self.clone().asked_by(Asked::Schema);
        let judge = Judge::new(&plain).map_err(|error| error.to_string())?;
        if matches!(self, AnswerType::BoundedText(_)) {
            let read = judge.read(text).map_err(Cow::into_owned);
            return read.map(|_| text.to_owned());
        }
        let quoted = Json::Text(text.to_owned()).to_string();
        let said = match judge.read(text) {
            Ok(_) => text.trim(),
            Err(why) => match judge.read(&quoted) {
                Ok(_) => quoted.as_str(),
                Err(_) => return Err(why.into_owned()),
            },
        };
        if !self.is_wrapped() || matches!(unwrapped(said), Ok(Some(_))) {
            return Ok(said.to_owned());
        }
        let own = match self {
            // As the job writes the word, whatever its case here.
            AnswerType::Choice(answer) if answer.multiple.is_some() => judge.read(said),
            AnswerType::Choice(_) => judge.read(said).map(|word| Json::Text(word).to_string()),
            _ => Ok(said.to_owned()),
        };
        let own = own.map_err(Cow::into_owned)?;
        Ok(format!("{{{}:{own}}}", Json::Text(PROPERTY.to_owned())))
    }

    /// Whether an answer is asked for within an object, for it is none itself.
    fn is_wrapped(&self) -> bool {
        match self {
            AnswerType::Text | AnswerType::BoundedText(_) | AnswerType::Embedding { .. } => false,
            AnswerType::Choice(_) => true,
            AnswerType::Json(answer) => answer.is_wrapped(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::work::answer::{ChoiceAnswer, JsonAnswer, Several, TextBounds};

    fn of(schema: &str) -> AnswerType {
        AnswerType::Json(JsonAnswer {
            schema: schema.to_owned(),
            types: BTreeMap::new(),
            asked: Asked::Prompt,
        })
    }

    #[test]
    fn an_example_is_written_as_the_model_is_asked_to_answer() {
        let choice = AnswerType::choice(vec!["bug".into(), "how to".into()]);
        let several = AnswerType::Choice(ChoiceAnswer {
            choices: vec!["bug".into(), "how to".into()],
            multiple: Some(Several::default()),
            ..ChoiceAnswer::default()
        });
        let short = AnswerType::BoundedText(TextBounds {
            max_chars: 4,
            trimmed: true,
        });
        let fields = r#"{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}"#;
        for (answer, text, expect) in [
            (&AnswerType::Text, "  as it is\n", "  as it is\n"),
            (&choice, "bug", r#"{"answer":"bug"}"#),
            (&choice, "BUG", r#"{"answer":"bug"}"#),
            (&choice, "\"how to\"", r#"{"answer":"how to"}"#),
            (&choice, r#"{"answer":"bug"}"#, r#"{"answer":"bug"}"#),
            (&several, "BUG", r#"{"answer":["bug"]}"#),
            (
                &several,
                r#"["how to","BUG"]"#,
                r#"{"answer":["how to","bug"]}"#,
            ),
            (&short, " abcd ", " abcd "),
            (&of(r#"{"type":"number"}"#), "2.5", r#"{"answer":2.5}"#),
            (
                &of(r#"{"type":"string","format":"date"}"#),
                "2026-11-30",
                r#"{"answer":"2026-11-30"}"#,
            ),
            (&of(fields), r#" {"a": 1} "#, r#"{"a": 1}"#),
        ] {
            assert_eq!(answer.example(text).as_deref(), Ok(expect), "{text}");
            // What is written so already stays so.
            assert_eq!(answer.example(expect).as_deref(), Ok(expect), "{text}");
        }
        for (answer, text) in [
            (&choice, "bugs"),
            (&several, r#"["bug","bug"]"#),
            (&short, "abcde"),
            (&of(fields), r#"That is {"a": 1}"#),
            (&of(r#"{"type":"number"}"#), "many"),
            (&of(fields), r#"{"a": 1.5}"#),
            (&of(fields), r#"{"b": 1}"#),
        ] {
            assert!(answer.example(text).is_err(), "{text}");
        }
    }
}
