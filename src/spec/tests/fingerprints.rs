//! What a change of a setting changes.

use super::*;

/// Settings that take effect at once.
const AT_ONCE: [&str; 19] = [
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
    "prompt.cache=1h",
    "answer.reask=3",
    "answer.grow_output_tokens=2.0",
];

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
        "answer.meta=full",
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
