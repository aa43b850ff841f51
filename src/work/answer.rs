//! What an answer must be, and whether what came back is one.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{FailureClass, Finish, Outcome, ReplyBody, RowStatus, Usage};

/// The type of the new column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", content = "choices")]
pub enum AnswerType {
    /// Whatever the model says, byte for byte.
    Text,
    /// One of these words. Compared without case, stored as written here.
    Choice(Vec<String>),
}

/// The property that holds a choice in the structured output that we ask for.
const CHOICE_PROPERTY: &str = "answer";

impl AnswerType {
    /// The JSON Schema to ask the provider for, where the answer is not free text. It keeps to what
    /// OpenAI's and Anthropic's subsets have in common.
    #[must_use]
    pub fn schema(&self) -> Option<Value> {
        match self {
            AnswerType::Text => None,
            AnswerType::Choice(choices) => Some(json!({
                "type": "object",
                "properties": { CHOICE_PROPERTY: { "type": "string", "enum": choices } },
                "required": [CHOICE_PROPERTY],
                "additionalProperties": false,
            })),
        }
    }

    /// Judges one reply: what is stored for the request.
    #[must_use]
    pub fn judge<'a>(&self, reply: ReplyBody<'a>) -> Outcome<'a> {
        match reply {
            ReplyBody::Expired => Outcome::without_answer(RowStatus::Expired, "expired".into()),
            ReplyBody::Canceled => Outcome::without_answer(RowStatus::Canceled, "canceled".into()),
            ReplyBody::Failed {
                class,
                code,
                message,
            } => {
                let error = if code.is_empty() {
                    message
                } else {
                    format!("{code}: {message}").into()
                };
                Outcome {
                    transient: class != FailureClass::Permanent,
                    account: class == FailureClass::Account,
                    ..Outcome::without_answer(RowStatus::Failed, error)
                }
            }
            ReplyBody::Answered {
                text,
                finish,
                refusal,
                model,
                usage,
            } => Outcome {
                finish: Some(finish),
                model: Some(model),
                usage,
                ..self.judge_text(text, finish, refusal)
            },
        }
    }

    fn judge_text<'a>(
        &self,
        text: Cow<'a, str>,
        finish: Finish,
        refusal: Option<Cow<'a, str>>,
    ) -> Outcome<'a> {
        let paid = |status, error: Cow<'a, str>, text| Outcome {
            raw: Some(text),
            transient: false,
            ..Outcome::without_answer(status, error)
        };
        if refusal.is_some() || finish == Finish::Refusal {
            let why = refusal.unwrap_or(Cow::Borrowed("the model refused"));
            return paid(RowStatus::Refused, why, text);
        }
        match finish {
            Finish::Length => paid(
                RowStatus::Truncated,
                "cut by max_output_tokens".into(),
                text,
            ),
            Finish::Unfinished => paid(
                RowStatus::Truncated,
                "the model paused its turn".into(),
                text,
            ),
            _ => match self.read(text) {
                Ok(answer) => Outcome::succeeded(answer),
                Err(text) => paid(RowStatus::Invalid, self.complaint(), text),
            },
        }
    }

    /// The answer in `text`, or `text` itself back if there is none.
    fn read<'a>(&self, text: Cow<'a, str>) -> Result<Cow<'a, str>, Cow<'a, str>> {
        match self {
            AnswerType::Text => Ok(text),
            AnswerType::Choice(choices) => match read_choice(choices, text.trim()) {
                Some(choice) => Ok(Cow::Owned(choice.to_owned())),
                None => Err(text),
            },
        }
    }

    fn complaint(&self) -> Cow<'static, str> {
        match self {
            AnswerType::Text => "not a text".into(),
            AnswerType::Choice(_) => "not one of the choices".into(),
        }
    }
}

/// The choice in `said`: in the structure that we asked for, or plainly, as servers say it that do
/// not know structured output.
fn read_choice<'c>(choices: &'c [String], said: &str) -> Option<&'c String> {
    match serde_json::from_str::<Value>(said) {
        Ok(Value::Object(object)) => choose(choices, object.get(CHOICE_PROPERTY)?.as_str()?),
        Ok(Value::String(word)) => choose(choices, &word),
        _ => choose(choices, said),
    }
}

/// The choice that `word` means: the same word, else the only one that differs in case alone.
fn choose<'c>(choices: &'c [String], word: &str) -> Option<&'c String> {
    let word = word.trim();
    choices
        .iter()
        .find(|choice| choice.as_str() == word)
        .or_else(|| {
            let folded = word.to_lowercase();
            choices
                .iter()
                .find(|choice| choice.to_lowercase() == folded)
        })
}

impl<'a> Outcome<'a> {
    /// The request was answered, and the answer has its type.
    #[must_use]
    pub fn succeeded(answer: Cow<'a, str>) -> Self {
        Outcome {
            status: RowStatus::Succeeded,
            answer: Some(answer),
            raw: None,
            error: None,
            transient: false,
            account: false,
            finish: None,
            model: None,
            usage: Usage::default(),
        }
    }

    /// The request has no answer. Expired, canceled and missing ones are worth another attempt.
    #[must_use]
    pub fn without_answer(status: RowStatus, error: Cow<'a, str>) -> Self {
        use RowStatus::{Canceled, Expired, Missing};
        Outcome {
            status,
            answer: None,
            error: Some(error),
            transient: matches!(status, Expired | Canceled | Missing),
            ..Outcome::succeeded(Cow::Borrowed(""))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(text: &str, finish: Finish) -> ReplyBody<'_> {
        ReplyBody::Answered {
            text: text.into(),
            finish,
            refusal: None,
            model: "m".into(),
            usage: Usage {
                output: 3,
                ..Usage::default()
            },
        }
    }

    fn check(answer: &AnswerType, text: &str, expect: Option<&str>) {
        let outcome = answer.judge(answered(text, Finish::Stop));
        assert_eq!(outcome.answer.as_deref(), expect, "{text:?}");
        let status = if expect.is_some() {
            RowStatus::Succeeded
        } else {
            RowStatus::Invalid
        };
        assert_eq!(outcome.status, status, "{text:?}");
        assert_eq!(outcome.usage.output, 3, "what was paid is kept");
        assert_eq!(outcome.raw.as_deref(), expect.is_none().then_some(text));
    }

    #[test]
    fn a_text_is_kept_byte_for_byte() {
        for text in ["", " spaces ", "line\n\n", "{\"answer\":1}"] {
            check(&AnswerType::Text, text, Some(text));
        }
    }

    #[test]
    fn a_choice_is_found_without_case_and_stored_as_written() {
        let choice = AnswerType::Choice(vec![
            "billing".into(),
            "How-To".into(),
            "ok".into(),
            "OK".into(),
        ]);
        check(&choice, r#"{"answer":"billing"}"#, Some("billing"));
        check(&choice, r#" {"answer": "HOW-TO"} "#, Some("How-To"));
        check(&choice, "Billing", Some("billing"));
        check(&choice, " billing\n", Some("billing"));
        check(&choice, "\"billing\"", Some("billing"));
        check(&choice, "OK", Some("OK"));
        check(&choice, r#"{"answer":"other"}"#, None);
        check(&choice, r#"{"label":"billing"}"#, None);
        check(&choice, "billing, I think", None);
        check(&choice, "", None);
    }

    #[test]
    fn refusals_and_cuts_are_paid_and_are_not_answers() {
        let choice = AnswerType::Choice(vec!["a".into()]);
        assert_eq!(
            choice.judge(answered("a", Finish::Length)).status,
            RowStatus::Truncated
        );
        let refused = choice.judge(answered("a", Finish::Refusal));
        assert_eq!((refused.status, refused.answer), (RowStatus::Refused, None));
        assert_eq!(refused.raw.as_deref(), Some("a"));
    }

    #[test]
    fn what_passes_is_sent_again_and_what_stays_is_not() {
        let failed = |class| {
            AnswerType::Text.judge(ReplyBody::Failed {
                class,
                code: "api_error".into(),
                message: "oops".into(),
            })
        };
        assert!(failed(FailureClass::Transient).transient);
        assert!(!failed(FailureClass::Permanent).transient);
        let account = failed(FailureClass::Account);
        assert!(account.transient && account.account);
        assert!(!failed(FailureClass::Transient).account);
        assert_eq!(
            failed(FailureClass::Permanent).error.as_deref(),
            Some("api_error: oops")
        );
        assert!(AnswerType::Text.judge(ReplyBody::Expired).transient);
        assert!(AnswerType::Text.judge(ReplyBody::Canceled).transient);
    }
}
