//! What is open comes home, whatever has become of the job and its source since.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use columnist::base::http::{
    HttpError, HttpRequest, HttpResponse, HttpService, Method, RouterService,
};
use columnist::base::{ErrorKind, Result};
use columnist::engine::{self, Report, Setup};
use columnist::work::RowStatus;
use columnist::work::progress::{Event, Watch};
use futures::{StreamExt, TryStreamExt};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::world::{VENDORS, World, read_table, taking, write_rows, write_table};

fn bodies() -> Vec<Option<String>> {
    (0..20).map(|n| Some(format!("ticket {n}"))).collect()
}

async fn call(world: &World, command: &'static str) -> Result<Report> {
    let (setup, provider) = (world.setup(command), world.provider());
    match command {
        "run" => engine::run(setup, provider).await,
        "submit" => engine::submit(setup, provider).await,
        _ => engine::collect(setup, provider, false).await,
    }
}

/// Calls `command`, which must be refused each time, until nothing is open any more.
async fn refused_until_landed(world: &World, command: &'static str, what: &str) {
    let batches = world.bill().total.batches_created;
    for _ in 0..1000 {
        let error = call(world, command).await.expect_err("a wrong job");
        assert_eq!(
            error.kind(),
            ErrorKind::Invalid,
            "{command}, {what}: {error:?}"
        );
        let status = engine::status(world.setup("status")).await;
        let status = status.expect("a status");
        if status.report.open == 0 {
            assert_eq!(status.landed, 20, "{command}, {what}");
            assert_eq!(world.bill().total.batches_created, batches);
            return;
        }
        let clock = &world.components.clock;
        clock.sleep(Duration::from_millis(10)).await;
    }
    panic!("{command}, {what}: nothing landed");
}

fn check_labels(world: &World) {
    let table = read_table(&world.path("out.parquet"));
    assert_eq!(table["body"].len(), 20);
    for (body, label) in table["body"].iter().zip(&table["label"]) {
        let body = body.as_deref().expect("a body");
        let answer = world.answer(&format!("Label this: {body}"));
        let label = label.as_deref().expect("an answer");
        assert!(label.ends_with(&answer), "{body}: {label}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_lands_before_it_is_said_what_is_wrong() {
    type Spoil = fn(&mut World);
    let spoils: [(&str, Spoil); 4] = [
        ("the table is gone", |world| {
            std::fs::remove_file(world.path("in.parquet")).expect("removed");
        }),
        ("the template names no column", |world| {
            world.job["prompt"]["user"] = "{{ nothing }}".into();
        }),
        ("the answer's column is taken", |world| {
            world.job["answer"]["column"] = "body".into();
        }),
        ("the output is somebody else's", |world| {
            std::fs::write(world.path("out.parquet"), "mine").expect("written");
        }),
    ];
    for (vendor, (what, spoil)) in VENDORS.into_iter().cycle().zip(spoils) {
        for command in ["run", "submit"] {
            let mut world = World::new(vendor, "");
            write_table(&world.path("in.parquet"), &bodies(), 16);
            call(&world, "submit").await.expect("submitted");
            let job = world.job.clone();
            spoil(&mut world);
            refused_until_landed(&world, command, what).await;

            // Mended, the job has all its answers.
            world.job = job;
            write_table(&world.path("in.parquet"), &bodies(), 16);
            world.job["output"]["overwrite"] = true.into();
            let report = world.run().await.expect("a run");
            assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{what}");
            check_labels(&world);
            assert_eq!(world.bill().total.requests_accepted, 20, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_lands_what_is_open_of_a_table_that_is_gone() {
    let world = World::new("openai", "");
    write_table(&world.path("in.parquet"), &bodies(), 16);
    call(&world, "submit").await.expect("submitted");
    std::fs::remove_file(world.path("in.parquet")).expect("removed");
    refused_until_landed(&world, "collect", "the table is gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_publishes_a_snapshot_whose_source_is_gone() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        let path = world.path("in.csv");
        world.job["source"]["input"]["table"] = path.display().to_string().into();
        world.job["source"]["filter"] = "id < 100".into();
        let rows = (0..20).map(|n| format!("{n},ticket {n}\n"));
        let text = format!("id,body\n{}", rows.collect::<String>());
        std::fs::write(&path, &text).expect("written");
        call(&world, "submit").await.expect("submitted");
        std::fs::rename(&path, world.path("moved.csv")).expect("moved");
        let (setup, provider) = (world.setup("collect"), world.provider());
        let report = engine::collect(setup, provider, true).await;
        let report = report.expect("collected");
        assert!(report.published, "{report:?}");
        check_labels(&world);
        // The source that is back is the one that was planned: there is nothing to do.
        std::fs::rename(world.path("moved.csv"), &path).expect("moved back");
        let report = world.run().await.expect("a run");
        assert!(report.unchanged, "{report:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_leaves_the_output_alone_where_files_have_come_to_the_source() {
    let mut world = World::new("openai", "");
    std::fs::create_dir(world.path("in")).expect("made");
    world.job["source"]["input"]["table"] = world.path("in/").display().to_string().into();
    world.job["output"]["path"] = world.path("out/").display().to_string().into();
    write_rows(&world.path("in/a.parquet"), 0, &bodies(), 16);
    write_rows(&world.path("in/b.parquet"), 100, &bodies(), 16);
    world.run().await.expect("a run");
    let old = read_table(&world.path("out/b.parquet"));
    world.job["prompt"]["user"] = "Tag this: {{ body }}".into();
    call(&world, "submit").await.expect("submitted");
    write_rows(&world.path("in/aa.parquet"), 200, &bodies(), 16);
    let (setup, provider) = (world.setup("collect"), world.provider());
    let error = engine::collect(setup, provider, true).await;
    let error = error.expect_err("another table");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    assert!(error.to_string().contains("the source changed"), "{error}");
    assert!(!world.path("out/aa.parquet").exists());
    assert_eq!(read_table(&world.path("out/b.parquet")), old);
    let report = world.run().await.expect("a run");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 60, "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_planned_for_one_service_is_not_sent_to_another() {
    let mut world = World::paused("openai", (20, 10), taking(5, 6));
    let sandbox = Arc::clone(&world.components.http);
    let broken = axum::Router::new().fallback(|| async { StatusCode::BAD_GATEWAY });
    world.components.http = Arc::new(RouterService::new(broken));
    call(&world, "submit").await.expect("pending");
    world.components.http = sandbox;
    let other = world.provider_as(world.vendor, "sk-test", Some("lab"));
    let report = engine::collect(world.setup("collect"), other, true).await;
    let report = report.expect("pending");
    assert_eq!(
        (report.exit_code(), report.published),
        (75, false),
        "{report:?}"
    );
    assert_eq!(world.bill().total.requests_accepted, 0);
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    check_labels(&world);
}

/// OpenAI as it is while a batch's files have not come, and as if nothing was answered, if it is to be.
#[derive(Debug)]
struct WithoutFiles(Arc<dyn HttpService>, bool);

#[async_trait]
impl HttpService for WithoutFiles {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_batch = request.method == Method::GET && request.url.path().contains("/batches/");
        let mut response = self.0.send(request).await?;
        if is_batch {
            let body: Vec<_> = response.body.try_collect().await.expect("a body");
            let mut batch: Value = serde_json::from_slice(&body.concat()).expect("a batch");
            batch["output_file_id"] = Value::Null;
            batch["error_file_id"] = Value::Null;
            if self.1 {
                batch["request_counts"]["completed"] = 0.into();
            }
            let body = Ok(batch.to_string().into());
            response.headers.remove("content-length");
            response.body = futures::stream::iter([body]).boxed();
        }
        Ok(response)
    }
}

#[tokio::test(start_paused = true)]
async fn files_that_do_not_come_are_not_awaited_by_each_process_anew() {
    for is_unanswered in [true, false] {
        let mut world = World::paused("openai", (20, 10), taking(5, 6));
        call(&world, "submit").await.expect("submitted");
        let clock = Arc::clone(&world.components.clock);
        let sandbox = Arc::clone(&world.components.http);
        let without = WithoutFiles(Arc::clone(&sandbox), is_unanswered);
        world.components.http = Arc::new(without);
        let landed = async |world: &World| {
            let status = engine::status(world.setup("status")).await;
            status.expect("a status").landed
        };
        clock.sleep(Duration::from_mins(30)).await;
        call(&world, "collect").await.expect("pending");
        assert_eq!(landed(&world).await, 0, "they may still come");
        clock.sleep(Duration::from_hours(1)).await;
        let collected = call(&world, "collect").await;
        if is_unanswered {
            collected.expect("pending");
            assert_eq!(landed(&world).await, 20, "nothing was answered");
            continue;
        }
        // What was paid is paid again on a person's word alone; and it may still come.
        let error = collected.expect_err("paid, and not there");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("on_ambiguous=resubmit"), "{hint}");
        world.components.http = sandbox;
        let report = world.run().await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
        assert_eq!(world.bill().total.requests_billed, 20);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_came_late_is_made_again() {
    let mut world = World::new("anthropic", "");
    write_table(&world.path("in.parquet"), &bodies(), 16);
    world.run().await.expect("a run");
    std::fs::copy(world.path("out.parquet"), world.path("old.parquet")).expect("copied");
    let first = world.job.clone();
    world.job["prompt"]["user"] = "Tag this: {{ body }}".into();
    world.run().await.expect("a run");
    let new = read_table(&world.path("out.parquet"));
    // Somebody who had lost the job to us was slow.
    std::fs::rename(world.path("old.parquet"), world.path("out.parquet")).expect("moved");
    let report = world.run().await.expect("a run");
    assert!(report.published && !report.unchanged, "{report:?}");
    assert_eq!(read_table(&world.path("out.parquet")), new);
    assert_eq!(world.bill().total.requests_accepted, 40);
    assert!(world.run().await.expect("a run").unchanged);
    world.job = first;
    world.run().await.expect("a run");
    check_labels(&world);
}

/// Adds rows to a table as soon as a batch has landed.
#[derive(Debug)]
struct Growing(Mutex<Option<std::path::PathBuf>>);

impl Watch for Growing {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Landed { .. })
            && let Some(path) = self.0.lock().expect("no panic").take()
        {
            let more = (20..25).map(|n| Some(format!("ticket {n}")));
            let all: Vec<_> = bodies().into_iter().chain(more).collect();
            write_table(&path, &all, 16);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_were_put_off_are_sent_by_a_run_that_does_not_put_them_off() {
    for vendor in VENDORS {
        let world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(), 16);
        let run = async |no_follow: bool| {
            let grows = (!no_follow).then_some(None);
            let path = grows.unwrap_or_else(|| Some(world.path("in.parquet")));
            let watch = Arc::new(Growing(Mutex::new(path)));
            let setup = Setup {
                no_follow,
                watch,
                ..world.setup("run")
            };
            engine::run(setup, world.provider()).await.expect("a run")
        };
        let report = run(true).await;
        let counts = (RowStatus::Succeeded, RowStatus::Deferred);
        let of = |report: &Report| (report.counts.of(counts.0), report.counts.of(counts.1));
        assert_eq!(of(&report), (20, 5), "{report:?}");
        assert!(run(true).await.unchanged, "{vendor}");
        assert_eq!(world.bill().total.requests_accepted, 20);
        let report = run(false).await;
        assert_eq!(of(&report), (25, 0), "{report:?}");
        assert_eq!(world.bill().total.requests_accepted, 25);
        assert!(run(false).await.unchanged, "{vendor}");
    }
}

/// Stops a run as soon as some rows are planned.
#[derive(Debug)]
struct Stopping(CancellationToken);

impl Watch for Stopping {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Planned { .. }) {
            self.0.cancel();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collect_does_not_go_on_planning_another_table() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        world.job["model"]["max_requests_per_batch"] = 100.into();
        let bodies: Vec<_> = (0..4000).map(|n| Some(format!("ticket {n}"))).collect();
        write_table(&world.path("in.parquet"), &bodies, 4000);
        let setup = world.setup("submit");
        let watch = Arc::new(Stopping(setup.interrupt.clone()));
        let setup = Setup { watch, ..setup };
        let stopped = engine::submit(setup, world.provider()).await;
        stopped.expect("stopped");
        let status = engine::status(world.setup("status")).await;
        assert!(!status.expect("a status").planned, "{vendor}");
        let accepted = world.bill().total.requests_accepted;

        let mut more = bodies.clone();
        more.insert(0, Some("another".to_owned()));
        write_table(&world.path("in.parquet"), &more, 4000);
        for _ in 0..2 {
            let error = call(&world, "collect").await.expect_err("another table");
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
        }
        assert_eq!(world.bill().total.requests_accepted, accepted, "{vendor}");
        let report = world.run().await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 4001, "{report:?}");
        let bill = world.bill();
        assert_eq!(bill.billed_more_than_once, 0, "{vendor}");
    }
}
