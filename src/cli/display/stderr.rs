//! Standard error, until it is shut.
//!
//! Schedulers read the last line of both streams, so nothing may follow the final JSON object:
//! not a late progress line, not a log message of a library. All that goes to standard error goes
//! through one writer, which is shut before that object is printed. Where bars are on the terminal,
//! they are taken away while something is written, and drawn again beneath it.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

/// A writer that many hold and one can shut. What is written afterwards is dropped.
#[derive(Clone)]
pub(in crate::cli) struct Stderr(Arc<Mutex<Inner>>);

struct Inner {
    sink: Option<Box<dyn Write + Send>>,
    bars: Option<MultiProgress>,
}

impl Stderr {
    /// Standard error.
    #[must_use]
    pub(in crate::cli) fn open() -> Self {
        Self::to(io::stderr())
    }

    /// Whatever `sink` is.
    #[must_use]
    pub(in crate::cli) fn to(sink: impl Write + Send + 'static) -> Self {
        Stderr(Arc::new(Mutex::new(Inner {
            sink: Some(Box::new(sink)),
            bars: None,
        })))
    }

    /// From now on, `bars` stand beneath whatever is written; or none do.
    pub(in crate::cli) fn above(&self, bars: Option<MultiProgress>) {
        self.lock().bars = bars;
    }

    /// Writes `text` and a line break, as one. A stream that is gone is no reason to stop a run.
    pub(in crate::cli) fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes `text` as it is.
    pub(in crate::cli) fn text(&self, text: &str) {
        let _ = self.lock().write(text.as_bytes());
    }

    /// Drops everything that is written from now on.
    pub(in crate::cli) fn shut(&self) {
        self.lock().sink = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(sink) = &mut self.sink else {
            return Ok(());
        };
        let mut write = || {
            sink.write_all(bytes)?;
            sink.flush()
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl Write for Stderr {
    /// A log message comes whole, so that bars are taken away once for each.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Stderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        self.clone()
    }
}

impl fmt::Debug for Stderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stderr").finish_non_exhaustive()
    }
}
