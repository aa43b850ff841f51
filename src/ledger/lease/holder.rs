//! Who holds a lease, and what to do about it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::SecondsFormat;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::base::{Clock, Error, ErrorKind, Time};

/// Who holds a lease, for the message to those who do not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine.
    pub host: String,
    /// The process on it.
    pub pid: u32,
    /// The run.
    pub run: String,
    /// What it was asked to do.
    pub command: String,
    /// Since when, by its own clock.
    pub since: Time,
}

impl Holder {
    /// This process, in `run`, asked to do `command`.
    #[must_use]
    pub fn this_process(run: &str, command: &str, now: Time) -> Holder {
        Holder {
            host: host(),
            pid: std::process::id(),
            run: run.to_owned(),
            command: command.to_owned(),
            since: now,
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Holder {
            host,
            pid,
            run,
            command,
            since,
        } = self;
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(
            f,
            "{command} (run {run}, process {pid} on {host}, since {since})"
        )
    }
}

/// What to do about a lease that another holds.
#[derive(Clone, Debug)]
pub enum Patience {
    /// Come back at once.
    NotAtAll,
    /// Wait until it runs out; come back if it is renewed meanwhile, for then its holder lives, or
    /// if this is canceled.
    Wait(CancellationToken),
}

impl Patience {
    /// Lets `time` pass; false if there is no more patience before.
    pub(super) async fn pass(&self, clock: &dyn Clock, time: Duration) -> bool {
        let Patience::Wait(enough) = self else {
            return false;
        };
        tokio::select! {
            biased;
            () = enough.cancelled() => false,
            () = clock.sleep(time) => true,
        }
    }
}

/// Whoever is told that another holds the lease, while that is waited for.
#[derive(Clone, Default)]
pub(super) struct Listener(pub(super) Option<Tell>);

pub(super) type Tell = Arc<dyn Fn(&Held) + Send + Sync>;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Listener").field(&self.0.is_some()).finish()
    }
}

/// A lease in another's hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Whose, if that can be read.
    pub holder: Option<Holder>,
    /// When it runs out unless renewed, by our clock. A lock on local disk lasts while its process.
    pub until: Option<Time>,
}

impl From<Held> for Error {
    fn from(held: Held) -> Error {
        let mut error = Error::new(ErrorKind::Held, "another process holds the job");
        if let Some(holder) = &held.holder {
            error = error.with("holder", holder);
        }
        match held.until {
            Some(until) => error
                .with("until", until.to_rfc3339_opts(SecondsFormat::Secs, true))
                .hint("wait for it; if it was killed, its lease runs out at that time"),
            None => error.hint("wait for it, or stop it"),
        }
    }
}

#[cfg(unix)]
fn host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_else(|_| "unknown".into())
}
