//! Embeddings on the wire: what a line carries, and what is refused before it is sent.

use serde_json::{Value, json};

use super::NAME;
use crate::base::ErrorKind;
use crate::provider::testing::{Vendor, say, shape, tag};
use crate::provider::{FreeCheck, Gate, Provider, Staged, Submission};
use crate::work::{AnswerType, Api, CustomId, ReplyBody, Shape};

const LINES: &str = include_str!("../../../fixtures/wire/openai/embeddings.jsonl");

fn embeds(dimensions: u32, shortened: bool, params: &Value) -> Shape {
    Shape {
        model: "text-embedding-3-small".into(),
        max_output_tokens: 0,
        params: params.as_object().cloned().expect("an object"),
        answer: AnswerType::Embedding {
            dimensions,
            shortened,
        },
        ..shape(Api::Embeddings)
    }
}

fn provider() -> std::sync::Arc<dyn Provider> {
    Vendor::new([]).open(NAME)
}

/// The lines of a body that embeds `texts`, so many in a line.
fn written(shape: &Shape, texts: &[&str], each: usize) -> Vec<Value> {
    let frame = provider().frame(shape, None).expect("a frame");
    let ids = CustomId::new("abcdefghjkmn", 3);
    let (mut out, mut lines) = (Vec::new(), 0);
    for (n, text) in texts.iter().enumerate() {
        if n % each == 0 {
            frame.begin_line(&ids, lines, &mut out);
            lines += 1;
        } else {
            frame.next_input(&mut out);
        }
        let len = u32::try_from(text.len()).expect("short");
        frame.write_inputs(text, &[len], &mut out);
    }
    frame.end_lines(lines, &mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn a_line_carries_several_texts_and_asks_for_base64() {
    let sent = written(
        &embeds(1536, false, &json!({})),
        &["a", "b \"q\"\n", "c"],
        2,
    );
    let body = |input: &[&str]| json!({ "model": "text-embedding-3-small", "input": input, "encoding_format": "base64" });
    let line = |n: u64, input: &[&str]| {
        json!({ "custom_id": format!("abcdefghjkmn-000003-{n:06}"), "method": "POST",
            "url": "/v1/embeddings", "body": body(input) })
    };
    assert_eq!(sent, [line(0, &["a", "b \"q\"\n"]), line(1, &["c"])]);
}

#[test]
fn a_shorter_vector_is_asked_for_and_the_models_own_is_not() {
    let dimensions = |shape: &Shape| written(shape, &["a"], 1)[0]["body"]["dimensions"].clone();
    assert_eq!(dimensions(&embeds(1536, false, &json!({}))), Value::Null);
    assert_eq!(dimensions(&embeds(512, true, &json!({}))), json!(512));
    // Of a model that nobody here knows, the job says so itself.
    assert_eq!(
        dimensions(&embeds(64, false, &json!({ "dimensions": 64 }))),
        json!(64)
    );
    let sent = written(
        &embeds(
            64,
            false,
            &json!({ "encoding_format": "float", "user": "u" }),
        ),
        &["a"],
        1,
    );
    assert_eq!(sent[0]["body"]["encoding_format"], "float");
    assert_eq!(sent[0]["body"]["user"], "u");
}

#[test]
fn parameters_that_contradict_the_job_are_named() {
    for (params, name) in [
        (json!({ "model": "x" }), "model"),
        (json!({ "input": ["x"] }), "input"),
        (json!({ "stream": true }), "stream"),
        (json!({ "encoding_format": "bytes" }), "encoding_format"),
        (json!({ "encoding_format": 1 }), "encoding_format"),
        (json!({ "dimensions": 65 }), "dimensions"),
        (json!({ "dimensions": "64" }), "dimensions"),
    ] {
        let error = provider()
            .frame(&embeds(64, false, &params), None)
            .expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains(&format!("param=`{name}`")),
            "{error}"
        );
    }
}

#[test]
fn a_line_is_no_longer_than_an_answer_that_can_be_held() {
    let inputs = |dimensions| {
        let frame = provider().frame(&embeds(dimensions, false, &json!({})), None);
        frame.expect("a frame").inputs.expect("lines").inputs_max
    };
    // Few numbers: the vendor's own limit. Many: a megabyte of base64.
    assert_eq!([8, 1536, 3072, 60_000].map(inputs), [2048, 122, 61, 3]);
    for dimensions in [1536u64, 3072] {
        let bytes = inputs(u32::try_from(dimensions).expect("small")) * dimensions * 4 / 3 * 4;
        assert!(bytes <= 1_000_000, "{bytes}");
    }
    assert!(
        provider()
            .frame(&shape(Api::ChatCompletions), None)
            .expect("a frame")
            .inputs
            .is_none()
    );
}

#[test]
fn vectors_are_read_in_whatever_order_and_form_they_come() {
    let replies: Vec<_> = LINES
        .lines()
        .map(|line| provider().parse(line.as_bytes()).expect("a line").body)
        .collect();
    let indexes = |n: usize| -> Vec<u64> {
        match &replies[n] {
            ReplyBody::Embedded { vectors, .. } => {
                vectors.iter().map(|vector| vector.index).collect()
            }
            other => panic!("{other:?}"),
        }
    };
    let expect: [Vec<u64>; 3] = [vec![1, 0], vec![0, 1], vec![0, 0]];
    assert_eq!([0, 1, 2].map(indexes), expect);
    assert_eq!(indexes(5), Vec::<u64>::new());
    let ReplyBody::Embedded {
        vectors,
        model,
        usage,
    } = &replies[1]
    else {
        panic!("{:?}", replies[1]);
    };
    assert_eq!(
        (&**model, usage.input, usage.output),
        ("text-embedding-3-small", 7, 0)
    );
    assert_eq!(vectors[0].json, "[0.5,-0.25]");
    assert!(matches!(&replies[4], ReplyBody::Failed { message, .. } if message.contains("8192")));
    let ReplyBody::Embedded { vectors, usage, .. } = &replies[7] else {
        panic!("{:?}", replies[7]);
    };
    assert_eq!(
        (&*vectors[0].json, vectors[0].index, usage.input),
        ("[1e400,0]", 0, 0)
    );
}

#[tokio::test]
async fn the_batch_is_one_of_embeddings_and_one_wrong_parameter_is_tried_first() {
    let vendor = Vendor::new([say(200, r#"{"id":"batch_1","status":"validating"}"#)]);
    let plain = embeds(1536, false, &json!({}));
    let submission = Submission {
        tag: tag(),
        staged: Staged::File("file-1".into()),
        gate: Gate::new(|| Ok(())),
    };
    let submitted = vendor.open(NAME).submit(&plain, submission).await;
    submitted.expect("accepted");
    assert!(
        vendor
            .only()
            .body
            .contains(r#""endpoint":"/v1/embeddings""#)
    );
    let check = |shape: Shape| async move { provider().free_check(&shape, "hi").await };
    assert!(matches!(check(plain).await, Ok(FreeCheck::Passed)));
    let shortened = embeds(8, true, &json!({}));
    // How long its vectors are, only an answer can tell.
    let unknown = Shape {
        model: "bge-m3".into(),
        ..embeds(8, false, &json!({}))
    };
    for shape in [shortened, unknown] {
        assert!(matches!(check(shape).await, Ok(FreeCheck::Untold)));
    }
}
