//! SIGINT and SIGTERM: the run is asked to stop, and says how to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What was caught.
#[derive(Debug)]
pub(super) struct Signal(Arc<AtomicU8>);

impl Signal {
    /// The exit code of the signal that was caught, if one was.
    pub(super) fn caught(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Acquire)).filter(|code| *code > 0)
    }
}

/// Cancels `interrupt` on the first signal; the second one ends the process at once.
pub(super) fn watch(interrupt: &CancellationToken) -> Signal {
    let code = Arc::new(AtomicU8::new(0));
    for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
        let (code, interrupt) = (Arc::clone(&code), interrupt.clone());
        let Ok(mut signals) = signal(kind) else {
            continue;
        };
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if code.swap(128 + number, Ordering::AcqRel) > 0 {
                    std::process::exit(i32::from(128 + number));
                }
                interrupt.cancel();
            }
        });
    }
    Signal(code)
}
