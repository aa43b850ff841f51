//! A question that is asked again: the same request, and two more turns.

use serde_json::{Value, json};

use super::testing::{Vendor, example, shape};
use crate::work::Frame;
use crate::work::attachment::{AttachmentKind, AttachmentSource};
use crate::work::{AnswerType, Api, Attachment, CacheUse, Content, Correction, CustomId, Shape};

const CORRECTION: Correction<'static> = Correction {
    answer: "{\"label\":\n\"x\u{1}\"}",
    message: "That answer cannot be used: \"x\" is no choice.",
};

const VENDORS: [(&str, Api); 2] = [
    ("anthropic", Api::Messages),
    ("openai", Api::ChatCompletions),
];

/// The request for `content`, whose length is the one that was promised.
fn written(frame: &Frame, content: Content<'_>) -> Value {
    let ids = CustomId::new("abcdefghjkmn", 3);
    let mut out = Vec::new();
    let none = |_: &Attachment, _: &mut Vec<u8>| Ok(());
    frame
        .write_content(&ids, 0, content, none, &mut out)
        .expect("written");
    assert_eq!(out.len() as u64, frame.request_len(content));
    serde_json::from_slice(&out).expect("JSON")
}

fn messages(request: &Value) -> Vec<Value> {
    let body = request
        .get("params")
        .or(request.get("body"))
        .expect("a body");
    body["messages"].as_array().expect("messages").clone()
}

fn without_messages(mut request: Value) -> Value {
    for name in ["params", "body"] {
        if let Some(body) = request.get_mut(name) {
            body["messages"] = Value::Null;
        }
    }
    request
}

#[test]
fn the_answer_and_what_is_said_to_it_follow_the_question_and_nothing_else_changes() {
    for (vendor, api) in VENDORS {
        let shape = Shape {
            system: Some("You label. ".repeat(10)),
            examples: vec![example("a", "one"), example("b", "two")],
            answer: AnswerType::choice(vec!["a".into(), "b".into()]),
            ..shape(api)
        };
        let provider = Vendor::new([]).open(vendor);
        for cache in [None, Some(CacheUse::Hour), Some(CacheUse::Key)] {
            let frame = provider.frame(&shape, cache).expect("a frame");
            let plain = written(&frame, Content::text("hi \"you\""));
            let again = written(
                &frame,
                Content {
                    correction: Some(CORRECTION),
                    ..Content::text("hi \"you\"")
                },
            );
            let turns = [
                json!({ "role": "assistant", "content": CORRECTION.answer }),
                json!({ "role": "user", "content": CORRECTION.message }),
            ];
            let mut expect = messages(&plain);
            expect.extend(turns);
            assert_eq!(messages(&again), expect, "{vendor} {cache:?}");
            assert_eq!(without_messages(again), without_messages(plain));
        }
    }
}

#[test]
fn an_answer_whose_beginning_was_given_has_it_and_begins_so_again() {
    let shape = Shape {
        model: "claude-haiku-4-5".into(),
        assistant_prefix: Some("Label:".into()),
        ..shape(Api::Messages)
    };
    let frame = Vendor::new([])
        .open("anthropic")
        .frame(&shape, None)
        .expect("a frame");
    let again = written(
        &frame,
        Content {
            correction: Some(Correction {
                answer: " x",
                message: "no",
            }),
            ..Content::text("hi")
        },
    );
    let expect = [
        json!({ "role": "user", "content": "hi" }),
        json!({ "role": "assistant", "content": "Label: x" }),
        json!({ "role": "user", "content": "no" }),
        json!({ "role": "assistant", "content": "Label:" }),
    ];
    assert_eq!(messages(&again), expect);
}

#[test]
fn what_stands_in_the_question_stays_where_it_stands() {
    for (vendor, api) in VENDORS {
        let shape = Shape {
            attachments: true,
            ..shape(api)
        };
        let frame = Vendor::new([])
            .open(vendor)
            .frame(&shape, None)
            .expect("a frame");
        let image = Attachment {
            at: 0,
            kind: AttachmentKind::Image,
            tokens: 1,
            source: AttachmentSource::Url {
                url: "https://example.org/a.png".into(),
            },
        };
        let attachments = [image];
        let plain = Content::of("what is this?", &attachments);
        let again = Content {
            correction: Some(CORRECTION),
            ..plain
        };
        let (plain, again) = (written(&frame, plain), written(&frame, again));
        let (plain, again) = (messages(&plain), messages(&again));
        assert_eq!(again[..plain.len()], plain);
        let roles: Vec<_> = again[plain.len()..]
            .iter()
            .map(|turn| &turn["role"])
            .collect();
        assert_eq!(roles, ["assistant", "user"]);
        assert_eq!(again.last().expect("a turn")["content"], CORRECTION.message);
    }
}

#[test]
fn a_text_that_is_embedded_is_not_asked_again() {
    let provider = Vendor::new([]).open("openai");
    let shape = Shape {
        answer: AnswerType::Embedding {
            dimensions: 8,
            shortened: false,
        },
        ..shape(Api::Embeddings)
    };
    assert_eq!(provider.frame(&shape, None).expect("a frame").turns, None);
}
