use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::base::ErrorKind;
use crate::base::http::Method;
use crate::provider::Gate;
use crate::provider::testing::{
    Say, Vendor, answered, body, example, failed, lookup, noon, say, say_with, shape, sought, tag,
    told, used,
};
use crate::work::{
    AnswerType, Api, BatchStatus, CacheUse, Content, FailureClass, Finish, ReplyBody, Usage,
};

const LINES: &str = include_str!("../../../fixtures/wire/anthropic/results.jsonl");

/// What the lines of the fixture say, in their order.
fn expected() -> Vec<ReplyBody<'static>> {
    use FailureClass::{Account, Permanent, Transient};
    let cached = Usage {
        cache_read: 2048,
        ..used(11, 36)
    };
    let written = Usage {
        cache_write_5m: 30,
        cache_write_1h: 40,
        reasoning: 60,
        ..used(5, 100)
    };
    let unsplit = Usage {
        cache_write_5m: 8,
        ..used(9, 1)
    };
    vec![
        answered(
            r#"{"label":"a"}"#,
            Finish::Stop,
            "claude-sonnet-5-5",
            cached,
        ),
        failed(
            Permanent,
            "invalid_request_error",
            "max_tokens: Field required",
        ),
        ReplyBody::Canceled,
        ReplyBody::Expired,
        failed(Transient, "overloaded_error", "Overloaded"),
        failed(Transient, "api_error", "Internal server error"),
        answered("one two", Finish::Length, "claude-opus-5-5", written),
        ReplyBody::Answered {
            text: "".into(),
            finish: Finish::Refusal,
            refusal: Some("cyber".into()),
            model: "claude-sonnet-5-5".into(),
            usage: unsplit,
        },
        answered(
            "half",
            Finish::Unfinished,
            "claude-sonnet-5-5",
            Usage::default(),
        ),
        answered("café 😀", Finish::Other, "", used(3, 2)),
        failed(
            Transient,
            "no_result",
            "the line holds neither message nor error, only `a_new_type`",
        ),
        failed(Account, "billing_error", "no credit"),
    ]
}

#[test]
fn every_line_says_what_became_of_its_request() {
    let provider = Vendor::new([]).open(NAME);
    assert_eq!(LINES.lines().count(), expected().len());
    for (n, (line, expect)) in LINES.lines().zip(expected()).enumerate() {
        let reply = provider.parse(line.as_bytes()).expect("a line");
        assert_eq!(reply.custom_id, format!("abcdefghjkmn-000003-{n:06}"));
        assert_eq!(reply.body, expect, "{line}");
    }
}

#[test]
fn what_is_no_line_is_told_and_half_a_character_is_mended() {
    let provider = Vendor::new([]).open(NAME);
    for line in [
        "",
        "x",
        "[]",
        "{}",
        "null",
        r#"{"custom_id":null}"#,
        r#"{"custom_id":"a""#,
    ] {
        let error = provider.parse(line.as_bytes()).expect_err(line);
        assert_eq!(error.kind(), ErrorKind::Data, "{line}");
    }
    let line = br#"{"custom_id":"a","result":{"type":"succeeded","message":{"content":[{"type":"text","text":"ok \ud83d"}]}}}"#;
    let reply = provider.parse(line).expect("a line");
    let ReplyBody::Answered { text, .. } = reply.body else {
        panic!("{reply:?}");
    };
    assert_eq!(text, "ok \u{fffd}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..4000, byte: u8) {
        let provider = Vendor::new([]).open(NAME);
        let _ = provider.parse(&bytes);
        // A real line with one byte changed goes deeper.
        for line in LINES.lines() {
            let mut line = line.as_bytes().to_vec();
            let at = at % line.len();
            line[at] = byte;
            let _ = provider.parse(&line);
        }
    }

    #[test]
    fn a_text_arrives_as_it_was(text in "(?s)[\\x00-\\x7f\u{80}-\u{10ffff}]{0,60}", system in "[ -~\n]{0,30}") {
        let shape = Shape { system: Some(system.clone()), ..shape(Api::Messages) };
        let sent = written(&shape, &[&text, "second"]);
        prop_assert_eq!(&sent["requests"][0]["params"]["messages"][0]["content"], &json!(text));
        prop_assert_eq!(&sent["requests"][1]["params"]["messages"][0]["content"], "second");
        prop_assert_eq!(&sent["requests"][1]["params"]["system"], &json!(system));
        prop_assert_eq!(&sent["requests"][1]["custom_id"], "abcdefghjkmn-000003-000001");
    }
}

/// The body that asks `texts`, parsed.
fn written(shape: &Shape, texts: &[&str]) -> Value {
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
    serde_json::from_slice(&out).expect("JSON")
}

#[test]
fn a_request_holds_what_the_job_sets_and_nothing_else() {
    let mut shape = Shape {
        system: Some("You \"label\".".into()),
        temperature: Some(0.0),
        answer: AnswerType::choice(vec!["a".into()]),
        ..shape(Api::Messages)
    };
    shape.params = json!({ "output_config": { "effort": "low" }, "top_k": 3 })
        .as_object()
        .cloned()
        .expect("an object");
    let schema = json!({ "type": "object", "properties": { "answer": { "enum": ["a"] } },
        "required": ["answer"], "additionalProperties": false });
    let expect = json!({ "requests": [{ "custom_id": "abcdefghjkmn-000003-000000", "params": {
        "model": "model-1",
        "max_tokens": 64,
        "system": "You \"label\".",
        "temperature": 0.0,
        "top_k": 3,
        "messages": [{ "role": "user", "content": "hi" }],
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": schema } },
    } }] });
    assert_eq!(written(&shape, &["hi"]), expect);
}

#[test]
fn examples_stand_before_the_row_and_the_beginning_of_the_answer_after_it() {
    let shape = Shape {
        model: "claude-haiku-4-5".into(),
        examples: vec![example("columnist-text-0", "one"), example("b", "two")],
        assistant_prefix: Some("Label:".into()),
        ..shape(Api::Messages)
    };
    let messages = json!([
        { "role": "user", "content": "columnist-text-0" }, { "role": "assistant", "content": "one" },
        { "role": "user", "content": "b" }, { "role": "assistant", "content": "two" },
        { "role": "user", "content": "hi" }, { "role": "assistant", "content": "Label:" },
    ]);
    let sent = written(&shape, &["hi"]);
    assert_eq!(sent["requests"][0]["params"]["messages"], messages);
}

/// The models that take no beginning of their answer: section "Model-specific request errors".
#[test]
fn a_model_that_takes_no_beginning_of_its_answer_is_named() {
    for (model, takes) in [
        ("claude-haiku-4-5", true),
        ("claude-haiku-4-5-20251001", true),
        ("claude-sonnet-4-20250514", true),
        ("claude-sonnet-4-5", true),
        ("claude-opus-4-5-20251101", true),
        ("claude-opus-4-6", false),
        ("claude-sonnet-4-6", false),
        ("claude-sonnet-5", false),
        ("claude-opus-5-5", false),
        ("claude-fable-5", false),
        ("claude-mythos-5-1", false),
        ("my-own-model", true),
    ] {
        let shape = Shape {
            model: model.into(),
            assistant_prefix: Some("Label:".into()),
            ..shape(Api::Messages)
        };
        let frame = Vendor::new([]).open(NAME).frame(&shape, None);
        assert_eq!(frame.is_ok(), takes, "{model}");
        let said = frame.err().map(|error| error.to_string());
        assert!(said.is_none_or(|said| said.contains(model)));
    }
}

/// The models that draw answers by default alone: the same section.
#[test]
fn a_model_that_lets_nobody_say_how_its_answers_are_drawn_is_named() {
    for (model, takes) in [
        ("claude-haiku-4-5", true),
        ("claude-haiku-5-5", true),
        ("claude-opus-4-6", true),
        ("claude-opus-4-7", false),
        ("claude-sonnet-4-6", true),
        ("claude-sonnet-5", false),
        ("claude-fable-5-1", false),
        ("my-own-model", true),
    ] {
        let plain = Shape {
            model: model.into(),
            ..shape(Api::Messages)
        };
        let frame = |shape: &Shape| Vendor::new([]).open(NAME).frame(shape, None).is_ok();
        let warm = |temperature: f64| Shape {
            temperature: Some(temperature),
            ..plain.clone()
        };
        let mut top = plain.clone();
        top.params.insert("top_p".into(), json!(0.5));
        assert_eq!([frame(&warm(0.5)), frame(&top)], [takes; 2], "{model}");
        assert!(frame(&plain) && frame(&warm(1.0)), "{model}");
    }
}

#[test]
fn a_request_that_marks_what_it_shares_is_the_same_but_for_the_mark() {
    let shape = Shape {
        system: Some("You \"label\".".into()),
        answer: AnswerType::choice(vec!["a".into()]),
        ..shape(Api::Messages)
    };
    let provider = Vendor::new([]).open(NAME);
    let written = |cache| {
        let frame = provider.frame(&shape, cache).expect("a frame");
        let mut out = Vec::new();
        frame.write(&CustomId::new("abcdefghjkmn", 3), 0, "a \"row\"", &mut out);
        assert_eq!(
            out.len() as u64,
            frame.request_len(Content::text("a \"row\""))
        );
        serde_json::from_slice::<Value>(&out).expect("JSON")
    };
    let (plain, mut marked) = (written(None), written(Some(CacheUse::Hour)));
    let system = &mut marked["params"]["system"];
    let block = json!([{ "type": "text", "text": "You \"label\".",
        "cache_control": { "type": "ephemeral", "ttl": "1h" } }]);
    assert_eq!(*system, block);
    *system = "You \"label\".".into();
    assert_eq!(marked, plain);
    assert_eq!(written(Some(CacheUse::Key)), plain);
    let five = written(Some(CacheUse::Minutes));
    let mark = json!({ "type": "ephemeral" });
    assert_eq!(five["params"]["system"][0]["cache_control"], mark);
}

#[test]
fn a_parameter_that_contradicts_the_job_is_named() {
    let provider = Vendor::new([]).open(NAME);
    let check = |params: Value, names: Option<&str>| {
        let shape = Shape {
            system: Some("s".into()),
            temperature: Some(0.5),
            params: params.as_object().cloned().expect("an object"),
            answer: AnswerType::choice(vec!["a".into()]),
            ..shape(Api::Messages)
        };
        let error = provider.frame(&shape, None).err();
        let said = error.as_ref().map(ToString::to_string).unwrap_or_default();
        assert_eq!(error.is_some(), names.is_some(), "{params}");
        assert!(said.contains(names.unwrap_or_default()), "{said}");
        assert!(error.is_none_or(|error| error.kind() == ErrorKind::Invalid));
    };
    check(json!({ "top_p": 0.9, "metadata": {} }), None);
    check(json!({ "output_config": { "effort": "low" } }), None);
    for name in [
        "model",
        "messages",
        "max_tokens",
        "stream",
        "speed",
        "system",
        "temperature",
    ] {
        check(json!({ name: 1 }), Some(name));
    }
    check(
        json!({ "output_config": { "format": {} } }),
        Some("output_config.format"),
    );
    check(json!({ "output_config": 1 }), Some("output_config"));
}

const BATCH: &str = r#"{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress",
    "request_counts":{"processing":5,"succeeded":0,"errored":0,"canceled":0,"expired":0},
    "created_at":"2026-11-20T12:00:01.5Z","expires_at":"2026-11-21T12:00:01.5Z","ended_at":null,
    "cancel_initiated_at":null,"archived_at":null,"results_url":null}"#;

fn submission() -> Submission {
    Submission {
        tag: tag(),
        staged: Staged::Inline(body("{\"requests\":[", "]}")),
        gate: Gate::new(|| Ok(())),
    }
}

#[tokio::test]
async fn a_batch_is_made_by_one_call_with_one_key() {
    let vendor = Vendor::new([say(200, BATCH)]);
    let provider = vendor.open(NAME);
    let batch = provider
        .submit(&shape(Api::Messages), submission())
        .await
        .expect("accepted");
    assert_eq!(batch.id.0, "msgbatch_1");
    assert_eq!(
        (batch.status, batch.counts.total),
        (BatchStatus::InProgress, 5)
    );
    assert_eq!(batch.created_at, "2026-11-20T12:00:01.5Z".parse().ok());
    let seen = vendor.only();
    assert_eq!(
        (seen.method.clone(), &*seen.path),
        (Method::POST, "/v1/messages/batches")
    );
    assert_eq!(seen.body, "{\"requests\":[]}");
    assert_eq!(seen.header("content-length"), Some("15"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("x-api-key"), Some("key-1"));
    assert_eq!(seen.header("authorization"), None);
    assert_eq!(seen.header("anthropic-version"), Some("2026-10-21"));
    assert_eq!(seen.header("content-encoding"), None);
}

#[tokio::test]
async fn sampling_parameters_choose_the_older_version_and_a_token_goes_as_a_bearers() {
    let vendor = Vendor::new([say(200, BATCH), say(200, BATCH)]);
    let provider = vendor.open_with(NAME, &[("ANTHROPIC_AUTH_TOKEN", " token-1\n")]);
    let mut warm = shape(Api::Messages);
    warm.temperature = Some(0.5);
    let mut tall = shape(Api::Messages);
    tall.params.insert("top_p".into(), json!(0.9));
    for shape in [warm, tall] {
        provider
            .submit(&shape, submission())
            .await
            .expect("accepted");
    }
    for seen in vendor.seen() {
        assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
        assert_eq!(seen.header("authorization"), Some("Bearer token-1"));
        assert_eq!(seen.header("x-api-key"), None);
    }
}

#[tokio::test]
async fn a_refusal_is_certain_and_silence_is_not() {
    let error = |kind: &str, more: &str| {
        format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"no: key-1"{more}}},"request_id":"req_1"}}"#
        )
    };
    let full = |what: &str| {
        error("rate_limit_error", "").replace("no: key-1", &format!("The organization {what}."))
    };
    let spent = error(
        "rate_limit_error",
        r#","details":{"error_code":"enforced_spend_limit_reached"}"#,
    );
    let cases = [
        (
            say(400, &error("invalid_request_error", "")),
            "final invalid",
        ),
        (
            say(401, &error("authentication_error", "")),
            "final refused",
        ),
        (say(402, &error("billing_error", "")), "final refused"),
        (say(403, &error("permission_error", "")), "final refused"),
        (say(404, &error("not_found_error", "")), "final invalid"),
        (say(405, "<html>"), "final invalid"),
        (say(413, "<html>too large</html>"), "too large"),
        (
            say_with(429, &[("retry-after", "7")], &error("rate_limit_error", "")),
            "later 7000",
        ),
        (say(429, &error("rate_limit_error", "")), "later"),
        (say(429, &spent), "final refused"),
        (
            say(
                429,
                &full("has reached its limit of 300,000 batch requests in the queue"),
            ),
            "full 300000",
        ),
        (
            say(429, &full("waits in the queue; retry in 30 seconds")),
            "full",
        ),
        (say(408, ""), "unknown"),
        (say(409, &error("conflict_error", "")), "unknown"),
        (say(500, &error("api_error", "")), "unknown"),
        (
            say_with(529, &[("retry-after", "7")], &error("overloaded_error", "")),
            "unknown",
        ),
        (say(200, "<html>a proxy</html>"), "unknown"),
        (say(200, "{}"), "unknown"),
        (say(302, ""), "final invalid"),
        (Say::NoConnection, "away"),
        (Say::Silence, "unknown"),
    ];
    for (answer, expect) in cases {
        let vendor = Vendor::new([answer.clone()]);
        let provider = vendor.open(NAME);
        let got = provider.submit(&shape(Api::Messages), submission()).await;
        let (said, error) = told(got.expect_err("no batch"));
        assert_eq!(said, expect, "{answer:?}");
        let text = format!("{:?} {:?}", error, error.hint_text());
        assert!(!text.contains("key-1"), "no key in an error: {text}");
        assert!(vendor.is_done(), "sent once");
    }
}

#[tokio::test]
async fn a_read_is_repeated_and_its_wait_is_kept_to() {
    let vendor = Vendor::new([
        say(529, "busy"),
        Say::Silence,
        say_with(429, &[("retry-after", "30")], ""),
        say(200, BATCH),
    ]);
    let network = vendor.network();
    let options = Options {
        provider: NAME,
        base_url: None,
        api_key_env: None,
        service: None,
        env: &lookup(&[("ANTHROPIC_API_KEY", "key-1")]),
    };
    let provider = super::super::open(&options, network.clone()).expect("opens");
    let batch = provider
        .poll(&BatchId("msgbatch_1".into()))
        .await
        .and_then(Seen::there)
        .expect("there");
    assert_eq!(batch.id.0, "msgbatch_1");
    let took = network.clock.now() - noon();
    // Half a second and a second with jitter, and the thirty that were asked for.
    assert!(
        (31_120..=31_510).contains(&took.num_milliseconds()),
        "{took}"
    );
}

#[tokio::test]
async fn a_batch_that_this_account_cannot_see_is_no_passing_trouble() {
    let answer = r#"{"type":"error","error":{"type":"not_found_error","message":"no such batch"}}"#;
    let vendor = Vendor::new([say(404, answer)]);
    let error = vendor
        .open(NAME)
        .poll(&BatchId("msgbatch/../1".into()))
        .await
        .expect("an answer");
    let Seen::Unseen(error) = error else {
        panic!("not there");
    };
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("ANTHROPIC_API_KEY"))
    );
    assert_eq!(vendor.only().path, "/v1/messages/batches/msgbatch%2F..%2F1");
}

#[test]
fn every_status_is_known_or_kept() {
    let check = |status: &str, counts: Value, results: bool, expect: BatchStatus| {
        let batch = json!({ "id": "b", "processing_status": status, "request_counts": counts,
            "results_url": results.then_some("https://elsewhere.example/x") })
        .to_string();
        let wire = serde_json::from_str(&batch).expect("a batch");
        let view = client::view(&wire).expect("has an id");
        assert_eq!(view.status, expect);
        assert_eq!(view.results.len(), usize::from(results));
        assert_eq!(view.awaited, status == "ended" && !results);
    };
    check("in_progress", json!(null), false, BatchStatus::InProgress);
    check(
        "canceling",
        json!({ "processing": 1 }),
        false,
        BatchStatus::Canceling,
    );
    check(
        "ended",
        json!({ "succeeded": 4, "errored": 1 }),
        true,
        BatchStatus::Completed,
    );
    check(
        "ended",
        json!({ "succeeded": 4, "expired": 1 }),
        true,
        BatchStatus::Expired,
    );
    check(
        "ended",
        json!({ "expired": 4, "canceled": 1 }),
        true,
        BatchStatus::Canceled,
    );
    check(
        "paused",
        json!([]),
        false,
        BatchStatus::Unknown("paused".into()),
    );
}

fn batch(id: &str, made: &str, count: u64, ended: bool) -> Value {
    let counts = if ended { "succeeded" } else { "processing" };
    json!({ "id": id, "processing_status": if ended { "ended" } else { "in_progress" },
        "request_counts": { counts: count }, "created_at": made,
        "results_url": ended.then_some("https://api.anthropic.com/v1/messages/batches/x/results") })
}

fn page(batches: &[Value], more: bool) -> Say {
    let last = batches.last().map(|batch| batch["id"].clone());
    let body = json!({ "data": batches, "has_more": more, "last_id": last }).to_string();
    say_with(200, &[("date", "Fri, 20 Nov 2026 12:30:00 GMT")], &body)
}

/// Results with a line of each of these nonces.
fn lines(nonces: &[&str]) -> Say {
    let line = LINES.lines().next().expect("a line");
    let of = |nonce: &&str| line.replace("abcdefghjkmn", nonce) + "\n";
    say(200, &nonces.iter().map(of).collect::<String>())
}

fn line(nonce: &str) -> Say {
    lines(&[nonce])
}

/// What was found, as words, and the paths that were asked for.
async fn found(sought: Sought, script: Vec<Say>) -> (String, Vec<String>) {
    let vendor = Vendor::new(script);
    let found = vendor.open(NAME).find(&sought).await;
    let ids = |batches: Vec<BatchView>| {
        batches
            .into_iter()
            .map(|batch| batch.id.0)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let said = match found {
        Ok(Found::Unlisted(_)) => "unlisted".to_owned(),
        Ok(Found::Ours(batches)) => format!("ours {}", ids(batches)),
        Ok(Found::Maybe { candidates, .. }) => format!("maybe {}", ids(candidates)),
        Ok(Found::Absent { as_of, .. }) => format!("absent {:?}", as_of.map(|at| at.to_rfc3339())),
        Err(error) => format!("{:?}", error.kind()),
    };
    assert!(vendor.is_done(), "{said}");
    (
        said,
        vendor.seen().into_iter().map(|seen| seen.path).collect(),
    )
}

#[tokio::test]
async fn an_ended_batch_shows_by_its_first_line_whose_it_is() {
    let batches = [
        batch("c", "2026-11-20T12:20:00Z", 5, true),
        batch("b", "2026-11-20T12:10:00Z", 5, true),
        batch("other", "2026-11-20T12:05:00Z", 6, true),
        batch("a", "2026-11-20T12:00:00Z", 5, true),
    ];
    let script = vec![
        page(&batches, false),
        line("abcdefghjkmn"),
        lines(&["zzzzzzzzzzzz"; 5]),
        line("abcdefghjkmn"),
    ];
    let (said, paths) = found(sought(), script).await;
    assert_eq!(
        said, "ours a c",
        "the oldest first, and the stranger's dropped"
    );
    assert_eq!(paths[0], "/v1/messages/batches?limit=1000");
    assert_eq!(paths[1], "/v1/messages/batches/c/results");
}

#[tokio::test]
async fn a_running_batch_of_our_size_may_be_ours() {
    let batches = [
        batch("b", "2026-11-20T12:20:00Z", 5, false),
        batch("ended", "2026-11-20T12:10:00Z", 5, true),
        batch("known", "2026-11-20T12:05:00Z", 5, false),
    ];
    let sought = Sought {
        not: vec![BatchId("known".into())],
        ..sought()
    };
    let script = vec![page(&batches, false), lines(&["zzzzzzzzzzzz"; 5])];
    assert_eq!(found(sought, script).await.0, "maybe b");
}

#[tokio::test]
async fn a_strange_line_among_ours_does_not_make_a_batch_anothers() {
    let batches = [batch("a", "2026-11-20T12:10:00Z", 5, true)];
    let check = async |results: Say, expect: &str| {
        let script = vec![page(&batches, false), results];
        assert_eq!(found(sought(), script).await.0, expect);
    };
    check(lines(&["zzzzzzzzzzzz", "abcdefghjkmn"]), "ours a").await;
    let absent = "absent Some(\"2026-11-20T12:30:00+00:00\")";
    check(lines(&["zzzzzzzzzzzz"; 5]), absent).await;
    // Whoever sent it has nothing to harvest.
    check(say(200, "{broken\n\n{\n{}\n[]\n{broken\n"), absent).await;
    // Nobody reads a stranger's results to their end.
    let mut many = vec!["zzzzzzzzzzzz"; 1000];
    check(lines(&many), absent).await;
    many.push("abcdefghjkmn");
    check(lines(&many), absent).await;
}

#[tokio::test]
async fn results_that_end_too_early_say_nothing_of_whose_they_are() {
    let batches = [batch("a", "2026-11-20T12:10:00Z", 5, true)];
    let check = async |looks: Vec<Say>, expect: &str| {
        let script = [vec![page(&batches, false)], looks].concat();
        assert_eq!(found(sought(), script).await.0, expect);
    };
    let short = lines(&["zzzzzzzzzzzz"; 4]);
    let cut = say(
        200,
        &format!("{}{}", "{broken\n".repeat(4), "{\"custom_id\":\"abcd"),
    );
    check(vec![say(200, ""), line("abcdefghjkmn")], "ours a").await;
    check(vec![say(200, ""), short.clone(), cut.clone()], "maybe a").await;
    let absent = "absent Some(\"2026-11-20T12:30:00+00:00\")";
    check(vec![short, cut, lines(&["zzzzzzzzzzzz"; 5])], absent).await;
}

#[tokio::test]
async fn a_batch_that_answered_nothing_has_lines_as_well_that_say_whose_it_is() {
    let mut expired = batch("a", "2026-11-20T12:10:00Z", 5, true);
    expired["request_counts"] = json!({ "expired": 4, "errored": 1 });
    let check = async |looks: Vec<Say>, expect: &str| {
        let script = [vec![page(std::slice::from_ref(&expired), false)], looks].concat();
        assert_eq!(found(sought(), script).await.0, expect);
    };
    let nothing = || say(200, "");
    check(vec![nothing(), nothing(), nothing()], "maybe a").await;
    check(vec![nothing(), line("abcdefghjkmn")], "ours a").await;
    let absent = "absent Some(\"2026-11-20T12:30:00+00:00\")";
    check(vec![nothing(), lines(&["zzzzzzzzzzzz"; 5])], absent).await;
}

#[tokio::test]
async fn the_list_is_read_back_to_before_the_promise() {
    let early = |id: &str, at: &str| batch(id, &format!("2026-11-20T{at}:00Z"), 5, false);
    let script = vec![
        page(
            &[
                batch("x", "2026-11-20T12:20:00Z", 9, false),
                early("y", "11:01"),
            ],
            true,
        ),
        page(&[early("z", "10:59"), early("w", "10:58")], true),
    ];
    let (said, paths) = found(sought(), script).await;
    assert_eq!(said, "maybe y", "an hour of slack and no more");
    assert_eq!(paths[1], "/v1/messages/batches?limit=1000&after_id=y");
    let script = vec![page(&[], false)];
    let (said, _) = found(sought(), script).await;
    assert_eq!(said, "absent Some(\"2026-11-20T12:30:00+00:00\")");
}

#[tokio::test]
async fn a_list_that_cannot_be_read_shows_nothing() {
    let one = [batch("x", "2026-11-20T12:20:00Z", 9, false)];
    let failing = || vec![say(500, ""); 5];
    for script in [
        failing(),
        [vec![page(&one, true)], failing()].concat(),
        vec![say(200, r#"{"has_more":false}"#)],
        vec![say(200, "<html>a proxy</html>")],
        vec![page(&one, true), page(&one, true)],
        vec![page(&[], true)],
    ] {
        assert_eq!(found(sought(), script).await.0, "Unavailable");
    }
}

async fn tried(shape: &Shape, answer: Say) -> (String, crate::provider::testing::Request) {
    let vendor = Vendor::new(vec![answer; 1]);
    let said = match vendor.open(NAME).free_check(shape, "hi").await {
        Ok(FreeCheck::Passed) => "passed".to_owned(),
        Ok(FreeCheck::Untold) => "untold".to_owned(),
        Ok(FreeCheck::Refused(error)) => format!("refused {error}"),
        Err(error) => format!("{:?}", error.kind()),
    };
    (said, vendor.only())
}

#[tokio::test]
async fn a_trial_counts_tokens_of_what_counting_looks_at() {
    let count = r#"{"input_tokens":9}"#;
    let mut shape = shape(Api::Messages);
    let (said, seen) = tried(&shape, say(200, count)).await;
    assert_eq!(
        (&*said, &*seen.path),
        ("passed", "/v1/messages/count_tokens")
    );
    let sent: Value = serde_json::from_str(&seen.body).expect("JSON");
    let expect = json!({ "model": "model-1", "messages": [{ "role": "user", "content": "hi" }] });
    assert_eq!(sent, expect);
    let refusal =
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"too complex"}}"#;
    assert!(
        tried(&shape, say(400, refusal))
            .await
            .0
            .contains("said=`too complex`")
    );
    assert_eq!(
        tried(&shape, say(404, "404 page not found")).await.0,
        "untold"
    );
    assert_eq!(tried(&shape, say(405, "")).await.0, "untold");
    let typo = r#"{"type":"error","error":{"type":"not_found_error","message":"model: model-1"}}"#;
    assert!(tried(&shape, say(404, typo)).await.0.starts_with("refused"));
    assert_eq!(tried(&shape, say(401, refusal)).await.0, "Refused");
    shape.params.insert("tools".into(), json!([]));
    assert_eq!(tried(&shape, say(200, count)).await.0, "passed");
    shape.params.insert("inference_geo".into(), json!("us"));
    let (said, seen) = tried(&shape, say(200, count)).await;
    assert_eq!(said, "untold");
    assert!(!seen.body.contains("inference_geo"));
}

#[tokio::test]
async fn a_batch_that_has_ended_need_not_be_canceled() {
    let ended = batch("b", "2026-11-20T12:00:00Z", 5, true).to_string();
    let running = batch("b", "2026-11-20T12:00:00Z", 5, false).to_string();
    let id = BatchId("b".into());
    let vendor = Vendor::new([say(400, "has ended"), say(200, &ended)]);
    vendor.open(NAME).cancel(&id).await.expect("no error");
    let paths: Vec<String> = vendor.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(
        paths,
        ["/v1/messages/batches/b/cancel", "/v1/messages/batches/b"]
    );
    let vendor = Vendor::new([say(400, "no"), say(200, &running)]);
    let error = vendor.open(NAME).cancel(&id).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn results_come_from_the_start_and_whole() {
    let file = ResultFile("msgbatch_1".into());
    let vendor = Vendor::new([say(200, LINES)]);
    let download = vendor.open(NAME).fetch(&file, 77).await;
    let download = download.and_then(Seen::there).expect("there");
    assert_eq!(
        (download.offset, download.total),
        (0, Some(LINES.len() as u64))
    );
    let bytes = futures::TryStreamExt::try_collect::<Vec<_>>(download.stream).await;
    assert_eq!(bytes.expect("whole").concat(), LINES.as_bytes());
    let seen = vendor.only();
    assert_eq!(seen.header("accept"), Some("application/binary"));
    assert_eq!(seen.header("range"), None);
}

#[test]
fn texts_of_one_block_are_not_copied() {
    let line = br#"{"custom_id":"a","result":{"type":"succeeded","message":{"model":"m","content":[{"type":"text","text":"plain"}]}}}"#;
    let reply = client::reply(line).expect("JSON").expect("a reply");
    assert!(matches!(reply.custom_id, Cow::Borrowed(_)));
    let ReplyBody::Answered { text, model, .. } = reply.body else {
        panic!("answered");
    };
    assert!(matches!(
        (text, model),
        (Cow::Borrowed("plain"), Cow::Borrowed("m"))
    ));
}
