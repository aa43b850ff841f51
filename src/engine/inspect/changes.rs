//! What of a job is another than when it was last planned, key by key: why rows are stale.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::spec::{Job, LayoutSpec};
use crate::work::AnswerType;

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
const APART: [&str; 14] = [
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
const NAMES: [(&str, &str); 12] = [
    ("answer.answer.asked", "model.structured_output"),
    ("answer.answer.descriptions.", "answer.choices."),
    ("answer.answer.multiple.", "answer."),
    ("answer.answer.other.label", "answer.other"),
    ("answer.answer.trimmed", "answer.trim"),
    ("answer.answer.", "answer."),
    ("model.model", "model.use"),
    ("source.filter", "source.where"),
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
        // That there may be several is said by what says how many.
        AnswerType::Choice(answer) if answer.multiple.is_some() => {
            settings.insert("answer.multiple".to_owned(), true.into());
        }
        _ => {}
    }
    // It is stored under its older name.
    if job.output.layout == Some(LayoutSpec::Keyed) {
        settings.insert("output.layout".to_owned(), "keyed".into());
    }
    settings
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
