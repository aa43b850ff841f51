//! What each key of a job file becomes.

use std::time::Duration;

use arrow::datatypes::DataType;
use serde_json::json;

use super::*;
use crate::work::AnswerType;

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
        AnswerType::choice(vec!["billing".into(), "bug".into()])
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
    let plain = resolve(&draft(&super::small(""))).expect("is right");
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
