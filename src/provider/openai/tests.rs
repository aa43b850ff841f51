use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::base::ErrorKind;
use crate::base::http::Method;
use crate::provider::Gate;
use crate::provider::testing::{
    Say, Vendor, answered, body as bytes, example, failed, say, say_with, shape, sought, tag, told,
    used,
};
use crate::work::{
    AnswerType, Api, BatchFailure, BatchStatus, CustomId, FailureClass, Finish, ReplyBody, Usage,
};

const OUTPUT: &str = include_str!("../../../fixtures/wire/openai/output.jsonl");
const ERRORS: &str = include_str!("../../../fixtures/wire/openai/error.jsonl");

fn expected_output() -> Vec<ReplyBody<'static>> {
    let cached = Usage {
        cache_read: 1024,
        cache_write_5m: 512,
        reasoning: 64,
        ..used(464, 64)
    };
    // More cached than there was: clamped, not wrapped.
    let odd = Usage {
        cache_read: 9,
        ..used(0, 1)
    };
    let luna = "gpt-6-luna";
    vec![
        answered("Hello, \"you\"\n", Finish::Stop, luna, used(22, 2)),
        answered("", Finish::Length, "gpt-6-luna-2026-03-01", cached),
        ReplyBody::Answered {
            text: "".into(),
            finish: Finish::Refusal,
            refusal: Some("I can't help with that.".into()),
            model: luna.into(),
            usage: used(7, 8),
        },
        answered("cut", Finish::Filter, luna, Usage::default()),
        failed(
            FailureClass::Transient,
            "server_error",
            "The server had an error.",
        ),
        answered("", Finish::Tool, luna, odd),
        answered("in parts", Finish::Other, luna, used(3, 1)),
        failed(FailureClass::Transient, "no_answer", ""),
    ]
}

fn expected_errors() -> Vec<ReplyBody<'static>> {
    use FailureClass::{Account, Permanent, Transient};
    let unsupported = "Unsupported parameter: 'max_tokens'";
    vec![
        failed(Permanent, "unsupported_parameter", unsupported),
        ReplyBody::Expired,
        ReplyBody::Canceled,
        failed(Transient, "request_timeout", "The request took too long."),
        failed(Transient, "rate_limit_exceeded", "Rate limit reached"),
        failed(
            Transient,
            "invalid_request_error",
            "We are at capacity, try again later.",
        ),
        failed(Transient, "http_503", ""),
        failed(Permanent, "BadRequestError", "too long"),
        failed(Permanent, "http_400", "URL is not a supported endpoint."),
        failed(Transient, "no_answer", ""),
        failed(
            Account,
            "insufficient_quota",
            "You exceeded your current quota.",
        ),
        failed(Permanent, "invalid_prompt", "no"),
    ]
}

#[test]
fn every_line_says_what_became_of_its_request() {
    let provider = Vendor::new([]).open(NAME);
    for (lines, expected, first) in [
        (OUTPUT, expected_output(), 0),
        (ERRORS, expected_errors(), 100),
    ] {
        assert_eq!(lines.lines().count(), expected.len());
        for (n, (line, expect)) in lines.lines().zip(expected).enumerate() {
            let reply = provider.parse(line.as_bytes()).expect("a line");
            assert_eq!(
                reply.custom_id,
                format!("abcdefghjkmn-000003-{:06}", n + first)
            );
            assert_eq!(reply.body, expect, "{line}");
        }
    }
}

/// A filter speaks as an error where it kept the question from being asked.
#[test]
fn a_filter_is_told_from_a_refusal_and_from_an_error() {
    let provider = Vendor::new([]).open(NAME);
    let line = |code: &str| {
        let error = json!({ "message": "no", "type": "invalid_request_error", "code": code,
            "innererror": { "code": "ResponsibleAIPolicyViolation" } });
        let body = json!({ "error": error });
        json!({ "custom_id": "a", "response": { "status_code": 400, "body": body }, "error": null })
            .to_string()
    };
    for (code, class) in [
        ("content_filter", FailureClass::Filtered),
        ("content_policy_violation", FailureClass::Filtered),
        ("invalid_prompt", FailureClass::Permanent),
    ] {
        let line = line(code);
        let reply = provider.parse(line.as_bytes()).expect("a line");
        assert_eq!(reply.body, failed(class, code, "no"));
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..4000, byte: u8) {
        let provider = Vendor::new([]).open(NAME);
        let _ = provider.parse(&bytes);
        for line in OUTPUT.lines().chain(ERRORS.lines()) {
            let mut line = line.as_bytes().to_vec();
            let at = at % line.len();
            line[at] = byte;
            let _ = provider.parse(&line);
        }
    }

    #[test]
    fn a_text_arrives_as_it_was(text in "(?s)[\\x00-\\x7f\u{80}-\u{10ffff}]{0,60}") {
        let sent = written(&shape(Api::ChatCompletions), &[&text, "second"]);
        prop_assert_eq!(sent.len(), 2);
        prop_assert_eq!(&sent[0]["body"]["messages"][0]["content"], &json!(text));
        prop_assert_eq!(&sent[1]["custom_id"], "abcdefghjkmn-000003-000001");
    }
}

/// The lines of the body that asks `texts`, parsed. Each line ends.
fn written(shape: &Shape, texts: &[&str]) -> Vec<Value> {
    let frame = Vendor::new([])
        .open(NAME)
        .frame(shape, None)
        .expect("a frame");
    let ids = CustomId::new("abcdefghjkmn", 3);
    let mut out = frame.open.clone();
    for (n, text) in texts.iter().enumerate() {
        frame.write(&ids, n as u64, text, &mut out);
    }
    out.extend_from_slice(&frame.close);
    assert_eq!(out.pop(), Some(b'\n'));
    out.split(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

#[test]
fn a_request_holds_what_the_job_sets_and_nothing_else() {
    let mut shape = Shape {
        system: Some("You label.".into()),
        temperature: Some(0.5),
        answer: AnswerType::choice(vec!["a".into()]),
        ..shape(Api::ChatCompletions)
    };
    shape
        .params
        .insert("reasoning_effort".into(), json!("none"));
    let schema = json!({ "type": "object", "required": ["answer"], "additionalProperties": false,
        "properties": { "answer": { "type": "string", "enum": ["a"] } } });
    let mut expect = json!({ "custom_id": "abcdefghjkmn-000003-000000", "method": "POST",
        "url": "/v1/chat/completions", "body": {
            "model": "model-1",
            "max_completion_tokens": 64,
            "temperature": 0.5,
            "reasoning_effort": "none",
            "messages": [
                { "role": "system", "content": "You label." },
                { "role": "user", "content": "hi" },
            ],
            "response_format": { "type": "json_schema",
                "json_schema": { "name": "answer", "strict": true, "schema": schema } },
        } });
    assert_eq!(written(&shape, &["hi"]), [expect.clone()]);
    shape.params.insert("max_tokens".into(), json!(9));
    let body = expect["body"].as_object_mut().expect("an object");
    body.remove("max_completion_tokens");
    body.insert("max_tokens".into(), json!(9));
    assert_eq!(
        written(&shape, &["hi"]),
        [expect],
        "an older server's name replaces ours"
    );
}

#[test]
fn examples_stand_between_the_system_prompt_and_the_row() {
    let shape = Shape {
        system: Some("You label.".into()),
        examples: vec![example("a", "one"), example("b", "two")],
        ..shape(Api::ChatCompletions)
    };
    let messages = json!([
        { "role": "system", "content": "You label." },
        { "role": "user", "content": "a" }, { "role": "assistant", "content": "one" },
        { "role": "user", "content": "b" }, { "role": "assistant", "content": "two" },
        { "role": "user", "content": "hi" },
    ]);
    assert_eq!(written(&shape, &["hi"])[0]["body"]["messages"], messages);
}

#[test]
fn the_beginning_of_an_answer_is_for_other_servers_alone() {
    let shape = Shape {
        assistant_prefix: Some("Label:".into()),
        ..shape(Api::ChatCompletions)
    };
    let vendor = Vendor::new([]);
    let refused = vendor
        .open(NAME)
        .frame(&shape, None)
        .expect_err("OpenAI's own");
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    let env = [
        ("OPENAI_API_KEY", "key-1"),
        ("OPENAI_BASE_URL", "http://127.0.0.1:1/v1"),
    ];
    let frame = vendor
        .open_with(NAME, &env)
        .frame(&shape, None)
        .expect("a frame");
    let text = String::from_utf8(frame.after_text).expect("text");
    assert!(
        text.starts_with(r#"","role":"user"},{"content":"Label:","role":"assistant"}]"#),
        "{text}"
    );
}

#[test]
fn a_parameter_that_contradicts_the_job_is_named() {
    let provider = Vendor::new([]).open(NAME);
    let check = |params: Value, answer: AnswerType, names: Option<&str>| {
        let shape = Shape {
            temperature: Some(0.5),
            params: params.as_object().cloned().expect("an object"),
            answer,
            ..shape(Api::ChatCompletions)
        };
        let error = provider.frame(&shape, None).err();
        let said = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.is_some(), names.is_some(), "{params}");
        assert!(said.contains(names.unwrap_or_default()), "{said}");
        assert!(error.is_none_or(|error| error.kind() == ErrorKind::Invalid));
    };
    let format = json!({ "response_format": { "type": "json_object" } });
    check(format.clone(), AnswerType::Text, None);
    let choice = AnswerType::choice(vec!["a".into()]);
    check(format, choice, Some("response_format"));
    check(json!({ "n": 1, "seed": 7 }), AnswerType::Text, None);
    for name in [
        "model",
        "messages",
        "stream",
        "max_completion_tokens",
        "temperature",
        "n",
    ] {
        check(json!({ name: 2 }), AnswerType::Text, Some(name));
    }
}

#[tokio::test]
async fn a_body_is_uploaded_as_a_form_whose_name_finds_it_again() {
    let vendor = Vendor::new([say(200, r#"{"id":"file-1","object":"file","bytes":12}"#)]);
    let env = [
        ("OPENAI_API_KEY", "key-1"),
        ("OPENAI_ORG_ID", "org-1"),
        ("OPENAI_PROJECT_ID", "proj-1"),
    ];
    let provider = vendor.open_with(NAME, &env);
    let staged = provider.stage(&tag(), bytes("{\"a\":1}\n", "{}\n")).await;
    assert!(matches!(staged, Ok(Staged::File(id)) if id == "file-1"));
    let seen = vendor.only();
    assert_eq!(
        (seen.method.clone(), &*seen.path),
        (Method::POST, "/v1/files")
    );
    let form = seen.header("content-type").expect("a type");
    let boundary = form
        .strip_prefix("multipart/form-data; boundary=")
        .expect("a form");
    let expect = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"purpose\"\r\n\r\nbatch\r\n\
        --{boundary}\r\nContent-Disposition: form-data; name=\"file\"; \
        filename=\"triage-000003-abcdefghjkmn.jsonl\"\r\nContent-Type: application/jsonl\r\n\r\n\
        {{\"a\":1}}\n{{}}\n\r\n--{boundary}--\r\n"
    );
    assert_eq!(seen.body, expect);
    let len = expect.len().to_string();
    assert_eq!(seen.header("content-length"), Some(&*len));
    assert_eq!(seen.header("authorization"), Some("Bearer key-1"));
    assert_eq!(seen.header("openai-organization"), Some("org-1"));
    assert_eq!(seen.header("openai-project"), Some("proj-1"));
}

fn submission() -> Submission {
    Submission {
        tag: tag(),
        staged: Staged::File("file-1".into()),
        gate: Gate::new(|| Ok(())),
    }
}

const BATCH: &str = r#"{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions",
    "errors":null,"input_file_id":"file-1","completion_window":"24h","status":"validating",
    "output_file_id":null,"created_at":1711471533,"expires_at":1711557933,
    "request_counts":{"total":0,"completed":0,"failed":0},
    "metadata":{"columnist_nonce":"abcdefghjkmn","columnist_attempt":"attempt-2"}}"#;

#[tokio::test]
async fn a_batch_is_made_of_the_file_and_carries_our_marks() {
    let vendor = Vendor::new([say(200, BATCH)]);
    let provider = vendor.open(NAME);
    let shape = shape(Api::ChatCompletions);
    let batch = provider
        .submit(&shape, submission())
        .await
        .expect("accepted");
    assert_eq!(
        (&*batch.id.0, batch.status),
        ("batch_1", BatchStatus::Validating)
    );
    assert_eq!(batch.created_at, Time::from_timestamp(1_711_471_533, 0));
    assert_eq!(batch.input_file.as_deref(), Some("file-1"));
    assert_eq!(batch.nonce.as_deref(), Some("abcdefghjkmn"));
    let seen = vendor.only();
    assert_eq!(
        (seen.method.clone(), &*seen.path),
        (Method::POST, "/v1/batches")
    );
    let expect = r#"{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{"columnist_attempt":"attempt-2","columnist_chunk":"3","columnist_job":"triage","columnist_nonce":"abcdefghjkmn"}}"#;
    assert_eq!(seen.body, expect);
}

#[tokio::test]
async fn a_refusal_is_certain_and_silence_is_not() {
    let error = |code: &str, message: &str| {
        json!({ "error": { "message": message, "type": "t", "param": null, "code": code } })
            .to_string()
    };
    let queue = "Enqueued token limit reached for gpt-6-luna in organization org-1. \
        Limit: 2,000,000 enqueued tokens. Please try again once some in_progress batches have been completed.";
    let cases = [
        (
            say(400, &error("invalid_request_error", "no")),
            "final invalid",
        ),
        (
            say(400, &error("token_limit_exceeded", queue)),
            "full 2000000",
        ),
        (say(429, &error("", queue)), "full 2000000"),
        (say(429, &error("token_limit_exceeded", "full")), "full"),
        (
            say(400, &error("billing_hard_limit_reached", "no")),
            "final refused",
        ),
        (
            say(401, &error("invalid_api_key", "Incorrect API key: key-1")),
            "final refused",
        ),
        (
            say(403, &error("unsupported_country_region_territory", "no")),
            "final refused",
        ),
        (say(404, &error("model_not_found", "no")), "unseen"),
        (
            say(404, &error("", "No such File object: file-1")),
            "unseen",
        ),
        (say(404, "404 page not found"), "final invalid"),
        (say(405, ""), "final invalid"),
        (say(413, ""), "too large"),
        (say(422, &error("x", "your key is key-1")), "final invalid"),
        (
            say(429, &error("insufficient_quota", "no")),
            "final refused",
        ),
        (
            say_with(
                429,
                &[("retry-after-ms", "1500")],
                &error("rate_limit_exceeded", ""),
            ),
            "later 1500",
        ),
        (say(408, ""), "unknown"),
        (say(409, ""), "unknown"),
        (say(500, &error("server_error", "")), "unknown"),
        (say(503, "upstream connect error"), "unknown"),
        (say(200, "{\"id\":null}"), "unknown"),
        (Say::NoConnection, "away"),
        (Say::Silence, "unknown"),
    ];
    for (answer, expect) in cases {
        let vendor = Vendor::new([answer.clone()]);
        let provider = vendor.open(NAME);
        let got = provider
            .submit(&shape(Api::ChatCompletions), submission())
            .await;
        let (said, error) = told(got.expect_err("no batch"));
        assert_eq!(said, expect, "{answer:?}");
        assert!(!format!("{error:?}").contains("key-1"), "{error:?}");
        assert!(vendor.is_done(), "sent once");
    }
}

#[test]
fn a_base_url_that_leads_nowhere_is_mended() {
    let mend = |text: &str| client::mend(&text.parse().expect("a URL"));
    for (base, expect) in [
        ("http://h:1", "ends with `/v1`: try http://h:1/v1"),
        ("http://h/openai/", "try http://h/openai/v1"),
        ("http://h/v1/v1", "no further than `/v1`: try http://h/v1"),
        ("http://h/a/v1/chat/completions", "try http://h/a/v1"),
        (
            "http://h/v1",
            "does the server at http://h have the batch interface",
        ),
        ("http://h/v1beta/openai", "try http://h/v1beta/openai/v1"),
    ] {
        assert!(mend(base).contains(expect), "{base}: {}", mend(base));
    }
}

#[test]
fn every_status_is_known_or_kept_and_files_may_be_missing() {
    let check = |batch: Value, expect: BatchStatus, files: &[&str]| {
        let batch = batch.to_string();
        let wire = serde_json::from_str(&batch).expect("a batch");
        let view = client::view(&wire).expect("has an id");
        assert_eq!(view.status, expect);
        let have: Vec<&str> = view.results.iter().map(|file| &*file.0).collect();
        assert_eq!(have, files);
        view
    };
    let known = [
        ("validating", BatchStatus::Validating),
        ("in_progress", BatchStatus::InProgress),
        ("finalizing", BatchStatus::InProgress),
        ("completed", BatchStatus::Completed),
        ("failed", BatchStatus::Failed),
        ("expired", BatchStatus::Expired),
        ("cancelling", BatchStatus::Canceling),
        ("cancelled", BatchStatus::Canceled),
        ("resting", BatchStatus::Unknown("resting".into())),
    ];
    for (word, status) in known {
        check(json!({ "id": "b", "status": word }), status, &[]);
    }
    let both = json!({ "id": "b", "status": "expired", "output_file_id": "out", "error_file_id": "err",
        "request_counts": { "total": 9, "completed": 6, "failed": 3 } });
    let view = check(both, BatchStatus::Expired, &["out", "err"]);
    let counts = (view.counts.total, view.counts.succeeded, view.counts.failed);
    assert_eq!(counts, (9, 6, 3));
    let one =
        json!({ "id": "b", "status": "completed", "output_file_id": null, "error_file_id": "err" });
    check(one, BatchStatus::Completed, &["err"]);
    let full = json!({ "id": "b", "status": "failed", "errors": { "object": "list", "data": [
        { "code": "token_limit_exceeded", "message": "Limit: 90,000 enqueued tokens", "param": null, "line": null },
        { "code": "invalid_json_line", "message": "no", "line": 17 }, null] } });
    let view = check(full, BatchStatus::Failed, &[]);
    assert_eq!(view.errors.len(), 2);
    assert_eq!(view.errors[0].code, "token_limit_exceeded");
    assert_eq!(view.failure, Some(BatchFailure::QueueFull(Some(90_000))));
    assert_eq!((view.errors[0].line, view.errors[1].line), (None, Some(17)));
}

#[test]
fn answers_that_cannot_be_downloaded_yet_are_awaited() {
    let check =
        |status: &str, completed: u64, output: Option<&str>, error: Option<&str>, awaited| {
            let batch = json!({ "id": "b", "status": status, "output_file_id": output,
            "error_file_id": error, "request_counts": { "total": 9, "completed": completed } });
            let batch = batch.to_string();
            let wire = serde_json::from_str(&batch).expect("a batch");
            let view = client::view(&wire).expect("has an id");
            assert_eq!(view.awaited, awaited, "{batch}");
        };
    check("completed", 9, Some("out"), None, false);
    check("completed", 9, None, None, true);
    // Some servers count nothing.
    check("completed", 0, None, None, true);
    check("completed", 0, None, Some("err"), false);
    // The errors are there, and the answers are not.
    check("completed", 5, None, Some("err"), true);
    check("expired", 5, None, Some("err"), true);
    check("cancelled", 5, None, None, true);
    check("expired", 0, None, None, false);
    check("in_progress", 5, None, None, false);
    check("failed", 0, None, None, false);
}

#[test]
fn a_queues_limit_is_read_from_its_sentence() {
    for (text, expect) in [
        ("Limit: 2,000,000 enqueued tokens", Some(2_000_000)),
        ("Limit: 90000.", Some(90_000)),
        ("Limit: none", None),
        ("limit 5", None),
        ("Limit: 99999999999999999999999", None),
        ("", None),
    ] {
        let failed = json!({ "id": "b", "status": "failed", "errors": { "data": [
            { "code": "token_limit_exceeded", "message": text }] } });
        let failed = failed.to_string();
        let wire = serde_json::from_str(&failed).expect("a batch");
        let view = client::view(&wire).expect("has an id");
        assert_eq!(
            view.failure,
            Some(BatchFailure::QueueFull(expect)),
            "{text}"
        );
    }
}

#[test]
fn what_a_failed_batch_means_is_read_from_its_errors() {
    use BatchFailure::{Account, Passing, QueueFull, Requests};
    let check = |status: &str, errors: Value, expect: Option<BatchFailure>| {
        let batch = json!({ "id": "b", "status": status, "errors": errors }).to_string();
        let wire = serde_json::from_str(&batch).expect("a batch");
        let view = client::view(&wire).expect("has an id");
        assert_eq!(view.failed_as_a_whole(), expect, "{batch}");
    };
    let one = |code: &str, line: Value| json!({ "data": [{ "code": code, "message": "m", "line": line }] });
    for nothing in [
        Value::Null,
        json!({}),
        json!({ "data": [] }),
        json!({ "data": null }),
    ] {
        check("failed", nothing, Some(Passing));
    }
    check("failed", one("server_error", Value::Null), Some(Passing));
    check("failed", one("server_error", json!(3)), Some(Requests));
    check(
        "failed",
        one("mismatched_model", Value::Null),
        Some(Requests),
    );
    check("failed", one("empty_file", Value::Null), Some(Requests));
    for money in [
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
    ] {
        check("failed", one(money, Value::Null), Some(Account));
    }
    check("failed", one("model_not_found", json!(1)), Some(Account));
    check(
        "failed",
        one("too_many_tasks", Value::Null),
        Some(QueueFull(None)),
    );
    check("completed", one("server_error", Value::Null), None);
}

fn batch(id: &str, made: i64, attempt: Option<&str>, file: &str) -> Value {
    let metadata = attempt
        .map(|attempt| json!({ "columnist_attempt": attempt, "columnist_nonce": "abcdefghjkmn" }));
    json!({ "id": id, "status": "in_progress", "created_at": made, "input_file_id": file, "metadata": metadata })
}

fn file(id: &str, name: &str, bytes: u64) -> Value {
    json!({ "id": id, "filename": name, "bytes": bytes, "created_at": noon() })
}

fn page(items: &[Value], more: bool) -> Say {
    let body = json!({ "object": "list", "data": items, "has_more": more }).to_string();
    say_with(200, &[("date", "Fri, 20 Nov 2026 12:30:00 GMT")], &body)
}

/// Seconds since 1970 of the promise.
fn noon() -> i64 {
    sought().since.timestamp()
}

async fn found(sought: Sought, script: Vec<Say>) -> (String, Vec<String>) {
    let vendor = Vendor::new(script);
    let said = match vendor.open(NAME).find(&sought).await {
        Ok(Found::Unlisted(_)) => "unlisted".to_owned(),
        Ok(Found::Ours(batches)) => {
            let ids: Vec<String> = batches.into_iter().map(|batch| batch.id.0).collect();
            format!("ours {}", ids.join(" "))
        }
        Ok(Found::Absent { staged, as_of }) => {
            format!("absent {} {}", staged.unwrap_or_default(), as_of.is_some())
        }
        Ok(Found::Maybe { .. }) => "maybe".to_owned(),
        Err(error) => format!("{:?}", error.kind()),
    };
    assert!(vendor.is_done(), "{said}");
    (
        said,
        vendor.seen().into_iter().map(|seen| seen.path).collect(),
    )
}

const OUR_NAME: &str = "triage-000003-abcdefghjkmn.jsonl";

#[tokio::test]
async fn a_batch_is_known_by_its_attempt_on_whatever_page_it_stands() {
    let script = vec![
        page(&[], false),
        page(
            &[
                batch("z", noon() + 90, None, "file-z"),
                batch("y", noon() + 80, Some("attempt-1"), "file-1"),
            ],
            true,
        ),
        page(
            &[
                batch("b", noon() + 60, Some("attempt-2"), "file-1"),
                batch("a", noon() + 30, Some("attempt-2"), "file-1"),
            ],
            false,
        ),
    ];
    let (said, paths) = found(sought(), script).await;
    assert_eq!(said, "ours a b", "the oldest first, and no other attempt's");
    let expect = [
        "/v1/files?purpose=batch&limit=10000&order=desc",
        "/v1/batches?limit=100",
        "/v1/batches?limit=100&after=y",
    ];
    assert_eq!(paths, expect);
}

#[tokio::test]
async fn a_batch_without_marks_is_known_by_its_file() {
    let files = [
        file("file-8", OUR_NAME, 99),
        file("file-9", OUR_NAME, 100),
        file("file-7", "other.jsonl", 100),
    ];
    let batches = [
        batch("x", noon(), None, "file-8"),
        batch("y", noon(), None, "file-9"),
    ];
    let script = || vec![page(&files, false), page(&batches, false)];
    assert_eq!(found(sought(), script()).await.0, "ours y");
    let other = Sought {
        not: vec![BatchId("y".into())],
        ..sought()
    };
    assert_eq!(
        found(other, script()).await.0,
        "absent file-9 true",
        "it is another attempt's"
    );
    let known = Sought {
        staged: Some("file-8".into()),
        ..sought()
    };
    assert_eq!(found(known, vec![page(&batches, false)]).await.0, "ours x");
}

#[tokio::test]
async fn what_is_nowhere_is_absent_as_of_the_providers_clock() {
    let script = vec![page(&[], false), page(&[], false)];
    assert_eq!(found(sought(), script).await.0, "absent  true");
    let known = Sought {
        staged: Some("file-1".into()),
        ..sought()
    };
    assert_eq!(
        found(known, vec![page(&[], false)]).await.0,
        "absent file-1 true"
    );
    let old = [
        batch("x", noon() - 3601, None, "f"),
        batch("y", noon() - 3602, None, "f"),
    ];
    let known = Sought {
        staged: Some("file-1".into()),
        ..sought()
    };
    assert_eq!(
        found(known, vec![page(&old, true)]).await.0,
        "absent file-1 true",
        "far enough back"
    );
}

#[tokio::test]
async fn a_list_that_cannot_be_read_shows_nothing() {
    let one = [batch("x", noon(), None, "f")];
    let failing = || vec![say(503, ""); 5];
    for script in [
        failing(),
        [vec![page(&[], false)], failing()].concat(),
        [vec![page(&[], false), page(&one, true)], failing()].concat(),
        vec![page(&[], false), say(200, r#"{"has_more":false}"#)],
        vec![page(&[], false), page(&one, true), page(&one, true)],
    ] {
        assert_eq!(found(sought(), script).await.0, "Unavailable");
    }
}

async fn fetched(offset: u64, answer: Say) -> (u64, Option<u64>, Result<String>) {
    let vendor = Vendor::new([answer]);
    let download = vendor
        .open(NAME)
        .fetch(&ResultFile("file-1".into()), offset)
        .await
        .and_then(Seen::there)
        .expect("there");
    let range = (offset > 0).then(|| format!("bytes={offset}-"));
    assert_eq!(vendor.only().header("range"), range.as_deref());
    let parts = futures::TryStreamExt::try_collect::<Vec<_>>(download.stream).await;
    let text = parts.map(|parts| String::from_utf8(parts.concat()).expect("text"));
    (download.offset, download.total, text)
}

#[tokio::test]
async fn a_download_goes_on_where_the_provider_can() {
    let (offset, total, text) = fetched(0, say(200, "0123")).await;
    assert_eq!(
        (offset, total, text.ok().as_deref()),
        (0, Some(4), Some("0123"))
    );
    let range = [("content-range", "bytes 2-3/4")];
    let (offset, total, text) = fetched(2, say_with(206, &range, "23")).await;
    assert_eq!(
        (offset, total, text.ok().as_deref()),
        (2, Some(4), Some("23"))
    );
    let (offset, total, text) = fetched(2, say(200, "0123")).await;
    assert_eq!(
        (offset, total, text.ok().as_deref()),
        (0, Some(4), Some("0123"))
    );
    let range = [("content-range", "bytes */4")];
    let (offset, total, text) = fetched(4, say_with(416, &range, "no")).await;
    assert_eq!(
        (offset, total, text.ok().as_deref()),
        (4, Some(4), Some(""))
    );
    let (_, _, text) = fetched(0, say_with(200, &[("content-length", "9")], "0123")).await;
    let error = text.expect_err("cut");
    assert_eq!(
        error.to_string(),
        "the download was cut, bytes=`4`, expected=`9`"
    );
}

#[tokio::test]
async fn a_download_follows_to_another_host_without_the_key() {
    let elsewhere = [("location", "https://files.example/signed?secret=1")];
    let near = [("location", "/v1/moved")];
    let vendor = Vendor::new([
        say_with(302, &near, ""),
        say_with(307, &elsewhere, ""),
        say(200, "x"),
    ]);
    let provider = vendor.open(NAME);
    provider
        .fetch(&ResultFile("file-1".into()), 5)
        .await
        .expect("there");
    let seen = vendor.seen();
    let keys: Vec<bool> = seen
        .iter()
        .map(|seen| seen.header("authorization").is_some())
        .collect();
    assert_eq!(keys, [true, true, false]);
    assert_eq!(seen[2].header("range"), Some("bytes=5-"));
    assert_eq!(seen[2].header("host"), Some("files.example"));
    let down = [("location", "http://files.example/plain")];
    let vendor = Vendor::new(vec![say_with(302, &down, "")]);
    let fetched = vendor
        .open(NAME)
        .fetch(&ResultFile("file-1".into()), 0)
        .await;
    assert!(fetched.is_err(), "never from https to http");
}

#[tokio::test]
async fn only_a_plain_request_passes_its_trial_unasked() {
    let provider = Vendor::new([]).open(NAME);
    let plain = shape(Api::ChatCompletions);
    assert!(matches!(
        provider.free_check(&plain, "hi").await,
        Ok(FreeCheck::Passed)
    ));
    let mut warm = plain.clone();
    warm.temperature = Some(1.0);
    let mut set = plain.clone();
    set.params.insert("seed".into(), json!(1));
    let choice = Shape {
        answer: AnswerType::choice(vec!["a".into()]),
        ..plain
    };
    for shape in [warm, set, choice] {
        assert!(matches!(
            provider.free_check(&shape, "hi").await,
            Ok(FreeCheck::Untold)
        ));
    }
}

#[tokio::test]
async fn what_is_gone_need_not_be_deleted_nor_what_has_ended_canceled() {
    for status in [200, 404] {
        let vendor = Vendor::new([say(status, "{}")]);
        vendor.open(NAME).discard("file-1").await.expect("no error");
        let seen = vendor.only();
        assert_eq!(
            (seen.method, &*seen.path),
            (Method::DELETE, "/v1/files/file-1")
        );
    }
    let denied = Vendor::new([say(403, "{}")]).open(NAME).discard("f").await;
    assert_eq!(denied.expect_err("denied").kind(), ErrorKind::Refused);
    let ended = BATCH.replace("validating", "completed");
    let conflicts = vec![say(409, "{}"); 5];
    let vendor = Vendor::new([conflicts, vec![say(200, &ended)]].concat());
    let id = BatchId("batch_1".into());
    vendor.open(NAME).cancel(&id).await.expect("no error");
    assert!(vendor.is_done());
    let missing = Vendor::new([say(404, "{}")]).open(NAME).poll(&id).await;
    assert!(matches!(missing, Ok(Seen::Unseen(_))), "{missing:?}");
    let missing = Vendor::new([say(404, "{}")]).open(NAME).cancel(&id).await;
    assert!(matches!(missing, Ok(Seen::Unseen(_))), "{missing:?}");
}
