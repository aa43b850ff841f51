//! A provider whose calls a test can stop the world before, after, and in the middle of.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;

use crate::base::{Crash, Json, Result};
use crate::provider::{
    Body, Capability, Download, Found, FreeCheck, Provider, Seen, Sought, Staged, Submission,
    SubmitError, Tag,
};
use crate::work::{
    AnswerType, BatchId, BatchView, CacheUse, Frame, Prefix, Reply, ResultFile, Shape,
};

use super::points::{CANCEL, DISCARD, FETCH, FIND, POLL, SENDING, STAGE, SUBMIT, TRIAL};

/// A provider with crash points around its calls.
#[derive(Debug)]
pub(crate) struct Calls {
    inner: Arc<dyn Provider>,
    crash: Crash,
}

impl Calls {
    /// `inner`, with points of `crash`.
    pub(crate) fn of(inner: Arc<dyn Provider>, crash: &Crash) -> Arc<dyn Provider> {
        Arc::new(Calls {
            inner,
            crash: crash.clone(),
        })
    }

    /// A body that can be cut between its pieces.
    fn with_cuts(&self, body: Body) -> Body {
        let crash = self.crash.clone();
        let stream = body.stream.then(move |piece| {
            let crash = crash.clone();
            async move {
                crash.point(SENDING).await;
                piece
            }
        });
        Body {
            stream: stream.boxed(),
            ..body
        }
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Provider for Calls {
    fn capability(&self) -> &Capability {
        self.inner.capability()
    }

    fn schema(&self, answer: &AnswerType) -> Result<Option<Json>> {
        self.inner.schema(answer)
    }

    fn frame(&self, shape: &Shape, cache: Option<CacheUse>) -> Result<Frame> {
        self.inner.frame(shape, cache)
    }

    fn prefix(&self, shape: &Shape) -> Prefix {
        self.inner.prefix(shape)
    }

    async fn free_check(&self, shape: &Shape, prompt: &str) -> Result<FreeCheck> {
        let call = self.inner.free_check(shape, prompt);
        self.crash.around(TRIAL, call).await
    }

    async fn stage(&self, tag: &Tag, body: Body) -> Result<Staged, SubmitError> {
        let call = self.inner.stage(tag, self.with_cuts(body));
        self.crash.around(STAGE, call).await
    }

    async fn submit(
        &self,
        shape: &Shape,
        submission: Submission,
    ) -> Result<BatchView, SubmitError> {
        let call = self.inner.submit(shape, submission);
        self.crash.around(SUBMIT, call).await
    }

    async fn find(&self, sought: &Sought) -> Result<Found> {
        self.crash.around(FIND, self.inner.find(sought)).await
    }

    async fn poll(&self, id: &BatchId) -> Result<Seen<BatchView>> {
        self.crash.around(POLL, self.inner.poll(id)).await
    }

    async fn fetch(&self, file: &ResultFile, offset: u64) -> Result<Seen<Download>> {
        let call = self.inner.fetch(file, offset);
        self.crash.around(FETCH, call).await
    }

    fn parse<'a>(&self, line: &'a [u8]) -> Result<Reply<'a>> {
        self.inner.parse(line)
    }

    async fn cancel(&self, id: &BatchId) -> Result<Seen<()>> {
        self.crash.around(CANCEL, self.inner.cancel(id)).await
    }

    async fn discard(&self, staged: &str) -> Result<()> {
        self.crash.around(DISCARD, self.inner.discard(staged)).await
    }
}
