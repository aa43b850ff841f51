//! What was wrong is mended, and the job goes on: credit, access, a key, another provider. Nothing that
//! was refused meanwhile counts against a row. On paused time.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use columnist::base::http::{
    HeaderMap, HeaderValue, HttpError, HttpRequest, HttpResponse, HttpService, Method, StatusCode,
};
use columnist::base::{ErrorKind, Result};
use columnist::engine::{self, Vendors};
use columnist::provider::Provider;
use columnist::spec::Job;
use columnist::work::RowStatus;
use futures::{StreamExt as _, stream};
use serde_json::json;

use crate::world::{VENDORS, World, taking};

/// A world of twenty rows in two chunks.
fn world(vendor: &'static str) -> World {
    World::paused(vendor, (20, 10), taking(20, 40))
}

/// What stands in place of the provider's answer, once.
type Instead = (Method, fn(&str) -> bool, StatusCode, String);

/// A network on which one call is answered by somebody else, and whose keys are all one account's.
#[derive(Debug)]
struct Between {
    inner: Arc<dyn HttpService>,
    instead: Mutex<Option<Instead>>,
}

impl Between {
    fn put_between(world: &mut World, instead: Option<Instead>) {
        world.components.http = Arc::new(Between {
            inner: Arc::clone(&world.components.http),
            instead: Mutex::new(instead),
        });
    }
}

#[async_trait]
impl HttpService for Between {
    async fn send(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let meant =
            |instead: &mut Instead| instead.0 == request.method && (instead.1)(request.url.path());
        let taken = self.instead.lock().expect("no panic").take_if(meant);
        if let Some((_, _, status, body)) = taken {
            let body = stream::once(async { Ok(body.into()) }).boxed();
            return Ok(HttpResponse {
                status,
                headers: HeaderMap::default(),
                body,
            });
        }
        for (name, key) in [("authorization", "Bearer sk-one"), ("x-api-key", "sk-one")] {
            if request.headers.contains_key(name) {
                request.headers.insert(name, HeaderValue::from_static(key));
            }
        }
        self.inner.send(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_fails_for_want_of_money_is_no_verdict_on_its_rows() {
    let mut world = world("openai");
    let failed = json!({
        "id": "batch_1", "object": "batch", "status": "failed",
        "errors": { "object": "list", "data": [
            { "code": "billing_hard_limit_reached", "message": "no credit", "line": null },
        ]},
    });
    let is_batch = |path: &str| path.contains("/batches/");
    let instead = (
        Method::GET,
        is_batch as fn(&str) -> bool,
        StatusCode::OK,
        failed.to_string(),
    );
    Between::put_between(&mut world, Some(instead));
    let error = world.run().await.expect_err("no credit");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("credit"))
    );
    let report = world.run().await.expect("there is credit again");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_was_refused_for_good_is_sent_again_by_the_next_run() {
    for vendor in VENDORS {
        let mut world = world(vendor);
        let is_create = |path: &str| path.ends_with("/batches");
        let refusal = json!({ "error": { "type": "invalid_request_error", "message": "no" } });
        let instead = (
            Method::POST,
            is_create as fn(&str) -> bool,
            StatusCode::BAD_REQUEST,
            refusal.to_string(),
        );
        Between::put_between(&mut world, Some(instead));
        let error = world.run().await.expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{vendor}: {error:?}");
        let report = world.run().await.expect("a run");
        assert!(
            report.published && report.exit_code() == 0,
            "{vendor}: {report:?}"
        );
        assert_eq!(world.bill().billed_more_than_once, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_failed_is_tried_again_by_the_next_run() {
    let mut world = world("openai");
    // That it is out of range is told only when the batch ends.
    world.job["model"]["temperature"] = 9.0.into();
    for runs in 1..=2 {
        let error = world.run().await.expect_err("too hot");
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        assert_eq!(
            world.bill().total.batches_created,
            runs,
            "tried, and nothing else sent"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_changed_brings_home_what_the_old_one_sent() {
    for vendor in VENDORS {
        let mut world = world(vendor);
        Between::put_between(&mut world, None);
        let submitted = engine::submit(
            world.setup("submit"),
            world.provider_as(vendor, "old-key", None),
        );
        submitted.await.expect("submitted");
        let report = engine::run(
            world.setup("run"),
            world.provider_as(vendor, "new-key", None),
        )
        .await;
        let report = report.expect("a run");
        assert!(
            report.published && report.exit_code() == 0,
            "{vendor}: {report:?}"
        );
        let bill = world.bill();
        assert_eq!(
            (bill.total.requests_billed, bill.billed_more_than_once),
            (20, 0)
        );
    }
}

/// Opens whatever vendor a job names.
#[derive(Debug)]
struct Both {
    openai: Arc<dyn Provider>,
    anthropic: Arc<dyn Provider>,
}

impl Vendors for Both {
    fn open(&self, job: &Job) -> Result<Arc<dyn Provider>> {
        Ok(Arc::clone(match job.model.provider.as_str() {
            "openai" => &self.openai,
            _ => &self.anthropic,
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_provider_was_sent_is_brought_home_before_the_new_plan() {
    let mut world = world("openai");
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("submitted");
    let both = Both {
        openai: world.provider_as("openai", "sk-test", None),
        anthropic: world.provider_as("anthropic", "sk-test", None),
    };
    let anthropic = Arc::clone(&both.anthropic);
    world.job["model"]["provider"] = "anthropic".into();
    world.job["model"]["model"] = "claude-haiku-4-5".into();
    let mut setup = world.setup("run");
    setup.vendors = Some(Arc::new(both));
    let report = engine::run(setup, anthropic).await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
    let status = engine::status(world.setup("status"))
        .await
        .expect("a status");
    assert_eq!(status.report.open, 0);
    let bill = world.bill();
    assert_eq!(bill.endpoints.len(), 2, "both were asked: {bill:?}");
    assert_eq!(bill.total.requests_billed, 40);
}
