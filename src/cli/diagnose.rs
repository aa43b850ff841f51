//! Errors as people read them.

use std::error::Error as StdError;
use std::fmt::Write;

use crate::base::Error;
use crate::spec::Mistakes;

/// An error with its causes and its hint, over several lines.
pub(super) fn explain(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(mistakes) = source.downcast_ref::<Mistakes>() {
            for mistake in mistakes.iter() {
                let lines = mistake.to_string().replace('\n', "\n  ");
                let _ = writeln!(text, "  {lines}");
            }
        } else {
            let _ = writeln!(
                text,
                "  caused by: {}",
                source.to_string().replace('\n', "\n    ")
            );
        }
        cause = source.source();
    }
    if let Some(hint) = error.hint_text() {
        let _ = writeln!(text, "\nhint: {hint}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::ErrorKind;

    #[test]
    fn an_error_says_what_why_and_what_to_do() {
        let error = Error::new(ErrorKind::Unavailable, "cannot write the output")
            .with("path", "/out")
            .because(std::io::Error::other("no space left"))
            .hint("free some space");
        assert_eq!(
            explain(&error),
            "error: cannot write the output, path=`/out`\n  caused by: no space left\n\nhint: free some space\n"
        );
    }
}
