//! How an error is told to a person.
//!
//! ```text
//! error: the job file has 2 mistakes, file=`triage.toml`
//!
//!   line 7: unknown key `prompt.usr`
//!           did you mean `prompt.user`?
//!   line 9: `source.limit` must be a whole number, found a text
//!           | limit = "many"
//!           |         ^^^^^^
//!           write `limit = 1000` under `[source]`
//!
//! error: provider rejected the chunk, chunk=`7`
//!   caused by: request body too large
//!
//! hint: lower `model.max_bytes_per_batch`
//! ```

use std::error::Error as _;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::base::{Error, in_short};
use crate::cli::panics::without_words;
use crate::spec::{Excerpt, Mistake, MistakeAt, Mistakes};

/// Whether to colour what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Colour {
    /// Plain text.
    Never,
    /// With ANSI colours.
    Always,
}

impl Colour {
    /// Colours on a terminal that can show them, unless `NO_COLOR` asks for none; and wherever
    /// `CLICOLOR_FORCE` asks for them.
    #[must_use]
    pub(in crate::cli) fn decide(
        is_terminal: bool,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Colour {
        let asks = |name| env(name).is_some_and(|value| !value.is_empty());
        let forced = env("CLICOLOR_FORCE").is_some_and(|value| !matches!(&*value, "" | "0"));
        let dumb = env("TERM").as_deref() == Some("dumb");
        if !asks("NO_COLOR") && (forced || (is_terminal && !dumb)) {
            Colour::Always
        } else {
            Colour::Never
        }
    }

    fn paint(self, code: &str, text: &str) -> String {
        match self {
            Colour::Never => text.to_owned(),
            Colour::Always => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }

    /// For what went wrong.
    pub(in crate::cli) fn red(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// For what may be wrong.
    pub(in crate::cli) fn yellow(self, text: &str) -> String {
        self.paint("1;33", text)
    }

    fn cyan(self, text: &str) -> String {
        self.paint("1;36", text)
    }

    fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }
}

/// `error` in full: its sentence, its causes, its hint. Ends with a line break.
#[must_use]
pub(in crate::cli) fn render(error: &Error, colour: Colour) -> String {
    let mut out = format!("{} {error}\n", colour.red("error:"));
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let text = source.to_string();
        let text = without_words(&text).to_owned();
        if let Some(mistakes) = source.downcast_ref::<Mistakes>() {
            render_mistakes(mistakes, colour, &mut out);
        } else if !said.contains(&text) {
            // Some libraries say all their causes in each of them.
            let text = in_short(&text).replace('\n', "\n    ");
            let _ = writeln!(out, "  {} {text}", colour.faint("caused by:"));
        }
        said = text;
        cause = source.source();
    }
    if let Some(hint) = hint(error) {
        let _ = writeln!(out, "\n{} {}", colour.cyan("hint:"), in_short(hint));
    }
    out
}

/// The hint of `error`, or of whatever caused it.
fn hint(error: &Error) -> Option<&str> {
    let below = || hint(error.source()?.downcast_ref::<Error>()?);
    error.hint_text().or_else(below)
}

/// `error` as one JSON line, for `--log-format json`. Without a line break.
#[must_use]
pub(in crate::cli) fn render_json(error: &Error) -> String {
    json!({
        "level": "error",
        "message": error.to_string(),
        "causes": causes(error),
        "hint": hint(error).map(in_short),
        "exit_code": error.kind().exit_code(),
    })
    .to_string()
}

/// What `error` comes from: sentences, and mistakes with their places.
pub(in crate::cli) fn causes(error: &Error) -> Vec<Value> {
    let mut causes: Vec<Value> = Vec::new();
    let mut cause = error.source();
    while let Some(source) = cause {
        match source.downcast_ref::<Mistakes>() {
            Some(mistakes) => causes.extend(mistakes.iter().map(mistake_value)),
            None => causes.push(in_short(without_words(&source.to_string())).into()),
        }
        cause = source.source();
    }
    causes
}

fn mistake_value(mistake: &Mistake) -> Value {
    let (line, column, flag) = match &mistake.place {
        MistakeAt::Line(at) => (Some(at.line), Some(at.column), None),
        MistakeAt::Flag(flag) => (None, None, Some(flag)),
        MistakeAt::Absent => (None, None, None),
    };
    json!({
        "line": line,
        "column": column,
        "flag": flag,
        "problem": mistake.problem,
        "advice": mistake.advice,
    })
}

fn render_mistakes(mistakes: &Mistakes, colour: Colour, out: &mut String) {
    out.push('\n');
    for mistake in mistakes.iter() {
        let lead = match &mistake.place {
            MistakeAt::Line(at) => format!("line {}: ", at.line),
            MistakeAt::Flag(flag) => format!("{flag}: "),
            MistakeAt::Absent => String::new(),
        };
        // Under a long flag the advice would be pushed out of the screen.
        let indent = " ".repeat(2 + lead.chars().count().clamp(2, 12));
        let _ = writeln!(out, "  {}{}", colour.faint(&lead), mistake.problem);
        if let MistakeAt::Line(at) = &mistake.place {
            render_excerpt(at, &indent, colour, out);
        }
        for line in mistake.advice.lines() {
            let _ = writeln!(out, "{indent}{line}");
        }
    }
}

/// The longest part of a line that is quoted, in characters.
const QUOTE_MAX: usize = 100;

fn render_excerpt(at: &Excerpt, indent: &str, colour: Colour, out: &mut String) {
    if at.text.trim().is_empty() || at.column > QUOTE_MAX {
        return;
    }
    // A tab is one character to us and several to a terminal; the caret must stand beneath. Other
    // control characters could do worse to a terminal.
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = at.text.chars().take(QUOTE_MAX).map(clean).collect();
    let width = at.width.min(QUOTE_MAX + 1 - at.column);
    let caret = " ".repeat(at.column - 1) + &"^".repeat(width);
    let bar = colour.faint("|");
    let _ = writeln!(out, "{indent}{bar} {}", text.trim_end());
    let _ = writeln!(out, "{indent}{bar} {}", colour.red(&caret));
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::spec::{Draft, Surroundings};

    fn mistakes_of(text: &str, sets: &[&str]) -> Error {
        let around = Surroundings::made_up("/", |_| None, |_| Err(std::io::Error::other("no")));
        let mut draft = Draft::of_file(PathBuf::from("/j/triage.toml"), text.to_owned());
        for set in sets {
            draft.set(set);
        }
        draft.resolve(&around).expect_err("has mistakes")
    }

    const TEXT: &str = "name = \"t\"\n[source]\ntable = \"a\"\nlimit = \"many\"\n[prompt]\n\
                        usr = \"x\"\n[answer]\ncolumn = \"c\"\n[model]\nuse = \"a/b\"\n[output]\n\
                        path = \"o\"\n";

    #[test]
    fn mistakes_are_shown_with_their_lines() {
        assert_eq!(
            render(
                &mistakes_of(TEXT, &["model.temperature=hot"]),
                Colour::Never
            ),
            "error: the job file has 3 mistakes, file=`/j/triage.toml`\n\
             \n  line 4: `source.limit` must be a whole number, found a text\
             \n          | limit = \"many\"\
             \n          |         ^^^^^^\
             \n          write `limit = 1000` under `[source]`\
             \n  line 6: unknown key `prompt.usr`\
             \n          did you mean `prompt.user`?\
             \n  --set model.temperature: `model.temperature` must be a number, found a text\
             \n              write `--set model.temperature=0.0`\n"
        );
    }

    #[test]
    fn a_single_mistake_is_not_counted() {
        let error = mistakes_of(&TEXT.replace("usr", "user"), &[]);
        assert!(render(&error, Colour::Never).starts_with("error: the job file has a mistake, "));
    }

    #[test]
    fn an_error_is_shown_with_its_causes_and_the_nearest_hint() {
        let inner = Error::unavailable("no answer")
            .because(std::io::Error::other("connection\nrefused"))
            .hint("start the server");
        let error = Error::internal("cannot poll the batch")
            .with("batch", "b1")
            .because(inner);
        assert_eq!(
            render(&error, Colour::Never),
            "error: cannot poll the batch, batch=`b1`\n  caused by: no answer\n  \
             caused by: connection\n    refused\n\nhint: start the server\n"
        );
        assert!(render(&error, Colour::Always).starts_with("\x1b[1;31merror:\x1b[0m cannot"));
    }

    #[test]
    fn no_error_tells_much_of_a_row() {
        let row = "secret ".repeat(200_000);
        let source = arrow::error::ArrowError::JsonError(format!("cannot read {row}"));
        let error = Error::invalid("cannot read")
            .with("said", &row)
            .because(source)
            .hint(&row);
        for told in [render(&error, Colour::Never), render_json(&error)] {
            assert!(told.len() < 2_000, "{} bytes", told.len());
            assert!(told.contains("cannot read secret"), "{told}");
        }
    }

    #[test]
    fn a_cause_that_was_told_already_is_not_told_again() {
        let source = object_store::Error::Generic {
            store: "S3",
            source: std::io::Error::other("connection refused").into(),
        };
        let error = Error::unavailable("cannot read").because(source);
        assert_eq!(
            render(&error, Colour::Never),
            "error: cannot read\n  caused by: Generic S3 error: connection refused\n"
        );
    }

    #[test]
    fn as_json_an_error_is_one_line() {
        let line = render_json(&mistakes_of(TEXT, &[]));
        let value: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(value["exit_code"], 2);
        assert_eq!(value["causes"][0]["line"], 4);
        assert_eq!(value["causes"][1]["advice"], "did you mean `prompt.user`?");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_quoted_line_does_nothing_to_the_terminal() {
        let text = "\tname = \"\x1b[31m\"";
        let at = Excerpt::of(text, &(8..9));
        let mut out = String::new();
        render_excerpt(&at, "", Colour::Never, &mut out);
        assert!(!out.contains('\x1b') && !out.contains('\t'), "{out:?}");
    }

    #[test]
    fn colours_need_a_terminal_and_no_objection() {
        let decide = |terminal, name: &'static str, value: &'static str| {
            Colour::decide(terminal, &move |asked| {
                (asked == name).then(|| value.to_owned())
            })
        };
        assert_eq!(decide(true, "", ""), Colour::Always);
        assert_eq!(decide(false, "", ""), Colour::Never);
        assert_eq!(decide(true, "NO_COLOR", "1"), Colour::Never);
        assert_eq!(decide(true, "NO_COLOR", ""), Colour::Always);
        assert_eq!(decide(true, "TERM", "dumb"), Colour::Never);
        assert_eq!(decide(false, "CLICOLOR_FORCE", "1"), Colour::Always);
        assert_eq!(decide(false, "CLICOLOR_FORCE", "0"), Colour::Never);
    }
}
