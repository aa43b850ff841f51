//! From one request as JSON to the constant bytes around what differs.

use serde_json::{Map, Value, json};

use crate::base::{Error, Result};
use crate::work::TurnFrame;

/// A request's bytes before the id, between id and text, and after the text.
pub(super) type FrameParts = (Vec<u8>, Vec<u8>, Vec<u8>);

/// What is the same in every request that `write` makes of an id and a text: all but these two. Both are
/// JSON strings there, the id first; the quotes around them stay with the parts.
///
/// # Errors
/// `Internal` unless each stands there exactly once.
pub(super) fn constant_parts(write: impl Fn(&str, &str) -> String) -> Result<FrameParts> {
    let [before_id, after_id, after_text] = pieces(["id", "text"], |[id, text]| write(id, text))?;
    Ok((before_id, after_id, after_text))
}

/// What stands around the turns that follow a row's text: `write` makes a request of an id, the text, the
/// answer and what is said to it.
///
/// # Errors
/// As for [`constant_parts`].
pub(super) fn turn_frame(write: impl Fn([&str; 4]) -> String) -> Result<TurnFrame> {
    let kinds = ["id", "text", "answer", "message"];
    let [_, _, before_answer, before_message, _] = pieces(kinds, write)?;
    Ok(TurnFrame {
        before_answer,
        before_message,
    })
}

/// Puts the turns of `correction` behind the last that a user says in `body`; `prefix` is how the answer
/// was made to begin.
pub(super) fn put_turns(
    body: &mut Map<String, Value>,
    prefix: Option<&str>,
    (answer, message): (&str, &str),
) {
    let Some(Value::Array(turns)) = body.get_mut("messages") else {
        return;
    };
    let own = turns.iter().rposition(|turn| turn["role"] == "user");
    let Some(own) = own else { return };
    let answer = format!("{}{answer}", prefix.unwrap_or_default());
    turns.insert(own + 1, json!({ "role": "assistant", "content": answer }));
    turns.insert(own + 2, json!({ "role": "user", "content": message }));
}

/// The constant pieces between the texts that `write` puts into a request, each once and in this order.
fn pieces<const N: usize, const M: usize>(
    kinds: [&str; N],
    write: impl Fn([&str; N]) -> String,
) -> Result<[Vec<u8>; M]> {
    // Nothing that the job says can look like the marks: they are chosen so.
    let plain = write([""; N]);
    let mark = |kind: &str| {
        // A text of so many bytes cannot hold so many marks.
        (0..=plain.len())
            .map(|n| format!("columnist-{kind}-{n}"))
            .find(|mark| !plain.contains(mark))
            .unwrap_or_default()
    };
    let marks = kinds.map(mark);
    let whole = write(marks.each_ref().map(String::as_str));
    let mut cut = Vec::new();
    let mut rest = Some(&*whole);
    for mark in &marks {
        let (before, after) = match rest.and_then(|rest| rest.split_once(mark.as_str())) {
            Some((before, after)) => (Some(before), Some(after)),
            None => (None, None),
        };
        cut.extend(before);
        rest = after;
    }
    cut.extend(rest);
    let once = |piece: &&str| !marks.iter().any(|mark| piece.contains(mark.as_str()));
    let cut: Vec<Vec<u8>> = cut.into_iter().filter(once).map(Into::into).collect();
    cut.try_into()
        .map_err(|_| Error::internal("cannot tell where the text stands in a request"))
}

/// A parameter of the job that we cannot pass on, and why.
pub(super) fn contradiction(param: &'static str, why: &'static str) -> Error {
    Error::invalid("a parameter contradicts what is set elsewhere")
        .with("param", param)
        .hint(why)
}

/// Refuses every parameter that is named in `ours`.
///
/// # Errors
/// `Invalid`, with the reason that stands beside the first one.
pub(super) fn refuse(
    params: &Map<String, Value>,
    ours: &[(&'static str, &'static str)],
) -> Result<()> {
    match ours.iter().find(|(param, _)| params.contains_key(*param)) {
        Some((param, why)) => Err(contradiction(param, why)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_speaks_of_the_marks_is_cut_all_the_same() {
        let write = |id: &str, text: &str| {
            format!(r#"{{"id":"{id}","system":"columnist-text-0 columnist-id-0","user":"{text}"}}"#)
        };
        let (before_id, after_id, after_text) = constant_parts(write).expect("can be cut");
        assert_eq!(before_id, b"{\"id\":\"");
        assert_eq!(
            String::from_utf8(after_id).expect("UTF-8"),
            r#"","system":"columnist-text-0 columnist-id-0","user":""#
        );
        assert_eq!(after_text, b"\"}");
    }

    #[test]
    fn a_text_that_stands_twice_is_not_cut() {
        assert!(constant_parts(|id, text| format!("{id}{text}{text}")).is_err());
        assert!(constant_parts(|id, text| format!("{text}{id}")).is_err());
    }
}
