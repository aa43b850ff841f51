//! What a run tells whoever watches it.

use std::sync::{Arc, Mutex, PoisonError};

use super::throttle::Throttle;
use crate::base::Clock;
use crate::work::progress::{Event, Watch};

/// Events and warnings of a run, on their way to whoever watches.
#[derive(Debug)]
pub(crate) struct Notices {
    watch: Arc<dyn Watch>,
    clock: Arc<dyn Clock>,
    said: Mutex<Throttle>,
}

impl Notices {
    /// Notices to `watch`.
    pub(crate) fn to(watch: Arc<dyn Watch>, clock: Arc<dyn Clock>) -> Self {
        Notices {
            watch,
            clock,
            said: Mutex::default(),
        }
    }

    /// Tells of an event.
    pub(crate) fn event(&self, event: &Event) {
        self.watch.event(event);
    }

    /// Says something that a person should know.
    pub(crate) fn warn(&self, text: &str) {
        self.watch.event(&Event::Warning(text.to_owned()));
    }

    /// The same for what may come up again and again: of all that is about `what` the first is said, and
    /// then one at growing intervals.
    pub(crate) fn warn_seldom(&self, what: &str, text: &str) {
        let now = self.clock.now();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        match said.may_say(what, now) {
            None => {}
            Some(0) => self.warn(text),
            Some(kept_back) => self.warn(&format!("{text} (and {kept_back} times before)")),
        }
    }
}
