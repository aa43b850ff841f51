//! What came back for a request.

use std::borrow::Cow;
use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use super::RowStatus;

/// Tokens by class of price. Every class is zero where the provider did not report it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input at the full price: neither read from a cache nor written to one.
    pub input: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache that lives five minutes, or that has no such classes.
    pub cache_write_5m: u64,
    /// Input written to a cache that lives an hour.
    pub cache_write_1h: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// The part of the output that was reasoning.
    pub reasoning: u64,
}

impl Usage {
    /// Its classes, in the order in which they stand above.
    #[must_use]
    pub fn classes(&self) -> [u64; 6] {
        let Usage {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
        } = *self;
        [
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
        ]
    }

    /// What has these [classes](Usage::classes).
    #[must_use]
    pub fn of_classes(classes: [u64; 6]) -> Usage {
        let [
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
        ] = classes;
        Usage {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
        }
    }

    /// All input, of whatever class.
    #[must_use]
    pub fn input_total(&self) -> u64 {
        self.input + self.cached()
    }

    /// Input that was read from a cache, or written to one.
    #[must_use]
    pub fn cached(&self) -> u64 {
        self.cache_read + self.cache_write_5m + self.cache_write_1h
    }

    /// The same, had there been no cache.
    #[must_use]
    pub fn uncached(&self) -> Usage {
        Usage {
            input: self.input_total(),
            cache_read: 0,
            cache_write_5m: 0,
            cache_write_1h: 0,
            ..*self
        }
    }

    /// Of all input, the share that was read from a cache, in percent; nothing where there was none.
    #[must_use]
    pub fn hit_percent(&self) -> u64 {
        let read = u128::from(self.cache_read) * 100;
        let percent = read.checked_div(u128::from(self.input_total()));
        percent
            .and_then(|percent| u64::try_from(percent).ok())
            .unwrap_or_default()
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        let (mut sums, more) = (self.classes(), other.classes());
        for (sum, more) in sums.iter_mut().zip(more) {
            *sum = sum.saturating_add(more);
        }
        *self = Usage::of_classes(sums);
    }
}

/// Why the model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// It was done.
    Stop,
    /// The output limit cut it.
    Length,
    /// It called a tool.
    Tool,
    /// It refused.
    Refusal,
    /// It wants to go on in another turn.
    Unfinished,
    /// A word this version does not know.
    Other,
    /// A content filter of the provider stopped it.
    Filter,
    /// The model has no room for more: what it was asked, and what it said, fill its window.
    Window,
}

impl Finish {
    /// The word stored beside an outcome.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
            Finish::Tool => "tool",
            Finish::Refusal => "refusal",
            Finish::Unfinished => "unfinished",
            Finish::Other => "other",
            Finish::Filter => "filter",
            Finish::Window => "window",
        }
    }
}

/// Whether sending a failed request again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// It failed for the account's sake: its credit, its quota, its key. Worth sending again once that
    /// is mended, and not before.
    Account,
    /// It failed in passing (a server's error, an overload, an expiry): send it again.
    Transient,
    /// It will fail again in the same way.
    Permanent,
    /// A content filter of the provider kept it back, and will again.
    Filtered,
}

/// One line of a result file, as the provider's client understood it. Borrows from the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The id that we gave the request.
    pub custom_id: Cow<'a, str>,
    /// What the line says of it.
    pub body: ReplyBody<'a>,
}

/// One vector of an answer, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector<'a> {
    /// Which of the request's inputs it is of, counted from zero.
    pub index: u64,
    /// Its JSON: a list of numbers, or its little-endian 32-bit floats in base64.
    pub json: Cow<'a, str>,
}

/// What a line says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyBody<'a> {
    /// The model answered, in whatever way.
    Answered {
        /// The answer's text; empty where there is none.
        text: Cow<'a, str>,
        /// Why the model stopped.
        finish: Finish,
        /// The reason of a refusal, where one was given.
        refusal: Option<Cow<'a, str>>,
        /// The model that answered, as the provider names it.
        model: Cow<'a, str>,
        /// What was used, and so what was paid.
        usage: Usage,
    },
    /// The model answered with vectors, one for each input.
    Embedded {
        /// The vectors, in whatever order.
        vectors: Vec<Vector<'a>>,
        /// The model that answered, as the provider names it.
        model: Cow<'a, str>,
        /// What was used for all of them together.
        usage: Usage,
    },
    /// The request ended in an error; nothing was paid.
    Failed {
        /// Whether it is worth sending again.
        class: FailureClass,
        /// The provider's code or error type.
        code: Cow<'a, str>,
        /// The provider's sentence.
        message: Cow<'a, str>,
    },
    /// The batch's window ended before its turn.
    Expired,
    /// The batch was canceled before its turn.
    Canceled,
}

/// What became of one request in one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome<'a> {
    /// Never `Deferred`, `Skipped` or `Pending`.
    pub status: RowStatus,
    /// The answer, in its final form. Only where `status` is `Succeeded`, and the answer is no vector.
    pub answer: Option<Cow<'a, str>>,
    /// The answer where it is a vector: 32-bit floats, little-endian.
    pub vector: Option<Cow<'a, [u8]>>,
    /// What the model said where that is not the answer: it was paid for, and is kept.
    pub raw: Option<Cow<'a, str>>,
    /// Why there is no answer: a code or a short sentence.
    pub error: Option<Cow<'a, str>>,
    /// Whether sending it again can help.
    pub transient: bool,
    /// Whether it failed for the account's sake: then sending it again helps once that is mended.
    pub account: bool,
    /// Why the model stopped, where it answered.
    pub finish: Option<Finish>,
    /// The model that answered.
    pub model: Option<Cow<'a, str>>,
    /// What was paid for.
    pub usage: Usage,
}

impl<'a> Outcome<'a> {
    /// The request was answered, and the answer has its type.
    #[must_use]
    pub fn succeeded(answer: Cow<'a, str>) -> Self {
        Outcome {
            status: RowStatus::Succeeded,
            answer: Some(answer),
            vector: None,
            raw: None,
            error: None,
            transient: false,
            account: false,
            finish: None,
            model: None,
            usage: Usage::default(),
        }
    }

    /// The request was answered with a vector of the right length.
    #[must_use]
    pub fn embedded(vector: Cow<'a, [u8]>) -> Self {
        Outcome {
            answer: None,
            vector: Some(vector),
            ..Outcome::succeeded(Cow::Borrowed(""))
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

/// An answer in its final form, wherever it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerRef<'a> {
    /// A text; of types other than text and choice, JSON.
    Text(&'a str),
    /// A vector: 32-bit floats, little-endian.
    Vector(&'a [u8]),
}
