//! `[prompt]`: what all rows share.

use super::*;
use crate::work::Example;

const EXAMPLES: &str = "[[prompt.examples]]\nuser = \"It crashes\"\nassistant = \"bug\"\n\
                        [[prompt.examples]]\nuser = \"How?\"\nassistant = \"how to\"\n";

#[test]
fn examples_are_read_in_their_order() {
    let example = |user: &str, assistant: &str| Example {
        user: user.into(),
        assistant: assistant.into(),
    };
    let job = job(&small(EXAMPLES));
    assert_eq!(
        job.prompt.examples,
        [example("It crashes", "bug"), example("How?", "how to")]
    );
}

#[test]
fn examples_make_another_plan_and_a_job_without_them_keeps_its_own() {
    let plan = |more: &str| job(&small(more)).fingerprints().plan;
    let (without, with) = (plan(""), plan(EXAMPLES));
    assert_ne!(without, with);
    assert_ne!(plan(&EXAMPLES.replace("How?", "Who?")), with);
    assert_ne!(plan("prompt.assistant_prefix = \"Label:\"\n"), without);
    let stored = serde_json::to_value(job(&small("")).prompt).expect("JSON");
    let names = stored.as_object().expect("an object").keys();
    assert_eq!(names.collect::<Vec<_>>(), ["dedupe", "system", "user"]);
}

/// What `[prompt]` says, and what is wrong with it.
const WRONG: &[(&str, &str)] = &[
    (
        "prompt.examples = \"many\"",
        "`prompt.examples` must be a list of tables with `user` and `assistant`, found a text",
    ),
    (
        "prompt.examples = [\"one\"]",
        "an example must be a table with `user` and `assistant`, found a text",
    ),
    (
        "prompt.examples = [{ user = \"a\" }]",
        "an example has no `assistant`",
    ),
    (
        "prompt.examples = [{ user = \" \", assistant = \"b\" }]",
        "the `user` of an example is blank",
    ),
    (
        "prompt.examples = [{ user = \"a\", assistant = 1 }]",
        "the `assistant` of an example must be a text, found a whole number",
    ),
    (
        "prompt.examples = [{ user = \"a\", assistant = \"b\", anser = \"c\" }]",
        "unknown key `prompt.examples.anser`",
    ),
    (
        "prompt.examples = [{ user = \"a\", assistant = \"b\" }]\nprompt.examples_table = \"e.parquet\"",
        "`prompt.examples` and `prompt.examples_table` are both given",
    ),
    (
        "prompt.examples_query = \"SELECT 1\"",
        "`prompt.examples_query` reads `prompt.examples_table`, which is missing",
    ),
    (
        "prompt.assistant_prefix = \"Label: \"",
        "`prompt.assistant_prefix` ends with a blank, which models refuse",
    ),
    (
        "prompt.assistant_prefix = \"Label:\"\nanswer.choices = [\"a\"]",
        "`prompt.assistant_prefix` is given for an answer that the provider's structured output holds to its type",
    ),
    (
        "prompt.assistant_prefix = \"{\\\"answer\\\":\\\"a\\\"}\"\nanswer.choices = [\"a\"]\nmodel.structured_output = \"prompt\"",
        "`prompt.assistant_prefix` holds a whole answer already",
    ),
];

#[test]
fn what_is_wrong_with_a_prompt_is_said() {
    for (prompt, problem) in WRONG {
        let mistakes = resolve(&draft(&small(&format!("{prompt}\n")))).expect_err(prompt);
        assert_eq!(mistakes.len(), 1, "{prompt}: {mistakes:#?}");
        assert!(mistakes[0].contains(problem), "{prompt}: {}", mistakes[0]);
    }
}
