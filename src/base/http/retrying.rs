//! Repetition, as a wrapper: for calls that may be sent twice without harm.

use std::sync::Arc;

use async_trait::async_trait;

use super::{HttpError, HttpRequest, HttpResponse, HttpService};
use crate::base::backoff::{Backoff, Delay};
use crate::base::{Clock, Ids};

/// Sends a call again while that can help. It is handed reads, deletions and cancels, and never a
/// call that costs money. A body that can be had only once is sent once.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn HttpService>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ids>,
    backoff: Backoff,
}

impl Retrying {
    /// Repeats calls to `inner` by the default rule.
    #[must_use]
    pub fn new(inner: Arc<dyn HttpService>, clock: Arc<dyn Clock>, ids: Arc<Ids>) -> Self {
        Retrying {
            inner,
            clock,
            ids,
            backoff: Backoff::default(),
        }
    }

    fn wait_after(&self, tried: u32, got: &Result<HttpResponse, HttpError>) -> Option<Delay> {
        match got {
            Ok(response) => self.backoff.after_answer(
                tried,
                response.status,
                &response.headers,
                self.clock.now(),
            ),
            Err(_) => self.backoff.after_silence(tried),
        }
    }
}

#[async_trait]
impl HttpService for Retrying {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let mut tried = 0;
        let mut next = request;
        loop {
            let again = next.try_clone();
            let got = self.inner.send(next).await;
            let (Some(wait), Some(again)) = (self.wait_after(tried, &got), again) else {
                return got;
            };
            drop(got);
            let wait = match wait {
                Delay::Asked(wait) => wait,
                Delay::Own(wait) => self.ids.jitter(wait),
            };
            tracing::debug!(tried, ?wait, method = %again.method, path = again.url.path(), "trying again");
            self.clock.sleep(wait).await;
            (tried, next) = (tried + 1, again);
        }
    }
}
