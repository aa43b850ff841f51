//! What is wrong with a job file, and how it is told.

use super::*;
use crate::work::AnswerType;

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    check(
        r#"name = "Ticket Triage"
[source]
table = "in.parquet"
limit = "many"
[promt]
user = "{{ a }}"
usr = "x"
[answer]
choices = ["a"]
colour = "red"
[model]
use = "haiku"
deadline = "12h"
[output]
path = "out.parquet"
"#,
        &[
            "line 1: `name` must be made of [a-z0-9-]\n        write `name = \"ticket-triage\"`",
            "line 4: `source.limit` must be a whole number, found a text\n        \
             write `limit = 1000` under `[source]`",
            "line 5: unknown section `[promt]`\n        did you mean `[prompt]`?",
            "line 7: unknown key `prompt.usr`\n        did you mean `prompt.user`?",
            "line 10: unknown key `answer.colour`\n         did you mean `answer.column`?",
            "line 12: `model.use` must be `provider/model`, found `haiku`\n         \
             write `use = \"anthropic/claude-haiku-5-5\"` under `[model]`",
            "line 13: `model.deadline` is not in this version\n         take it out",
        ],
    );
}

#[test]
fn an_empty_file_lacks_what_nobody_can_guess() {
    let lacks = |path: &str, more: &str| format!("`{path}` is missing{more}");
    let mistakes = resolve(&draft("")).expect_err("has mistakes");
    let first_lines: Vec<_> = mistakes.iter().filter_map(|m| m.lines().next()).collect();
    assert_eq!(
        first_lines,
        [
            lacks("answer.column", ""),
            lacks("model.use", ""),
            lacks("name", ": it names the ledger"),
            lacks("output.path", ""),
            lacks("prompt.user", ""),
            lacks("source.table", ""),
        ]
    );
    assert!(mistakes[1].contains("write `use = \"anthropic/claude-haiku-4-5\"` under `[model]`"));
}

#[test]
fn what_a_later_version_does_is_refused_and_never_ignored() {
    for (more, what) in [
        ("source.snapshot = true", "`source.snapshot`"),
        ("model.mode = \"online\"", "`model.mode = \"online\"`"),
        ("model.mode = \"auto\"", "`model.mode = \"auto\"`"),
        ("model.route = \"x\"", "`model.route`"),
        ("model.deadline = \"12h\"", "`model.deadline`"),
        ("budget.max_usd = 40.0", "`budget.max_usd`"),
        (
            "budget.per = { column = \"x\", max_usd = 1.0 }",
            "`budget.per`",
        ),
        ("[budget.per]\ncolumn = \"team\"", "`budget.per`"),
    ] {
        let mistakes = resolve(&draft(&small(more))).expect_err(more);
        assert_eq!(mistakes.len(), 1, "{more}: {mistakes:?}");
        let expect = format!("line 7: {what} is not in this version\n");
        assert!(mistakes[0].starts_with(&expect), "{more}: {mistakes:?}");
    }
}

/// Additions to the smallest job, each with the one problem that it has.
const WRONG: &[(&str, &str)] = &[
    (
        "source.key = \"id\"",
        "`source.key` must be a list of texts, found a text",
    ),
    (
        "source.key = [1]",
        "`source.key` must be a list of texts, found a whole number in it",
    ),
    (
        "source.key = [\"\"]",
        "`source.key` has a column without a name",
    ),
    (
        "source.key = [\"a\", \"a\"]",
        "`source.key` names the column `a` twice",
    ),
    (
        "source.where = 5",
        "`source.where` must be a text, found a whole number",
    ),
    (
        "source.where = \"x = '${X}'\"",
        "`${...}` is not filled in in `source.where`",
    ),
    ("source.limit = 0", "`source.limit` must be at least 1"),
    ("source.limit = -1", "`source.limit` must be at least 1"),
    (
        "source.limit = 1.5",
        "`source.limit` must be a whole number, found a number",
    ),
    (
        "prompt.dedupe = \"yes\"",
        "`prompt.dedupe` must be true or false, found a text",
    ),
    (
        "prompt.cache = \"never\"",
        "`prompt.cache` cannot be \"never\"",
    ),
    (
        "answer.type = \"texts\"",
        "`answer.type` cannot be \"texts\"",
    ),
    ("answer.choices = []", "`answer.choices` is empty"),
    (
        "answer.choices = [1]",
        "`answer.choices` must be a list of texts, found a whole number in it",
    ),
    (
        "answer.choices = [\"a\", \" \"]",
        "the choice ` ` is blank, or has blanks around it",
    ),
    (
        "answer.choices = [\"Bug\", \"bug\"]",
        "the choices `Bug` and `bug` are the same",
    ),
    (
        "answer.type = \"text\"\nanswer.choices = [\"a\"]",
        "`answer.choices` is given for an answer of type `text`",
    ),
    (
        "model.max_output_tokens = 0",
        "`model.max_output_tokens` must be at least 1",
    ),
    (
        "model.max_output_tokens = 5000000000",
        "`model.max_output_tokens` must be at most 4294967295",
    ),
    (
        "model.temperature = 3.0",
        "`model.temperature` must be between 0 and 2",
    ),
    (
        "model.temperature = nan",
        "`model.temperature` must be a number, found a number",
    ),
    (
        "model.base_url = \"localhost\"",
        "`model.base_url` is not a URL",
    ),
    (
        "model.base_url = \"ftp://h/\"",
        "`model.base_url` must be an http or https URL",
    ),
    (
        "model.base_url = \"http://h/?a=b\"",
        "`model.base_url` must end with its path",
    ),
    ("model.service = \"\"", "`model.service` is empty"),
    (
        "model.service = \"sandbox\"",
        "`model.service` cannot be `sandbox`",
    ),
    (
        "model.params = 1",
        "`model.params` must be a table, found a whole number",
    ),
    (
        "model.params.since = 2026-08-01",
        "`model.params.since` cannot be sent as JSON, found a date",
    ),
    (
        "model.max_requests_per_batch = 0",
        "`model.max_requests_per_batch` must be at least 1",
    ),
    (
        "model.max_bytes_per_batch = \"2 apples\"",
        "`model.max_bytes_per_batch` must be a number of bytes, found `2 apples`",
    ),
    (
        "model.poll_min = 2",
        "`model.poll_min` must be a length of time with its unit, found a whole number",
    ),
    (
        "model.poll_min = \"2\"",
        "`model.poll_min` must be a length of time, found `2`",
    ),
    (
        "model.poll_min = \"0s\"",
        "`model.poll_min` must be at least 1ms",
    ),
    (
        "budget.max_failed = \"many\"",
        "`budget.max_failed` must be rows or a share, found `many`",
    ),
    (
        "budget.max_failed = \"101%\"",
        "`budget.max_failed` must be rows or a share, found `101%`",
    ),
    (
        "budget.max_failed = -1",
        "`budget.max_failed` must be at least 0",
    ),
    (
        "output.layout = \"mirrored\"",
        "`output.layout` cannot be \"mirrored\"",
    ),
    (
        "ledger.lease = \"0s\"",
        "`ledger.lease` must be at least 1s",
    ),
    (
        "ledger.on_ambiguous = \"ask\"",
        "`ledger.on_ambiguous` cannot be \"ask\"",
    ),
    ("ledger = \"x\"", "`ledger` is a section, found a text"),
    ("[extras]\na = 1", "unknown section `[extras]`"),
    ("table = \"x\"", "unknown key `table`"),
];

#[test]
fn a_value_of_another_type_is_told_what_was_expected() {
    for (more, problem) in WRONG {
        let mistakes = resolve(&draft(&small(more))).expect_err(more);
        assert_eq!(mistakes.len(), 1, "{more}: {mistakes:?}");
        let first = mistakes[0].lines().next().unwrap_or_default();
        let (line, said) = first.split_once(": ").unwrap_or_default();
        assert_eq!(said, *problem, "{more}");
        assert!(line.starts_with("line "), "{more}: {first}");
        assert!(mistakes[0].lines().count() > 1, "no advice: {first}");
    }
}

#[test]
fn a_key_that_is_like_no_other_is_answered_with_those_that_there_are() {
    check_more(
        "ledger.foo = 1",
        &["line 7: unknown key `ledger.foo`\n        \
           the keys of `[ledger]` are: path, lease, settle, on_ambiguous, keep_prompts"],
    );
    let words = crate::spec::keys::known("");
    assert!(words.contains("`name`"), "{words}");
    assert!(
        words.contains("the sections are: source, prompt"),
        "{words}"
    );
    let nearest = crate::spec::keys::nearest("", "xyz");
    assert!(crate::spec::keys::likeness("xyz", nearest.name) < 0.6);
}

#[test]
fn two_of_a_kind_are_refused() {
    check_more(
        "prompt.system = \"a\"\nprompt.system_file = \"sys.md\"",
        &[
            "line 8: `prompt.system` and `prompt.system_file` are both given\n        \
           take one of them out",
        ],
    );
    check_more(
        "source.query = \"t.sql\"",
        &["line 7: `source.table` and `source.query` are both given\n        take one of them out"],
    );
    check_more(
        "model.poll_min = \"10s\"\nmodel.poll_max = \"5s\"",
        &[
            "line 8: `model.poll_max` is shorter than `model.poll_min`\n        \
           poll_min is the first wait; it grows to poll_max",
        ],
    );
    check_more(
        "source.key = [\"B_Status\"]",
        &[
            "line 4: the new column `b_status` is a column of the key already\n        \
           choose another name",
        ],
    );
}

#[test]
fn broken_toml_is_reported_with_the_mistakes_that_are_sure() {
    let mistakes = resolve(&draft(&small(
        "source.limit = ten\nmodel.temperature = \"hot\"\nmodel.mode = \"batch\"\n",
    )))
    .expect_err("has mistakes");
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    assert!(
        mistakes[0].starts_with("line 7: not TOML: "),
        "{mistakes:?}"
    );
    assert!(mistakes[1].starts_with("line 8: `model.temperature` must be a number"));
    let mistakes = resolve(&draft("name = \"x\"\n[prompt\nuser = \"y\"\n")).expect_err("broken");
    assert!(
        mistakes.iter().all(|m| m.contains("not TOML")),
        "what follows a broken section is not judged: {mistakes:?}"
    );
}

#[test]
fn no_secret_is_repeated() {
    for text in [
        "model.api_key = \"sk-ant-verysecret\"",
        "model.api_key_env = \"averysecretkey123\"",
        "model.base_url = \"https://user:verysecret@host/v1\"",
        "model.token = \"verysecret\"",
        "model.api_key = verysecret",
        "source.tables = { a = \"https://me:verysecret@host/x\" }",
    ] {
        let error = draft(&small(text)).resolve(&around()).expect_err(text);
        let everything = format!("{error:?} {error} {:?}", error.source());
        assert!(!everything.contains("verysecret"), "{everything}");
    }
    let mut draft = draft(&small("model.base_url = \"${URL}\""));
    draft.set("model.api_key_env=${KEY}");
    let env = |name: &str| match name {
        "KEY" => Some("VERYSECRET".to_owned()),
        "URL" => Some("https://u:VERYSECRET@h".to_owned()),
        _ => None,
    };
    let around = Surroundings::made_up("/", env, |_| Ok(String::new()));
    let error = draft.resolve(&around).expect_err("a key is no name");
    assert_eq!(said(&error).len(), 2);
    assert!(!format!("{error:?}").contains("VERYSECRET"));
}

#[test]
fn a_missing_variable_is_named_and_prompts_are_left_alone() {
    let text = small("ledger.path = \"${LEDGERS}/x\"").replace("{{ a }}", "${HOME} {{ a }}");
    check(
        &text,
        &[
            "line 7: the environment variable `LEDGERS` is not set\n        \
           set it, as in `export LEDGERS=...`, or write the value itself",
        ],
    );
    let job = job(&small("ledger.path = \"${LAKE}/x\"").replace("{{ a }}", "${HOME}"));
    assert_eq!(job.ledger.path, "s3://lake/x");
    assert_eq!(job.prompt.user, "${HOME}");
}

#[test]
fn a_file_full_of_mistakes_is_answered_line_by_line() {
    let text = include_str!("../../../fixtures/jobs/wrong.toml");
    let mistakes = resolve(&draft(text)).expect_err("full of mistakes");
    let found: Vec<usize> = mistakes
        .iter()
        .filter_map(|mistake| {
            mistake
                .strip_prefix("line ")?
                .split(':')
                .next()?
                .parse()
                .ok()
        })
        .collect();
    let marked: Vec<usize> = (1..)
        .zip(text.lines())
        .filter(|(_, line)| {
            let mark = line.rsplit_once("# ").map_or("", |(_, mark)| mark);
            mark.starts_with(|c: char| c.is_ascii_digit())
        })
        .map(|(number, _)| number)
        .collect();
    assert_eq!(found, marked, "{mistakes:#?}");
    assert_eq!(
        mistakes.len(),
        13,
        "nothing is called missing that stands elsewhere"
    );
    assert!(!mistakes.concat().contains("never-shown"));
}

#[test]
fn what_a_newcomer_writes_is_answered_by_what_works() {
    check_more(
        "budget.max_failed = 0.01\n",
        &[
            "line 7: `budget.max_failed` must be rows or a share with its `%`, found 0.01\n        \
           write \"1%\" for that share, or a whole number of rows",
        ],
    );
    for (more, expect) in [
        (
            "budget.max_failed = \"5\"",
            "write `max_failed = 5` under `[budget]`",
        ),
        (
            "budget.max_failed = \"0.05\"",
            "write \"5%\" for that share",
        ),
        (
            "source.limit = \"10\"",
            "write `limit = 10` under `[source]`",
        ),
        (
            "source.key = \"id\"",
            "write `key = [\"id\"]` under `[source]`",
        ),
        (
            "answer.choices = \"a, b\"",
            "write `choices = [\"a\", \"b\"]` under `[answer]`",
        ),
        (
            "model.poll_min = 5",
            "write `poll_min = \"5s\"` under `[model]`",
        ),
        (
            "source.limit = ten",
            "a text stands in quotes: `limit = \"ten\"`",
        ),
    ] {
        let more = more.replace("source.limit = ten", "[source]\nlimit = ten");
        let mistakes = resolve(&draft(&small(&more))).expect_err(&more);
        let said = mistakes.iter().any(|mistake| mistake.contains(expect));
        assert!(said, "{more}: {mistakes:?}");
    }
    for (half, whole) in [
        ("sandbox", "sandbox/x"),
        ("openai", "openai/gpt-6-luna"),
        ("gpt-9", "openai/gpt-9"),
        ("claude-x", "anthropic/claude-x"),
    ] {
        let mut draft = draft(&small(""));
        draft.set(&format!("model.use={half}"));
        let mistakes = resolve(&draft).expect_err(half);
        assert!(
            mistakes[0].contains(&format!("model.use=\"{whole}\""))
                || mistakes[0].contains(&format!("model.use={whole}")),
            "{mistakes:?}"
        );
    }
    let mut draft = draft(&small(""));
    draft.set("source.key=id, day");
    draft.set("answer.choices=a,b");
    let job = resolve(&draft).expect("is right");
    assert_eq!(job.source.key, ["id", "day"]);
    assert_eq!(
        job.answer.answer,
        AnswerType::choice(vec!["a".into(), "b".into()])
    );
}

#[test]
fn a_value_that_nothing_asks_for_is_a_mistake() {
    let said_of = |user: &str| {
        let mut draft = draft(&small(""));
        draft.set(&format!("prompt.user={user}"));
        draft.var("dya=1");
        draft
            .resolve_whole(&around())
            .map(drop)
            .map_err(|error| said(&error))
    };
    assert_eq!(said_of("{{ a }} {{ vars.dya }}"), Ok(()));
    assert_eq!(said_of("{{ a }} {{ vars }}"), Ok(()));
    let near = said_of("{{ a }} {{ vars.day | default('-') }}").expect_err("unused");
    assert!(
        near[0].contains("did you mean `--var day=...`?"),
        "{near:?}"
    );
    let unused = said_of("{{ a }}").expect_err("unused");
    assert!(
        unused[0].contains("nothing in the job asks for `dya`"),
        "{unused:?}"
    );
    // Commands that look at what is there are not asked for more than they were.
    let mut draft = draft(&small(""));
    draft.var("dya=1");
    assert!(draft.resolve(&around()).is_ok());
}
