//! The shared nouns: what the stages hand to each other. Values and pure functions only; nothing
//! here waits, reads or writes.

pub mod answer;
pub mod attachment;
pub mod batch;
pub mod caching;
pub mod chunk;
pub mod correction;
pub mod embedding;
mod escape;
pub mod frame;
pub mod inputs;
pub mod meta;
pub mod outcome;
pub mod parts;
pub mod pattern;
pub mod pin;
pub mod price;
pub mod progress;
pub mod request;
pub mod row;
pub mod sql_type;
pub mod variant;

pub use answer::{AnswerType, Judge};
pub use attachment::{
    Attachment, AttachmentKind, AttachmentLimits, AttachmentSource, Content, MediaType, Piece,
};
pub use batch::{BatchFailure, BatchId, BatchStatus, BatchView, RequestCounts, ResultFile};
pub use caching::{CacheStyle, CacheTerms, CacheUse, Prefix};
pub use chunk::{CustomId, Limits, LineLimits, Packer};
pub use correction::Correction;
pub use embedding::{InputFit, InputRule, Precision, TooLong};
pub use frame::{Frame, TurnFrame};
pub use inputs::{LinePacker, Load};
pub use outcome::{AnswerRef, FailureClass, Finish, Outcome, Reply, ReplyBody, Usage, Vector};
pub use parts::{AttachmentFrame, PartFrame};
pub use pin::Pin;
pub use request::{Api, Example, KeyRule, Keyer, RequestKey, Shape};
pub use row::{RowStatus, StatusCounts};
pub use variant::Variant;
