//! What Anthropic sends, named as its reference names it. Every field is read leniently.
//!
//! Reference: <https://platform.claude.com/docs/en/api/messages-batches>

use serde::Deserialize;

use crate::provider::lenient::{Content, Count, Flag, Moment, Object, Word};

/// A page of [batches](https://platform.claude.com/docs/en/api/messages-batches/list). Its list is
/// required: a page without one is no page, and nothing may be concluded from it.
#[derive(Debug, Deserialize)]
pub(super) struct Page<'a> {
    #[serde(borrow)]
    pub(super) data: Vec<MessageBatch<'a>>,
    #[serde(default)]
    pub(super) has_more: Flag,
    #[serde(default, borrow)]
    pub(super) last_id: Word<'a>,
}

/// A [batch](https://platform.claude.com/docs/en/api/messages-batches/retrieve).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageBatch<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) processing_status: Word<'a>,
    pub(super) request_counts: Object<RequestCounts>,
    pub(super) created_at: Moment,
    pub(super) expires_at: Moment,
    pub(super) ended_at: Moment,
    pub(super) cancel_initiated_at: Moment,
    pub(super) archived_at: Moment,
    #[serde(borrow)]
    pub(super) results_url: Word<'a>,
}

/// Where a batch's requests are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestCounts {
    pub(super) processing: Count,
    pub(super) succeeded: Count,
    pub(super) errored: Count,
    pub(super) canceled: Count,
    pub(super) expired: Count,
}

/// A line of [results](https://platform.claude.com/docs/en/api/messages-batches/results).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageBatchIndividualResponse<'a> {
    #[serde(borrow)]
    pub(super) custom_id: Word<'a>,
    #[serde(borrow)]
    pub(super) result: Object<MessageBatchResult<'a>>,
}

/// What became of a request: `succeeded`, `errored`, `canceled` or `expired`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct MessageBatchResult<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) message: Object<Message<'a>>,
    #[serde(borrow)]
    pub(super) error: Object<ErrorResponse<'a>>,
}

/// An [answer](https://platform.claude.com/docs/en/api/messages).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    pub(super) model: Word<'a>,
    #[serde(borrow)]
    pub(super) content: Content<'a>,
    #[serde(borrow)]
    pub(super) stop_reason: Word<'a>,
    #[serde(borrow)]
    pub(super) stop_details: Object<RefusalStopDetails<'a>>,
    pub(super) usage: Object<Usage>,
}

/// Why a model refused.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RefusalStopDetails<'a> {
    #[serde(borrow)]
    pub(super) category: Word<'a>,
    #[serde(borrow)]
    pub(super) explanation: Word<'a>,
}

/// Tokens. The classes of input do not overlap.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    pub(super) input_tokens: Count,
    pub(super) cache_creation_input_tokens: Count,
    pub(super) cache_read_input_tokens: Count,
    pub(super) cache_creation: Object<CacheCreation>,
    pub(super) output_tokens: Count,
    pub(super) output_tokens_details: Object<OutputTokensDetails>,
}

/// Cache writes by how long they last.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CacheCreation {
    pub(super) ephemeral_5m_input_tokens: Count,
    pub(super) ephemeral_1h_input_tokens: Count,
}

/// What the output was.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct OutputTokensDetails {
    pub(super) thinking_tokens: Count,
}

/// The [envelope](https://platform.claude.com/docs/en/api/errors) of an error; its `type` is
/// always `error`, and the telling one lies within. Where there is no envelope, `type` and `message`
/// are the error's own.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorResponse<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) message: Word<'a>,
    #[serde(borrow)]
    pub(super) error: Object<ErrorObject<'a>>,
}

/// An error itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorObject<'a> {
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) message: Word<'a>,
    #[serde(borrow)]
    pub(super) details: Object<ErrorDetails<'a>>,
}

/// The finer word for an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorDetails<'a> {
    #[serde(borrow)]
    pub(super) error_code: Word<'a>,
}
