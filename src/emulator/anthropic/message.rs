//! Answers in the vendor's shape: the message, and the line of a results file.

use std::fmt::Write as _;

use super::cache::usage;
use super::protocol::refusal;
use crate::emulator::answer::quoted;
use crate::emulator::batch::{Batch, Outcome};
use crate::emulator::cache::Found;
use crate::emulator::problem::Problem;
use crate::emulator::random::letters;
use crate::emulator::results::{Reply, StopReason};

/// A message's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) draw: u64,
    pub(super) model: &'a str,
    pub(super) text: &'a str,
    pub(super) stop: StopReason,
    pub(super) input_tokens: u32,
    /// What it found in the cache, and how long what it wrote lives, in seconds.
    pub(super) cache: (Found, u32),
    pub(super) output_tokens: u32,
    pub(super) tier: &'static str,
}

impl Message<'_> {
    pub(super) fn write(&self, out: &mut String) {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            r#"{{"id":"msg_01{:016x}","type":"message","role":"assistant","model":"#,
            self.draw
        );
        quoted(self.model, out);
        out.push_str(",\"content\":[");
        if !matches!(self.stop, StopReason::Refused | StopReason::Filtered) {
            out.push_str("{\"type\":\"text\",\"text\":");
            quoted(self.text, out);
            out.push('}');
        }
        out.push_str(match self.stop {
            StopReason::Done => r#"],"stop_reason":"end_turn","stop_sequence":null,"stop_details":null"#,
            StopReason::Length => r#"],"stop_reason":"max_tokens","stop_sequence":null,"stop_details":null"#,
            StopReason::Refused => {
                r#"],"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":"general_harms","explanation":null}"#
            }
            // There is no word of its own for a filter.
            StopReason::Filtered => {
                r#"],"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":"bio","explanation":null}"#
            }
        });
        let (found, life) = self.cache;
        let _ = write!(
            out,
            r#","usage":{{{},"output_tokens":{},"service_tier":"{}"}}}}"#,
            usage(self.input_tokens, found.read, found.written, life),
            self.output_tokens,
            self.tier
        );
    }
}

/// One line of the results.
pub(super) fn write_line(_: &Batch, reply: &Reply<'_>, out: &mut String) {
    out.push_str("{\"custom_id\":");
    quoted(reply.record.custom_id, out);
    out.push_str(",\"result\":{\"type\":\"");
    match reply.outcome {
        Outcome::Cancelled => out.push_str("canceled\"}}"),
        Outcome::Expired => out.push_str("expired\"}}"),
        Outcome::Errored => error(
            reply,
            &Problem::new(500, "api_error", "Internal server error"),
            out,
        ),
        Outcome::Unpaid => {
            let text = "Your credit balance is too low to access the Anthropic API. Please go to Plans \
                        & Billing to upgrade or purchase credits.";
            error(reply, &Problem::invalid(text), out);
        }
        Outcome::Invalid => error(reply, &reply.problem(), out),
        Outcome::Cut
        | Outcome::Filtered
        | Outcome::Refused
        | Outcome::Succeeded
        | Outcome::Wrong => {
            out.push_str("succeeded\",\"message\":");
            let message = Message {
                draw: reply.draw,
                model: reply.record.model,
                text: reply.text,
                stop: reply.stop,
                input_tokens: reply.record.input_tokens,
                cache: (reply.found, reply.record.cache.life),
                output_tokens: reply.output_tokens,
                tier: "batch",
            };
            message.write(out);
            out.push_str("}}");
        }
    }
}

fn error(reply: &Reply<'_>, problem: &Problem, out: &mut String) {
    out.push_str("errored\",\"error\":");
    out.push_str(&refusal(
        problem,
        &format!("req_{}", letters(reply.draw, 24)),
    ));
    out.push_str("}}");
}
