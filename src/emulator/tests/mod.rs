//! The sandbox from outside: calls through its router, on a clock that the test moves.

mod anthropic;
mod cache;
mod faults;
mod limits;
mod openai;
mod socket;
mod state;
mod turns;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{ConnectionLost, Sandbox, SandboxConfig};
use crate::base::{Clock, Time};

/// A clock that stands until it is moved. Who sleeps on it moves it.
#[derive(Debug)]
struct StepClock(Mutex<Time>);

impl StepClock {
    fn new() -> Arc<Self> {
        let origin = chrono::DateTime::from_timestamp(1_795_000_000, 0).expect("in range");
        Arc::new(StepClock(Mutex::new(origin)))
    }

    fn step(&self, duration: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += duration;
    }
}

impl Clock for StepClock {
    fn now(&self) -> Time {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.step(duration);
        async {}.boxed()
    }
}

/// A sandbox and its clock, called with one key.
struct World {
    sandbox: Sandbox,
    clock: Arc<StepClock>,
    key: &'static str,
}

/// What came back. A lost connection has no status.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
    lost: bool,
    /// Whether the body came to its end.
    whole: bool,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).expect("JSON")
    }

    /// The lines of a results file.
    fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.bytes).expect("UTF-8");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("a JSON line"))
            .collect()
    }

    fn error(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.bytes)
        );
        self.json()["error"].clone()
    }
}

impl World {
    fn new(config: SandboxConfig) -> Self {
        let clock = StepClock::new();
        let shared: Arc<dyn Clock> = Arc::<StepClock>::clone(&clock);
        let sandbox = Sandbox::new(config, shared).expect("a sandbox");
        World {
            sandbox,
            clock,
            key: "test-key",
        }
    }

    /// A sandbox with these faults.
    fn faulty(faults: &str) -> Self {
        Self::new(SandboxConfig {
            faults: faults.parse().expect("faults"),
            ..Default::default()
        })
    }

    fn step(&self, seconds: u64) {
        self.clock.step(Duration::from_secs(seconds));
    }

    async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "sandbox:1");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self
            .sandbox
            .call(request.body(body).expect("a request"))
            .await;
        let (parts, body) = response.into_parts();
        let lost = parts.extensions.get::<ConnectionLost>().is_some();
        let (bytes, whole) = collect(body).await;
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            bytes,
            lost,
            whole,
        }
    }

    /// A call of the Anthropic dialect.
    async fn anthropic(&self, method: &str, path: &str, body: Value) -> Reply {
        let headers = [("x-api-key", self.key), ("anthropic-version", "2026-10-21")];
        self.call(
            method,
            &format!("/anthropic{path}"),
            &headers,
            to_body(&body),
        )
        .await
    }

    /// A call of the `OpenAI` dialect.
    async fn openai(&self, method: &str, path: &str, body: Value) -> Reply {
        let key = format!("Bearer {}", self.key);
        let path = format!("/openai/v1{path}");
        self.call(method, &path, &[("authorization", &key)], to_body(&body))
            .await
    }

    async fn bill(&self) -> Value {
        self.call("GET", "/__sandbox/bill", &[], Body::empty())
            .await
            .json()
    }
}

fn to_body(body: &Value) -> Body {
    if body.is_null() {
        Body::empty()
    } else {
        Body::from(body.to_string())
    }
}

async fn collect(body: Body) -> (Vec<u8>, bool) {
    use futures::StreamExt as _;
    let (mut bytes, mut chunks) = (Vec::new(), body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        match chunk {
            Ok(chunk) => bytes.extend_from_slice(&chunk),
            Err(_) => return (bytes, false),
        }
    }
    (bytes, true)
}

/// The draw of a prompt, computed anew by the documented rule.
fn draw(seed: u64, text: &str) -> u64 {
    let digest = Sha256::digest(format!("{seed}\n{text}"));
    digest
        .iter()
        .take(8)
        .fold(0, |draw, byte| draw << 8 | u64::from(*byte))
}

const CHOICES: [&str; 3] = ["billing", "bug", "how-to"];

fn choice_schema() -> Value {
    json!({"type": "object", "properties": {"label": {"type": "string", "enum": CHOICES}},
        "required": ["label"], "additionalProperties": false})
}

/// The choice that the rule gives for a prompt.
fn choice(text: &str) -> String {
    let at = usize::try_from(draw(0, text) % 3).expect("small");
    format!("{{\"label\":\"{}\"}}", CHOICES[at])
}

/// Lines by their `custom_id`; each once.
fn by_id(lines: &[Value]) -> BTreeMap<String, Value> {
    let id = |line: &Value| line["custom_id"].as_str().expect("an id").to_owned();
    let map: BTreeMap<_, _> = lines.iter().map(|line| (id(line), line.clone())).collect();
    assert_eq!(map.len(), lines.len(), "every id once");
    map
}

/// The ids of lines, in their order.
fn ids(lines: &[Value]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line["custom_id"].as_str())
        .collect()
}

#[test]
fn answers_to_schemas_satisfy_them() {
    use super::answer::Plan;
    let schema = r##"{"type":"object","properties":{"z":{"$ref":"#/$defs/kind"},"n":{"type":"integer","minimum":3,"maximum":5},"list":{"type":"array","minItems":2,"items":{"type":"number"}},"maybe":{"anyOf":[{"type":"null"},{"type":"boolean"}]},"when":{"type":"string","format":"date"},"c":{"const":"é\""}},"required":["n","z","list","maybe","when","c"],"additionalProperties":false,"$defs":{"kind":{"enum":["a","b","c","d"]}}}"##;
    let plan = Plan::for_schema(schema);
    for seed in 0..200 {
        let (mut text, h) = (String::new(), draw(seed, "row"));
        assert!(!plan.write(h, u32::MAX, &mut text).1);
        let value: Value = serde_json::from_str(&text).expect("JSON");
        let kinds = ["a", "b", "c", "d"];
        assert_eq!(value["z"], kinds[usize::try_from(h % 4).expect("small")]);
        assert!(
            (3..=5).contains(&value["n"].as_i64().expect("an integer")),
            "{text}"
        );
        assert_eq!(value["list"].as_array().map(Vec::len), Some(2));
        assert!(value["list"][0].is_f64() && value["maybe"].is_boolean());
        assert!(
            value["when"]
                .as_str()
                .is_some_and(|day| day.starts_with("2026-01-"))
        );
        assert_eq!(value["c"], "é\"");
    }
}

#[test]
fn an_answer_over_its_budget_is_cut_there() {
    use super::answer::Plan;
    let mut text = String::new();
    assert_eq!(Plan::Sentence.write(1, 2, &mut text), (2, true));
    assert_eq!(text.len(), 8);
}
