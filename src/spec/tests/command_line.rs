//! Flags, `--set`, and jobs without a file.

use serde_json::json;

use super::*;
use crate::work::AnswerType;

#[test]
fn a_flag_wins_over_set_and_set_over_the_file() {
    let mut draft = draft(&small("source.limit = 1\nmodel.temperature = 1.0"));
    assert_eq!(resolve(&draft).expect("is right").source.limit, Some(1));
    draft.set("source.limit=2");
    draft.set("model.temperature = 0.5");
    draft.set("model.params.top_p=0.9");
    draft.set("budget.max_failed=1%");
    draft.set("answer.column=2026");
    let job = resolve(&draft).expect("is right");
    assert_eq!(
        (job.source.limit, job.model.temperature),
        (Some(2), Some(0.5))
    );
    assert_eq!(json!(job.model.params), json!({ "top_p": 0.9 }));
    assert_eq!(job.budget.max_failed, MaxFailed::Percent(1.0));
    assert_eq!(job.answer.column, "2026", "a text is taken as it is");
    draft
        .flag("source.limit", FlagValue::Count(3))
        .expect("a flag");
    assert_eq!(resolve(&draft).expect("is right").source.limit, Some(3));
}

/// The fields and the choices of a job, in their order.
fn orders(draft: &Draft) -> (Vec<String>, Vec<String>) {
    let job = resolve(draft).expect("is right");
    let names = |text: &str| -> Vec<String> {
        let parts = text.split('"').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    match job.answer.answer {
        AnswerType::Choice(answer) => (Vec::new(), answer.choices),
        AnswerType::Json(answer) => {
            let schema: serde_json::Value = serde_json::from_str(&answer.schema).expect("JSON");
            let required = schema["required"].to_string();
            (names(&required), Vec::new())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_set_anew_keeps_its_place() {
    let fields = "[answer.fields]\nz = \"VARCHAR\"\nn = \"VARCHAR\"\na = { type = \"VARCHAR\" }\n";
    let mut draft = draft(&small(fields));
    let (before, _) = orders(&draft);
    assert_eq!(before, ["z", "n", "a"]);
    draft.set("answer.fields.z=INT");
    draft.set("answer.fields.n=DATE");
    draft.set("answer.fields.n=DOUBLE");
    draft.set("answer.fields.a.description=last");
    assert_eq!(orders(&draft).0, ["z", "n", "a"]);
    draft.set("answer.fields.b=INT");
    assert_eq!(orders(&draft).0, ["z", "n", "a", "b"]);
    draft.set("answer.fields={ y = \"INT\", x = \"INT\", b = \"INT\" }");
    assert_eq!(orders(&draft).0, ["y", "x", "b"]);
}

#[test]
fn a_choice_that_is_told_anew_keeps_its_place() {
    let choices = "[answer.choices]\nz = \"\"\nb = \"about\"\na = \"\"\n";
    let mut draft = draft(&small(choices));
    draft.set("answer.choices.b=all about it");
    draft.set("answer.choices.z=the last");
    assert_eq!(orders(&draft).1, ["z", "b", "a"]);
}

#[test]
fn what_the_command_line_gives_takes_the_place_of_its_rival_in_the_file() {
    let mut draft = draft(&small(
        "prompt.system_file = \"gone.md\"\nanswer.type = \"text\"",
    ));
    draft
        .flag("prompt.system", FlagValue::Text("Hi".into()))
        .expect("a flag");
    draft
        .flag("source.query", FlagValue::Text("/jobs/t.sql".into()))
        .expect("a flag");
    let choices = vec!["a".to_owned(), "b".to_owned()];
    draft
        .flag("answer.choices", FlagValue::List(choices.clone()))
        .expect("a flag");
    let job = resolve(&draft).expect("is right");
    assert_eq!(job.prompt.system.as_deref(), Some("Hi"));
    assert!(matches!(job.source.input, SourceInput::Query { .. }));
    assert_eq!(job.answer.answer, AnswerType::choice(choices));
    assert_eq!(job.model.max_output_tokens, 256);
}

#[test]
fn mistakes_of_the_command_line_name_the_flag() {
    let mut draft = draft(&small(""));
    draft.set("model.temprature=0");
    draft.set("source.limit=ten");
    draft.set("nothing");
    draft.var("1x=2");
    draft.var("x");
    let first_lines: Vec<_> = resolve(&draft)
        .expect_err("has mistakes")
        .into_iter()
        .filter_map(|mistake| mistake.lines().next().map(str::to_owned))
        .collect();
    assert_eq!(
        first_lines,
        [
            "--set: `nothing` is no assignment",
            "--set model.temprature: unknown key `model.temprature`",
            "--set source.limit: `source.limit` must be a whole number, found a text",
            "--var: `1x` is not a name",
            "--var: `x` is no assignment",
        ]
    );
}

#[test]
fn a_one_liner_is_named_after_its_output() {
    for (output, name, ledger) in [
        ("out.parquet", "out", "/home/me/_columnist/out/"),
        (
            "s3://b/Tickets (new).v2.parquet",
            "tickets-new-v2",
            "s3://b/_columnist/tickets-new-v2/",
        ),
        ("triaged/", "triaged", "/home/me/_columnist/triaged/"),
        (
            "lake/triaged/dt={{ vars.ds }}/",
            "triaged",
            "/home/me/lake/_columnist/triaged/",
        ),
        (
            "lake/{{ vars.ds }}.parquet",
            "lake",
            "/home/me/_columnist/lake/",
        ),
    ] {
        let job = resolve(&one_liner(output)).unwrap_or_else(|m| panic!("{output}: {m:?}"));
        assert_eq!(
            (job.name.as_str(), job.ledger.path.as_str()),
            (name, ledger),
            "{output}"
        );
    }
    let mistakes = resolve(&one_liner("日本.parquet")).expect_err("no name");
    assert_eq!(
        mistakes,
        [
            "`--name` is missing: the output's name has nothing of [a-z0-9] in it\n\
          give it, as in `--name ticket-triage`"
        ]
    );
}

#[test]
fn a_one_liner_lacks_flags_and_not_keys() {
    let mut draft = Draft::one_liner();
    draft
        .flag("source.limit", FlagValue::Count(0))
        .expect("a flag");
    let error = draft.resolve(&around()).expect_err("lacks everything");
    assert_eq!(error.to_string(), "the command has 6 mistakes");
    let mistakes = said(&error);
    assert_eq!(
        mistakes[0],
        "--limit: `source.limit` must be at least 1\n         write `--limit 1000`"
    );
    assert_eq!(
        mistakes[1],
        "`--column` is missing\ngive it, as in `--column triage`"
    );
    let flags: Vec<_> = mistakes[1..]
        .iter()
        .filter_map(|m| m.split(' ').next())
        .collect();
    assert_eq!(
        flags,
        [
            "`--column`",
            "`--model`",
            "`--output`",
            "`--prompt`",
            "`--table`"
        ]
    );
}
