//! What came back, judged: one reply becomes one outcome.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::constraints::Constraints;
use super::json_answer::JsonAnswer;
use super::json_answer::PROPERTY;
use super::value_type::ValueType;
use super::{AnswerType, Misfit, reader};
use crate::base::Result;
use crate::work::{FailureClass, Finish, Outcome, ReplyBody, RowStatus};

/// Judges the replies to requests of one answer type.
#[derive(Clone, Debug)]
pub struct Judge(Expected);

/// What an answer must be.
#[derive(Clone, Debug)]
enum Expected {
    Text,
    Choice(Vec<String>),
    /// A value; asked for within an object if it is none itself.
    Json {
        value: ValueType,
        wrapped: bool,
        constraints: Constraints,
    },
}

impl Judge {
    /// A judge of answers of this type.
    ///
    /// # Errors
    /// `Invalid` if the type has a schema that says no type.
    pub fn new(answer: &AnswerType) -> Result<Self> {
        Ok(Judge(match answer {
            AnswerType::Text => Expected::Text,
            AnswerType::Choice { choices } => Expected::Choice(choices.clone()),
            AnswerType::Json(answer) => Expected::json(answer)?,
        }))
    }

    /// The answer in a text, as it is stored.
    ///
    /// # Errors
    /// Why it holds none.
    pub fn read(&self, text: &str) -> std::result::Result<String, Cow<'static, str>> {
        match self.0.read(text) {
            Read::AsItIs => Ok(text.to_owned()),
            Read::As(answer) => Ok(answer),
            Read::Not(why) => Err(why),
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
            _ => match self.0.read(&text) {
                Read::AsItIs => Outcome::succeeded(text),
                Read::As(answer) => Outcome::succeeded(answer.into()),
                Read::Not(why) => paid(RowStatus::Invalid, why, text),
            },
        }
    }
}

/// What a text is read as.
enum Read {
    /// The answer is the text, byte for byte.
    AsItIs,
    /// The answer is this.
    As(String),
    /// It holds no answer, and why.
    Not(Cow<'static, str>),
}

impl Expected {
    fn json(answer: &JsonAnswer) -> Result<Self> {
        let value = answer.types()?.value;
        Ok(Expected::Json {
            wrapped: answer.is_wrapped(),
            constraints: answer.constraints(&value)?,
            value,
        })
    }

    fn read(&self, text: &str) -> Read {
        match self {
            Expected::Text => Read::AsItIs,
            Expected::Choice(choices) => match read_choice(choices, text.trim()) {
                Some(choice) => Read::As(choice.to_owned()),
                None => Read::Not("not one of the choices".into()),
            },
            Expected::Json {
                value,
                wrapped,
                constraints,
            } => match read_json(text, value, *wrapped, constraints) {
                Ok(answer) => Read::As(answer),
                Err(misfit) => Read::Not(misfit.to_string().into()),
            },
        }
    }
}

/// The value in `text`. Where we asked for it within an object, a server that knows nothing of structured
/// output may say it plainly.
fn read_json(
    text: &str,
    value: &ValueType,
    wrapped: bool,
    constraints: &Constraints,
) -> std::result::Result<String, Misfit> {
    let said = text.trim();
    let own = if wrapped { unwrapped(said) } else { None };
    let said = own.map_or(said, RawValue::get);
    let mut out = String::new();
    reader::read(said, value, &mut out)?;
    constraints.check(said)?;
    Ok(out)
}

/// What stands in an object that holds an answer alone.
pub(super) fn unwrapped(text: &str) -> Option<&RawValue> {
    let object: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    let answer = object.get(PROPERTY).copied();
    answer.filter(|_| object.len() == 1)
}

/// The choice in `said`: in the structure that we asked for, or plainly, as servers say it that do
/// not know structured output.
fn read_choice<'c>(choices: &'c [String], said: &str) -> Option<&'c String> {
    use serde_json::Value;
    match serde_json::from_str::<Value>(said) {
        Ok(Value::Object(object)) => reader::choose(choices, object.get(PROPERTY)?.as_str()?),
        Ok(Value::String(word)) => reader::choose(choices, &word),
        _ => reader::choose(choices, said),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Usage;

    fn judge(answer: &AnswerType) -> Judge {
        Judge::new(answer).expect("a type")
    }

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
        let outcome = judge(answer).judge(answered(text, Finish::Stop));
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
        let choice = AnswerType::choice(vec![
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
        let choice = AnswerType::choice(vec!["a".into()]);
        assert_eq!(
            judge(&choice).judge(answered("a", Finish::Length)).status,
            RowStatus::Truncated
        );
        let refused = judge(&choice).judge(answered("a", Finish::Refusal));
        assert_eq!((refused.status, refused.answer), (RowStatus::Refused, None));
        assert_eq!(refused.raw.as_deref(), Some("a"));
    }

    #[test]
    fn what_passes_is_sent_again_and_what_stays_is_not() {
        let failed = |class| {
            judge(&AnswerType::Text).judge(ReplyBody::Failed {
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
        assert!(judge(&AnswerType::Text).judge(ReplyBody::Expired).transient);
        assert!(
            judge(&AnswerType::Text)
                .judge(ReplyBody::Canceled)
                .transient
        );
    }
}
