//! Sending a chunk: promise, upload, submit, receipt. Or finding the one whose answer was lost.

use std::fs::File;
use std::time::Duration;

use tracing::info;

use crate::base::{Components, Error, ErrorKind, Result, ResultExt, Time};
use crate::ledger::action::{Accepted, Action, ChunkStored, Promised};
use crate::ledger::state::Attempt;
use crate::provider::{
    Body, Found, Provider, Rejection, Sought, Staged, Submission, SubmitError, Tag,
};
use crate::work::{BatchId, BatchView, CustomId, Frame, Shape};

use super::body::body;
use super::scribe::Scribe;

/// How long a chunk waits after a "not now" that named no time.
const LATER: Duration = Duration::from_secs(30);

/// What a step leaves behind beside what it wrote into the ledger.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum After {
    /// Nothing.
    Done,
    /// It is not to be tried again before this.
    NotBefore(Time),
    /// The chunk of this number is to be sent again, and not before this.
    SendAgain(u64, Time),
}

/// One chunk to send, and what it takes.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    pub job: &'a str,
    pub chunk: &'a ChunkStored,
    /// Which attempt at the chunk this is; the first is 1.
    pub number: u32,
    pub shape: &'a Shape,
    pub frame: &'a Frame,
    pub provider: &'a dyn Provider,
    /// The chunk's requests, with their prompts.
    pub requests: File,
    pub components: &'a Components,
    pub scribe: &'a Scribe,
}

impl Sending<'_> {
    /// Sends the chunk. The intent is durable before anything leaves this machine, and the receipt
    /// when this returns.
    ///
    /// # Errors
    /// `Refused` or `Invalid` when the provider will never take it; whatever keeps the ledger or
    /// the chunk from being read. A lost answer is no error: it is written down as lost.
    pub(super) async fn send(&self) -> Result<After> {
        let tag = self.promise().await?;
        let body = self.body(&tag)?;
        let staged = match self.provider.stage(&tag, body).await {
            Ok(staged) => staged,
            Err(SubmitError::Rejected(rejection)) => return self.rejected(&tag, rejection).await,
            // Nothing billable has happened yet, so that a lost upload is simply done again.
            Err(SubmitError::Unknown(error)) => {
                return self.rejected(&tag, Rejection::Later(error, None)).await;
            }
        };
        if let Staged::File(file) = &staged {
            let staged = Action::Staged {
                attempt: tag.attempt.clone(),
                file: file.clone(),
            };
            self.scribe.write(vec![staged]).await?;
        }
        let submitted = self
            .provider
            .submit(
                self.shape,
                Submission {
                    tag: tag.clone(),
                    staged,
                },
            )
            .await;
        match submitted {
            Ok(view) => {
                self.scribe
                    .write(vec![accepted(&tag.attempt, &view, false)])
                    .await?;
                Ok(After::Done)
            }
            Err(SubmitError::Rejected(rejection)) => self.rejected(&tag, rejection).await,
            Err(SubmitError::Unknown(error)) => {
                let at = self.components.clock.now();
                let lost = Action::Lost {
                    attempt: tag.attempt,
                    at,
                    why: error.to_string(),
                };
                self.scribe.write(vec![lost]).await?;
                Ok(After::Done)
            }
        }
    }

    async fn promise(&self) -> Result<Tag> {
        let (now, ids) = (self.components.clock.now(), &self.components.ids);
        let tag = Tag {
            job: self.job.to_owned(),
            chunk: self.chunk.chunk,
            nonce: ids.nonce(CustomId::NONCE_LEN),
            attempt: ids.uuid(now).to_string(),
        };
        let capability = self.provider.capability();
        let promised = Promised {
            attempt: tag.attempt.clone(),
            plan: self.chunk.plan,
            chunk: self.chunk.chunk,
            number: self.number,
            nonce: tag.nonce.clone(),
            requests: self.chunk.requests,
            body_bytes: self.chunk.body_bytes,
            provider: capability.name.to_owned(),
            account: capability.account.clone(),
            at: now,
        };
        self.scribe.write(vec![Action::Promised(promised)]).await?;
        Ok(tag)
    }

    fn body(&self, tag: &Tag) -> Result<Body> {
        let ids = CustomId::new(&tag.nonce, tag.chunk);
        let requests = self.requests.try_clone();
        let requests =
            requests.or_err(ErrorKind::Unavailable, "cannot read the chunk's requests")?;
        body(requests, self.frame.clone(), ids, self.chunk.body_bytes)
    }

    /// The provider certainly took nothing: later, or never.
    async fn rejected(&self, tag: &Tag, rejection: Rejection) -> Result<After> {
        let now = self.components.clock.now();
        let (error, wait) = match rejection {
            Rejection::Later(error, wait) => (error, Some(wait.unwrap_or(LATER))),
            Rejection::QueueFull(error, _) => (error, Some(LATER)),
            Rejection::TooLarge(error) => {
                let hint = "lower `max_bytes_per_batch` in the section [model], and run again";
                (error.hint(hint), None)
            }
            Rejection::Final(error) => (error, None),
        };
        info!(attempt = tag.attempt, %error, "the provider did not take a chunk");
        self.scribe
            .write(vec![Action::Rejected {
                attempt: tag.attempt.clone(),
                why: error.to_string(),
                // Money and credentials can be mended, and the chunk is as good as before.
                again: wait.is_some() || error.kind() == ErrorKind::Refused,
            }])
            .await?;
        match wait {
            Some(wait) => Ok(After::NotBefore(now + wait)),
            None => Err(error),
        }
    }
}

/// The receipt of a batch.
fn accepted(attempt: &str, view: &BatchView, adopted: bool) -> Action {
    Action::Accepted(Accepted {
        attempt: attempt.to_owned(),
        batch: view.id.clone(),
        created_at: view.created_at,
        expires_at: view.expires_at,
        adopted,
    })
}

/// One attempt whose answer was lost, and what it takes to find it.
#[derive(Debug)]
pub(super) struct Recovery<'a> {
    pub job: &'a str,
    pub attempt: &'a Attempt,
    /// Batches of other attempts.
    pub not: Vec<BatchId>,
    /// How long "not found" must hold.
    pub settle: Duration,
    pub provider: &'a dyn Provider,
    pub components: &'a Components,
    pub scribe: &'a Scribe,
}

impl Recovery<'_> {
    /// Looks for the attempt at the provider: adopts what is there, waits while nobody can tell,
    /// and gives it up only when nothing can come any more.
    ///
    /// # Errors
    /// `Refused` if this is another account than the attempt's; whatever keeps the listing from
    /// being read, for then nothing is known.
    pub(super) async fn look(&self) -> Result<After> {
        let promised = &self.attempt.promised;
        self.same_account()?;
        let found = self.provider.find(&self.sought()).await?;
        let now = self.components.clock.now();
        match found {
            Found::Ours(views) => self.adopt(&views).await,
            Found::Maybe(views) => {
                let batches: Vec<_> = views.iter().map(|view| view.id.to_string()).collect();
                info!(
                    attempt = promised.attempt,
                    ?batches,
                    "one of these batches may be ours"
                );
                Ok(After::NotBefore(now + LATER))
            }
            Found::Staged(_) | Found::Absent { .. } => {
                let lost_at = self.attempt.lost_at.unwrap_or(promised.at);
                let certain = lost_at + self.settle;
                if now < certain {
                    return Ok(After::NotBefore(certain.min(now + LATER)));
                }
                let absent = Action::Absent {
                    attempt: promised.attempt.clone(),
                };
                self.scribe.write(vec![absent]).await?;
                Ok(After::Done)
            }
        }
    }

    fn same_account(&self) -> Result<()> {
        let (ours, here) = (
            &self.attempt.promised.account,
            &self.provider.capability().account,
        );
        if ours == here {
            return Ok(());
        }
        Err(other_account(&self.attempt.promised))
    }

    fn sought(&self) -> Sought {
        let promised = &self.attempt.promised;
        Sought {
            tag: Tag {
                job: self.job.to_owned(),
                chunk: promised.chunk,
                nonce: promised.nonce.clone(),
                attempt: promised.attempt.clone(),
            },
            count: promised.requests,
            bytes: promised.body_bytes,
            since: promised.at,
            staged: self.attempt.staged.clone(),
            not: self.not.clone(),
        }
    }

    /// Takes the oldest batch as ours, and cancels the others: one body, one batch.
    async fn adopt(&self, views: &[BatchView]) -> Result<After> {
        let attempt = &self.attempt.promised.attempt;
        if let [first, others @ ..] = views {
            self.scribe
                .write(vec![accepted(attempt, first, true)])
                .await?;
            for other in others {
                self.provider.cancel(&other.id).await?;
                let wasted = Action::Wasted {
                    attempt: attempt.clone(),
                    batch: other.id.clone(),
                };
                self.scribe.write(vec![wasted]).await?;
            }
        }
        Ok(After::Done)
    }
}

/// The attempt was made with another key, or at another endpoint.
pub(super) fn other_account(promised: &Promised) -> Error {
    Error::new(ErrorKind::Refused, "a batch belongs to another account")
        .with("attempt", &promised.attempt)
        .with("provider", &promised.provider)
        .with("account", &promised.account)
        .hint("set the key and the base URL with which it was submitted, and run again")
}
