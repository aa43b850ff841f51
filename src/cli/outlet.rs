//! Standard error, until it is shut.
//!
//! Schedulers read the last line of both streams, so nothing may follow the final JSON object:
//! not a late progress line, not a log message of a library. All that goes to standard error goes
//! through one outlet, which is shut before that object is printed.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

type Sink = Option<Box<dyn Write + Send>>;

/// A writer that many hold and one can shut. What is written afterwards is dropped.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Mutex<Sink>>);

impl Outlet {
    /// Standard error.
    #[must_use]
    pub(super) fn stderr() -> Self {
        Self::to(io::stderr())
    }

    /// Whatever `sink` is.
    #[must_use]
    pub(super) fn to(sink: impl Write + Send + 'static) -> Self {
        Outlet(Arc::new(Mutex::new(Some(Box::new(sink)))))
    }

    /// Writes `text` and a line break, as one. A stream that is gone is no reason to stop a run.
    pub(super) fn line(&self, text: &str) {
        self.text(&format!("{text}\n"));
    }

    /// Writes `text` as it is.
    pub(super) fn text(&self, text: &str) {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = sink.as_mut() {
            let _ = sink.write_all(text.as_bytes());
            let _ = sink.flush();
        }
    }

    /// Drops everything that is written from now on.
    pub(super) fn shut(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match sink.as_mut() {
            Some(sink) => sink.write(bytes),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sink.as_mut().map_or(Ok(()), Write::flush)
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
