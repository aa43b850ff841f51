//! Standard error, until it is shut.
//!
//! Schedulers read the last line of both streams, so nothing may follow the final JSON object:
//! not a late progress line, not a log message of a library. All that goes to standard error goes
//! through one outlet, which is shut before that object is printed. Where bars are on the terminal,
//! they are taken away while something is written, and drawn again beneath it.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::MultiProgress;
use tracing_subscriber::fmt::MakeWriter;

/// A writer that many hold and one can shut. What is written afterwards is dropped.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Mutex<Inner>>);

struct Inner {
    sink: Option<Box<dyn Write + Send>>,
    bars: Option<MultiProgress>,
}

impl Outlet {
    /// Standard error.
    #[must_use]
    pub(super) fn stderr() -> Self {
        Self::to(io::stderr())
    }

    /// Whatever `sink` is.
    #[must_use]
    pub(super) fn to(sink: impl Write + Send + 'static) -> Self {
        Outlet(Arc::new(Mutex::new(Inner {
            sink: Some(Box::new(sink)),
            bars: None,
        })))
    }

    /// From now on, `bars` stand beneath whatever is written; or none do.
    pub(super) fn above(&self, bars: Option<MultiProgress>) {
        self.lock().bars = bars;
    }

    /// Writes `text` and a line break, as one. A stream that is gone is no reason to stop a run.
    pub(super) fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes `text` as it is.
    pub(super) fn text(&self, text: &str) {
        let _ = self.lock().write(text.as_bytes());
    }

    /// Drops everything that is written from now on.
    pub(super) fn shut(&self) {
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

impl Write for Outlet {
    /// A log message comes whole, so that bars are taken away once for each.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outlet {
    type Writer = Outlet;

    fn make_writer(&'a self) -> Outlet {
        self.clone()
    }
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").finish_non_exhaustive()
    }
}
