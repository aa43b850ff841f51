//! Money on every path: credit that ends in mid-batch, batches that fail without a reason, answers that
//! nobody's id is on, and what it is all said to cost. On paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use columnist::base::http::{
    HttpError, HttpRequest, HttpResponse, HttpService, Method, RequestBody,
};
use columnist::base::{Clock, Error, ErrorKind};
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Setup, Wanted};
use columnist::ledger::action::Action;
use columnist::work::progress::{Event, Watch};
use columnist::work::{RowStatus, StatusCounts};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::world::{VENDORS, World, batches, facts, read_table, taking};

/// What happens to the whole body of an answer to `GET` of a path.
type Change = fn(&str, &str) -> Option<String>;

/// A network that changes what the vendor answers to questions, while it is told to.
#[derive(Debug)]
struct Changing {
    inner: Arc<dyn HttpService>,
    change: Arc<Mutex<Option<Change>>>,
}

impl Changing {
    /// Puts it between, and returns what turns it off.
    fn put_between(world: &mut World, change: Change) -> Arc<Mutex<Option<Change>>> {
        let change = Arc::new(Mutex::new(Some(change)));
        world.components.http = Arc::new(Changing {
            inner: Arc::clone(&world.components.http),
            change: Arc::clone(&change),
        });
        change
    }
}

#[async_trait]
impl HttpService for Changing {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let change = *self.change.lock().expect("no panic");
        let path = request.url.path().to_owned();
        let asks = request.method == Method::GET;
        let mut response = self.inner.send(request).await?;
        let Some(change) = change.filter(|_| asks && response.status.is_success()) else {
            return Ok(response);
        };
        let body: Vec<_> = response.body.try_collect().await.expect("a body");
        let body = String::from_utf8(body.concat()).expect("text");
        let body = change(&path, &body).unwrap_or(body);
        response.headers.remove("content-length");
        response.body = stream::iter([Ok(body.into())]).boxed();
        Ok(response)
    }
}

fn is_results(path: &str) -> bool {
    path.ends_with("/content") || path.ends_with("/results")
}

/// Every line of results without its id.
fn without_ids(path: &str, body: &str) -> Option<String> {
    let change = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line");
        line["custom_id"] = serde_json::Value::Null;
        format!("{line}\n")
    };
    is_results(path).then(|| body.lines().map(change).collect())
}

/// Every line of results cut in its middle.
fn cut(path: &str, body: &str) -> Option<String> {
    let change = |line: &str| format!("{}\n", &line[..line.len() / 2]);
    is_results(path).then(|| body.lines().map(change).collect())
}

/// Every line of results under one id that nobody sent.
fn under_another_id(path: &str, body: &str) -> Option<String> {
    let change = |line: &str| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line");
        line["custom_id"] = "request-1".into();
        format!("{line}\n")
    };
    is_results(path).then(|| body.lines().map(change).collect())
}

fn hint(error: &Error) -> &str {
    error.hint_text().unwrap_or_default()
}

async fn status(world: &World) -> engine::StatusReport {
    let status = engine::status(world.setup("status")).await;
    status.expect("a status")
}

#[tokio::test(start_paused = true)]
async fn answers_that_no_line_says_whose_they_are_are_not_paid_again_unless_a_person_says_so() {
    for vendor in VENDORS {
        for change in [without_ids as Change, cut, under_another_id] {
            let mut world = World::paused(vendor, (20, 20), taking(5, 10));
            let change = Changing::put_between(&mut world, change);
            for _ in 0..2 {
                let error = world.run().await.expect_err("whose are they?");
                assert_eq!(error.kind(), ErrorKind::Refused, "{vendor}: {error:?}");
                assert!(hint(&error).contains("on_ambiguous=resubmit"), "{error:?}");
                assert_eq!(world.bill().total.requests_accepted, 20, "{vendor}");
            }
            // They may still come as they should.
            *change.lock().expect("no panic") = None;
            let report = world.run().await.expect("a run");
            assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
            assert_eq!(world.bill().total.requests_billed, 20, "{vendor}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_may_have_answers_that_are_nobodys_sent_again() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (20, 20), taking(5, 10));
        let change = Changing::put_between(&mut world, without_ids);
        world.run().await.expect_err("whose are they?");
        world.job["ledger"]["on_ambiguous"] = "resubmit".into();
        let watch = Arc::new(AfterLanding(Mutex::new(Some(change))));
        let setup = Setup {
            watch,
            ..world.setup("run")
        };
        let report = engine::run(setup, world.provider()).await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
        assert_eq!(
            world.bill().total.requests_billed,
            40,
            "{vendor}: as was said"
        );
    }
}

/// Lets the vendor answer as it does, once something has landed.
#[derive(Debug)]
struct AfterLanding(Mutex<Option<Arc<Mutex<Option<Change>>>>>);

impl Watch for AfterLanding {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Landed { .. })
            && let Some(change) = self.0.lock().expect("no panic").take()
        {
            *change.lock().expect("no panic") = None;
        }
    }
}

/// A server that counts its failed requests among the completed ones.
fn counting_all_as_completed(path: &str, body: &str) -> Option<String> {
    let mut batch: serde_json::Value = serde_json::from_str(body).ok()?;
    let counts = batch
        .get_mut("request_counts")
        .filter(|_| path.contains("/batches/"))?;
    counts["completed"] = counts["total"].clone();
    counts["failed"] = 0.into();
    Some(batch.to_string())
}

#[tokio::test(start_paused = true)]
async fn failures_that_a_server_counts_as_completed_are_not_taken_for_lost_answers() {
    let mut world = World::paused("openai", (40, 40), {
        let faults = "errored=0.4".parse().expect("faults");
        SandboxConfig {
            faults,
            ..taking(5, 10)
        }
    });
    world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
    Changing::put_between(&mut world, counting_all_as_completed);
    let report = world.run().await.expect("a run");
    assert!(report.published, "{report:?}");
    assert!(report.batches.len() > 1, "what failed was sent again");
    assert_eq!(world.bill().billed_more_than_once, 0);
}

/// A batch that failed, and nothing says why.
fn failed_without_a_reason(path: &str, body: &str) -> Option<String> {
    let mut batch: serde_json::Value = serde_json::from_str(body).ok()?;
    batch.get("status").filter(|_| path.contains("/batches/"))?;
    batch["status"] = "failed".into();
    batch["errors"] = serde_json::Value::Null;
    batch["output_file_id"] = serde_json::Value::Null;
    batch["error_file_id"] = serde_json::Value::Null;
    batch["request_counts"] = serde_json::json!({ "total": 0, "completed": 0, "failed": 0 });
    Some(batch.to_string())
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_failed_without_a_reason_is_sent_again_within_the_limit_and_by_a_retry() {
    let mut world = World::paused("openai", (20, 20), taking(5, 10));
    world.job["budget"]["max_failed"] = serde_json::json!({ "rows": 20 });
    let change = Changing::put_between(&mut world, failed_without_a_reason);
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Failed), 20, "{report:?}");
    assert_eq!(report.batches.len(), 3, "three times in all");
    let table = read_table(&world.path("out.parquet"));
    let why = table["label_error"][0].as_deref().expect("a reason");
    assert!(why.contains("does not say why"), "{why}");
    assert!(world.run().await.expect("a run").unchanged);

    *change.lock().expect("no panic") = None;
    let asked = engine::retry(world.setup("retry"), Wanted::default()).await;
    assert_eq!(asked.expect("asked for").rows, 20);
    let plan = engine::plan(world.setup("plan"), world.provider()).await;
    let plan = plan.expect("a plan");
    assert_eq!(plan.requests, 20);
    let why = |note: &String| note.contains("a retry was asked for");
    assert!(plan.notes.iter().any(why), "{:?}", plan.notes);
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
    assert!(world.run().await.expect("a run").unchanged);
}

/// The lines of every third request as they are when credit has run out.
fn out_of_credit(path: &str, body: &str) -> Option<String> {
    let quota = "You exceeded your current quota, please check your plan and billing details.";
    let credit = "Your credit balance is too low to access the Anthropic API.";
    let change = |(n, line): (usize, &str)| {
        let mut line: serde_json::Value = serde_json::from_str(line).expect("a line");
        if n % 3 == 0 && path.ends_with("/content") {
            line["response"] = serde_json::json!({ "status_code": 429, "request_id": "r", "body": {
                "error": { "type": "insufficient_quota", "code": "insufficient_quota", "message": quota }
            }});
        } else if n % 3 == 0 {
            line["result"] = serde_json::json!({ "type": "errored", "error": { "type": "error",
                "error": { "type": "invalid_request_error", "message": credit }}});
        }
        format!("{line}\n")
    };
    if is_results(path) {
        return Some(body.lines().enumerate().map(change).collect());
    }
    // The counts are those of the lines.
    let mut batch: serde_json::Value = serde_json::from_str(body).ok()?;
    let counts = batch.get_mut("request_counts")?;
    for (good, bad) in [("completed", "failed"), ("succeeded", "errored")] {
        let Some(all) = counts[good].as_u64().filter(|all| *all > 0) else {
            continue;
        };
        counts[good] = (all - all.div_ceil(3)).into();
        counts[bad] = all.div_ceil(3).into();
    }
    Some(batch.to_string())
}

#[tokio::test(start_paused = true)]
async fn credit_that_ends_in_mid_batch_ends_the_run_and_the_next_one_sends_the_rest() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (60, 10), taking(5, 10));
        let change = Changing::put_between(&mut world, out_of_credit);
        let mut runs = 0;
        // Four times, which is more often than a request is sent in all.
        while runs < 4 {
            let before = batches(&world);
            let error = world.run().await.expect_err("no credit");
            assert_eq!(error.kind(), ErrorKind::Refused, "{vendor}: {error:?}");
            assert!(hint(&error).contains("credit"), "{error:?}");
            let sent = batches(&world) - before;
            assert!((1..=6).contains(&sent), "{vendor}: {sent} in one run");
            assert!(
                !world.path("out.parquet").exists(),
                "nothing is said of rows that wait"
            );
            runs += 1;
        }
        assert_eq!(status(&world).await.report.open, 0, "{vendor}");
        *change.lock().expect("no panic") = None;
        let report = world.run().await.expect("a run after the top-up");
        assert!(
            report.published && report.exit_code() == 0,
            "{vendor}: {report:?}"
        );
        assert_eq!(report.counts.of(RowStatus::Succeeded), 60, "{vendor}");
        assert!(world.run().await.expect("a run").unchanged);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_before_credit_ended_is_published_if_a_person_wants_it() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (60, 10), taking(5, 10));
        let change = Changing::put_between(&mut world, out_of_credit);
        let setup = Setup {
            publish_partial: true,
            ..world.setup("run")
        };
        let report = engine::run(setup, world.provider()).await.expect("a run");
        assert_eq!(
            (report.published, report.exit_code()),
            (true, 7),
            "{report:?}"
        );
        let counts = report.counts;
        assert!(counts.of(RowStatus::Succeeded) > 0, "{counts:?}");
        assert!(counts.of(RowStatus::Pending) > 0, "{counts:?}");
        *change.lock().expect("no panic") = None;
        let report = world.run().await.expect("a run after the top-up");
        assert_eq!(
            report.counts.of(RowStatus::Succeeded),
            60,
            "{vendor}: {report:?}"
        );
    }
}

/// What a plan says that a job costs, and what its run says that it cost: known or not, and for free.
async fn classes(world: &World, service: Option<&str>) -> [(bool, bool); 2] {
    let provider = || world.provider_as(world.vendor, "sk-test", service);
    let class = |micros: Option<u64>| (micros.is_some(), micros == Some(0));
    let plan = engine::plan(world.setup("plan"), provider()).await;
    let planned = class(plan.expect("a plan").expected_micros);
    let report = engine::run(world.setup("run"), provider()).await;
    [planned, class(report.expect("a run").cost_micros)]
}

#[tokio::test(start_paused = true)]
async fn plan_and_run_agree_on_what_a_service_costs() {
    let (unknown, free, paid) = ((false, false), (true, true), (true, false));
    for vendor in VENDORS {
        for (service, model, expect) in [
            (Some(vendor), None, paid),
            // A server of one's own, whatever dialect it speaks and whatever it calls its model.
            (None, None, unknown),
            (Some("lab"), None, unknown),
            (Some("sandbox"), None, free),
            (Some(vendor), Some("somebodys-own"), unknown),
        ] {
            let mut world = World::paused(vendor, (20, 20), taking(1, 2));
            if let Some(model) = model {
                world.job["model"]["model"] = model.into();
            }
            let classes = classes(&world, service).await;
            assert_eq!(classes, [expect; 2], "{vendor}, {service:?}, {model:?}");
        }
    }
}

/// Tells what a run says.
#[derive(Debug, Default)]
struct Listening(Mutex<Vec<String>>);

impl Watch for Listening {
    fn event(&self, event: &Event) {
        if let Event::Warning(text) = event {
            self.0.lock().expect("no panic").push(text.clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_named_wait_is_kept_to_and_waits_run_side_by_side() {
    for vendor in VENDORS {
        let config = SandboxConfig {
            batch_time: (Duration::from_secs(1), Duration::from_secs(1)),
            faults: "429=1/3".parse().expect("faults"),
            ..SandboxConfig::default()
        };
        let mut world = World::paused(vendor, (400, 20), config);
        world.job["model"]["poll_min"] = serde_json::json!({ "secs": 1, "nanos": 0 });
        let began = world.components.clock.now();
        let report = world.run().await.expect("a run");
        let took = (world.components.clock.now() - began).num_seconds();
        assert_eq!(report.counts.of(RowStatus::Succeeded), 400, "{report:?}");
        assert_eq!(world.bill().billed_more_than_once, 0);
        assert!(took < 60, "{vendor}: twenty chunks took {took} s");
    }
}

/// A network that refuses to make batches for a while, and names no time.
#[derive(Debug)]
struct Refusing {
    inner: Arc<dyn HttpService>,
    clock: Arc<dyn Clock>,
    until: columnist::base::Time,
}

#[async_trait]
impl HttpService for Refusing {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let makes = request.method == Method::POST && request.url.path().ends_with("/batches");
        if !makes || self.clock.now() >= self.until {
            return self.inner.send(request).await;
        }
        if let RequestBody::Stream { stream, .. } = request.body {
            let _: Vec<_> = stream.try_collect().await.expect("a body");
        }
        let body = r#"{"error":{"type":"rate_limit_error","message":"slow down"}}"#;
        Ok(HttpResponse {
            status: columnist::base::http::StatusCode::TOO_MANY_REQUESTS,
            headers: columnist::base::http::HeaderMap::default(),
            body: stream::once(async { Ok(body.into()) }).boxed(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_repeats_is_said_at_growing_intervals() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (200, 10), taking(1, 2));
        let clock = Arc::clone(&world.components.clock);
        world.components.http = Arc::new(Refusing {
            inner: Arc::clone(&world.components.http),
            until: clock.now() + Duration::from_hours(2),
            clock,
        });
        let watch = Arc::new(Listening::default());
        let setup = Setup {
            watch: Arc::clone(&watch) as Arc<dyn Watch>,
            ..world.setup("run")
        };
        let report = engine::run(setup, world.provider()).await.expect("a run");
        assert!(report.published, "{report:?}");
        let said = watch.0.lock().expect("no panic").clone();
        assert!((2..=9).contains(&said.len()), "{vendor}: {said:#?}");
        assert!(said[0].contains("trying again in"), "{said:#?}");
    }
}

/// Results without the lines of every fourth request, in a batch of which others expired.
fn with_gaps(path: &str, body: &str) -> Option<String> {
    let lines = body.lines().enumerate();
    let kept = lines.filter(|(n, line)| n % 4 > 0 || !line.contains("\"errored\""));
    is_results(path).then(|| {
        let kept: Vec<&str> = kept.map(|(_, line)| line).collect();
        kept.join("\n") + "\n"
    })
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_line_is_missing_where_every_request_has_one() {
    let faults = "expire=0.3,errored=0.5".parse().expect("faults");
    let config = SandboxConfig {
        faults,
        ..taking(5, 10)
    };
    let mut world = World::paused("anthropic", (200, 200), config);
    world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
    Changing::put_between(&mut world, with_gaps);
    world.run().await.expect("a run");
    let mut counts = StatusCounts::default();
    for fact in facts(&world).await {
        if let Action::Landed(landed) = fact {
            counts.merge(&landed.counts);
        }
    }
    assert!(counts.of(RowStatus::Missing) > 0, "{counts:?}");
    assert!(counts.of(RowStatus::Expired) > 0, "{counts:?}");
}
