//! A network with ways of its own: a call that arrives long after its sender gave up on it, and one
//! that a proxy repeats.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use columnist::base::http::{
    HeaderMap, HttpError, HttpRequest, HttpResponse, HttpService, Method, RequestBody,
    RouterService, StatusCode,
};
use columnist::base::{Clock, Error, Ids, Time};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::time::WorldClock;

/// What happens to calls that make a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Ways {
    /// Of a hundred calls, how many arrive late, their sender having been told that they were lost.
    pub late: u64,
    /// Of a hundred calls, how many arrive twice.
    pub doubled: u64,
    /// Of a hundred looks at a batch, how many are refused as if the call were wrong: that ends a run.
    pub denied: u64,
}

/// The latest that a late call arrives: well within the time for which "not found" must hold.
const LATE_MAX: u64 = 540;

/// The network around a sandbox.
#[derive(Debug)]
pub(super) struct Network {
    sandbox: RouterService,
    clock: Arc<WorldClock>,
    chance: Ids,
    ways: Ways,
    underway: Mutex<Vec<(Time, HttpRequest)>>,
    /// Held while what has come is delivered: no call overtakes one that came before it.
    delivery: tokio::sync::Mutex<()>,
}

impl Network {
    pub(super) fn new(
        sandbox: RouterService,
        clock: Arc<WorldClock>,
        seed: u64,
        ways: Ways,
    ) -> Network {
        Network {
            sandbox,
            clock,
            chance: Ids::seeded(seed),
            ways,
            underway: Mutex::default(),
            delivery: tokio::sync::Mutex::default(),
        }
    }

    /// Delivers what has come by now.
    async fn deliver(&self) {
        let _one_at_a_time = self.delivery.lock().await;
        let now = self.clock.now();
        let due = {
            let mut underway = self.underway.lock().expect("no panic");
            let (due, rest) = underway.drain(..).partition(|(at, _)| *at <= now);
            *underway = rest;
            due
        };
        let due: Vec<(Time, HttpRequest)> = due;
        for (_, request) in due {
            // Nobody waits for the answer any more.
            drop(self.sandbox.send(request).await);
        }
    }

    fn draws(&self, share: u64) -> bool {
        share > 0 && self.chance.below(100) < share
    }
}

#[async_trait]
impl HttpService for Network {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        self.deliver().await;
        let makes = request.method == Method::POST && request.url.path().ends_with("/batches");
        let looks = request.method == Method::GET && request.url.path().contains("/batches/");
        if looks && self.draws(self.ways.denied) {
            return Ok(HttpResponse {
                status: StatusCode::BAD_REQUEST,
                headers: HeaderMap::default(),
                body: stream::once(async { Ok("not so".into()) }).boxed(),
            });
        }
        let late = makes && self.draws(self.ways.late);
        let doubled = makes && self.draws(self.ways.doubled);
        if !late && !doubled {
            return self.sandbox.send(request).await;
        }
        let request = whole(request).await.map_err(HttpError::Lost)?;
        if late {
            let after = Duration::from_secs(1 + self.chance.below(LATE_MAX));
            let due = self.clock.now() + after;
            self.underway.lock().expect("no panic").push((due, request));
            return Err(HttpError::Lost(Error::unavailable("the answer was lost")));
        }
        let again = request.try_clone().expect("a whole body");
        drop(self.sandbox.send(request).await?);
        drop(self.sandbox.send(again).await?);
        Err(HttpError::Lost(Error::unavailable("the answer was lost")))
    }
}

/// The same with its body read to the end.
pub(super) async fn whole(mut request: HttpRequest) -> Result<HttpRequest, Error> {
    if let RequestBody::Stream { stream, .. } = request.body {
        let all = stream.try_fold(BytesMut::new(), |mut all, piece: Bytes| async move {
            all.extend_from_slice(&piece);
            Ok(all)
        });
        let all = all
            .await
            .map_err(|error| Error::unavailable("cut").because(error))?;
        request.body = RequestBody::Whole(all.freeze());
    }
    Ok(request)
}
