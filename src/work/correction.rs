//! What an answer that broke its type is asked again with: the answer, and what is wrong with it.

use std::borrow::Cow;

/// The turns that follow a row's own question where it is asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction<'a> {
    /// The answer, as the model gave it; shortened if it was very long.
    pub answer: &'a str,
    /// What is said to it, whole.
    pub message: &'a str,
}

impl<'a> Correction<'a> {
    /// The same, to be kept.
    #[must_use]
    pub fn to_owned(self) -> (String, String) {
        (self.answer.to_owned(), self.message.to_owned())
    }

    /// What was kept.
    #[must_use]
    pub fn borrow(kept: Option<&'a (String, String)>) -> Option<Correction<'a>> {
        kept.map(|(answer, message)| Correction { answer, message })
    }
}

/// The most bytes of an answer that are sent back.
pub const ANSWER_MAX: usize = 16 << 10;
/// The most bytes of a reason.
const REASON_MAX: usize = 1000;

/// What stands where there was no answer: many services refuse a turn without a word.
const NOTHING: &str = "(no answer)";
/// What stands at the end of an answer that was cut.
const CUT: &str = " [...]";

/// An answer as it is sent back.
#[must_use]
pub fn sent_back(answer: &str) -> Cow<'_, str> {
    if answer.trim().is_empty() {
        return NOTHING.into();
    }
    shortened(answer, ANSWER_MAX)
}

/// What is said to an answer that cannot be used for this `reason`.
#[must_use]
pub fn message(reason: &str) -> String {
    let reason = shortened(reason.trim(), REASON_MAX);
    let reason = if reason.is_empty() {
        "it has not the form that was asked for".into()
    } else {
        reason
    };
    format!(
        "That answer cannot be used: {reason}. Give the whole answer again, in the form that was asked for, \
         and nothing else."
    )
}

/// `text`, or its beginning with a mark that there was more.
fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text.into();
    }
    let end = text.floor_char_boundary(max - CUT.len());
    format!("{}{CUT}", &text[..end]).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_back_is_never_empty_and_never_long() {
        assert_eq!(sent_back("{\"a\":1}"), "{\"a\":1}");
        assert_eq!(sent_back(" \n"), NOTHING);
        let long = "\u{1f600}".repeat(10_000_000 / 4);
        let back = sent_back(&long);
        assert!(back.len() <= ANSWER_MAX && back.ends_with("\u{1f600} [...]"));
        assert!(long.starts_with(back.trim_end_matches(CUT)));
        assert_eq!(sent_back(&"x".repeat(ANSWER_MAX)).len(), ANSWER_MAX);
    }

    #[test]
    fn a_message_says_the_reason_and_always_has_one() {
        let said = message("lines[2].qty: 3.5 is no whole number");
        assert!(
            said.starts_with("That answer cannot be used: lines[2].qty: 3.5 is no whole number. ")
        );
        assert!(message("").contains("has not the form"));
        assert!(message(&"x".repeat(100_000)).len() < REASON_MAX + 200);
    }
}
