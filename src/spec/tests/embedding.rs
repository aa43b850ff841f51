//! `type = "embedding"`: how long the vectors are is known before anything is sent, or refused.

use super::*;
use crate::spec::EmbeddingSpec;
use crate::work::{AnswerType, Precision, TooLong};

/// A job that embeds with `model`, and says `more` besides.
fn with(model: &str, more: &str) -> String {
    format!(
        "name = \"small\"\nsource.table = \"in.parquet\"\nsource.key = [\"id\"]\nprompt.user = \"{{{{ a }}}}\"\n\
         model.use = \"{model}\"\noutput.path = \"out.parquet\"\nanswer.column = \"b\"\n\
         answer.type = \"embedding\"\n{more}"
    )
}

const SMALL: &str = "openai/text-embedding-3-small";

fn dimensions(model: &str, more: &str) -> (u32, bool) {
    match job(&with(model, more)).answer.answer {
        AnswerType::Embedding {
            dimensions,
            shortened,
        } => (dimensions, shortened),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_length_of_a_vector_is_the_models_own_or_what_the_job_says() {
    for (model, more, expect) in [
        (SMALL, "", (1536, false)),
        ("openai/text-embedding-3-large", "", (3072, false)),
        ("openai/text-embedding-ada-002", "", (1536, false)),
        // What the model does by itself is not asked for: it is the same request.
        (SMALL, "answer.dimensions = 1536", (1536, false)),
        (
            "openai/text-embedding-ada-002",
            "answer.dimensions = 1536",
            (1536, false),
        ),
        (SMALL, "answer.dimensions = 256", (256, true)),
        // A proxy serves the same model.
        (
            "openai/openai/text-embedding-3-small",
            "model.base_url = \"http://x/v1\"",
            (1536, false),
        ),
        ("sandbox/any", "", (1536, false)),
        ("sandbox/any", "answer.dimensions = 8", (8, true)),
        // Of another nobody here knows whether it can be asked for another length.
        ("openai/bge-m3", "answer.dimensions = 1024", (1024, false)),
        (
            "openai/jina-v3",
            "answer.dimensions = 64\nmodel.params = { dimensions = 64 }",
            (64, false),
        ),
    ] {
        assert_eq!(dimensions(model, more), expect, "{model} {more}");
    }
}

#[test]
fn what_is_left_out_is_the_models_limit_and_single_precision() {
    let spec = |more: &str| job(&with(SMALL, more)).answer.embedding;
    let plain = EmbeddingSpec {
        precision: Precision::Single,
        too_long: TooLong::Fail,
        max_input_tokens: Some(8191),
    };
    assert_eq!(spec(""), Some(plain));
    let said = EmbeddingSpec {
        precision: Precision::Half,
        too_long: TooLong::Average,
        max_input_tokens: Some(100),
    };
    let more =
        "answer.precision = \"half\"\nanswer.too_long = \"average\"\nmodel.max_input_tokens = 100";
    assert_eq!(spec(more), Some(said));
    assert_eq!(job(&with(SMALL, "")).model.max_output_tokens, 0);
    // The type follows from what is said of it.
    let text = with(SMALL, "answer.dimensions = 9").replace("answer.type = \"embedding\"\n", "");
    assert_eq!(job(&text).answer.answer.dimensions(), Some(9));
    assert_eq!(job(&super::small("")).answer.embedding, None);
}

#[test]
fn a_length_that_the_model_does_not_have_is_refused() {
    for (model, more, expect) in [
        (
            SMALL,
            "answer.dimensions = 1537",
            "line 9: a vector of `text-embedding-3-small` has at most 1536 numbers, and not 1537\n        \
             write `dimensions = 1536`, or fewer",
        ),
        (
            "openai/text-embedding-ada-002",
            "answer.dimensions = 512",
            "line 9: a vector of `text-embedding-ada-002` has 1536 numbers, and not 512\n        \
             write `dimensions = 1536`, or leave it out",
        ),
        (
            "openai/bge-m3",
            "",
            "`answer.dimensions` is missing: this version does not know how many numbers a vector of \
             `bge-m3` has\nwrite `dimensions = 512` under `[answer]`",
        ),
        (
            "openai/bge-m3",
            "answer.dimensions = 1024\nanswer.too_long = \"truncate\"",
            "`model.max_input_tokens` is missing: this version does not know which texts are too long for \
             the model\nwrite `max_input_tokens = 8191` under `[model]`",
        ),
        (
            SMALL,
            "model.max_input_tokens = 9000",
            "line 9: `model.max_input_tokens` is more than the model's own limit, 8191\n        \
             write `max_input_tokens = 8191`, or less, or leave it out",
        ),
        (
            SMALL,
            "model.params = { dimensions = 64 }",
            "line 9: `model.params.dimensions` is set by the answer\n        \
             write `dimensions` in [answer] instead",
        ),
        (
            "openai/gpt-6-luna",
            "",
            "line 5: `gpt-6-luna` makes no embeddings\n        \
             write `use = \"openai/text-embedding-3-small\"`",
        ),
        (
            "anthropic/claude-haiku-4-5",
            "",
            "line 5: `claude-haiku-4-5` makes no embeddings\n        \
             write `use = \"openai/text-embedding-3-small\"`",
        ),
        (
            SMALL,
            "answer.dimensions = 0",
            "line 9: `answer.dimensions` must be at least 1",
        ),
    ] {
        let mistakes = resolve(&draft(&with(model, more))).expect_err(more);
        assert!(
            mistakes.iter().any(|mistake| mistake.starts_with(expect)),
            "{model} {more}: {mistakes:#?}"
        );
        assert_eq!(mistakes.len(), 1, "{model} {more}: {mistakes:#?}");
    }
}

#[test]
fn what_has_no_meaning_for_a_vector_is_refused_and_so_is_what_has_none_without() {
    for (more, key) in [
        ("prompt.system = \"Be brief.\"", "prompt.system"),
        ("model.max_output_tokens = 5", "model.max_output_tokens"),
        ("model.temperature = 0.0", "model.temperature"),
        ("prompt.cache = \"1h\"", "prompt.cache"),
        (
            "model.structured_output = \"prompt\"",
            "model.structured_output",
        ),
        (
            "[[prompt.examples]]\nuser = \"a\"\nassistant = \"b\"",
            "prompt.examples",
        ),
    ] {
        let mistakes = resolve(&draft(&with(SMALL, more))).expect_err(more);
        let expect = format!("line 9: `{key}` has no meaning for an embedding");
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with(&expect), "{mistakes:?}");
    }
    for (more, expect) in [
        (
            "answer.type = \"text\"\nanswer.dimensions = 5",
            "`answer.dimensions` is given for an answer of type `text`",
        ),
        (
            "answer.precision = \"half\"",
            "`answer.precision` is given for an answer of type `text`",
        ),
        (
            "answer.too_long = \"fail\"",
            "`answer.too_long` is given for an answer of type `text`",
        ),
        (
            "model.max_input_tokens = 5",
            "`model.max_input_tokens` is for embeddings",
        ),
    ] {
        let mistakes = resolve(&draft(&super::small(more))).expect_err(more);
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].contains(expect), "{mistakes:?}");
        assert!(mistakes[0].contains("type = \"embedding\""), "{mistakes:?}");
    }
    let mistakes =
        resolve(&draft(&with(SMALL, "answer.choices = [\"a\"]"))).expect_err("no choice");
    assert!(mistakes[0].contains("`answer.choices` is given for an answer of type `embedding`"));
}

#[test]
fn a_model_that_embeds_is_asked_for_nothing_else() {
    let text = super::small("").replace("use = \"openai/gpt\"", &format!("use = \"{SMALL}\""));
    let mistakes = resolve(&draft(&text)).expect_err("a vector is no text");
    assert!(
        mistakes[0].contains("`text-embedding-3-small` makes embeddings, and answers nothing"),
        "{mistakes:?}"
    );
}

#[test]
fn precision_is_of_the_output_and_the_rest_of_the_plan() {
    let fingerprints = |more: &str| job(&with(SMALL, more)).fingerprints();
    let plain = fingerprints("");
    let half = fingerprints("answer.precision = \"half\"");
    assert_eq!(half.plan, plain.plan);
    assert_ne!(half.output, plain.output);
    for more in [
        "answer.dimensions = 5",
        "answer.too_long = \"truncate\"",
        "model.max_input_tokens = 5",
    ] {
        let changed = fingerprints(more);
        assert_ne!(changed.plan, plain.plan, "{more}");
        assert_eq!(changed.output, plain.output, "{more}");
    }
}
