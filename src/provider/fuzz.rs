//! Whatever a vendor sends, in whatever state: no panic, no waiting without end, and nothing that is
//! taken for something it does not say. `PROPTEST_CASES=100000 cargo test fuzz` runs long.

use std::sync::LazyLock;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};

use super::testing::{Vendor, body, say, shape, sought, tag};
use super::{Found, Gate, Seen, Staged, Submission, SubmitError};
use crate::base::ErrorKind;
use crate::base::mutate::one_spoilt;
use crate::work::{Api, BatchId};

const VENDORS: [(&str, Api); 3] = [
    ("anthropic", Api::Messages),
    ("openai", Api::ChatCompletions),
    ("openai", Api::Embeddings),
];

const LINES: [&str; 4] = [
    include_str!("../../fixtures/wire/anthropic/results.jsonl"),
    include_str!("../../fixtures/wire/openai/output.jsonl"),
    include_str!("../../fixtures/wire/openai/error.jsonl"),
    include_str!("../../fixtures/wire/openai/embeddings.jsonl"),
];

/// What both vendors answer to calls: a batch, a file, a page of each, an error.
const BODIES: [&str; 9] = [
    r#"{"id":"msgbatch_1","type":"message_batch","processing_status":"ended","request_counts":{"processing":0,"succeeded":3,"errored":1,"canceled":0,"expired":1},"ended_at":"2026-11-20T12:30:00Z","created_at":"2026-11-20T12:00:01Z","expires_at":"2026-11-21T12:00:01Z","archived_at":null,"cancel_initiated_at":null,"results_url":"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}"#,
    r#"{"data":[{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress","request_counts":{"processing":5,"succeeded":0,"errored":0,"canceled":0,"expired":0},"ended_at":null,"created_at":"2026-11-20T12:00:01Z","expires_at":"2026-11-21T12:00:01Z","results_url":null}],"has_more":true,"first_id":"msgbatch_1","last_id":"msgbatch_1"}"#,
    r#"{"type":"error","error":{"type":"rate_limit_error","message":"Number of requests has exceeded your limit"},"request_id":"req_1"}"#,
    r#"{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","errors":{"object":"list","data":[{"code":"token_limit_exceeded","line":null,"message":"Enqueued token limit reached. Limit: 2,000,000 enqueued tokens.","param":null}]},"input_file_id":"file-1","completion_window":"24h","status":"completed","output_file_id":"file-2","error_file_id":"file-3","created_at":1711471533,"expires_at":1711557933,"request_counts":{"total":5,"completed":4,"failed":1},"metadata":{"columnist_nonce":"abcdefghjkmn","columnist_attempt":"attempt-2"}}"#,
    r#"{"object":"list","data":[{"id":"batch_1","object":"batch","input_file_id":"file-1","status":"in_progress","created_at":1795176000,"request_counts":{"total":5,"completed":0,"failed":0},"metadata":{"columnist_nonce":"abcdefghjkmn","columnist_attempt":"attempt-2"}}],"first_id":"batch_1","last_id":"batch_1","has_more":true}"#,
    r#"{"object":"list","data":[{"id":"file-1","object":"file","bytes":100,"created_at":1795176000,"filename":"triage-000003-abcdefghjkmn.jsonl","purpose":"batch","status":"processed"}],"has_more":false}"#,
    r#"{"id":"file-1","object":"file","bytes":12,"created_at":1711471533,"filename":"triage-000003-abcdefghjkmn.jsonl","purpose":"batch"}"#,
    r#"{"error":{"message":"Enqueued token limit reached for gpt-6-luna in organization org-1. Limit: 2,000,000 enqueued tokens.","type":"invalid_request_error","param":null,"code":"token_limit_exceeded"}}"#,
    r#"{"input_tokens":14}"#,
];

/// More answers than any call asks for.
const ENOUGH: usize = 64;

fn lines() -> Vec<String> {
    let lines = LINES.iter().flat_map(|file| file.lines());
    lines.map(str::to_owned).collect()
}

/// A body that a vendor might send: noise, or one of the real ones with something wrong.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        8 => one_spoilt(BODIES.map(str::to_owned).to_vec()),
    ]
}

fn statuses() -> impl Strategy<Value = u16> {
    const KNOWN: [u16; 13] = [
        200, 200, 200, 200, 400, 401, 403, 404, 409, 413, 429, 500, 529,
    ];
    prop_oneof![4 => prop::sample::select(&KNOWN[..]), 1 => 200u16..600]
}

/// A vendor that says `body` to everything.
fn vendor(status: u16, body: &[u8]) -> Vendor {
    let text = String::from_utf8_lossy(body);
    Vendor::new(std::iter::repeat_n(say(status, &text), ENOUGH))
}

/// Waits for a call.
fn block_on<F: Future>(call: F) -> F::Output {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    });
    RUNTIME.block_on(call)
}

proptest! {
    #[test]
    fn a_line_is_read_or_refused(noise in prop::collection::vec(any::<u8>(), 0..200), line in one_spoilt(lines())) {
        for (name, _) in VENDORS {
            let provider = Vendor::new([]).open(name);
            for line in [&noise, &line] {
                match provider.parse(line) {
                    Ok(reply) => prop_assert!(!reply.custom_id.is_empty(), "whose is it?"),
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Data),
                }
            }
        }
    }

    #[test]
    fn an_answer_to_a_question_is_a_value_or_an_error(status in statuses(), body in bodies()) {
        let is_success = (200..300).contains(&status);
        for (name, api) in VENDORS {
            let ask = || vendor(status, &body).open(name);
            let id = BatchId("batch_1".into());
            let there = matches!(block_on(ask().poll(&id)), Ok(Seen::There(_)));
            prop_assert!(!there || is_success);
            if let Ok(Found::Absent { .. }) = block_on(ask().find(&sought())) {
                prop_assert!(is_success, "absent, says an error");
            }
            // These two say only whether they went well.
            let _ = block_on(ask().free_check(&shape(api), "hello"));
            let _ = block_on(ask().cancel(&id));
            let _ = block_on(ask().discard("file-1"));
        }
    }

    #[test]
    fn an_answer_to_a_submission_is_a_batch_a_no_or_not_known(status in statuses(), said in bodies()) {
        for (name, api) in VENDORS {
            let ask = || vendor(status, &said).open(name);
            let staged = match api {
                Api::ChatCompletions | Api::Embeddings => Staged::File("file-1".into()),
                Api::Messages => Staged::Inline(body("{\"requests\":[", "]}")),
            };
            let submission = Submission { tag: tag(), staged, gate: Gate::new(|| Ok(())) };
            match block_on(ask().submit(&shape(api), submission)) {
                Ok(view) => prop_assert!((200..300).contains(&status) && !view.id.0.is_empty()),
                // Money: only a clear refusal is one, or word that it is elsewhere.
                Err(SubmitError::Rejected(_)) => {
                    prop_assert!((300..500).contains(&status), "{status}");
                }
                Err(SubmitError::Unknown(_)) => {}
            }
            let _ = block_on(ask().stage(&tag(), body("{}\n", "{}\n")));
        }
    }
}
