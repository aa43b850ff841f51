//! What the engine asks of a provider.

use std::fmt::{Debug, Display};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use super::body::Body;
use super::gate::Gate;
use crate::base::{Error, Json, Result, Time};
use crate::work::{
    AnswerType, Api, AttachmentLimits, BatchId, BatchView, CacheUse, Frame, Limits, LineLimits,
    Prefix, Reply, ResultFile, Shape,
};

/// A vendor's batch interface, through one account.
///
/// `Err` means "we do not know" or "nobody can go on"; every expected ending is a value.
#[async_trait]
pub trait Provider: Debug + Display + Send + Sync + 'static {
    /// What this provider takes and offers.
    fn capability(&self) -> &Capability;

    /// The JSON Schema that is asked for where the answer is no free text, in the words that this provider
    /// takes.
    ///
    /// # Errors
    /// `Invalid` if it cannot be said in them.
    fn schema(&self, answer: &AnswerType) -> Result<Option<Json>>;

    /// The constant bytes around the requests of `shape`, which say this of the provider's cache.
    ///
    /// # Errors
    /// `Invalid` if a parameter of the job contradicts what we set ourselves.
    fn frame(&self, shape: &Shape, cache: Option<CacheUse>) -> Result<Frame>;

    /// What the requests of `shape` all begin with, as far as it can be cached.
    fn prefix(&self, shape: &Shape) -> Prefix;

    /// Asks, for free, whether a request of `shape` that says `prompt` would be accepted.
    ///
    /// # Errors
    /// `Refused` for credentials; `Unavailable` when the provider does not answer.
    async fn free_check(&self, shape: &Shape, prompt: &str) -> Result<FreeCheck>;

    /// Brings the body to where [`submit`](Provider::submit) can use it. Costs nothing, and may be
    /// repeated. Where a provider takes the body with the submission itself, this does nothing.
    ///
    /// # Errors
    /// As for `submit`; nothing can have been billed in either case.
    async fn stage(&self, tag: &Tag, body: Body) -> Result<Staged, SubmitError>;

    /// Makes the batch: the billable call. Sent once, never repeated from in here. `shape` is the
    /// one that the requests were framed with; a provider may speak another version for it.
    ///
    /// # Errors
    /// [`SubmitError::Rejected`] only when the provider certainly took nothing.
    async fn submit(&self, shape: &Shape, submission: Submission)
    -> Result<BatchView, SubmitError>;

    /// Looks for what an attempt left at the provider whose answer we never saw.
    ///
    /// # Errors
    /// When the listing could not be read to its end: then nobody knows, and nothing is absent.
    async fn find(&self, sought: &Sought) -> Result<Found>;

    /// Where a batch stands.
    ///
    /// # Errors
    /// `Unavailable` when the provider does not answer: the batch is as it was. `Refused` for
    /// credentials.
    async fn poll(&self, id: &BatchId) -> Result<Seen<BatchView>>;

    /// Opens a result file at `offset` bytes, or at its start where the provider cannot skip.
    ///
    /// # Errors
    /// As for [`poll`](Provider::poll).
    async fn fetch(&self, file: &ResultFile, offset: u64) -> Result<Seen<Download>>;

    /// Understands one line of a result file.
    ///
    /// # Errors
    /// `Data` if it is not a result line at all. Unknown fields and words are no error.
    fn parse<'a>(&self, line: &'a [u8]) -> Result<Reply<'a>>;

    /// Asks for a batch to be canceled. What is finished stays, and is harvested.
    ///
    /// # Errors
    /// As for [`poll`](Provider::poll). A batch that has ended already is no error.
    async fn cancel(&self, id: &BatchId) -> Result<Seen<()>>;

    /// Deletes an uploaded body at the provider. One that is gone already is no error.
    ///
    /// # Errors
    /// As for [`poll`](Provider::poll).
    async fn discard(&self, staged: &str) -> Result<()>;
}

/// What a provider takes and offers: plain data, in one place per provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Capability {
    /// The provider's short name, as in `[model] use`.
    pub name: &'static str,
    /// The interface its batches speak.
    pub api: Api,
    /// How its batches embed texts; `None` if they embed none.
    pub embeddings: Option<Embeddings>,
    /// Whose models these are: the vendor, or the origin of a base URL that is not the vendor's.
    pub service: String,
    /// A fingerprint of endpoint and key: two accounts never share it. Holds no part of the key.
    pub account: String,
    /// The provider's own limits. A job may set lower ones.
    pub limits: Limits,
    /// What the provider counts in its queue of batches that have not ended.
    pub queue: QueueUnit,
    /// What it takes of pictures and documents.
    pub attachments: AttachmentLimits,
    /// Whether the results of a batch have a line for every request, also for those that were not
    /// reached: what has none is missing then, however the batch ended.
    pub names_all: bool,
}

/// How a provider embeds texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embeddings {
    /// The interface that its batches of texts speak.
    pub api: Api,
    /// What one request on the wire may carry.
    pub line: LineLimits,
}

/// What a provider counts in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueUnit {
    /// The prompt tokens of each model by itself.
    PromptTokens,
    /// The requests of all models together.
    Requests,
}

/// What marks a body and a batch as ours, wherever the provider has room for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The job's name.
    pub job: String,
    /// The chunk's number.
    pub chunk: u64,
    /// The nonce of the body: the start of each of its custom ids.
    pub nonce: String,
    /// The attempt's id. Several attempts may use one body.
    pub attempt: String,
}

/// A body, where `submit` can use it.
#[derive(Debug)]
pub enum Staged {
    /// It goes with the submission.
    Inline(Body),
    /// The provider holds it under this name.
    File(String),
}

/// Everything a submission needs.
#[derive(Debug)]
pub struct Submission {
    /// What marks it as ours.
    pub tag: Tag,
    /// The requests.
    pub staged: Staged,
    /// What the bytes of the billable call have to pass. A body that is [`Staged::Inline`] goes
    /// through it already.
    pub gate: Gate,
}

/// What the provider showed of a thing that it was asked for by name.
#[derive(Debug)]
pub enum Seen<T> {
    /// This.
    There(T),
    /// It says that it has nothing of that name, for this account.
    Unseen(Error),
}

impl<T> Seen<T> {
    /// The same of what `map` makes of it.
    pub fn map<U>(self, map: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Seen::There(thing) => Seen::There(map(thing)),
            Seen::Unseen(error) => Seen::Unseen(error),
        }
    }

    /// The thing itself.
    ///
    /// # Errors
    /// What the provider said instead.
    pub fn there(self) -> Result<T> {
        match self {
            Seen::There(thing) => Ok(thing),
            Seen::Unseen(error) => Err(error),
        }
    }
}

/// Why a submission did not come back with a batch.
#[derive(Debug)]
pub enum SubmitError {
    /// The provider certainly did not take the chunk. Submitting again costs nothing.
    Rejected(Rejection),
    /// The provider may have taken the chunk. Look before submitting again.
    Unknown(Error),
}

/// What a provider's "no" means for the chunk.
#[derive(Debug)]
pub enum Rejection {
    /// Not now: an overload or a rate limit. The same again later, at the earliest after the wait
    /// that the provider asked for.
    Later(Error, Option<std::time::Duration>),
    /// Nothing answered. The same again, as long as there is hope.
    Away(Error),
    /// The queue is full. The same again when something has left it.
    QueueFull {
        /// What the provider said.
        error: Error,
        /// What it says fits in, in its own unit.
        limit: Option<u64>,
        /// The wait that it asked for.
        wait: Option<std::time::Duration>,
    },
    /// The chunk is too large for one batch.
    TooLarge(Error),
    /// Never: credentials, access or money, or a body that is wrong.
    Final(Error),
    /// The provider has nothing of the name that the submission refers to: an uploaded body that is
    /// gone, or the very place that was called.
    Unseen(Error),
}

impl Rejection {
    /// What the provider said.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            Rejection::Later(error, _)
            | Rejection::QueueFull { error, .. }
            | Rejection::Away(error)
            | Rejection::TooLarge(error)
            | Rejection::Final(error)
            | Rejection::Unseen(error) => error,
        }
    }
}

/// What was asked of the provider when its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sought {
    /// What the attempt carried.
    pub tag: Tag,
    /// How many requests the body has.
    pub count: u64,
    /// Bytes of the body.
    pub bytes: u64,
    /// When the attempt was promised, by our clock.
    pub since: Time,
    /// The uploaded file, if we know of one.
    pub staged: Option<String>,
    /// Batches that are known: other attempts' own, and twins that were canceled.
    pub not: Vec<BatchId>,
}

/// What a look at the provider found.
#[derive(Debug)]
pub enum Found {
    /// These are ours, the oldest first. More than one means that a body was submitted twice.
    Ours(Vec<BatchView>),
    /// One of these may be ours; only its results can tell.
    Maybe {
        /// The oldest first. Of one that has ended, the results cannot be read.
        candidates: Vec<BatchView>,
        /// The provider's `Date` when the listing began.
        as_of: Option<Time>,
    },
    /// The provider says that it has no such list: nothing can be found, nor concluded.
    Unlisted(Error),
    /// The listings were read to their end and hold no batch of ours, as of a moment of the
    /// provider's own clock.
    Absent {
        /// The uploaded body, where it is there: a batch can be made of it.
        staged: Option<String>,
        /// The provider's `Date` when the listing began.
        as_of: Option<Time>,
    },
}

/// What a provider says of a request, asked for free.
#[derive(Debug)]
pub enum FreeCheck {
    /// The provider would accept it, as far as anybody can tell without paying.
    Passed,
    /// The provider would refuse every request of this shape.
    Refused(Error),
    /// Only a real request can tell.
    Untold,
}

/// Bytes of a result file.
pub struct Download {
    /// Where in the file the stream starts: what was asked for, or zero.
    pub offset: u64,
    /// Length of the whole file, where the provider says it.
    pub total: Option<u64>,
    /// The bytes. Ends with an error when the connection is cut.
    pub stream: BoxStream<'static, Result<Bytes>>,
}

impl Debug for Download {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Download")
            .field("offset", &self.offset)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
