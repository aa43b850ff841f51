//! Answers whose beginning is put into the model's mouth: what it adds is read together with it.

use columnist::engine;
use columnist::work::RowStatus;
use serde_json::json;

use crate::shell::Shell;
use crate::world::{VENDORS, World, hash, read_table, write_table};

const ROWS: usize = 40;
const SCHEMA: &str = r#"{"type":"object","properties":{"word":{"enum":["red","green","blue"]},
    "note":{"type":"string"}},"required":["word","note"]}"#;

/// A job that asks for an object in the prompt, and begins it with `prefix`.
fn world(vendor: &'static str, prefix: &str) -> World {
    let mut world = World::new(vendor, "");
    let bodies: Vec<_> = (0..ROWS).map(|n| Some(format!("ticket {n}"))).collect();
    write_table(&world.path("in.parquet"), &bodies, 64);
    world.job["prompt"]["assistant_prefix"] = prefix.into();
    world.job["answer"]["answer"] = json!({ "type": "json", "schema": SCHEMA, "asked": "prompt" });
    world.job["answer"]["meta"] = "full".into();
    world.job["model"]["max_output_tokens"] = 400.into();
    world
}

/// The word of row `n`, by the rule of the sandbox.
fn drawn(n: usize) -> &'static str {
    let draw = hash(&format!("Label this: ticket {n}"));
    ["red", "green", "blue"][usize::try_from(draw % 3).expect("small")]
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_was_begun_is_read_with_its_beginning() {
    for vendor in VENDORS {
        for prefix in [
            "{",
            "```json\n{",
            "{ \"word\":",
            "Here is the JSON: {\"word\":\"",
        ] {
            let mut world = world(vendor, prefix);
            world.job["answer"]["flatten"] = "label_".into();
            let report = world.run().await.expect("a run");
            assert!(
                report.published && report.exit_code() == 0,
                "{vendor} {prefix}: {report:?}"
            );
            let table = read_table(&world.path("out.parquet"));
            let rows = table["label_word"].iter().zip(&table["label_note"]);
            for (n, (word, note)) in rows.enumerate() {
                assert_eq!(word.as_deref(), Some(drawn(n)), "{vendor} {prefix} {n}");
                let note = note.as_deref();
                assert!(
                    note.is_some_and(|note| note.starts_with("text ")),
                    "{note:?}"
                );
            }
            assert_eq!(table["label_word"].len(), ROWS);
            let again = world.run().await.expect("a second run");
            assert!(again.unchanged, "{again:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_go_on_from_its_beginning_is_invalid_and_kept() {
    for vendor in VENDORS {
        // The sandbox begins with the word, as the schema does.
        let mut world = world(vendor, "{\"note\":");
        world.job["budget"]["max_failed"] = json!({ "percent": 100.0 });
        let report = world.run().await.expect("a run");
        assert_eq!(
            report.counts.of(RowStatus::Invalid),
            ROWS as u64,
            "{report:?}"
        );
        let table = read_table(&world.path("out.parquet"));
        let rows = table["label_error"].iter().zip(&table["label_raw"]);
        for (n, (error, raw)) in rows.enumerate() {
            assert_eq!(error.as_deref(), Some("it holds JSON that is broken"));
            let raw = raw.as_deref().expect("what it said");
            assert!(raw.contains(drawn(n)), "{raw}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_takes_no_beginning_is_refused_before_anything_is_sent() {
    for (vendor, model, why) in [
        (
            "anthropic",
            "claude-sonnet-4-6",
            "the model takes no beginning of its answer",
        ),
        (
            "openai",
            "gpt-6-luna",
            "OpenAI's models take no beginning of their answer",
        ),
    ] {
        let mut world = world(vendor, "{");
        world.job["model"]["model"] = model.into();
        let provider = world.provider_as(vendor, "sk-test", Some(vendor));
        let error = engine::run(world.setup("run"), provider).await;
        let error = error.expect_err("refused");
        assert!(error.to_string().starts_with(why), "{error}");
        let hint = error.hint_text().expect("a hint");
        assert!(
            hint.contains("take `prompt.assistant_prefix` out"),
            "{hint}"
        );
        assert_eq!(world.bill().total.requests_accepted, 0);
    }
}

/// As a user writes it.
#[test]
fn a_job_file_begins_answers_that_the_prompt_asks_for_and_no_others() {
    let shell = Shell::new();
    write_table(
        &shell.path("in.parquet"),
        &[Some("a".to_owned()), Some("b".to_owned())],
        2,
    );
    let job = |more: &str| {
        format!(
            "name = \"t\"\n[source]\ntable = \"in.parquet\"\n[prompt]\nuser = \"{{{{ body }}}}\"\n\
             assistant_prefix = \"{{\"\n[answer]\ncolumn = \"label\"\nchoices = [\"bug\", \"other\"]\n\
             [model]\nuse = \"sandbox/x\"\n{more}[output]\npath = \"out.parquet\"\n"
        )
    };
    shell.write("job.toml", job(""));
    let ran = shell.call(&["check", "job.toml"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("structured_output = \"prompt\""),
        "{ran:?}"
    );
    shell.write("job.toml", job("structured_output = \"prompt\"\n"));
    let ran = shell.call(&["run", "job.toml"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let table = read_table(&shell.path("out.parquet"));
    for (body, label) in table["body"].iter().zip(&table["label"]) {
        let draw = hash(body.as_deref().expect("a body"));
        let expect = ["bug", "other"][usize::try_from(draw % 2).expect("small")];
        assert_eq!(label.as_deref(), Some(expect));
    }
}
