//! The judge, on outputs and bills that are right, and on such that somebody has meddled with.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use axum::body::Body;
use axum::http::Request;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use super::asked::draw;
use super::judge::{Verdict, judge};
use crate::base::{Components, SystemClock};
use crate::emulator::{Sandbox, SandboxConfig};
use crate::spec::Job;

const SEED: u64 = 7;

/// The rows of the source: a null, a blank, and two that are alike.
const BODIES: [Option<&str>; 6] = [
    Some("a"),
    Some("b"),
    None,
    Some("b"),
    Some("c"),
    Some("blank"),
];

/// A row of the output: key, body, answer, status, error.
type Row = (
    i64,
    Option<&'static str>,
    Option<String>,
    &'static str,
    Option<&'static str>,
);

struct Scene {
    folder: tempfile::TempDir,
    job: Value,
    sandbox: Sandbox,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let second = json!({ "secs": 1, "nanos": 0 });
        let job = json!({
            "name": "t",
            "source": { "input": { "table": path("in.parquet") }, "key": ["id"], "filter": "id < 6", "limit": null },
            "prompt": { "system": null, "user": "{% if body != 'blank' %}Say {{ body }}{% endif %}", "dedupe": true },
            "answer": { "column": "said", "answer": { "type": "text" }, "meta": "minimal" },
            "model": {
                "provider": "anthropic", "model": "m", "mode": "batch", "max_output_tokens": 64,
                "temperature": null, "params": {}, "base_url": null, "api_key_env": null,
                "service": null, "max_requests_per_batch": null, "max_bytes_per_batch": null,
                "poll_min": second, "poll_max": second,
            },
            "budget": { "max_failed": { "rows": 0 } },
            "output": { "path": path("out.parquet"), "layout": null, "overwrite": false },
            "ledger": {
                "path": path("ledger"), "lease": second, "settle": second,
                "on_ambiguous": "wait", "keep_prompts": true,
            },
            "vars": {},
        });
        let config = SandboxConfig {
            seed: SEED,
            instant: true,
            ..SandboxConfig::default()
        };
        let sandbox = Sandbox::new(config, Arc::new(SystemClock)).expect("a sandbox");
        let scene = Scene {
            folder,
            job,
            sandbox,
        };
        let source: Vec<Row> = rows()
            .into_iter()
            .map(|row| (row.0, row.1, None, "", None))
            .collect();
        write(
            &scene.folder.path().join("in.parquet"),
            &source,
            &["id", "body"],
        );
        scene
    }

    /// What the judge says where this is the output.
    async fn verdict(&self, rows: &[Row]) -> Verdict {
        let columns: &[_] = if self.job["output"]["layout"] == "keyed" {
            &["id", "said", "said_status", "said_error"]
        } else {
            &["id", "body", "said", "said_status", "said_error"]
        };
        write(&self.folder.path().join("out.parquet"), rows, columns);
        let job: Job = serde_json::from_value(self.job.clone()).expect("a job");
        let components = Components::system();
        let sandbox = (&self.sandbox, SEED);
        judge(&job, sandbox, (&components, 1 << 20), self.folder.path())
            .await
            .expect("judged")
    }

    /// Sends the prompts in one batch, which the sandbox answers and bills.
    async fn send(&self, prompts: &[&str]) {
        let request = |(n, prompt): (usize, &&str)| {
            json!({ "custom_id": format!("r{n}"), "params": { "model": "m", "max_tokens": 64,
                "messages": [{ "role": "user", "content": prompt }] } })
        };
        let requests: Vec<_> = prompts.iter().enumerate().map(request).collect();
        let request = Request::post("/anthropic/v1/messages/batches")
            .header("x-api-key", "k")
            .header("anthropic-version", "2026-10-21")
            .body(Body::from(json!({ "requests": requests }).to_string()))
            .expect("a request");
        assert_eq!(self.sandbox.call(request).await.status(), 200);
    }
}

/// The sandbox's answer to a row.
fn said(body: &str) -> String {
    format!("Well. #{:016x}", draw(SEED, &format!("Say {body}")))
}

/// The output as it has to be.
fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = (0..)
        .zip(BODIES)
        .map(|(id, body)| match body {
            Some("blank") | None => (id, body, None, "skipped", Some("there is no prompt")),
            Some(text) => (id, body, Some(said(text)), "succeeded", None),
        })
        .collect();
    // `where` leaves this one out.
    rows.push((6, Some("d"), None, "skipped", None));
    rows
}

/// Writes a table of these `columns` of `rows`.
fn write(path: &Path, rows: &[Row], columns: &[&str]) {
    let text = |text: fn(&Row) -> Option<&str>| -> ArrayRef {
        Arc::new(rows.iter().map(text).collect::<StringArray>())
    };
    let ids: ArrayRef = Arc::new(rows.iter().map(|row| Some(row.0)).collect::<Int64Array>());
    let all = [
        ("id", ids),
        ("body", text(|row| row.1)),
        ("said", text(|row| row.2.as_deref())),
        ("said_status", text(|row| Some(row.3))),
        ("said_error", text(|row| row.4)),
    ];
    let chosen = all.into_iter().filter(|(name, _)| columns.contains(name));
    let batch = RecordBatch::try_from_iter(chosen).expect("a batch");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("written");
    writer.close().expect("closed");
}

/// What was lost, and what is wrong.
fn found(verdict: &Verdict) -> (u64, u64) {
    (verdict.lost, verdict.wrong)
}

#[tokio::test]
async fn a_right_output_has_nothing_lost_and_nothing_wrong() {
    let verdict = Scene::new().verdict(&rows()).await;
    assert_eq!(found(&verdict), (0, 0), "{verdict:?}");
    let counts = verdict.counts.expect("statuses");
    let counts: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        counts
            .iter()
            .map(|(status, count)| (status.as_str(), *count))
            .collect::<Vec<_>>(),
        [("succeeded", 4), ("skipped", 3)]
    );
    assert_eq!(verdict.rows, 7);
}

#[tokio::test]
async fn an_answer_in_the_wrong_row_is_seen() {
    let mut rows = rows();
    let moved = rows[0].2.take();
    rows[0].2 = rows[4].2.take();
    rows[4].2 = moved;
    let verdict = Scene::new().verdict(&rows).await;
    assert_eq!(found(&verdict), (0, 2));
    assert_eq!(
        verdict.examples,
        [
            "row 0: its answer is not that of its prompt",
            "row 4: its answer is not that of its prompt"
        ]
    );
    // Rows that are alike may share an answer.
    let mut rows = self::rows();
    rows.swap(1, 3);
    assert_eq!(found(&Scene::new().verdict(&rows).await), (0, 0));
}

#[tokio::test]
async fn every_row_needs_an_answer_or_a_reason() {
    let change = async |row: usize, answer: Option<String>, status, error| {
        let mut rows = rows();
        (rows[row].2, rows[row].3, rows[row].4) = (answer, status, error);
        found(&Scene::new().verdict(&rows).await)
    };
    assert_eq!(change(0, None, "failed", Some("overloaded")).await, (0, 0));
    assert_eq!(change(0, None, "failed", None).await, (1, 0));
    assert_eq!(change(0, None, "succeeded", None).await, (1, 0));
    assert_eq!(change(0, None, "pending", None).await, (1, 0));
    assert_eq!(change(0, None, "gone", None).await, (1, 0));
    assert_eq!(change(0, None, "skipped", Some("?")).await, (1, 0));
    // An answer that is not to be there.
    assert_eq!(
        change(0, Some(said("a")), "failed", Some("?")).await,
        (0, 1)
    );
    assert_eq!(change(2, Some(said("a")), "succeeded", None).await, (0, 1));
    assert_eq!(change(6, Some(said("d")), "succeeded", None).await, (0, 1));
    assert_eq!(change(6, None, "failed", Some("?")).await, (0, 1));
}

#[tokio::test]
async fn rows_that_are_gone_or_too_many_are_counted() {
    let mut rows = rows();
    let last = rows.pop().expect("rows");
    assert_eq!(found(&Scene::new().verdict(&rows).await), (1, 0));
    rows.extend([last.clone(), last]);
    assert_eq!(found(&Scene::new().verdict(&rows).await), (0, 1));
}

#[tokio::test]
async fn a_limit_leaves_the_others_out() {
    let mut scene = Scene::new();
    scene.job["source"]["limit"] = json!(2);
    let mut rows = rows();
    assert_eq!(found(&scene.verdict(&rows).await), (0, 2));
    for row in [3, 4] {
        (rows[row].2, rows[row].3) = (None, "skipped");
    }
    assert_eq!(found(&scene.verdict(&rows).await), (0, 0));
}

#[tokio::test]
async fn a_layout_without_the_old_columns_is_held_against_the_source() {
    let mut scene = Scene::new();
    scene.job["output"]["layout"] = json!("keyed");
    let mut rows = rows();
    assert_eq!(found(&scene.verdict(&rows).await), (0, 0));
    // Whole rows, keys included.
    rows.swap(0, 4);
    assert_eq!(found(&scene.verdict(&rows).await), (0, 2));
    rows.swap(0, 4);
    // Keys alone.
    (rows[1].0, rows[3].0) = (3, 1);
    let verdict = scene.verdict(&rows).await;
    assert_eq!(verdict.examples[0], "row 1: it has another row's key");
    assert_eq!(found(&verdict), (0, 2));
}

#[tokio::test]
async fn the_words_of_a_choice_follow_the_same_rule() {
    let mut scene = Scene::new();
    let words = ["x", "y", "z"];
    scene.job["answer"]["answer"] = json!({ "type": "choice", "choices": words });
    let word = |body: &str, off: u64| {
        let at = (draw(SEED, &format!("Say {body}")) + off) % 3;
        Some(words[usize::try_from(at).expect("small")].to_owned())
    };
    let mut rows = rows();
    for row in [0, 1, 3, 4] {
        rows[row].2 = word(rows[row].1.expect("a body"), 0);
    }
    assert_eq!(found(&scene.verdict(&rows).await), (0, 0));
    rows[0].2 = word("a", 1);
    assert_eq!(found(&scene.verdict(&rows).await), (0, 1));
}

#[tokio::test]
async fn a_request_that_is_billed_again_is_seen() {
    let scene = Scene::new();
    scene.send(&["Say a", "Say b", "Say c"]).await;
    let verdict = scene.verdict(&rows()).await;
    assert_eq!((verdict.billed, verdict.billed_twice), (3, 0));
    assert!(verdict.held());
    scene.send(&["Say c"]).await;
    let verdict = scene.verdict(&rows()).await;
    assert_eq!((verdict.billed, verdict.billed_twice), (4, 1));
    assert!(!verdict.held());
    // What no row asks was paid for nothing, as well.
    scene.send(&["Say d"]).await;
    assert_eq!(scene.verdict(&rows()).await.billed_twice, 2);
}

#[tokio::test]
async fn identical_rows_may_each_be_billed_where_the_job_says_so() {
    let mut scene = Scene::new();
    scene.send(&["Say a", "Say b", "Say b", "Say c"]).await;
    assert_eq!(scene.verdict(&rows()).await.billed_twice, 1);
    scene.job["prompt"]["dedupe"] = json!(false);
    assert_eq!(scene.verdict(&rows()).await.billed_twice, 0);
    scene.send(&["Say b"]).await;
    assert_eq!(scene.verdict(&rows()).await.billed_twice, 1);
}
