//! Conversations: which message is answered, what is none, and answers that are none of what was asked for.

use serde_json::{Value, json};

use super::{CHOICES, World, choice_schema, draw};

fn turn(role: &str, content: &str) -> Value {
    json!({ "role": role, "content": content })
}

/// Both vendors' answers to `turns`, asked for with a schema; or what they complain of.
async fn said(world: &World, turns: &[Value]) -> [Result<Value, String>; 2] {
    let schema = choice_schema();
    let anthropic = json!({
        "model": "claude-haiku-4-5", "max_tokens": 500, "messages": turns,
        "output_config": { "format": { "type": "json_schema", "schema": schema } },
    });
    let openai = json!({
        "model": "gpt-6-luna", "max_completion_tokens": 500, "messages": turns,
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "a", "strict": true, "schema": schema } },
    });
    let ask = async |reply: super::Reply, place: &str| {
        let value = reply.json();
        if reply.status != 200 {
            return Err(value["error"]["message"].to_string());
        }
        Ok(value.pointer(place).cloned().unwrap_or_default())
    };
    let first = world.anthropic("POST", "/v1/messages", anthropic).await;
    let second = world.openai("POST", "/chat/completions", openai).await;
    [
        ask(first, "/content/0/text").await,
        ask(second, "/choices/0/message/content").await,
    ]
}

/// The label that is drawn for `text`, as the answer has it.
fn label(text: &str) -> Value {
    let at = usize::try_from(draw(0, text) % 3).expect("small");
    json!({ "label": CHOICES[at] }).to_string().into()
}

#[tokio::test]
async fn who_says_what_is_wrong_with_an_answer_asks_the_question_before_again() {
    let world = World::faulty("");
    let no = "That answer cannot be used: it is no choice. Again!";
    let asked = [
        turn("user", "one"),
        turn("assistant", "x"),
        turn("user", no),
    ];
    for answer in said(&world, &asked).await {
        assert_eq!(answer, Ok(label("one")));
    }
    let twice = [&asked[..], &[turn("assistant", "y"), turn("user", no)]].concat();
    for answer in said(&world, &twice).await {
        assert_eq!(answer, Ok(label("one")));
    }
    // What follows no answer, or says something else, is a question.
    for answer in said(&world, &[turn("user", no)]).await {
        assert_eq!(answer, Ok(label(no)));
    }
    let example = [
        turn("user", "one"),
        turn("assistant", "x"),
        turn("user", "two"),
    ];
    for answer in said(&world, &example).await {
        assert_eq!(answer, Ok(label("two")));
    }
}

#[tokio::test]
async fn a_conversation_in_which_nobody_asks_is_refused() {
    let world = World::faulty("");
    for turns in [
        vec![
            turn("user", "one"),
            turn("assistant", ""),
            turn("user", "no"),
        ],
        vec![
            turn("user", "one"),
            turn("assistant", " \n"),
            turn("user", "no"),
        ],
        vec![
            turn("user", "one"),
            turn("assistant", "x"),
            turn("assistant", "y"),
        ],
        vec![turn("assistant", "x")],
    ] {
        for answer in said(&world, &turns).await {
            assert!(answer.is_err(), "{turns:?} {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_invalid_answer_is_none_of_what_was_asked_for() {
    let world = World::faulty("invalid=1");
    let is_choice = |text: &str| {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        value["label"]
            .as_str()
            .is_some_and(|label| CHOICES.contains(&label))
    };
    let mut kinds = std::collections::BTreeSet::new();
    for n in 0..30 {
        for answer in said(&world, &[turn("user", &format!("ask {n}"))]).await {
            let answer = answer.expect("it is answered");
            let text = answer.as_str().expect("a text");
            assert!(!is_choice(text), "{text}");
            kinds.insert(text.chars().next());
        }
    }
    assert!(kinds.len() > 1, "of several kinds: {kinds:?}");
    assert!(world.bill().await["requests_billed"].as_u64() >= Some(60));
}

#[tokio::test]
async fn a_filter_speaks_as_each_vendor_does() {
    let world = World::faulty("filter=1");
    let ask = json!({ "model": "gpt-6-luna", "messages": [turn("user", "a long question")] });
    let reply = world.openai("POST", "/chat/completions", ask).await.json();
    assert_eq!(reply["choices"][0]["finish_reason"], "content_filter");
    assert!(reply["choices"][0]["message"]["refusal"].is_null());
    let ask =
        json!({ "model": "claude-haiku-4-5", "max_tokens": 500, "messages": [turn("user", "a")] });
    let reply = world.anthropic("POST", "/v1/messages", ask).await.json();
    assert_eq!(reply["stop_reason"], "refusal");
    assert_eq!(reply["stop_details"]["category"], "bio");
}
