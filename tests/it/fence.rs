//! What a run does when it is not alone in time: its machine slept, it is asked to stop, or it died
//! between making the output visible and saying so. On paused time.

use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use columnist::base::http::{
    HttpError, HttpRequest, HttpResponse, HttpService, Method, RequestBody,
};
use columnist::base::{Crash, CrashPoint, Error, Stores, Uptime};
use columnist::engine::{self, Setup};
use columnist::work::RowStatus;
use columnist::work::progress::{Event, Watch};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::world::{VENDORS, World, taking};

/// A world on paused time, of twenty rows in two chunks, whose machine has slept for so many seconds.
fn world(vendor: &'static str) -> (World, Arc<Slept>) {
    let mut world = World::paused(vendor, (20, 10), taking(20, 40));
    let components = &mut world.components;
    let slept = Arc::new(Slept {
        uptime: Arc::clone(&components.uptime),
        seconds: AtomicU64::new(0),
    });
    components.uptime = Arc::<Slept>::clone(&slept);
    let stores = Stores::default().with_clock(Arc::clone(&components.clock));
    components.stores = Arc::new(stores);
    (world, slept)
}

/// A clock that counts sleep.
#[derive(Debug)]
struct Slept {
    uptime: Arc<dyn Uptime>,
    seconds: AtomicU64,
}

impl Uptime for Slept {
    fn uptime(&self) -> Duration {
        self.uptime.uptime() + Duration::from_secs(self.seconds.load(Ordering::Acquire))
    }
}

/// A network on which the machine falls asleep once, with a call that makes a batch on its way.
#[derive(Debug)]
struct Sleepy {
    inner: Arc<dyn HttpService>,
    slept: Arc<Slept>,
    asleep: AtomicBool,
    /// Whether the call's body came to its end afterwards.
    whole: Mutex<Option<bool>>,
}

#[async_trait]
impl HttpService for Sleepy {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let makes = request.method == Method::POST && request.url.path().ends_with("/batches");
        if !makes || self.asleep.swap(true, Ordering::AcqRel) {
            return self.inner.send(request).await;
        }
        let RequestBody::Stream { stream, .. } = request.body else {
            panic!("the bytes of a billable call have to pass a gate");
        };
        self.slept.seconds.store(50, Ordering::Release);
        let body: Result<Vec<_>, _> = stream.try_collect().await;
        *self.whole.lock().expect("no panic") = Some(body.is_ok());
        let lost = Error::unavailable("the connection was cut");
        Err(HttpError::Lost(lost.because(body.expect_err("held back"))))
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_bytes_of_a_billable_call_leave_only_under_a_lease_that_lasts() {
    for vendor in VENDORS {
        let (mut world, slept) = world(vendor);
        world.job["ledger"]["path"] = "memory://lake/_columnist/triage".into();
        let network = Arc::new(Sleepy {
            inner: Arc::clone(&world.components.http),
            slept,
            asleep: AtomicBool::new(false),
            whole: Mutex::default(),
        });
        world.components.http = Arc::<Sleepy>::clone(&network);
        let report = world.run().await.expect("a run");
        assert_eq!(
            *network.whole.lock().expect("no panic"),
            Some(false),
            "{vendor}"
        );
        // Nothing was taken, and that is known: no time is lost in looking for it.
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        assert_eq!(world.bill().total.batches_created, 2);
        let status = engine::status(world.setup("status"))
            .await
            .expect("a status");
        let phases: Vec<_> = status.batches.iter().map(|line| line.phase).collect();
        assert!(phases.contains(&"rejected for now"), "{vendor}: {phases:?}");
        assert!(!phases.contains(&"never accepted"), "{vendor}: {phases:?}");
    }
}

/// Asks the run to stop once both chunks are sent.
#[derive(Debug)]
struct StopAfter {
    submitted: AtomicU64,
    interrupt: CancellationToken,
}

impl Watch for StopAfter {
    fn event(&self, event: &Event) {
        let submitted = matches!(event, Event::Submitted { .. });
        if submitted && self.submitted.fetch_add(1, Ordering::AcqRel) == 1 {
            self.interrupt.cancel();
        }
    }
}

fn stopping(world: &World) -> Setup {
    let interrupt = CancellationToken::new();
    let watch = StopAfter {
        submitted: AtomicU64::new(0),
        interrupt: interrupt.clone(),
    };
    Setup {
        watch: Arc::new(watch),
        interrupt,
        ..world.setup("run")
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_leaves_batches_running() {
    for vendor in VENDORS {
        let (world, _) = world(vendor);
        let report = engine::run(stopping(&world), world.provider()).await;
        let report = report.expect("a run that was stopped");
        assert!(!report.published && report.exit_code() == 75, "{report:?}");
        let report = world.run().await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
        let bill = world.bill().total;
        assert_eq!((bill.batches_created, bill.requests_billed), (2, 20));
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_cancels_batches_where_that_is_asked_for_and_keeps_what_they_finished() {
    for vendor in VENDORS {
        let (world, _) = world(vendor);
        let mut setup = stopping(&world);
        setup.cancel_on_interrupt = true;
        let report = engine::run(setup, world.provider()).await;
        assert!(!report.expect("a run that was stopped").published);
        let status = engine::status(world.setup("status"))
            .await
            .expect("a status");
        assert!(status.canceled, "{vendor}");
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
        let bill = world.bill();
        assert!(
            bill.total.batches_created > 2,
            "{vendor}: the first two were canceled"
        );
        assert_eq!(
            (bill.total.requests_billed, bill.billed_more_than_once),
            (20, 0)
        );
    }
}

/// Stops the world at a point, once.
#[derive(Debug)]
struct StopAt {
    name: &'static str,
    stopped: tokio::sync::Notify,
}

impl CrashPoint for StopAt {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if name != self.name {
            return Box::pin(std::future::ready(()));
        }
        self.stopped.notify_one();
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn an_output_that_became_visible_before_the_crash_is_not_made_again() {
    let (mut world, _) = world("openai");
    let stop = Arc::new(StopAt {
        name: "commit.before_published",
        stopped: tokio::sync::Notify::new(),
    });
    world.components.crash = Crash::with(Arc::<StopAt>::clone(&stop));
    tokio::select! {
        biased;
        () = stop.stopped.notified() => {}
        report = world.run() => panic!("not stopped: {report:?}"),
    }
    world.components.crash = Crash::never();
    let made = std::fs::metadata(world.path("out.parquet")).expect("it is visible");
    let status = engine::status(world.setup("status"))
        .await
        .expect("a status");
    assert!(!status.report.published, "the ledger does not know");
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
    let now = std::fs::metadata(world.path("out.parquet")).expect("it is visible");
    assert_eq!(
        (made.ino(), made.mtime_nsec()),
        (now.ino(), now.mtime_nsec())
    );
    assert!(world.run().await.expect("a run").unchanged);
}
