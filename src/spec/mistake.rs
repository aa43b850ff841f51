//! What is wrong with what the user wrote, all of it at once.

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;

/// Where a mistake stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MistakeAt {
    /// In the job file.
    Line(Excerpt),
    /// On the command line, as it was written there: `--limit`, or `--set source.limit`.
    Flag(String),
    /// Nowhere: something is not there.
    Absent,
}

/// A place in the job file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Excerpt {
    /// From one.
    pub line: usize,
    /// From one, in characters.
    pub column: usize,
    /// How many characters of the line are meant.
    pub width: usize,
    /// The line itself; empty where showing it might show a secret.
    pub text: String,
}

impl Excerpt {
    /// The place of the bytes `span` in `text`.
    #[must_use]
    pub fn of(text: &str, span: &Range<usize>) -> Self {
        let start = floor_boundary(text, span.start);
        let end = floor_boundary(text, span.end).max(start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line = text[line_start..].lines().next().unwrap_or_default();
        let line_end = line_start + line.len();
        let marked = &text[start.min(line_end)..end.min(line_end)];
        Excerpt {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: marked.chars().count().max(1),
            text: if is_secretive(line) {
                String::new()
            } else {
                line.to_owned()
            },
        }
    }

    /// The same place, without the text of its line.
    #[must_use]
    pub fn unquoted(self) -> Self {
        Excerpt {
            text: String::new(),
            ..self
        }
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Whether a line may hold a secret that somebody wrote where none belongs. Our messages quote
/// lines, and messages end in logs.
fn is_secretive(line: &str) -> bool {
    let line = line.to_lowercase();
    let says = |word| line.contains(word);
    ["api_key", "apikey", "api-key", "secret", "password", "sk-"]
        .into_iter()
        .any(says)
        || (says("://") && says("@"))
}

/// One thing that is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The place in the job file, or the flag.
    pub place: MistakeAt,
    /// What is wrong.
    pub problem: String,
    /// What to do about it; empty where the problem says it all.
    pub advice: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lead = match &self.place {
            MistakeAt::Line(at) => format!("line {}: ", at.line),
            MistakeAt::Flag(flag) => format!("{flag}: "),
            MistakeAt::Absent => String::new(),
        };
        write!(f, "{lead}{}", self.problem)?;
        if self.advice.is_empty() {
            return Ok(());
        }
        let indent = " ".repeat(lead.chars().count());
        for line in self.advice.lines() {
            write!(f, "\n{indent}{line}")?;
        }
        Ok(())
    }
}

/// All that is wrong, in the order of the file; then the command line, then what is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    /// These mistakes, sorted, each once.
    #[must_use]
    pub fn new(mut list: Vec<Mistake>) -> Self {
        list.sort();
        list.dedup();
        Mistakes(list)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl StdError for Mistakes {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_lines_and_characters() {
        let text = "a = 1\nname = \"zoë x\"\nb = 2";
        let start = text.find("x\"").expect("there");
        let at = Excerpt::of(text, &(start..start + 1));
        assert_eq!((at.line, at.column, at.width), (2, 13, 1));
        assert_eq!(at.text, "name = \"zoë x\"");
    }

    #[test]
    fn a_span_over_several_lines_marks_the_first_alone() {
        let at = Excerpt::of("k = [\n1,\n2]", &(4..11));
        assert_eq!((at.line, at.column, at.width), (1, 5, 1));
    }

    #[test]
    fn a_place_past_the_end_is_the_end() {
        let at = Excerpt::of("é", &(1..99));
        assert_eq!((at.line, at.column, at.width), (1, 1, 1));
        assert_eq!(Excerpt::of("", &(0..0)).line, 1);
    }

    #[test]
    fn a_line_that_may_hold_a_key_is_not_quoted() {
        for line in [
            "api_key = \"abc\"",
            "params = { Password = 1 }",
            "base_url = \"https://me:pw@host/v1\"",
        ] {
            assert_eq!(Excerpt::of(line, &(0..3)).text, "", "{line}");
        }
    }
}
