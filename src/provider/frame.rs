//! From one request as JSON to the constant bytes around what differs.

use serde_json::{Map, Value};

use crate::base::{Error, Result};

/// A request's bytes before the id, between id and text, and after the text.
pub(super) type FrameParts = (Vec<u8>, Vec<u8>, Vec<u8>);

/// What is the same in every request that `write` makes of an id and a text: all but these two. Both are
/// JSON strings there, the id first; the quotes around them stay with the parts.
///
/// # Errors
/// `Internal` unless each stands there exactly once.
pub(super) fn constant_parts(write: impl Fn(&str, &str) -> String) -> Result<FrameParts> {
    // Nothing that the job says can look like the marks: they are chosen so.
    let plain = write("", "");
    let mark = |kind: &str| {
        // A text of so many bytes cannot hold so many marks.
        (0..=plain.len())
            .map(|n| format!("columnist-{kind}-{n}"))
            .find(|mark| !plain.contains(mark))
            .unwrap_or_default()
    };
    let (id, text) = (mark("id"), mark("text"));
    let whole = write(&id, &text);
    let pieces = whole.split_once(&id).and_then(|(before_id, rest)| {
        let (after_id, after_text) = rest.split_once(&text)?;
        let once = |piece: &str| !piece.contains(&id) && !piece.contains(&text);
        [before_id, after_id, after_text]
            .into_iter()
            .all(once)
            .then(|| (before_id.into(), after_id.into(), after_text.into()))
    });
    pieces.ok_or_else(|| Error::internal("cannot tell where the text stands in a request"))
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
