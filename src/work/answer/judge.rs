//! What came back, judged: one reply becomes one outcome.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::asked::{self, Asked};
use super::choice::ChoiceAnswer;
use super::constraints::Constraints;
use super::json_answer::JsonAnswer;
use super::value_type::ValueType;
use super::wrapper::PROPERTY;
use super::{AnswerType, LineInputs, Misfit, TextBounds, reader, vectors};
use crate::base::Result;
use crate::work::{FailureClass, Finish, Outcome, ReplyBody, RowStatus};

/// Judges the replies to requests of one answer type.
#[derive(Clone, Debug)]
pub struct Judge {
    expected: Expected,
    /// How each answer begins: what the model says goes on from there.
    begun: String,
}

/// What an answer must be.
#[derive(Clone, Debug)]
enum Expected {
    Text,
    BoundedText(TextBounds),
    Choice(ChoiceAnswer),
    Json(Box<ExpectedJson>),
    /// A vector of so many numbers.
    Vector(u32),
}

/// A value; asked for within an object if it is none itself.
#[derive(Clone, Debug)]
struct ExpectedJson {
    value: ValueType,
    wrapped: bool,
    constraints: Constraints,
    asked: Asked,
}

impl Judge {
    /// A judge of answers of this type.
    ///
    /// # Errors
    /// `Invalid` if the type has a schema that says no type.
    pub fn new(answer: &AnswerType) -> Result<Self> {
        let expected = match answer {
            AnswerType::Text => Expected::Text,
            AnswerType::BoundedText(bounds) => Expected::BoundedText(*bounds),
            AnswerType::Choice(answer) => Expected::Choice(answer.clone()),
            AnswerType::Json(answer) => Expected::Json(Box::new(ExpectedJson::of(answer)?)),
            AnswerType::Embedding { dimensions, .. } => Expected::Vector(*dimensions),
        };
        let begun = String::new();
        Ok(Judge { expected, begun })
    }

    /// The same of answers that begin with `prefix`, which was put into the model's mouth and is not said
    /// again. A text is what the model adds to it; of a value it is a part.
    #[must_use]
    pub fn after(mut self, prefix: Option<&str>) -> Self {
        if matches!(self.expected, Expected::Choice(_) | Expected::Json(_)) {
            prefix.unwrap_or_default().clone_into(&mut self.begun);
        }
        self
    }

    /// How many numbers a vector has, where the answers are vectors.
    #[must_use]
    pub fn dimensions(&self) -> Option<u32> {
        match self.expected {
            Expected::Vector(dimensions) => Some(dimensions),
            _ => None,
        }
    }

    /// The answer in a text, as it is stored.
    ///
    /// # Errors
    /// Why it holds none.
    pub fn read(&self, text: &str) -> std::result::Result<String, Cow<'static, str>> {
        match self.expected.read(text) {
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
                let status = match class {
                    FailureClass::Filtered => RowStatus::Filtered,
                    _ => RowStatus::Failed,
                };
                Outcome {
                    transient: matches!(class, FailureClass::Account | FailureClass::Transient),
                    account: class == FailureClass::Account,
                    ..Outcome::without_answer(status, error)
                }
            }
            ReplyBody::Embedded { model, usage, .. } => Outcome {
                finish: Some(Finish::Stop),
                model: Some(model),
                usage,
                ..Outcome::without_answer(RowStatus::Invalid, "it is a vector".into())
            },
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

    /// Judges the reply to a line that carried several requests: what is stored for each, by its place.
    ///
    /// # Errors
    /// Those of `put`.
    pub fn judge_line(
        &self,
        reply: ReplyBody<'_>,
        line: LineInputs<'_>,
        mut put: impl FnMut(usize, &Outcome<'_>) -> Result<()>,
    ) -> Result<()> {
        if let (
            Expected::Vector(dimensions),
            ReplyBody::Embedded {
                vectors,
                model,
                usage,
            },
        ) = (&self.expected, &reply)
        {
            return vectors::judge(*dimensions, (vectors, model, *usage), line, &mut put);
        }
        let mut outcome = self.judge(reply);
        // It does not say which of them it is the fault of, and each may pass alone.
        outcome.transient |= outcome.status == RowStatus::Failed && line.requests() > 1;
        for (n, usage) in line.divide(outcome.usage).into_iter().enumerate() {
            outcome.usage = usage;
            put(n, &outcome)?;
        }
        Ok(())
    }

    /// What a text is read as, which goes on from the answer's beginning.
    fn read_on(&self, text: &str) -> Read {
        if self.begun.is_empty() {
            return self.expected.read(text);
        }
        self.expected.read(&format!("{}{text}", self.begun))
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
            Finish::Filter => paid(
                RowStatus::Filtered,
                "the provider's content filter stopped the answer".into(),
                text,
            ),
            Finish::Window => paid(
                RowStatus::Truncated,
                "cut where the model's context window was full".into(),
                text,
            ),
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
            _ => match self.read_on(&text) {
                Read::AsItIs => Outcome::succeeded(text),
                Read::As(answer) => Outcome {
                    raw: (answer != text).then_some(text),
                    ..Outcome::succeeded(answer.into())
                },
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
    fn read(&self, text: &str) -> Read {
        match self {
            Expected::Text => Read::AsItIs,
            Expected::Vector(_) => Read::Not("it is a text, and no vector".into()),
            Expected::BoundedText(bounds) => bounds.read(text),
            Expected::Choice(answer) => read_choice(answer, text),
            Expected::Json(expected) => match expected.read(text) {
                Ok(answer) => Read::As(answer),
                Err(misfit) => Read::Not(misfit.to_string().into()),
            },
        }
    }
}

impl TextBounds {
    fn read(self, text: &str) -> Read {
        let kept = if self.trimmed { text.trim() } else { text };
        // No text has more characters than bytes.
        if kept.len() as u64 <= self.max_chars {
            return Read::AsItIs;
        }
        let count = kept.chars().count() as u64;
        if count <= self.max_chars {
            return Read::AsItIs;
        }
        let max = self.max_chars;
        Read::Not(format!("it has {count} characters, more than {max}").into())
    }
}

/// The choice in `text`. A server that was asked for it in the prompt may say more than that.
fn read_choice(answer: &ChoiceAnswer, text: &str) -> Read {
    let whole = match answer.asked {
        Asked::Schema => answer.read(text.trim()),
        Asked::Prompt => answer.read(asked::after_thoughts(text)),
    };
    let read = match (whole, answer.asked) {
        (Err(_), Asked::Prompt) => match asked::find(text) {
            Ok(found) => answer.read(found),
            Err(why) => match asked::only_fence(text) {
                Some(word) => answer.read(word),
                None => Err(why.into()),
            },
        },
        (whole, _) => whole,
    };
    match read {
        Ok(choice) => Read::As(choice),
        Err(why) => Read::Not(why),
    }
}

impl ExpectedJson {
    fn of(answer: &JsonAnswer) -> Result<Self> {
        let value = answer.types()?.value;
        Ok(ExpectedJson {
            wrapped: answer.is_wrapped(),
            constraints: answer.constraints()?,
            asked: answer.asked,
            value,
        })
    }

    /// The value in `text`. Where we asked for it within an object, a server that knows nothing of structured
    /// output may say it plainly.
    fn read(&self, text: &str) -> std::result::Result<String, Misfit> {
        let said = match self.asked {
            Asked::Schema => text.trim(),
            Asked::Prompt => asked::find(text).map_err(|why| Misfit {
                path: String::new(),
                why: why.to_owned(),
            })?,
        };
        let own = if self.wrapped { unwrapped(said)? } else { None };
        let said = own.map_or(said, RawValue::get);
        let mut out = String::new();
        let is_otherwise = reader::read(said, &self.value, &mut out)?;
        match self.constraints.check(said) {
            Err(_) if is_otherwise => {
                let said = reader::as_asked(said, &self.value)?;
                self.constraints.check(&said)?;
            }
            checked => checked?,
        }
        Ok(out)
    }
}

/// What stands in an object that holds an answer alone.
pub(super) fn unwrapped(text: &str) -> std::result::Result<Option<&RawValue>, Misfit> {
    let pairs = reader::pairs(text).unwrap_or_default();
    if pairs.iter().any(|(name, _)| name != PROPERTY) {
        return Ok(None);
    }
    match pairs[..] {
        [] => Ok(None),
        [(_, answer)] => Ok(Some(answer)),
        _ => Err(Misfit {
            path: String::new(),
            why: format!("the name {PROPERTY} stands twice"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

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
        let is_answer = expect == Some(text);
        assert_eq!(outcome.raw.as_deref(), (!is_answer).then_some(text));
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
    fn a_text_is_as_long_as_the_job_allows() {
        let of = |trimmed| {
            AnswerType::BoundedText(TextBounds {
                max_chars: 3,
                trimmed,
            })
        };
        check(&of(false), "日本語", Some("日本語"));
        check(&of(false), "abcd", None);
        check(&of(false), "ab  ", None);
        // What is kept is what came; the blanks go where it is written down.
        check(&of(true), " abc\n", Some(" abc\n"));
        check(&of(true), " ab c\n", None);
        let outcome = judge(&of(false)).judge(answered("日本語だ", Finish::Stop));
        let why = "it has 4 characters, more than 3";
        assert_eq!(outcome.error.as_deref(), Some(why));
    }

    #[test]
    fn a_decimal_may_be_said_as_text() {
        let answer = AnswerType::Json(JsonAnswer {
            schema: r#"{"type":"object","properties":{"n":{"type":"number","minimum":1}},"required":["n"]}"#.into(),
            types: BTreeMap::from([("n".into(), "DECIMAL(20,2)".into())]),
            asked: Asked::Schema,
        });
        let digits = r#"{"n":"123456789012345678.9"}"#;
        check(&answer, digits, Some(r#"{"n":123456789012345678.90}"#));
        check(&answer, r#"{"n":"0.5"}"#, None);
        check(&answer, r#"{"n":"many"}"#, None);
    }

    #[test]
    fn asked_in_the_prompt_an_answer_is_found_in_what_is_said() {
        let of = |schema: &str| {
            AnswerType::Json(JsonAnswer {
                schema: schema.to_owned(),
                types: BTreeMap::new(),
                asked: Asked::Prompt,
            })
        };
        let number = of(r#"{"type":"integer"}"#);
        check(&number, r#"{"answer":7}"#, Some("7"));
        check(&number, "7", Some("7"));
        check(&number, "Well: ```json\n{\"answer\": 7}\n```", Some("7"));
        check(&number, "It is 7.", None);
        check(&number, r#"{"answer":7} or {"answer":8}"#, None);
        check(&number, r#"{"answer":"7"}"#, None);
        check(&number, r#"{"answer":7,"answer":8}"#, None);
        let fields = of(r#"{"properties":{"a":{"type":"integer"},"b":{"type":"string"}}}"#);
        check(&fields, r#"So {"a":1} it is"#, Some(r#"{"a":1,"b":null}"#));
        // An object within a broken one is not the answer.
        check(&fields, r#"{"x":{"a":1},}"#, None);
        let choice = AnswerType::choice(vec!["bug".into()]).asked_by(Asked::Prompt);
        for text in [
            "Bug",
            r#"{"answer":"bug"}"#,
            "```\nbug\n```",
            "Here you are: {\"answer\":\"BUG\"}.",
            "<think>Hm, how-to?</think>\n\nbug",
        ] {
            check(&choice, text, Some("bug"));
        }
        check(&choice, "<think>bug", None);
        check(&choice, "it is no bug", None);
        // Otherwise only the answer is one.
        let plain = AnswerType::choice(vec!["bug".into()]);
        check(&plain, "```\nbug\n```", None);
    }

    #[test]
    fn an_answer_that_was_begun_is_read_with_its_beginning() {
        let fields = AnswerType::Json(JsonAnswer {
            schema: r#"{"properties":{"a":{"type":"integer"}},"required":["a"]}"#.into(),
            types: BTreeMap::new(),
            asked: Asked::Prompt,
        });
        let choice = AnswerType::choice(vec!["bug".into()]).asked_by(Asked::Prompt);
        for (answer, prefix, text, expect) in [
            (&fields, "{", r#""a":1}"#, Some(r#"{"a":1}"#)),
            (
                &fields,
                "```json\n{",
                "\"a\": 1}\n```\nDone.",
                Some(r#"{"a":1}"#),
            ),
            (&fields, "{\"a\":", "12 }", Some(r#"{"a":12}"#)),
            (&fields, "{\"a\":1", "2}", Some(r#"{"a":12}"#)),
            (&fields, "The answer:", r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            // A server that begins anew.
            (&fields, "{", r#"{"a":1}"#, Some(r#"{"a":1}"#)),
            (&fields, "{", r#""a":"x"}"#, None),
            (&fields, "{", r#""a":1"#, None),
            (&fields, "{\"a\":", r#"{"a":1}"#, None),
            (&choice, "{", r#""answer":"Bug"}"#, Some("bug")),
            // Of a text it is no part.
            (&AnswerType::Text, "Label:", " bug", Some(" bug")),
        ] {
            let judge = judge(answer).after(Some(prefix));
            let outcome = judge.judge(answered(text, Finish::Stop));
            assert_eq!(outcome.answer.as_deref(), expect, "{prefix}|{text}");
            // What was paid for is kept as it came.
            assert!(expect.is_some() || outcome.raw.as_deref() == Some(text));
        }
        let cut = judge(&fields)
            .after(Some("{"))
            .judge(answered(r#""a":1}"#, Finish::Length));
        assert_eq!(cut.status, RowStatus::Truncated);
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
