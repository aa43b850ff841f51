//! `reask`, `reask_model` and `grow_output_tokens`: what makes no sense is refused before anything is asked.

use super::*;

/// A job that labels with `model`, and says `more` of its answers.
fn with(model: &str, more: &str) -> String {
    format!(
        "name = \"small\"\nsource.table = \"in.parquet\"\nprompt.user = \"{{{{ a }}}}\"\n\
         model.use = \"{model}\"\noutput.path = \"out.parquet\"\nanswer.column = \"b\"\n{more}"
    )
}

const CHOICES: &str = "answer.choices = [\"a\", \"b\"]\n";

#[test]
fn what_is_asked_again_is_read_as_it_is_written() {
    let more = format!(
        "{CHOICES}answer.reask = 2\nanswer.reask_model = \"anthropic/claude-sonnet-5-5\"\n\
         answer.grow_output_tokens = 2"
    );
    let answer = job(&with("anthropic/claude-haiku-4-5", &more)).answer;
    assert_eq!(answer.reask, 2);
    assert_eq!(answer.reask_model.as_deref(), Some("claude-sonnet-5-5"));
    assert_eq!(answer.grow_output_tokens, Some(2.0));
    // Left out, nothing is, and nothing of it is stored.
    let answer = job(&with("openai/gpt", CHOICES)).answer;
    assert_eq!((answer.reask, answer.grow_output_tokens), (0, None));
    let stored = serde_json::to_string(&answer).expect("JSON");
    assert!(
        !stored.contains("reask") && !stored.contains("grow"),
        "{stored}"
    );
    // Turned off for once, the model may stay where it is.
    let more = format!("{CHOICES}answer.reask = 0\nanswer.reask_model = \"openai/x\"");
    assert_eq!(job(&with("openai/gpt", &more)).answer.reask, 0);
    let bounded = "answer.max_chars = 40\nanswer.reask = 1";
    assert_eq!(job(&with("openai/gpt", bounded)).answer.reask, 1);
}

#[track_caller]
fn refused(model: &str, more: &str, says: &str) {
    let mistakes = resolve(&draft(&with(model, more))).expect_err("has mistakes");
    assert!(
        mistakes.iter().any(|said| said.contains(says)),
        "{mistakes:#?}"
    );
}

#[test]
fn what_makes_no_sense_is_refused_by_its_key() {
    let choices = |more: &str| format!("{CHOICES}{more}");
    refused(
        "openai/gpt",
        "answer.reask = 1",
        "`answer.reask` has no meaning for a text",
    );
    refused(
        "openai/gpt",
        &choices("answer.reask = 11"),
        "`answer.reask` must be at most 10",
    );
    refused(
        "openai/gpt",
        &choices("answer.reask = -1"),
        "`answer.reask` must be at least 0",
    );
    let alone = choices("answer.reask_model = \"openai/x\"");
    refused(
        "openai/gpt",
        &alone,
        "`answer.reask_model` is given without `answer.reask`",
    );
    for (model, says) in [
        (
            "anthropic/x",
            "is of the provider `anthropic`, and `model.use` of `openai`",
        ),
        ("gpt-6-sol", "write `reask_model = \"openai/gpt-6-sol\"`"),
        ("openai/", "must be `provider/model`"),
        ("openai/text-embedding-3-small", "makes embeddings"),
    ] {
        let more = choices(&format!(
            "answer.reask = 1\nanswer.reask_model = \"{model}\""
        ));
        refused("openai/gpt-6-luna", &more, says);
    }
    let more = choices(
        "answer.reask = 1\nanswer.reask_model = \"openai/gpt-4o\"\nmodel.max_output_tokens = 20000",
    );
    refused(
        "openai/gpt-6-luna",
        &more,
        "answers with 16384 tokens at most",
    );
    for factor in ["1.0", "0.5", "101", "\"two\""] {
        let more = format!("answer.grow_output_tokens = {factor}");
        refused("openai/gpt", &more, "`answer.grow_output_tokens`");
    }
    let more = "answer.grow_output_tokens = 2.0\nmodel.params = { max_tokens = 5 }";
    refused("openai/gpt", more, "sets a limit of its own");
    for key in ["reask = 1", "grow_output_tokens = 2.0"] {
        let more = format!("answer.type = \"embedding\"\nanswer.{key}");
        refused(
            "openai/text-embedding-3-small",
            &more,
            "has no meaning for an embedding",
        );
    }
}
