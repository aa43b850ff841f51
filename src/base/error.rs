//! One error for the whole crate, made of strings and a boxed source, so that it can lie on the
//! ground floor. Its kind says what the caller can do about it; each kind has one exit code.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use super::exit::ErrorKind;

/// What every fallible function of the crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: a kind, a sentence, named values, perhaps a hint and a cause.
///
/// The sentence is lowercase, has no full stop and reads well after "failed: ". Values go into the
/// context as ``key=`value` ``, never the cause's text into the sentence.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    wait: Option<Duration>,
}

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            hint: None,
            source: None,
            wait: None,
        }))
    }

    /// The command, the job file or the input is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Stored state is corrupt.
    pub fn data(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Data, message)
    }

    /// Storage or network is away.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A defect of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// Adds a named value.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what to do about it. The first hint stays: it is nearest to the cause.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// Keeps what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says how long whoever refused asked us to wait before the same is tried again.
    #[must_use]
    pub fn after(mut self, wait: Option<Duration>) -> Self {
        self.0.wait = wait;
        self
    }

    /// How long whoever refused asked us to wait, if it did.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.wait
    }

    /// The value of `key` in the context, if it has one.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        let pair = self.0.context.iter().find(|(name, _)| *name == key);
        pair.map(|(_, value)| value.as_str())
    }

    /// What the caller can do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence alone.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What to do about it, if anybody knew.
    #[must_use]
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (key, value) in &self.0.context {
            write!(f, ", {key}=`{}`", in_short(value))?;
        }
        Ok(())
    }
}

/// Characters of a value or a cause that are told: its beginning, and its end.
const TOLD: (usize, usize) = (400, 100);

/// `text`, without the middle of it if it is long: readers put what they could not read into their
/// errors, and that may be megabytes of somebody's rows.
#[must_use]
pub fn in_short(text: &str) -> Cow<'_, str> {
    let (first, last) = TOLD;
    // Most are shorter than that in bytes.
    if text.len() <= first + last || text.chars().count() <= first + last {
        return text.into();
    }
    let head: String = text.chars().take(first).collect();
    let tail: Vec<char> = text.chars().rev().take(last).collect();
    let tail: String = tail.into_iter().rev().collect();
    format!("{head} … {tail}").into()
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)?;
        if let Some(source) = &self.0.source {
            write!(f, "; caused by: {}", in_short(&source.to_string()))?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

/// Turns a foreign error into ours, with a sentence that says what was being done.
pub trait ResultExt<T> {
    /// Wraps the error as the cause of an [`Error`] of `kind` that says `message`.
    ///
    /// # Errors
    /// Whatever error was there, wrapped.
    fn or_err(self, kind: ErrorKind, message: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> ResultExt<T> for Result<T, E> {
    fn or_err(self, kind: ErrorKind, message: impl Into<String>) -> Result<T> {
        self.map_err(|source| Error::new(kind, message).because(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_tells_little_of_what_is_long() {
        let long = "é".repeat(1_000_000);
        let cause = Error::data(format!("cannot parse {long}, at the end"));
        let error = Error::invalid("unreadable")
            .with("said", &long)
            .because(cause);
        for told in [error.to_string(), format!("{error:?}")] {
            assert!(
                told.chars().count() < 1_200,
                "{} characters",
                told.chars().count()
            );
            assert!(told.contains("é … é"), "{told}");
        }
        let short = "x".repeat(500);
        assert_eq!(in_short(&short), short);
        assert!(in_short(&format!("{short}, the end")).ends_with("xxx, the end"));
        assert_eq!(error.value("said"), Some(&*long), "the value itself stays");
    }

    #[test]
    fn an_error_reads_as_a_sentence_with_values_and_keeps_its_cause() {
        let cause = std::io::Error::other("disk on fire");
        let error = Err::<(), _>(cause)
            .or_err(ErrorKind::Unavailable, "cannot write the commit")
            .unwrap_err()
            .with("version", 7)
            .hint("free some space");
        assert_eq!(error.to_string(), "cannot write the commit, version=`7`");
        assert_eq!(
            error.source().map(ToString::to_string),
            Some("disk on fire".into())
        );
        assert_eq!(error.hint_text(), Some("free some space"));
        assert_eq!(error.kind().exit_code(), 1);
    }
}
