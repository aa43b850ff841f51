//! The last look before a billable call is complete.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt;

use super::body::Body;
use crate::base::{Error, ErrorKind, Result};

/// Asked for every piece of a body right before it leaves, the last one included. Where it says no, or
/// a piece cannot be made, the body stays without its end, and so the provider certainly took nothing.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    check: Box<dyn Fn() -> Result<()> + Send + Sync>,
    refused: Mutex<Option<Error>>,
}

impl Gate {
    /// A gate that is open while `check` passes.
    #[must_use]
    pub fn new(check: impl Fn() -> Result<()> + Send + Sync + 'static) -> Gate {
        Gate(Arc::new(Inner {
            check: Box::new(check),
            refused: Mutex::default(),
        }))
    }

    /// `body`, each piece of it held back until the gate has been asked.
    #[must_use]
    pub fn around(&self, body: Body) -> Body {
        let gate = self.clone();
        let stream = body
            .stream
            .map(move |piece| {
                gate.pass().map_err(io::Error::other)?;
                piece.inspect_err(|error| gate.keep(kind_of(error), error.to_string()))
            })
            .boxed();
        Body {
            len: body.len,
            stream,
        }
    }

    /// Why a body was held back, or could not be made to its end, if so.
    #[must_use]
    pub fn refused(&self) -> Option<Error> {
        self.0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    fn pass(&self) -> Result<()> {
        (self.0.check)().inspect_err(|error| self.keep(error.kind(), error.to_string()))
    }

    fn keep(&self, kind: ErrorKind, why: String) {
        let mut refused = self
            .0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *refused = Some(Error::new(kind, why));
    }
}

/// What kind of error of ours a body's is.
fn kind_of(error: &io::Error) -> ErrorKind {
    let ours = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    ours.map_or(ErrorKind::Unavailable, Error::kind)
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use bytes::Bytes;
    use futures::stream;

    use super::*;

    fn body() -> Body {
        let pieces = ["a", "b", "c"].map(|piece| Ok(Bytes::from(piece)));
        Body {
            len: 3,
            stream: stream::iter(pieces).boxed(),
        }
    }

    #[tokio::test]
    async fn the_last_piece_leaves_only_while_the_gate_is_open() {
        let asked = AtomicU32::new(0);
        let gate = Gate::new(move || {
            if asked.fetch_add(1, Ordering::Relaxed) < 2 {
                return Ok(());
            }
            Err(Error::unavailable("shut"))
        });
        let left: Vec<_> = gate.around(body()).stream.collect().await;
        let left: Vec<_> = left.iter().map(|piece| piece.as_deref().ok()).collect();
        assert_eq!(left, [Some(&b"a"[..]), Some(b"b"), None]);
        let refused = gate.refused().map(|error| error.to_string());
        assert_eq!(refused.as_deref(), Some("shut"));
    }

    #[tokio::test]
    async fn a_body_that_cannot_be_made_is_held_back_as_well() {
        let damaged = io::Error::other(Error::data("damaged"));
        let pieces = [Ok(Bytes::from("a")), Err(damaged)];
        let body = Body {
            len: 3,
            stream: stream::iter(pieces).boxed(),
        };
        let gate = Gate::new(|| Ok(()));
        let left: Vec<_> = gate.around(body).stream.collect().await;
        assert!(left[1].is_err());
        let refused = gate.refused().expect("held back");
        assert_eq!(refused.kind(), ErrorKind::Data);
        assert!(refused.to_string().contains("damaged"));
    }

    #[tokio::test]
    async fn an_open_gate_lets_all_through() {
        let gate = Gate::new(|| Ok(()));
        let left: Vec<_> = gate.around(body()).stream.collect().await;
        assert!(left.iter().all(std::result::Result::is_ok));
        assert!(gate.refused().is_none());
    }
}
