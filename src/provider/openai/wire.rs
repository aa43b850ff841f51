//! What OpenAI sends and takes, named as its reference names it. What it sends is read leniently.
//!
//! Reference: <https://platform.openai.com/docs/api-reference/batch>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::provider::lenient::{
    Content, Count, First, Flag, Items, Listed, Moment, Object, Said, Word,
};

/// The body of [create batch](https://platform.openai.com/docs/api-reference/batch/create).
#[derive(Debug, Serialize)]
pub(super) struct CreateBatch<'a> {
    pub(super) input_file_id: &'a str,
    pub(super) endpoint: &'static str,
    pub(super) completion_window: &'static str,
    pub(super) metadata: BTreeMap<&'static str, String>,
}

/// A page of a list. Its list is required: a page without one is no page, and nothing may be
/// concluded from it.
#[derive(Debug, Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
    #[serde(default)]
    pub(super) has_more: Flag,
}

/// A [batch](https://platform.openai.com/docs/api-reference/batch/object).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Batch<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    #[serde(borrow)]
    pub(super) errors: Object<BatchErrors<'a>>,
    #[serde(borrow)]
    pub(super) input_file_id: Word<'a>,
    #[serde(borrow)]
    pub(super) status: Word<'a>,
    #[serde(borrow)]
    pub(super) output_file_id: Word<'a>,
    #[serde(borrow)]
    pub(super) error_file_id: Word<'a>,
    pub(super) created_at: Moment,
    pub(super) expires_at: Moment,
    pub(super) completed_at: Moment,
    pub(super) failed_at: Moment,
    pub(super) expired_at: Moment,
    pub(super) cancelled_at: Moment,
    pub(super) request_counts: Object<RequestCounts>,
    #[serde(borrow)]
    pub(super) metadata: Object<Metadata<'a>>,
}

/// Why a batch failed as a whole.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BatchErrors<'a> {
    #[serde(borrow)]
    pub(super) data: Items<BatchErrorItem<'a>>,
}

/// One reason.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BatchErrorItem<'a> {
    #[serde(borrow)]
    pub(super) code: Word<'a>,
    pub(super) line: Count,
    #[serde(borrow)]
    pub(super) message: Word<'a>,
}

/// Where a batch's requests are.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RequestCounts {
    pub(super) total: Count,
    pub(super) completed: Count,
    pub(super) failed: Count,
}

/// What we put on a batch to know it again.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metadata<'a> {
    #[serde(borrow)]
    pub(super) columnist_attempt: Word<'a>,
    #[serde(borrow)]
    pub(super) columnist_nonce: Word<'a>,
}

/// A [file](https://platform.openai.com/docs/api-reference/files/object).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File<'a> {
    #[serde(borrow)]
    pub(super) id: Word<'a>,
    pub(super) bytes: Count,
    pub(super) created_at: Moment,
    #[serde(borrow)]
    pub(super) filename: Word<'a>,
}

/// A line of an [output or error file](https://platform.openai.com/docs/api-reference/batch/request-output).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct BatchRequestOutput<'a> {
    #[serde(borrow)]
    pub(super) custom_id: Word<'a>,
    #[serde(borrow)]
    pub(super) response: Object<Response<'a>>,
    #[serde(borrow)]
    pub(super) error: Failure<'a>,
}

/// The HTTP response that a request got.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Response<'a> {
    pub(super) status_code: Count,
    #[serde(borrow)]
    pub(super) body: Object<Answer<'a>>,
}

/// A [completion](https://platform.openai.com/docs/api-reference/chat/object), a list of
/// [embeddings](https://platform.openai.com/docs/api-reference/embeddings/object), or an error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    pub(super) model: Word<'a>,
    #[serde(borrow)]
    pub(super) choices: First<Choice<'a>>,
    #[serde(borrow)]
    pub(super) data: Listed<Embedding<'a>>,
    pub(super) usage: Object<CompletionUsage>,
    #[serde(borrow)]
    pub(super) error: Failure<'a>,
}

/// An answer.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Choice<'a> {
    #[serde(borrow)]
    pub(super) message: Object<ChatCompletionMessage<'a>>,
    #[serde(borrow)]
    pub(super) finish_reason: Word<'a>,
}

/// The embedding of one input.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Embedding<'a> {
    pub(super) index: Count,
    /// A list of numbers, or a text: read where it is known how many numbers there must be.
    #[serde(borrow)]
    pub(super) embedding: Option<&'a RawValue>,
}

/// What the model said.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ChatCompletionMessage<'a> {
    #[serde(borrow)]
    pub(super) content: Content<'a>,
    #[serde(borrow)]
    pub(super) refusal: Word<'a>,
}

/// Tokens. `prompt_tokens` holds the cached ones, `completion_tokens` those of reasoning.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompletionUsage {
    pub(super) prompt_tokens: Count,
    pub(super) completion_tokens: Count,
    pub(super) prompt_tokens_details: Object<PromptTokensDetails>,
    pub(super) completion_tokens_details: Object<CompletionTokensDetails>,
}

/// What the input was.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PromptTokensDetails {
    pub(super) cached_tokens: Count,
    pub(super) cache_write_tokens: Count,
}

/// What the output was.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CompletionTokensDetails {
    pub(super) reasoning_tokens: Count,
}

/// The body of an HTTP error.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ErrorResponse<'a> {
    #[serde(borrow)]
    pub(super) error: Failure<'a>,
}

/// An error: OpenAI's object; from servers that are like it, that object in another, or a plain
/// sentence.
pub(super) type Failure<'a> = Said<'a, ErrorObject<'a>>;

/// OpenAI's object for an error. Some servers write `code` as a number.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct ErrorObject<'a> {
    #[serde(borrow)]
    pub(super) message: Word<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) code: Word<'a>,
    #[serde(borrow)]
    pub(super) error: Object<InnerError<'a>>,
}

/// The object within another.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub(super) struct InnerError<'a> {
    #[serde(borrow)]
    pub(super) message: Word<'a>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Word<'a>,
    #[serde(borrow)]
    pub(super) code: Word<'a>,
}
