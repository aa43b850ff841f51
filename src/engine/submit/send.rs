//! Sending a chunk: promise, upload, submit, receipt.

use std::fs::File;
use std::time::Duration;

use tracing::info;

use crate::base::{Components, Error, ErrorKind, Result, ResultExt};
use crate::ledger::action::{Accepted, Action, ChunkStored, Promised};
use crate::ledger::state::{Attempt, ChunkState, Phase, State};
use crate::provider::{Body, Gate, Provider, Rejection, Staged, Submission, SubmitError, Tag};
use crate::work::{BatchView, CacheUse, CustomId, Frame, Shape};

use super::body::body;
use super::pieces_body::pieces_body;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::queue::{Queue, later, learn, refusals, wait_for_room};
use crate::engine::decide::step::StepResult;

/// One chunk to send, and what it takes.
#[derive(Debug)]
pub(crate) struct Sending<'a> {
    pub job: &'a str,
    pub chunk: &'a ChunkState,
    pub state: &'a State,
    pub shape: &'a Shape,
    pub frame: &'a Frame,
    /// What the requests of a body that is made now say of the provider's cache, by `frame`.
    pub cache: Option<CacheUse>,
    /// Bytes of such a body.
    pub body_bytes: u64,
    pub provider: &'a dyn Provider,
    pub source: BodySource,
    /// The bytes of what is attached, where requests may have something.
    pub attachments: Option<File>,
    pub gate: Gate,
    pub queue: &'a Queue,
    pub components: &'a Components,
    pub writer: &'a LedgerWriter,
}

/// Where a body comes from.
#[derive(Debug)]
pub(crate) enum BodySource {
    /// It is made of the chunk's requests, with their prompts.
    Made(File),
    /// It lies at the provider already.
    There(Uploaded),
}

/// A body that was uploaded for an attempt of which no batch came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Uploaded {
    /// The provider's name for it.
    pub file: String,
    /// The nonce in its custom ids.
    pub nonce: String,
    /// What its requests say of the provider's cache.
    pub cache: Option<CacheUse>,
    /// Its bytes.
    pub bytes: u64,
}

impl Uploaded {
    /// The body of `chunk` that lies at the provider, in this account, if one does.
    pub(crate) fn of(state: &State, chunk: &ChunkState, account: &str) -> Option<Uploaded> {
        let attempts: Vec<&Attempt> = state.attempts_of(chunk).collect();
        let last = attempts.last()?;
        let file = last.staged.as_ref()?;
        let of_file = |attempt: &&&Attempt| attempt.staged.as_ref() == Some(file);
        let gone = attempts.iter().filter(of_file).any(|a| a.discarded);
        let free = matches!(last.phase, Phase::RejectedForNow | Phase::Absent);
        let is_here = last.promised.account == account;
        (free && is_here && !gone).then(|| Uploaded {
            file: file.clone(),
            nonce: last.promised.nonce.clone(),
            cache: last.promised.cache,
            bytes: last.promised.body_bytes,
        })
    }
}

impl Sending<'_> {
    /// Sends the chunk. The intent is durable before anything leaves this machine, and the receipt
    /// when this returns.
    ///
    /// # Errors
    /// `Refused` or `Invalid` when the provider will never take it; whatever keeps the ledger or
    /// the chunk from being read. A lost answer is no error: it is written down as lost.
    pub(crate) async fn send(self) -> Result<StepResult> {
        let tag = self.promise().await?;
        let staged = match self.stage(&tag).await? {
            Ok(staged) => staged,
            Err(rejection) => return self.rejected(&tag, rejection).await,
        };
        if let Staged::File(file) = &staged {
            let staged = Action::Staged {
                attempt: tag.attempt.clone(),
                file: file.clone(),
            };
            self.writer.write(vec![staged]).await?;
        }
        let submission = Submission {
            tag: tag.clone(),
            staged,
            gate: self.gate.clone(),
        };
        let submitted = self.provider.submit(self.shape, submission).await;
        match (submitted, self.gate.refused()) {
            (Ok(view), _) => {
                self.writer
                    .write(vec![accepted(&tag.attempt, &view, false)])
                    .await?;
                Ok(StepResult::Done)
            }
            // The body stayed without its end.
            (Err(_), Some(error)) => self.rejected(&tag, held_back(error)).await,
            (Err(SubmitError::Rejected(rejection)), None) => self.rejected(&tag, rejection).await,
            (Err(SubmitError::Unknown(error)), None) => {
                let at = self.components.clock.now();
                let lost = Action::Lost {
                    attempt: tag.attempt,
                    at,
                    why: error.to_string(),
                };
                self.writer.write(vec![lost]).await?;
                Ok(StepResult::Lost)
            }
        }
    }

    fn stored(&self) -> &ChunkStored {
        &self.chunk.stored
    }

    async fn promise(&self) -> Result<Tag> {
        let (now, ids) = (self.components.clock.now(), &self.components.ids);
        let stored = self.stored();
        let number = u32::try_from(self.chunk.attempts.len() + 1).unwrap_or(u32::MAX);
        let (cache, body_bytes) = match &self.source {
            BodySource::There(uploaded) => (uploaded.cache, uploaded.bytes),
            BodySource::Made(_) => (self.cache, self.body_bytes),
        };
        let nonce = match &self.source {
            BodySource::There(uploaded) => uploaded.nonce.clone(),
            BodySource::Made(_) if number == 1 => stored.nonce.clone(),
            // A nonce belongs to one body.
            BodySource::Made(_) => ids.nonce(CustomId::NONCE_LEN),
        };
        let tag = Tag {
            job: self.job.to_owned(),
            chunk: stored.chunk,
            nonce,
            attempt: ids.uuid(now).to_string(),
        };
        let capability = self.provider.capability();
        let promised = Promised {
            attempt: tag.attempt.clone(),
            plan: stored.plan,
            chunk: stored.chunk,
            number,
            nonce: tag.nonce.clone(),
            requests: stored.requests,
            body_bytes,
            provider: capability.name.to_owned(),
            account: capability.account.clone(),
            at: now,
            cache,
        };
        self.writer.write(vec![Action::Promised(promised)]).await?;
        Ok(tag)
    }

    /// Brings the body to where a batch can be made of it. Nothing billable happens here, so that a
    /// lost upload is simply done again.
    async fn stage(&self, tag: &Tag) -> Result<Result<Staged, Rejection>> {
        let requests = match &self.source {
            BodySource::There(uploaded) => return Ok(Ok(Staged::File(uploaded.file.clone()))),
            BodySource::Made(requests) => requests,
        };
        let body = self.gate.around(self.body(tag, requests)?);
        Ok(
            match (self.provider.stage(tag, body).await, self.gate.refused()) {
                (Ok(staged), _) => Ok(staged),
                (Err(_), Some(error)) => Err(held_back(error)),
                (Err(SubmitError::Unknown(error)), None) => Err(Rejection::Away(error)),
                (Err(SubmitError::Rejected(rejection)), None) => Err(rejection),
            },
        )
    }

    fn body(&self, tag: &Tag, requests: &File) -> Result<Body> {
        let ids = CustomId::new(&tag.nonce, tag.chunk);
        let requests = requests.try_clone();
        let requests =
            requests.or_err(ErrorKind::Unavailable, "cannot read the chunk's requests")?;
        let (frame, len) = (self.frame.clone(), self.body_bytes);
        match &self.attachments {
            None => body(requests, frame, ids, len),
            Some(gathered) => {
                let gathered = gathered.try_clone();
                let gathered = gathered.or_err(
                    ErrorKind::Unavailable,
                    "cannot read the chunk's attachments",
                )?;
                pieces_body(requests, frame, ids, len, gathered)
            }
        }
    }

    /// The provider certainly took nothing: later, in smaller pieces, or never. Where nothing
    /// answered, that is an error, and whoever called decides for how long there is hope.
    async fn rejected(&self, tag: &Tag, rejection: Rejection) -> Result<StepResult> {
        let now = self.components.clock.now();
        let refusals = refusals(self.state, self.chunk) + 1;
        let chunk = self.stored().chunk;
        let again = |error: &Error, again| Action::Rejected {
            attempt: tag.attempt.clone(),
            why: error.to_string(),
            again,
        };
        let (mut actions, error, after) = match rejection {
            Rejection::Later(error, wait) => {
                // The time that is named is kept to; our own grows from refusal to refusal.
                let wait = wait.unwrap_or_else(|| later(refusals));
                let after = StepResult::Later(now + wait, error.message().to_owned());
                (vec![], error, Some(after))
            }
            Rejection::QueueFull { error, limit, wait } => {
                let (learned, own) = self.lesson(refusals, limit);
                let wait = wait.unwrap_or(own);
                let after = StepResult::Later(now + wait, error.message().to_owned());
                (learned, error, Some(after))
            }
            Rejection::TooLarge(error) => (vec![], error, Some(StepResult::TooLarge(chunk))),
            rejection if self.is_of_the_uploaded(&rejection) => {
                let attempt = tag.attempt.clone();
                let again = StepResult::NotBefore(now);
                (
                    vec![Action::Discarded { attempt }],
                    rejection.into_error(),
                    Some(again),
                )
            }
            rejection => (vec![], rejection.into_error(), None),
        };
        info!(attempt = tag.attempt, %error, "the provider did not take a chunk");
        // Money, credentials and damaged files can be mended, who was away comes back, and the chunk is
        // as good as before.
        let mends = matches!(
            error.kind(),
            ErrorKind::Refused | ErrorKind::Unavailable | ErrorKind::Data
        );
        let may_again = after.is_some() || mends;
        actions.insert(0, again(&error, may_again));
        self.writer.write(actions).await?;
        after.ok_or(error)
    }

    /// Whether the refusal may speak of the uploaded body: that may be gone by now, and a new one is as
    /// good as the first.
    fn is_of_the_uploaded(&self, rejection: &Rejection) -> bool {
        let is_there = matches!(self.source, BodySource::There(_));
        is_there
            && match rejection {
                Rejection::Unseen(_) => true,
                Rejection::Final(error) => error.kind() != ErrorKind::Refused,
                _ => false,
            }
    }

    /// What is learned from a full queue, and how long to wait at least.
    fn lesson(&self, refusals: usize, limit: Option<u64>) -> (Vec<Action>, Duration) {
        let now = self.components.clock.now();
        let learned = learn(
            self.queue,
            self.state,
            self.stored(),
            (refusals, limit),
            now,
        );
        let wait = wait_for_room(learned.is_some(), refusals);
        (learned.into_iter().collect(), wait)
    }
}

/// A body that was held back may leave later; one that cannot be made is an error.
fn held_back(error: Error) -> Rejection {
    match error.kind() {
        ErrorKind::Data | ErrorKind::Internal => Rejection::Away(error),
        _ => Rejection::Later(error, None),
    }
}

/// The receipt of a batch.
pub(crate) fn accepted(attempt: &str, view: &BatchView, adopted: bool) -> Action {
    Action::Accepted(Accepted {
        attempt: attempt.to_owned(),
        batch: view.id.clone(),
        created_at: view.created_at,
        expires_at: view.expires_at,
        adopted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::decide::scenario::{Scenario, at};

    #[test]
    fn a_body_that_lies_at_the_provider_says_what_it_was_made_to_say() {
        let mut scenario = Scenario::of(&[10]);
        let attempt = scenario.promise(0, at(0), Some(CacheUse::Key));
        scenario.tell(Action::Staged {
            attempt: attempt.clone(),
            file: "file-1".into(),
        });
        scenario.tell(Action::Rejected {
            attempt: attempt.clone(),
            why: "later".into(),
            again: true,
        });
        let plan = scenario.0.plan().expect("a plan");
        let uploaded = Uploaded::of(&scenario.0, &plan.chunks[&0], "account").expect("a body");
        assert_eq!(uploaded.cache, Some(CacheUse::Key));
        assert_eq!(
            uploaded.bytes,
            scenario.0.attempts[&attempt].promised.body_bytes
        );
        assert_eq!(Uploaded::of(&scenario.0, &plan.chunks[&0], "other"), None);
    }
}
