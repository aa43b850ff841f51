//! From text to mistakes, and from text to a job.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::datatypes::DataType;
use proptest::prelude::*;

use crate::base::mutate::one_spoilt;
use serde_json::json;

use super::*;
use crate::base::{Error, ErrorKind};
use crate::work::AnswerType;

/// A machine with a few files, on which a command runs in `/home/me`.
fn around() -> Surroundings {
    let env = |name: &str| (name == "LAKE").then(|| "s3://lake".to_owned());
    Surroundings::made_up("/home/me", env, |path: &Path| match path.to_str() {
        Some("/jobs/t.sql") => Ok("SELECT 1".to_owned()),
        Some("/jobs/empty.sql") => Ok(" \n".to_owned()),
        Some("/jobs/sys.md") => Ok("Be brief.\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    })
}

fn draft(text: &str) -> Draft {
    Draft::of_file(PathBuf::from("/jobs/job.toml"), text.to_owned())
}

fn resolve(draft: &Draft) -> Result<Job, Vec<String>> {
    draft.resolve(&around()).map_err(|error| said(&error))
}

/// Every mistake that an error tells of.
fn said(error: &Error) -> Vec<String> {
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let cause = error.source().expect("has a cause");
    let mistakes: &Mistakes = cause.downcast_ref().expect("is of mistakes");
    mistakes.iter().map(ToString::to_string).collect()
}

/// The smallest job. `more` is appended: whole sections, or keys of `[output]`.
fn small(more: &str) -> String {
    format!(
        "name = \"small\"\nsource.table = \"in.parquet\"\nprompt.user = \"{{{{ a }}}}\"\n\
         answer.column = \"b\"\nmodel.use = \"openai/gpt\"\noutput.path = \"out.parquet\"\n{more}"
    )
}

fn job(text: &str) -> Job {
    resolve(&draft(text)).unwrap_or_else(|mistakes| panic!("{text}\n{mistakes:#?}"))
}

#[track_caller]
fn check(text: &str, expect: &[&str]) {
    assert_eq!(resolve(&draft(text)).expect_err("has mistakes"), expect);
}

/// The mistakes of the smallest job with `more`, which begins on line 7.
#[track_caller]
fn check_more(more: &str, expect: &[&str]) {
    check(&small(more), expect);
}

#[test]
fn the_smallest_job_has_every_default() {
    let job = job(&small(""));
    assert_eq!(job.name, "small");
    assert_eq!(
        job.source.input,
        SourceInput::Table("/jobs/in.parquet".into())
    );
    assert_eq!(
        (job.source.key.len(), job.source.filter, job.source.limit),
        (0, None, None)
    );
    assert_eq!(
        (job.prompt.system, job.prompt.user.as_str()),
        (None, "{{ a }}")
    );
    assert!(job.prompt.dedupe);
    assert_eq!(
        (job.answer.answer, job.answer.meta),
        (AnswerType::Text, Meta::Minimal)
    );
    assert_eq!(
        (job.model.provider.as_str(), job.model.model.as_str()),
        ("openai", "gpt")
    );
    assert_eq!(
        (job.model.max_output_tokens, job.model.temperature),
        (1024, None)
    );
    assert_eq!(job.model.poll_min, Duration::from_secs(2));
    assert_eq!(job.model.poll_max, Duration::from_mins(5));
    assert_eq!(job.budget.max_failed, MaxFailed::Rows(0));
    assert_eq!(job.output.path, "/jobs/out.parquet");
    assert_eq!((job.output.layout, job.output.overwrite), (None, false));
    assert_eq!(job.ledger.path, "/jobs/_columnist/small/");
    assert_eq!(job.ledger.lease, Duration::from_mins(1));
    assert_eq!(job.ledger.settle, Duration::from_mins(10));
    assert_eq!(job.ledger.on_ambiguous, AmbiguousPolicy::Wait);
    assert!(job.ledger.keep_prompts);
}

/// A job that gives every key of this version.
const EVERY_KEY: &str = r#"
name = "ticket-triage"
[source]
query = "t.sql"
tables = { tickets = "${LAKE}/tickets/", teams = "../teams.csv" }
key = ["ticket_id", "lang"]
where = "lang = 'en'"
limit = 1_000
[prompt]
system_file = "sys.md"
user = "Subject: ${NOT_FILLED_IN}\n"
cache = "off"
dedupe = false
[answer]
column = "triage"
type = "choice"
choices = ["billing", "bug"]
meta = "off"
[model]
use = "openai/org/model-1"
mode = "batch"
max_output_tokens = 64
temperature = 0
base_url = "http://127.0.0.1:8080/v1/"
api_key_env = "MY_KEY"
service = "proxy"
params = { top_p = 0.5, stop = ["a"], deep = { n = 1 } }
max_requests_per_batch = 10
max_enqueued = 200_000
max_batch_age = "36h"
max_bytes_per_batch = "2MB"
poll_min = "10ms"
poll_max = "1s"
[budget]
max_failed = "0.5%"
[output]
path = "s3://out/dt={{ vars.ds }}/"
layout = "keyed"
overwrite = true
[ledger]
path = "s3://out/ledgers/x"
lease = "30s"
settle = "1h"
on_ambiguous = "resubmit"
keep_prompts = false
"#;

fn every_key() -> Job {
    let mut draft = draft(EVERY_KEY);
    draft.var("ds=2026-08-01");
    resolve(&draft).expect("is right")
}

#[test]
fn every_key_of_source_prompt_and_answer_is_taken() {
    let job = every_key();
    assert_eq!(job.name, "ticket-triage");
    let tables = [("tickets", "s3://lake/tickets/"), ("teams", "/teams.csv")];
    assert_eq!(
        job.source.input,
        SourceInput::Query {
            sql: "SELECT 1".into(),
            file: "/jobs/t.sql".into(),
            tables: tables.map(|(k, v)| (k.into(), v.into())).into(),
        }
    );
    assert_eq!(job.source.key, ["ticket_id", "lang"]);
    assert_eq!(
        (job.source.filter.as_deref(), job.source.limit),
        (Some("lang = 'en'"), Some(1000))
    );
    assert_eq!(job.prompt.system.as_deref(), Some("Be brief.\n"));
    assert_eq!(job.prompt.user, "Subject: ${NOT_FILLED_IN}\n");
    assert!(!job.prompt.dedupe);
    assert_eq!(
        job.answer.answer,
        AnswerType::Choice(vec!["billing".into(), "bug".into()])
    );
    assert_eq!(job.answer.meta, Meta::Off);
}

#[test]
fn every_key_of_the_other_sections_is_taken() {
    let job = every_key();
    let model = &job.model;
    assert_eq!(
        (model.provider.as_str(), model.model.as_str()),
        ("openai", "org/model-1")
    );
    assert_eq!(
        (model.max_output_tokens, model.temperature),
        (64, Some(0.0))
    );
    assert_eq!(model.base_url.as_deref(), Some("http://127.0.0.1:8080/v1"));
    assert_eq!(model.api_key_env.as_deref(), Some("MY_KEY"));
    assert_eq!(model.service.as_deref(), Some("proxy"));
    assert_eq!(
        json!(model.params),
        json!({ "top_p": 0.5, "stop": ["a"], "deep": { "n": 1 } })
    );
    assert_eq!(model.max_requests_per_batch, Some(10));
    assert_eq!(model.max_enqueued, Some(200_000));
    assert_eq!(model.max_batch_age, Some(Duration::from_hours(36)));
    assert_eq!(model.max_bytes_per_batch, Some(2_000_000));
    assert_eq!(model.poll_min, Duration::from_millis(10));
    assert_eq!(model.poll_max, Duration::from_secs(1));
    assert_eq!(job.budget.max_failed, MaxFailed::Percent(0.5));
    assert_eq!(job.output.path, "s3://out/dt=2026-08-01/");
    assert_eq!(
        (job.output.layout, job.output.overwrite),
        (Some(LayoutSpec::Keyed), true)
    );
    assert_eq!(job.ledger.path, "s3://out/ledgers/x");
    assert_eq!(job.ledger.lease, Duration::from_secs(30));
    assert_eq!(job.ledger.settle, Duration::from_hours(1));
    assert_eq!(job.ledger.on_ambiguous, AmbiguousPolicy::Resubmit);
    assert!(!job.ledger.keep_prompts);
    assert_eq!(job.vars["ds"], "2026-08-01");
}

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
        ("prompt.images = [\"photo\"]", "`prompt.images`"),
        ("prompt.documents = []", "`prompt.documents`"),
        ("prompt.cache = \"auto\"", "`prompt.cache = \"auto\"`"),
        ("prompt.cache = \"5m\"", "`prompt.cache = \"5m\"`"),
        ("prompt.cache = \"1h\"", "`prompt.cache = \"1h\"`"),
        ("answer.type = \"json\"", "`answer.type = \"json\"`"),
        (
            "answer.type = \"embedding\"",
            "`answer.type = \"embedding\"`",
        ),
        ("answer.schema_file = \"x\"", "`answer.schema_file`"),
        ("answer.dimensions = 5", "`answer.dimensions`"),
        ("answer.flatten = false", "`answer.flatten`"),
        ("answer.meta = \"full\"", "`answer.meta = \"full\"`"),
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
fn one_poll_setting_moves_the_other_out_of_its_way() {
    let polls = |more: &str| {
        let model = job(&small(more)).model;
        (model.poll_min.as_secs(), model.poll_max.as_secs())
    };
    assert_eq!(polls("model.poll_max = \"1s\""), (1, 1));
    assert_eq!(polls("model.poll_min = \"10m\""), (600, 600));
    assert_eq!(polls("model.poll_max = \"1m\""), (2, 60));
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
fn files_that_the_job_names_are_read_beside_it() {
    let base = small("").replace("source.table = \"in.parquet\"", "source.query = \"QUERY\"");
    check(
        &base.replace("QUERY", "gone.sql"),
        &[
            "line 2: cannot read `source.query`: no such file, file=`/jobs/gone.sql`\n        \
           paths are relative to the job file",
        ],
    );
    check(
        &base.replace("QUERY", "SELECT * FROM t"),
        &[
            "line 2: cannot read `source.query`: no such file, file=`/jobs/SELECT * FROM t`\n        \
           put the SQL into a file, and name the file here",
        ],
    );
    check(
        &base.replace("QUERY", "empty.sql"),
        &["line 2: the SQL file is empty, file=`/jobs/empty.sql`\n        write a `SELECT` in it"],
    );
    check(
        &base.replace("QUERY", "s3://b/t.sql"),
        &[
            "line 2: `source.query` must be a file on this machine, found `s3://b/t.sql`\n        \
           write `query = \"tickets.sql\"` under `[source]`",
        ],
    );
}

/// Where the output, the source and the ledger may be.
#[test]
fn output_source_and_ledger_lie_apart() {
    let ok = |source: &str, output: &str, ledger: Option<&str>| {
        let ledger = ledger.map_or(String::new(), |path| format!("ledger.path = \"{path}\"\n"));
        let text = small(&ledger)
            .replace("in.parquet", source)
            .replace("out.parquet", output);
        resolve(&draft(&text)).map(|_| ()).map_err(|mistakes| {
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            mistakes[0].clone()
        })
    };
    let says = |result: Result<(), String>, words: &str| {
        let mistake = result.expect_err(words);
        assert!(mistake.contains(words), "{mistake}");
    };
    assert_eq!(ok("in.parquet", "out.parquet", None), Ok(()));
    assert_eq!(ok("in/", "in_triaged/", None), Ok(()));
    assert_eq!(ok("s3://lake/in/", "s3://lake/in2/", None), Ok(()));
    assert_eq!(ok("s3://lake/in/", "/lake/in/", None), Ok(()));
    assert_eq!(ok("in/*.parquet", "out/", None), Ok(()));
    let inside = "the output is, or lies inside, the source";
    says(ok("in.parquet", "./x/../in.parquet", None), inside);
    says(ok("in/", "in", None), inside);
    says(ok("in/", "in/out.parquet", None), inside);
    says(ok("*.parquet", "out.parquet", None), inside);
    says(ok("s3://lake/in", "s3a://lake/in/out/", None), inside);
    says(ok("file:///jobs/in/", "in/out/", None), inside);
    says(
        ok("out.parquet/in.parquet", "out.parquet", None),
        "the output holds the source",
    );
    says(
        ok("s3://lake/o/in/", "s3://lake/o/", None),
        "the output holds the source",
    );
    let ledger = "the ledger lies inside the source";
    says(ok("in/", "out/", Some("in/ledger")), ledger);
    says(ok("in/**/x.parquet", "out/", Some("in/_columnist")), ledger);
    says(
        ok("s3://lake/", "/out/", Some("s3://lake/_columnist/x")),
        ledger,
    );
    assert_eq!(ok("in.parquet", "out/", Some("ledger/")), Ok(()));
    says(
        ok("in/", "out/", Some("out/ledger/")),
        "the ledger and the output lie inside each other",
    );
    says(
        ok("in/", "out/x/", Some("out/")),
        "the ledger and the output lie inside each other",
    );
    says(
        ok("in/", "s3://lake/", None),
        "the output cannot be a whole disk or bucket",
    );
}

#[test]
fn a_link_does_not_hide_that_the_output_is_the_source() {
    let text = small("")
        .replace("in.parquet", "current")
        .replace("out.parquet", "2024/out");
    let around = around().with_links(|path| match path.to_str()? {
        "/jobs/current" => Some(PathBuf::from("/jobs/2024")),
        "/jobs" | "/jobs/2024" => Some(path.to_owned()),
        _ => None,
    });
    let error = draft(&text).resolve(&around).expect_err("lies inside");
    assert!(said(&error)[0].contains("the output is, or lies inside, the source"));
    assert!(draft(&text).resolve(&self::around()).is_ok());
}

#[test]
fn every_table_of_a_query_is_a_source() {
    let text =
        small("source.query = \"t.sql\"\nsource.tables = { a = \"x/\", b = \"out.parquet\" }")
            .replace("source.table = \"in.parquet\"\n", "");
    check(
        &text,
        &["line 5: the output is, or lies inside, the source, \
           output=`/jobs/out.parquet`, source=`/jobs/out.parquet`\n        \
           write to a place beside the source"],
    );
}

#[test]
fn every_night_of_a_job_uses_one_ledger() {
    let ledger = |output: &str| {
        let mut draft = draft(&small("").replace("out.parquet", output));
        draft.var("ds=2026-08-01");
        resolve(&draft).map(|job| job.ledger.path)
    };
    for (output, expect) in [
        ("s3://lake/triaged/", "s3://lake/_columnist/small/"),
        (
            "s3://lake/triaged/dt={{ vars.ds }}/",
            "s3://lake/_columnist/small/",
        ),
        (
            "s3://lake/a/t/dt={{vars.ds}}/part/x.parquet",
            "s3://lake/a/_columnist/small/",
        ),
        ("s3://lake/x.parquet", "s3://lake/_columnist/small/"),
        ("out/x.parquet", "/jobs/out/_columnist/small/"),
        ("out/{{ vars.ds }}.parquet", "/jobs/_columnist/small/"),
        ("{{ vars.ds }}.parquet", "/_columnist/small/"),
        ("../out.parquet", "/_columnist/small/"),
    ] {
        assert_eq!(ledger(output).as_deref(), Ok(expect), "{output}");
    }
    for nothing_above in [
        "s3://lake-{{ vars.ds }}/x",
        "s3://lake/dt={{ vars.ds }}/",
        "/dt={{ vars.ds }}/",
    ] {
        let mistakes = ledger(nothing_above).expect_err("nothing stands above");
        assert!(
            mistakes[0]
                .starts_with("`ledger.path` is missing: the output has no folder to stand beside"),
            "{mistakes:?}"
        );
    }
}

#[test]
fn the_ledgers_older_place_is_known_where_it_was_another() {
    for (output, expect) in [
        ("t/dt={{ vars.ds }}/", Some("/jobs/t/_columnist/small/")),
        ("t/", None),
        ("t/x.parquet", None),
    ] {
        let mut draft = draft(&small("").replace("out.parquet", output));
        draft.var("ds=2026-08-01");
        let older = resolve(&draft).map(|job| job.ledger.older);
        assert_eq!(older, Ok(expect.map(str::to_owned)), "{output}");
    }
    let mut draft = draft(&small("ledger.path = \"l\"").replace("out.parquet", "t/{{ vars.ds }}/"));
    draft.var("ds=1");
    assert_eq!(resolve(&draft).map(|job| job.ledger.older), Ok(None));
}

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
    assert_eq!(job.answer.answer, AnswerType::Choice(choices));
    assert_eq!(job.model.max_output_tokens, 256);
}

#[test]
fn paths_are_relative_to_where_they_were_written() {
    let mut draft = draft(&small("ledger.path = \"ledger\""));
    draft.set("source.table=set.parquet");
    draft
        .flag("output.path", FlagValue::Text("flag.parquet".into()))
        .expect("a flag");
    let job = resolve(&draft).expect("is right");
    assert_eq!(
        job.source.input,
        SourceInput::Table("/jobs/set.parquet".into())
    );
    assert_eq!(job.output.path, "/home/me/flag.parquet");
    assert_eq!(job.ledger.path, "/jobs/ledger");
}

#[test]
fn an_output_from_the_command_line_needs_a_ledger_in_the_file() {
    let mut with_set = draft(&small(""));
    with_set.set("output.path=other.parquet");
    assert_eq!(
        resolve(&with_set).expect_err("would move the ledger"),
        [
            "--set output.path: an output given on the command line needs a `ledger.path` in the file\n                   \
          or another output would mean another ledger, and all work paid again; add to the file:\n                   \
          [ledger]\n                   path = \"/jobs/_columnist/small/\""
        ]
    );
    assert!(
        with_elsewhere().contains("path = \"/jobs/_columnist/small/\""),
        "the ledger to name is that of the file's own output"
    );
    let mut with_flag = draft(&small(""));
    with_flag
        .flag("output.path", FlagValue::Text("o.parquet".into()))
        .expect("a flag");
    let mistakes = resolve(&with_flag).expect_err("would move the ledger");
    assert!(mistakes[0].starts_with("--output: an output given on the command line"));
    with_flag
        .flag("ledger.path", FlagValue::Text("l".into()))
        .expect("a flag");
    assert_eq!(
        resolve(&with_flag).expect("is right").ledger.path,
        "/home/me/l"
    );
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

fn with_elsewhere() -> String {
    let mut draft = draft(&small(""));
    draft.set("output.path=s3://elsewhere/x.parquet");
    resolve(&draft).expect_err("would move the ledger").concat()
}

#[test]
fn a_file_full_of_mistakes_is_answered_line_by_line() {
    let text = include_str!("../../fixtures/jobs/wrong.toml");
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
fn the_shipped_examples_are_right() {
    let around = Surroundings::system().expect("a folder");
    let queries = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
    for name in ["triage.toml", "summary.toml"] {
        let mut draft = Draft::read(&queries.join(name), &around).expect("is there");
        draft.var("since=2026-06-15");
        let job = draft
            .resolve(&around)
            .unwrap_or_else(|e| panic!("{name}: {:?}", said(&e)));
        assert_eq!(job.model.provider, "sandbox", "{name} needs no key");
        assert!(
            Path::new(&job.output.path).starts_with(queries.join("out")),
            "{name}"
        );
    }
}

fn one_liner(output: &str) -> Draft {
    let mut draft = Draft::one_liner();
    for (key, text) in [
        ("source.table", "tickets.parquet"),
        ("prompt.user", "{{ a }}"),
        ("answer.column", "triage"),
        ("model.use", "openai/gpt"),
        ("output.path", output),
    ] {
        draft
            .flag(key, FlagValue::Text(text.into()))
            .expect("a flag");
    }
    draft.var("ds=2026-08-01");
    draft
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

#[test]
fn a_ledger_is_found_without_the_rest_of_the_job() {
    let name_and_path = |draft: &Draft| {
        let found = draft.resolve_ledger(&around());
        found
            .map(|(name, ledger)| (name, ledger.path))
            .map_err(|error| said(&error))
    };
    let broken_elsewhere = draft(&small("source.limit = \"x\"\nmodel.x = 1"));
    assert_eq!(
        name_and_path(&broken_elsewhere),
        Ok(("small".into(), "/jobs/_columnist/small/".into()))
    );
    let mut by_output = Draft::one_liner();
    by_output
        .flag("output.path", FlagValue::Text("out.parquet".into()))
        .expect("a flag");
    assert_eq!(
        name_and_path(&by_output),
        Ok(("out".into(), "/home/me/_columnist/out/".into()))
    );
    let mut by_ledger = Draft::one_liner();
    by_ledger
        .flag("ledger.path", FlagValue::Text("l".into()))
        .expect("a flag");
    assert!(name_and_path(&by_ledger).expect_err("no name")[0].starts_with("`--name` is missing"));
    by_ledger
        .flag("name", FlagValue::Text("x".into()))
        .expect("a flag");
    assert_eq!(
        name_and_path(&by_ledger),
        Ok(("x".into(), "/home/me/l".into()))
    );
}

/// Settings that take effect at once.
const AT_ONCE: [&str; 16] = [
    "name=other",
    "model.params={ b = { y = 2, x = 1 }, a = 1 }",
    "model.api_key_env=OTHER",
    "model.max_requests_per_batch=5",
    "model.max_enqueued=5",
    "model.max_batch_age=30h",
    "model.max_bytes_per_batch=5MB",
    "model.poll_min=1s",
    "model.poll_max=1h",
    "budget.max_failed=7",
    "output.overwrite=true",
    "ledger.path=elsewhere",
    "ledger.lease=5s",
    "ledger.settle=5s",
    "ledger.on_ambiguous=fail",
    "ledger.keep_prompts=false",
];

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
        AnswerType::Choice(vec!["a".into(), "b".into()])
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

/// Ledgers and fingerprints keep the word that they were written with.
#[test]
fn the_older_word_for_a_layout_means_the_same() {
    let of = |word: &str| job(&small(&format!("output.layout = \"{word}\"\n")));
    let (older, newer) = (of("delta"), of("keyed"));
    assert_eq!(older, newer);
    assert_eq!(older.output.layout, Some(LayoutSpec::Keyed));
    assert_eq!(json!(older.output)["layout"], "delta");
    check_more(
        "output.layout = \"columns\"\n",
        &[
            "line 7: `output.layout` cannot be \"columns\"\n        write one of: mirror, single, keyed",
        ],
    );
}

/// What each setting changes: the plan, the output, or nothing.
#[test]
fn fingerprints_change_exactly_when_they_should() {
    let base = small(
        "source.limit = 5\nmodel.params = { a = 1, b = { x = 1, y = 2 } }\n\
         answer.choices = [\"a\", \"b\"]\nledger.path = \"l\"\n",
    );
    let before = job(&base).fingerprints();
    let after = |set: &[&str]| {
        let mut draft = draft(&base);
        draft.var("ds=1");
        let unchanged_vars = set.iter().any(|s| s.starts_with("--var"));
        if !unchanged_vars {
            draft.vars.clear();
        }
        set.iter()
            .filter(|s| !s.starts_with("--var"))
            .for_each(|s| draft.set(s));
        let now = resolve(&draft)
            .unwrap_or_else(|m| panic!("{set:?}: {m:?}"))
            .fingerprints();
        (now.plan != before.plan, now.output != before.output)
    };
    assert_eq!(after(&[]), (false, false));
    for set in [
        "source.table=other.parquet",
        "source.key=['id']",
        "source.where=a > 1",
        "source.limit=6",
        "prompt.user={{ b }}",
        "prompt.system=x",
        "prompt.dedupe=false",
        "answer.column=c",
        "answer.choices=['b', 'a']",
        "answer.meta=off",
        "model.use=openai/gpt-2",
        "model.use=anthropic/gpt",
        "model.max_output_tokens=7",
        "model.temperature=0",
        "model.params.a=2",
        "model.service=proxy",
        "model.base_url=http://other:1/v1",
        "--var",
    ] {
        assert_eq!(after(&[set]), (true, false), "{set}");
    }
    for set in ["output.path=other.parquet", "output.layout=keyed"] {
        assert_eq!(after(&[set]), (false, true), "{set}");
    }
    for set in AT_ONCE {
        assert_eq!(after(&[set]), (false, false), "{set}");
    }
    let url = |url| after(&["model.service=proxy", url]);
    assert_eq!(
        url("model.base_url=http://a/v1"),
        url("model.base_url=http://b/v1")
    );
}

/// Fingerprints stand in ledgers: a release that changes them makes everybody plan again. These
/// were computed by another program, from the JSON that the rule describes.
#[test]
fn fingerprints_are_stable_across_releases() {
    let fingerprints = job(&small("")).fingerprints();
    assert_eq!(fingerprints.plan.len(), 32);
    assert_eq!(
        (fingerprints.plan.as_str(), fingerprints.output.as_str()),
        (
            "f39b7ff5379a910d0056ced57b908f16",
            "d59fb58032a7cd185379a0d34f3bc0d8"
        )
    );
}

#[test]
fn bytes_have_units_of_ten_and_of_two() {
    for (text, bytes) in [
        ("512", Some(512)),
        ("64MB", Some(64_000_000)),
        (" 64 mib ", Some(67_108_864)),
        ("1kB", Some(1_000)),
        ("2GiB", Some(2_147_483_648)),
        ("99999999999TB", None),
        ("MB", None),
        ("-1", None),
        ("1.5MB", None),
        ("1 apple", None),
    ] {
        assert_eq!(parse_bytes(text), bytes, "{text}");
    }
}

/// Job files as people write them.
const JOBS: [&str; 3] = [
    include_str!("../../queries/triage.toml"),
    include_str!("../../queries/summary.toml"),
    include_str!("../../fixtures/jobs/wrong.toml"),
];

proptest! {
    #[test]
    fn no_accident_in_a_job_file_makes_resolving_panic(bytes in one_spoilt(JOBS.map(str::to_owned).to_vec())) {
        let _ = resolve(&draft(&String::from_utf8_lossy(&bytes)));
    }

    #[test]
    fn no_text_makes_resolving_panic(text in "(?s).{0,120}") {
        let _ = resolve(&draft(&text));
        let _ = resolve(&draft(&small(&text)));
    }

    #[test]
    fn no_value_of_a_known_key_makes_resolving_panic(
        key in 0..super::keys::KEYS.len(),
        value in "([\\[{]?[0-9a-z.,=\"\\-${}/: é]{0,12}[\\]}]?)|\"[a-z${}/:.é ]{0,16}\"|-?[0-9]{1,25}",
    ) {
        let path = super::keys::KEYS[key].path();
        let _ = resolve(&draft(&format!("{path} = {value}\n")));
        let mut set = draft(&small(""));
        set.set(&format!("{path}={value}"));
        if let Ok(job) = resolve(&set) {
            let text = serde_json::to_string(&job).expect("a job can be stored");
            let back: Job = serde_json::from_str(&text).expect("and read again");
            prop_assert_eq!(back, job);
        }
    }
}

#[test]
fn the_types_and_the_delimiter_of_text_are_read_or_refused() {
    let small = small("").replace(
        "source.table",
        "source.types = { zip = \"varchar\", price = \"DECIMAL(12, 2)\" }\n\
         source.delimiter = \";\"\nsource.table",
    );
    let job = resolve(&draft(&small)).expect("is right");
    let types = job.source.column_types();
    assert_eq!(types["zip"], DataType::Utf8);
    assert_eq!(types["price"], DataType::Decimal128(12, 2));
    assert_eq!(job.source.delimiter, Some(b';'));
    let plain = resolve(&draft(&self::small(""))).expect("is right");
    assert_ne!(plain.fingerprints().plan, job.fingerprints().plan);

    let wrong = small
        .replace("\"varchar\"", "\"STR\"")
        .replace("\"DECIMAL(12, 2)\"", "7")
        .replace("\";\"", "\"::\"");
    let mistakes = resolve(&draft(&wrong)).expect_err("wrong").join("\n");
    for words in [
        "`source.types.zip` is no type, found `STR`",
        "`source.types.price` must be the name of a type, found a whole number",
        "write an SQL type, such as VARCHAR",
        "`source.delimiter` must be one ASCII character, found `::`",
    ] {
        assert!(mistakes.contains(words), "no {words} in {mistakes}");
    }
}
