//! SIGINT and SIGTERM: the run is asked to stop, and says how to go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::base::Uptime;

/// How long after the first signal another one says nothing new: `timeout` sends one to the process
/// and one to its group, and a terminal may do the like.
const ECHO: Duration = Duration::from_secs(1);

/// What was caught.
#[derive(Clone, Debug, Default)]
pub(super) struct Signal(Arc<Mutex<Option<Caught>>>);

/// The first signal.
#[derive(Clone, Copy, Debug)]
struct Caught {
    code: u8,
    at: Duration,
}

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// To stop, as soon as all is whole.
    ToStop,
    /// Nothing new.
    Nothing,
    /// To end at once.
    ToEnd,
}

impl Signal {
    /// The exit code of the signal that was caught, if one was.
    pub(super) fn caught(&self) -> Option<u8> {
        let caught = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caught.map(|caught| caught.code)
    }

    /// Hears a signal that stands for `code`.
    fn hear(&self, code: u8, now: Duration) -> Asks {
        let mut caught = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *caught {
            None => {
                *caught = Some(Caught { code, at: now });
                Asks::ToStop
            }
            Some(first) if now.saturating_sub(first.at) < ECHO => Asks::Nothing,
            Some(_) => Asks::ToEnd,
        }
    }
}

/// Cancels `interrupt` on the first signal; one that comes a while later ends the process at once.
pub(super) fn watch(interrupt: &CancellationToken, uptime: &Arc<dyn Uptime>) -> Signal {
    let caught = Signal::default();
    for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
        let (caught, interrupt, uptime) = (caught.clone(), interrupt.clone(), Arc::clone(uptime));
        let Ok(mut signals) = signal(kind) else {
            continue;
        };
        tokio::spawn(async move {
            let code = 128 + number;
            while signals.recv().await.is_some() {
                match caught.hear(code, uptime.uptime()) {
                    Asks::ToStop => interrupt.cancel(),
                    Asks::Nothing => {}
                    Asks::ToEnd => std::process::exit(i32::from(code)),
                }
            }
        });
    }
    caught
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_counts_its_echo_does_not_and_a_later_one_ends_it() {
        let (signal, start) = (Signal::default(), Duration::from_secs(100));
        assert_eq!(signal.caught(), None);
        assert_eq!(signal.hear(143, start), Asks::ToStop);
        assert_eq!(signal.hear(143, start), Asks::Nothing);
        let echo = start + Duration::from_millis(900);
        assert_eq!(signal.hear(130, echo), Asks::Nothing);
        assert_eq!(signal.caught(), Some(143), "the first one says the code");
        assert_eq!(signal.hear(130, start + ECHO), Asks::ToEnd);
    }
}
