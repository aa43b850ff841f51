//! What a submission does not achieve is said: by its exit code, its last line and a warning. And what
//! keeps a chunk from being taken is waited for as long as it is worth.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use columnist::base::ErrorKind;
use columnist::base::http::RouterService;
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Awaits, Setup};
use columnist::work::progress::{Event, Watch};
use serde_json::json;

use crate::kill::Night;
use crate::shell::Ran;
use crate::world::World;

#[track_caller]
fn check_awaits(ran: &Ran, code: i32, (unsent, awaits): (u64, &str), why: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    let line = ran.line();
    assert_eq!(line["exit_code"], code, "{ran:?}");
    assert_eq!(line["unsent_chunks"], unsent, "{ran:?}");
    assert_eq!(line["awaits"], awaits, "{ran:?}");
    assert!(ran.stderr.contains(why), "{ran:?}");
}

#[track_caller]
fn check_rest(ran: &Ran, unsent: u64, awaits: &str, why: &str) {
    check_awaits(ran, 75, (unsent, awaits), why);
    assert!(ran.stderr.contains("not all was submitted: "), "{ran:?}");
}

#[test]
fn a_submission_to_nobody_is_pending() {
    let mut night = Night::new("openai", "5m..6m");
    night.grow(16);
    // A port of ours, on which nothing listens any more.
    let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1", port.local_addr().expect("its address"));
    drop(port);
    let away = ["submit", "job.toml", "--base-url", &url, "--service", "lab"];
    let why = "chunks that the provider has not taken: 2";
    check_rest(&night.shell.call(&away), 2, "provider", why);
    let done = night
        .shell
        .call(&["submit", "job.toml", "--service", "lab"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.line()["unsent_chunks"], 0, "{done:?}");
    assert_eq!(done.line()["awaits"], json!(null), "{done:?}");
    assert!(!done.stderr.contains("not all"), "{done:?}");
}

#[test]
fn a_submission_of_a_grown_table_waits_for_what_is_open() {
    let mut night = Night::new("anthropic", "5m..6m");
    night.grow(8);
    assert_eq!(night.shell.call(&["submit", "job.toml"]).code, 0);
    night.grow(8);
    let again = night.shell.call(&["submit", "job.toml"]);
    check_rest(
        &again,
        0,
        "earlier_plan",
        "batches of an earlier plan are open",
    );
}

#[test]
fn a_submission_with_a_trial_waits_for_its_answers() {
    let mut night = Night::new("openai", "5m..6m");
    night.grow(16);
    let choices = ["--set", "answer.type=choice", "--choices", "bug,other"];
    let submit = [&["submit", "job.toml"][..], &choices].concat();
    for _ in 0..2 {
        let ran = night.shell.call(&submit);
        let why = "a trial of 3 requests is under way, and 12 wait for its answers; `columnist collect` sends them";
        check_awaits(&ran, 0, (2, "trial"), why);
        assert_eq!(ran.line()["progress"]["trial"], 3, "{ran:?}");
        assert_eq!(ran.line()["progress"]["by_state"]["to_send"], 12, "{ran:?}");
    }
    assert_eq!(night.bill().total.requests_accepted, 3);
}

#[tokio::test(start_paused = true)]
async fn a_submission_to_a_full_queue_is_left_to_collect() {
    let mut config = SandboxConfig {
        batch_time: (Duration::from_mins(5), Duration::from_mins(6)),
        ..SandboxConfig::default()
    };
    config.openai.enqueued_tokens_max = Some(40);
    config.openai.enqueued_tokens_refusal = columnist::emulator::TokensRefusal::BadRequest;
    let world = world(config);
    let report = engine::submit(world.setup("submit"), world.provider()).await;
    let report = report.expect("submitted in part");
    assert_eq!(report.awaits, Some(Awaits::Queue), "{report:?}");
    assert!(report.unsent > 0 && report.open > 0, "{report:?}");
    let report = engine::collect(world.setup("collect"), world.provider(), true).await;
    assert_eq!(report.expect("collected").exit_code(), 0);
    assert_eq!(world.bill().total.requests_billed, 8);
}

/// What a run says that a person should know.
#[derive(Debug, Default)]
struct Warnings(Mutex<Vec<String>>);

impl Watch for Warnings {
    fn event(&self, event: &Event) {
        if let Event::Warning(text) = event {
            self.0.lock().expect("no panic").push(text.clone());
        }
    }
}

/// A job for OpenAI in two chunks, on paused time.
fn world(config: SandboxConfig) -> World {
    World::paused("openai", (8, 4), config)
}

async fn run(world: &World) -> (columnist::base::Result<engine::Report>, Vec<String>) {
    let warnings = Arc::new(Warnings::default());
    let setup = Setup {
        watch: Arc::<Warnings>::clone(&warnings),
        ..world.setup("run")
    };
    let ended = engine::run(setup, world.provider()).await;
    let said = warnings.0.lock().expect("no panic").clone();
    (ended, said)
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_not_waited_out_for_ever_and_the_next_run_sends_the_chunk() {
    let mut world = world(SandboxConfig::default());
    let sandbox = Arc::clone(&world.components.http);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let broken = axum::Router::new().fallback(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { StatusCode::BAD_GATEWAY }
    });
    world.components.http = Arc::new(RouterService::new(broken));
    let (ended, said) = run(&world).await;
    let error = ended.expect_err("nobody answers");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    // Each of the two chunks has eight tries at most, and the first that had them all ends it.
    let tries = calls.load(Ordering::Relaxed);
    assert!((8..=16).contains(&tries), "{tries} tries: {said:?}");
    // It is not said each time.
    let again = said
        .iter()
        .filter(|text| text.contains("; trying again in "));
    assert!((1..=4).contains(&again.count()), "{said:?}");

    world.components.http = sandbox;
    let (ended, said) = run(&world).await;
    let report = ended.expect("a run");
    assert_eq!(
        (report.exit_code(), report.awaits),
        (0, None::<Awaits>),
        "{said:?}"
    );
    assert_eq!(world.bill().total.requests_billed, 8);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_is_waited_for_and_told_once() {
    let mut config = SandboxConfig {
        batch_time: (Duration::from_mins(5), Duration::from_mins(6)),
        ..SandboxConfig::default()
    };
    // Room for one chunk.
    config.openai.enqueued_tokens_max = Some(40);
    config.openai.enqueued_tokens_refusal = columnist::emulator::TokensRefusal::BadRequest;
    let world = world(config);
    let (ended, said) = run(&world).await;
    assert_eq!(ended.expect("a run").exit_code(), 0, "{said:?}");
    let waits: Vec<_> = said
        .iter()
        .filter(|text| text.contains(" waits: "))
        .collect();
    assert_eq!(
        waits,
        ["chunk 1 waits: the provider's queue is full; trying again in 5 s"],
        "{said:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn odd_lines_of_a_batch_are_counted() {
    let faults = "duplicate=1";
    let world = world(SandboxConfig {
        faults: faults.parse().expect("faults"),
        ..SandboxConfig::default()
    });
    let (ended, _) = run(&world).await;
    let report = ended.expect("a run");
    assert_eq!(report.exit_code(), 0, "{report:?}");
    let odd = report.oddities;
    assert_eq!((odd.duplicates, odd.strangers, odd.broken), (8, 0, 0));
}
