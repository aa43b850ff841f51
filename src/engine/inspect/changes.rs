//! What of a job is another than when it was last planned, key by key: why rows are stale.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::base::Json;
use crate::spec::{Job, LayoutSpec, one_value};
use crate::work::AnswerType;
use crate::work::answer::{ChoiceAnswer, JsonAnswer, Other};

/// A setting that has another value than in the last plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key of the job file.
    pub key: String,
    /// What it was, if it was anything.
    pub was: Option<Value>,
    /// What it is, if it is anything.
    pub now: Option<Value>,
}

/// Parts of a stored job that change no row: they take effect at once, or only say where something is.
const APART: [&str; 15] = [
    // It follows from the length and the model.
    "answer.answer.shortened",
    "budget.",
    "ledger.",
    "name",
    "model.api_key_env",
    "model.base_url",
    "model.max_batch_age",
    "model.max_bytes_per_batch",
    "model.max_enqueued",
    "model.max_requests_per_batch",
    "model.poll_",
    "model.provider",
    "output.overwrite",
    "prompt.cache",
    "source.input.query.file",
];

/// How the job file calls what is stored under another name.
const NAMES: [(&str, &str); 18] = [
    ("answer.answer.asked", "model.structured_output"),
    ("answer.answer.descriptions.", "answer.choices."),
    ("answer.answer.multiple.", "answer."),
    ("answer.answer.other.label", "answer.other"),
    ("answer.answer.trimmed", "answer.trim"),
    (
        "answer.embedding.max_input_tokens",
        "model.max_input_tokens",
    ),
    ("answer.embedding.", "answer."),
    ("answer.answer.", "answer."),
    ("model.model", "model.use"),
    ("prompt.examples_table.query", "prompt.examples_query"),
    ("prompt.examples_table.table", "prompt.examples_table"),
    ("source.filter", "source.where"),
    ("source.sample.rows", "source.sample"),
    ("source.sample.seed", "source.seed"),
    ("source.input.query.sql", "source.query"),
    ("source.input.query.", "source."),
    ("source.input.", "source."),
    ("source.input", "source"),
];

/// What is different between the job `was` and the job `now`.
pub(crate) fn between(was: &Job, now: &Job) -> Vec<Change> {
    let (mut was, mut now) = (settings(was), settings(now));
    let keys: BTreeSet<String> = was.keys().chain(now.keys()).cloned().collect();
    let mut changes = Vec::new();
    for key in keys {
        let (was, now) = (was.remove(&key), now.remove(&key));
        if was != now {
            changes.push(Change { key, was, now });
        }
    }
    changes
}

/// The settings of a job, by the keys of the job file.
fn settings(job: &Job) -> BTreeMap<String, Value> {
    let mut settings = BTreeMap::new();
    if let Ok(Value::Object(job)) = serde_json::to_value(job) {
        flatten("", job, &mut settings);
    }
    let model = format!("{}/{}", job.model.provider, job.model.model);
    settings.insert("model.use".to_owned(), model.into());
    match &job.answer.answer {
        // What stands beside a text's type says that it is bounded.
        AnswerType::BoundedText(_) => {
            settings.insert("answer.type".to_owned(), "text".into());
        }
        AnswerType::Choice(answer) => choice_settings(answer, &mut settings),
        AnswerType::Json(answer) => json_settings(answer, &mut settings),
        AnswerType::Text | AnswerType::Embedding { .. } => {}
    }
    if let Some(prefix) = &job.answer.flatten {
        settings.insert("answer.flatten".to_owned(), true.into());
        settings.insert("answer.prefix".to_owned(), prefix.as_str().into());
    }
    // It is stored under its older name.
    if job.output.layout == Some(LayoutSpec::Keyed) {
        settings.insert("output.layout".to_owned(), "keyed".into());
    }
    settings
}

fn choice_settings(answer: &ChoiceAnswer, settings: &mut BTreeMap<String, Value>) {
    // That there may be several is said by what says how many.
    if answer.multiple.is_some() {
        settings.insert("answer.multiple".to_owned(), true.into());
    }
    if answer.other == Some(Other::OwnWords) {
        settings.insert("answer.other".to_owned(), true.into());
    }
}

/// A schema place by place, so that what is another there is seen; and whether it is that of one plain value.
fn json_settings(answer: &JsonAnswer, settings: &mut BTreeMap<String, Value>) {
    let Some(schema) = Json::parse(&answer.schema) else {
        return;
    };
    settings.remove("answer.schema");
    match one_value(&answer.schema) {
        Some(name) => drop(settings.insert("answer.type".to_owned(), name.into())),
        None => places("answer.schema", &schema, settings),
    }
}

fn places(path: &str, schema: &Json, settings: &mut BTreeMap<String, Value>) {
    let names = |pairs: &[(String, Json)]| -> Value {
        pairs.iter().map(|(name, _)| name.as_str()).collect()
    };
    match schema {
        Json::Map(pairs) => {
            // Models answer in their order.
            if path.ends_with(".properties") {
                settings.insert(path.to_owned(), names(pairs));
            }
            for (name, value) in pairs {
                places(&format!("{path}.{name}"), value, settings);
            }
        }
        other => {
            let value = serde_json::from_str(&other.to_string()).unwrap_or_default();
            settings.insert(path.to_owned(), value);
        }
    }
}

fn flatten(above: &str, object: Map<String, Value>, settings: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        let path = format!("{above}{name}");
        match value {
            Value::Null => {}
            Value::Object(inner) => flatten(&format!("{path}."), inner, settings),
            _ if APART.iter().any(|apart| path.starts_with(apart)) => {}
            value => {
                let known = NAMES.iter().find(|(stored, _)| path.starts_with(stored));
                let key = known.map_or(path.clone(), |(stored, name)| {
                    format!("{name}{}", &path[stored.len()..])
                });
                settings.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::spec::{Draft, Surroundings};

    fn job(sets: &[&str]) -> Job {
        let text = "name = \"t\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n[prompt]\n\
                    user = \"{{ a }}\"\n[answer]\ncolumn = \"c\"\nchoices = [\"x\", \"y\"]\n[model]\n\
                    use = \"openai/m\"\n[output]\npath = \"o.parquet\"\n";
        let around = Surroundings::made_up("/", |_| None, |_| Ok("SELECT 1".to_owned()));
        let mut draft = Draft::of_file(PathBuf::from("/j/t.toml"), text.to_owned());
        for set in sets {
            draft.set(set);
        }
        draft.resolve(&around).expect("a job")
    }

    #[track_caller]
    fn check(sets: &[&str], expect: &[(&str, Value, Value)]) {
        let changes = between(&job(&[]), &job(sets));
        let value = |value: &Option<Value>| value.clone().unwrap_or_default();
        let changes: Vec<_> = changes
            .iter()
            .map(|change| (&*change.key, value(&change.was), value(&change.now)))
            .collect();
        assert_eq!(changes, expect);
    }

    #[test]
    fn a_change_is_named_by_its_key() {
        check(&[], &[]);
        check(
            &["model.max_output_tokens=64", "prompt.user={{ b }}"],
            &[
                ("model.max_output_tokens", json!(256), json!(64)),
                ("prompt.user", json!("{{ a }}"), json!("{{ b }}")),
            ],
        );
        check(
            &[
                "source.where=a = 1",
                "model.use=anthropic/m",
                "answer.choices=x",
            ],
            &[
                ("answer.choices", json!(["x", "y"]), json!(["x"])),
                ("model.use", json!("openai/m"), json!("anthropic/m")),
                ("source.where", Value::Null, json!("a = 1")),
            ],
        );
        let told = [
            "answer.choices={ x = 'what', y = '' }",
            "answer.multiple=true",
            "answer.max=2",
            "answer.other=rest",
            "model.structured_output=prompt",
        ];
        check(
            &told,
            &[
                (
                    "answer.choices",
                    json!(["x", "y"]),
                    json!(["x", "y", "rest"]),
                ),
                ("answer.choices.x", Value::Null, json!("what")),
                ("answer.max", Value::Null, json!(2)),
                ("answer.multiple", Value::Null, json!(true)),
                ("answer.other", Value::Null, json!("rest")),
                ("model.max_output_tokens", json!(256), json!(1024)),
                ("model.structured_output", Value::Null, json!("prompt")),
            ],
        );
        check(
            &["answer.other=true"],
            &[("answer.other", Value::Null, json!(true))],
        );
        check(
            &["model.params.top_p=0.5", "output.layout=keyed"],
            &[
                ("model.params.top_p", Value::Null, json!(0.5)),
                ("output.layout", Value::Null, json!("keyed")),
            ],
        );
        check(
            &["source.query=q.sql", "source.tables={ t = 'in.parquet' }"],
            &[
                ("source.query", Value::Null, json!("SELECT 1")),
                ("source.table", json!("/j/in.parquet"), Value::Null),
                ("source.tables.t", Value::Null, json!("/j/in.parquet")),
            ],
        );
    }

    /// What is different between two jobs, each as it is set.
    #[track_caller]
    fn check_both(was: &[&str], now: &[&str], expect: &[(&str, Value, Value)]) {
        let value = |value: Option<Value>| value.unwrap_or_default();
        let changes = between(&job(was), &job(now)).into_iter();
        let changes: Vec<_> = changes
            .map(|change| (change.key, value(change.was), value(change.now)))
            .collect();
        let expect = expect.iter().cloned();
        let expect: Vec<_> = expect
            .map(|(key, was, now)| (key.to_owned(), was, now))
            .collect();
        assert_eq!(changes, expect);
    }

    #[test]
    fn an_answer_is_told_as_it_was_written() {
        let kind = |name: &str| job_of(&format!("type = \"{name}\""));
        let named = |was: &Job, now: &Job| between(was, now);
        let changes = named(&kind("number"), &kind("date"));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(
            (&*changes[0].key, &changes[0].was, &changes[0].now),
            ("answer.type", &Some(json!("number")), &Some(json!("date")))
        );
        let fields = |all: &str| job_of(&format!("flatten = true\nfields = {{ {all} }}"));
        let changes = named(
            &fields("a = \"REAL\", b = \"VARCHAR\""),
            &fields(
                "a = \"DOUBLE\", b = { type = \"VARCHAR\", description = \"What it is\" }, c = \"DATE\"",
            ),
        );
        let keys: Vec<_> = changes.iter().map(|change| &*change.key).collect();
        assert_eq!(
            keys,
            [
                "answer.schema.properties",
                "answer.schema.properties.b.description",
                "answer.schema.properties.c.format",
                "answer.schema.properties.c.type",
                "answer.schema.required",
                "answer.types.a",
            ]
        );
        let changes = named(
            &fields("a = \"INT\", b = \"VARCHAR\""),
            &fields("b = \"VARCHAR\", a = \"INT\""),
        );
        assert_eq!(changes[0].key, "answer.schema.properties", "{changes:?}");
        let changes = named(&job_of("fields = { a = \"INT\" }"), &fields("a = \"INT\""));
        let told: Vec<_> = changes.iter().map(|c| (&*c.key, c.now.clone())).collect();
        assert_eq!(
            told,
            [
                ("answer.flatten", Some(json!(true))),
                ("answer.prefix", Some(json!("c_"))),
            ]
        );
    }

    /// A job whose answer is `answer`.
    fn job_of(answer: &str) -> Job {
        let model = if answer.contains("embedding") {
            "text-embedding-3-small"
        } else {
            "m"
        };
        resolved(&format!(
            "name = \"t\"\n[source]\ntable = \"in.parquet\"\nkey = [\"id\"]\n[prompt]\nuser = \"{{{{ a }}}}\"\n\
             [answer]\ncolumn = \"c\"\n{answer}\n[model]\nuse = \"openai/{model}\"\n\
             [output]\npath = \"o.parquet\"\n"
        ))
    }

    fn resolved(text: &str) -> Job {
        let around = Surroundings::made_up("/", |_| None, |_| Ok("SELECT 1".to_owned()));
        let draft = Draft::of_file(PathBuf::from("/j/t.toml"), text.to_owned());
        draft.resolve(&around).expect("a job")
    }

    #[test]
    fn embeddings_and_samples_are_told_by_the_keys_of_the_file() {
        let vectors = |more: &str| job_of(&format!("type = \"embedding\"\n{more}"));
        let now = vectors("dimensions = 8\nprecision = \"half\"\ntoo_long = \"average\"");
        let changes = between(&vectors(""), &now);
        let told: Vec<_> = changes.iter().map(|c| (&*c.key, c.now.clone())).collect();
        assert_eq!(
            told,
            [
                ("answer.dimensions", Some(json!(8))),
                ("answer.precision", Some(json!("half"))),
                ("answer.too_long", Some(json!("average"))),
            ]
        );
        check_both(
            &["source.sample=10"],
            &["source.sample=20", "source.seed=3"],
            &[
                ("source.sample", json!(10), json!(20)),
                ("source.seed", json!(0), json!(3)),
            ],
        );
    }

    #[test]
    fn what_changes_no_row_is_no_reason() {
        check(
            &[
                "model.poll_max=7s",
                "budget.max_failed=3",
                "ledger.path=l",
                "output.overwrite=true",
                "model.max_requests_per_batch=5",
                "prompt.cache=1h",
            ],
            &[],
        );
    }
}
