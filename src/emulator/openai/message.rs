//! Answers in the vendor's shape: completions, embeddings, and the lines of result files.

use std::fmt::Write as _;

use super::cache::told;
use super::protocol::{EMBEDDINGS, refusal};
use crate::emulator::answer::{quoted, write_vector};
use crate::emulator::batch::{Batch, Outcome};
use crate::emulator::cache::Found;
use crate::emulator::problem::Problem;
use crate::emulator::random::{mix, shuffle};
use crate::emulator::record::Stored;
use crate::emulator::results::{REFUSAL, Reply, StopReason};

/// A completion's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completion<'a> {
    pub(super) draw: u64,
    /// Seconds since the Unix epoch.
    pub(super) created: i64,
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    pub(super) stop: StopReason,
    pub(super) input_tokens: u32,
    pub(super) found: Found,
    pub(super) output_tokens: u32,
}

impl Completion<'_> {
    pub(super) fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{{"id":"chatcmpl-{:016x}","object":"chat.completion","created":{},"model":"#,
            self.draw, self.created
        );
        quoted(self.model, out);
        out.push_str(r#","choices":[{"index":0,"message":{"role":"assistant","content":"#);
        if self.stop == StopReason::Refused {
            out.push_str("null,\"refusal\":");
            quoted(REFUSAL, out);
        } else {
            quoted(self.text, out);
            out.push_str(",\"refusal\":null");
        }
        let reason = match self.stop {
            StopReason::Length => "length",
            StopReason::Filtered => "content_filter",
            StopReason::Done | StopReason::Refused => "stop",
        };
        let _ = write!(
            out,
            concat!(
                r#","annotations":[]}},"logprobs":null,"finish_reason":"{}"}}],"#,
                r#""usage":{{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},"#,
                r#""prompt_tokens_details":{{{}}},"#,
                r#""completion_tokens_details":{{"reasoning_tokens":0}}}},"#,
                r#""service_tier":"default"}}"#,
            ),
            reason,
            self.input_tokens,
            self.output_tokens,
            u64::from(self.input_tokens) + u64::from(self.output_tokens),
            told(self.model, self.found.read, self.found.written)
        );
    }
}

/// Writes an embeddings answer: one vector per draw, with its index.
pub(super) fn write_embeddings(
    model: &str,
    draws: impl Iterator<Item = (usize, u64)>,
    (dimensions, base64): (u32, bool),
    input_tokens: u32,
    out: &mut String,
) {
    out.push_str("{\"object\":\"list\",\"data\":[");
    let mut comma = "";
    for (index, draw) in draws {
        let _ = write!(
            out,
            r#"{comma}{{"object":"embedding","index":{index},"embedding":"#
        );
        write_vector(draw, dimensions, base64, out);
        out.push('}');
        comma = ",";
    }
    out.push_str("],\"model\":");
    quoted(model, out);
    let _ = write!(
        out,
        r#","usage":{{"prompt_tokens":{input_tokens},"total_tokens":{input_tokens}}}}}"#
    );
}

/// One line of an output or error file.
pub(super) fn write_line(batch: &Batch, reply: &Reply<'_>, out: &mut String) {
    let _ = write!(
        out,
        r#"{{"id":"batch_req_{:016x}","custom_id":"#,
        reply.draw
    );
    quoted(reply.record.custom_id, out);
    match reply.outcome {
        Outcome::Cancelled => {
            let text = "This request was not executed because the batch was cancelled.";
            unreached("batch_cancelled", text, out);
        }
        Outcome::Expired => {
            let text = "This request could not be executed before the completion window expired.";
            unreached("batch_expired", text, out);
        }
        Outcome::Errored => {
            let text = "The server had an error while processing your request. Sorry about that!";
            let problem = Problem::new(500, "server_error", text);
            responded(reply, 500, out);
            out.push_str(&refusal(&problem, ""));
            out.push_str("},\"error\":null}");
        }
        Outcome::Unpaid => {
            let text =
                "You exceeded your current quota, please check your plan and billing details.";
            let problem = Problem::new(429, "insufficient_quota", text).code("insufficient_quota");
            responded(reply, 429, out);
            out.push_str(&refusal(&problem, ""));
            out.push_str("},\"error\":null}");
        }
        Outcome::Invalid => {
            let problem = reply.problem();
            responded(reply, problem.status, out);
            out.push_str(&refusal(&problem, ""));
            out.push_str("},\"error\":null}");
        }
        Outcome::Cut
        | Outcome::Filtered
        | Outcome::Refused
        | Outcome::Succeeded
        | Outcome::Wrong => {
            responded(reply, 200, out);
            body(batch, reply, out);
            out.push_str("},\"error\":null}");
        }
    }
}

fn unreached(code: &str, text: &str, out: &mut String) {
    let _ = write!(
        out,
        r#","response":null,"error":{{"code":"{code}","message":"{text}"}}}}"#
    );
}

fn responded(reply: &Reply<'_>, status: u16, out: &mut String) {
    let _ = write!(
        out,
        r#","response":{{"status_code":{status},"request_id":"req_{:016x}","body":"#,
        reply.draw
    );
}

/// Takes from `vectors` that each index is there once, in one of three ways.
fn misindex(vectors: &mut Vec<(usize, u64)>, draw: u64) {
    let count = vectors.len();
    match (mix(draw) % 3, vectors.as_mut_slice()) {
        (0, [.., last]) => last.0 = count,
        (1, [first, .., last]) => last.0 = first.0,
        _ => drop(vectors.pop()),
    }
}

fn body(batch: &Batch, reply: &Reply<'_>, out: &mut String) {
    let record = &reply.record;
    if let (EMBEDDINGS, Stored::Vectors { dimensions, base64 }) = (&*batch.endpoint, record.shape) {
        let format = (dimensions, base64);
        // Nobody promises the order: the index says whose a vector is.
        let mut vectors: Vec<(usize, u64)> = record.draws().enumerate().collect();
        shuffle(&mut vectors, reply.draw);
        if reply.misindexed {
            misindex(&mut vectors, reply.draw);
        }
        let vectors = vectors.into_iter();
        return write_embeddings(record.model, vectors, format, record.input_tokens, out);
    }
    let completion = Completion {
        draw: reply.draw,
        created: batch.starts_at().timestamp(),
        model: record.model,
        text: reply.text,
        stop: reply.stop,
        input_tokens: record.input_tokens,
        found: reply.found,
        output_tokens: reply.output_tokens,
    };
    completion.write(out);
}
