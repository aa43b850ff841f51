//! A step that fails, or panics, while another chunk is being sent: that one comes to its receipt. On paused
//! time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use columnist::base::{Clock, Error, ErrorKind, Json, Result};
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Report, Setup};
use columnist::ledger::action::Action;
use columnist::provider::{
    Body, Capability, Download, Found, FreeCheck, Provider, Rejection, Seen, Sought, Staged,
    Submission, SubmitError, Tag,
};
use columnist::work::progress::{Event, Watch};
use columnist::work::{
    AnswerType, BatchId, BatchView, CacheUse, Frame, Prefix, Reply, ResultFile, RowStatus, Shape,
};

use crate::doubt::{self, Fate};
use crate::world::{VENDORS, World, batches, facts, taking, write_rows};

/// A provider of which one call fails while another is being sent.
#[derive(Debug)]
struct Failing {
    inner: Arc<dyn Provider>,
    clock: Arc<dyn Clock>,
    /// Which call fails, and how.
    fails: &'static str,
    how: How,
    /// The submission that takes a minute to be answered, though it is carried out.
    slow: u32,
    /// Submissions so far.
    submissions: Mutex<u32>,
    struck: Mutex<bool>,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Error(ErrorKind),
    Panic,
}

impl Failing {
    fn strike(&self, call: &str) -> Result<()> {
        let sending = *self.submissions.lock().expect("no panic") >= self.slow;
        if call != self.fails || !sending {
            return Ok(());
        }
        *self.struck.lock().expect("no panic") = true;
        match self.how {
            How::Error(kind) => Err(Error::new(kind, "this call fails")),
            How::Panic => panic!("this call panics"),
        }
    }
}

impl std::fmt::Display for Failing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Provider for Failing {
    fn capability(&self) -> &Capability {
        self.inner.capability()
    }

    fn schema(&self, answer: &AnswerType) -> Result<Option<Json>> {
        self.inner.schema(answer)
    }

    fn frame(&self, shape: &Shape, cache: Option<CacheUse>) -> Result<Frame> {
        self.inner.frame(shape, cache)
    }

    fn prefix(&self, shape: &Shape) -> Prefix {
        self.inner.prefix(shape)
    }

    async fn free_check(&self, shape: &Shape, prompt: &str) -> Result<FreeCheck> {
        self.inner.free_check(shape, prompt).await
    }

    async fn stage(&self, tag: &Tag, body: Body) -> Result<Staged, SubmitError> {
        self.inner.stage(tag, body).await
    }

    async fn submit(
        &self,
        shape: &Shape,
        submission: Submission,
    ) -> Result<BatchView, SubmitError> {
        let nth = {
            let mut submissions = self.submissions.lock().expect("no panic");
            *submissions += 1;
            *submissions
        };
        // The slow one is under way when a later one fails.
        if nth > self.slow {
            let refused = |error| SubmitError::Rejected(Rejection::Final(error));
            self.strike("submit").map_err(refused)?;
        }
        let done = self.inner.submit(shape, submission).await;
        if nth == self.slow {
            self.clock.sleep(Duration::from_mins(1)).await;
        }
        done
    }

    async fn find(&self, sought: &Sought) -> Result<Found> {
        // The other is to be under way when this one fails.
        while self.fails == "find" && *self.submissions.lock().expect("no panic") < self.slow {
            self.clock.sleep(Duration::from_secs(1)).await;
        }
        self.strike("find")?;
        self.inner.find(sought).await
    }

    async fn poll(&self, id: &BatchId) -> Result<Seen<BatchView>> {
        self.strike("poll")?;
        self.inner.poll(id).await
    }

    async fn fetch(&self, file: &ResultFile, offset: u64) -> Result<Seen<Download>> {
        self.strike("fetch")?;
        self.inner.fetch(file, offset).await
    }

    fn parse<'a>(&self, line: &'a [u8]) -> Result<Reply<'a>> {
        self.inner.parse(line)
    }

    async fn cancel(&self, id: &BatchId) -> Result<Seen<()>> {
        self.strike("cancel")?;
        self.inner.cancel(id).await
    }

    async fn discard(&self, staged: &str) -> Result<()> {
        self.inner.discard(staged).await
    }
}

/// The attempts of which the ledger does not say what became of them.
async fn without_receipt(world: &World) -> Vec<String> {
    let mut open = Vec::new();
    for fact in facts(world).await {
        match fact {
            Action::Promised(promised) => open.push(promised.attempt),
            Action::Accepted(accepted) => open.retain(|id| *id != accepted.attempt),
            Action::Rejected { attempt, .. } | Action::Lost { attempt, .. } => {
                open.retain(|id| *id != attempt);
            }
            _ => {}
        }
    }
    open
}

/// Runs a job of two chunks, of which the second is being sent while a call fails.
async fn run_failing(world: &World, fails: &'static str, how: How) -> (Result<Report>, bool) {
    let failing = Arc::new(Failing {
        inner: world.provider(),
        clock: Arc::clone(&world.components.clock),
        fails,
        how,
        slow: 2,
        submissions: Mutex::new(0),
        struck: Mutex::new(false),
    });
    let provider = Arc::clone(&failing) as Arc<dyn Provider>;
    let done = engine::run(world.setup("run"), provider).await;
    let struck = *failing.struck.lock().expect("no panic");
    (done, struck)
}

#[tokio::test(start_paused = true)]
async fn an_error_of_one_step_lets_what_is_being_sent_come_to_its_receipt() {
    let hows = [
        How::Error(ErrorKind::Internal),
        How::Error(ErrorKind::Invalid),
        How::Error(ErrorKind::Data),
        How::Panic,
    ];
    for vendor in VENDORS {
        for call in ["poll", "fetch"] {
            for how in hows {
                let mut world = World::paused(
                    vendor,
                    (20, 10),
                    SandboxConfig {
                        batch_time: (Duration::from_secs(1), Duration::from_secs(2)),
                        ..SandboxConfig::default()
                    },
                );
                world.job["model"]["poll_min"] = serde_json::json!({ "secs": 5, "nanos": 0 });
                let (done, struck) = run_failing(&world, call, how).await;
                done.expect_err("a call failed");
                assert!(struck, "{vendor} {call} {how:?}");
                let open = without_receipt(&world).await;
                assert!(open.is_empty(), "{vendor} {call} {how:?}: {open:?}");
                assert_eq!(batches(&world), 2, "{vendor} {call} {how:?}");
                // So that nothing has to be looked for, nor waited for.
                let began = world.components.clock.now();
                let report = world.run().await.expect("a run");
                let took = (world.components.clock.now() - began).num_seconds();
                assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
                assert!(took < 60, "{vendor} {call} {how:?}: {took} s");
                assert_eq!(world.bill().total.requests_billed, 20);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_sending_that_fails_lets_another_come_to_its_receipt() {
    for vendor in VENDORS {
        for how in [
            How::Error(ErrorKind::Internal),
            How::Error(ErrorKind::Refused),
            How::Error(ErrorKind::Invalid),
            How::Panic,
        ] {
            let world = World::paused(vendor, (30, 10), taking(300, 400));
            let (done, struck) = run_failing(&world, "submit", how).await;
            done.expect_err("a call failed");
            assert!(struck, "{vendor} {how:?}");
            // Of a call that panicked nobody knows whether the provider took it.
            let open = without_receipt(&world).await;
            let unknown = usize::from(matches!(how, How::Panic));
            assert_eq!(open.len(), unknown, "{vendor} {how:?}: {open:?}");
            assert_eq!(batches(&world), 2, "{vendor} {how:?}");
            let report = world.run().await.expect("a run");
            assert_eq!(report.counts.of(RowStatus::Succeeded), 30, "{report:?}");
            assert_eq!(world.bill().total.requests_billed, 30);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_fails_lets_what_is_being_sent_come_to_its_receipt() {
    for vendor in VENDORS {
        for how in [How::Error(ErrorKind::Internal), How::Panic] {
            let world = doubt::world(vendor, &[Fate::Lost]);
            let (done, struck) = run_failing(&world, "find", how).await;
            done.expect_err("a call failed");
            assert!(struck, "{vendor} {how:?}");
            let open = without_receipt(&world).await;
            assert!(open.is_empty(), "{vendor} {how:?}: {open:?}");
            assert_eq!(batches(&world), 2, "{vendor} {how:?}");
            let report = world.run().await.expect("a run");
            assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
            assert_eq!(world.bill().total.requests_billed, 20);
            assert_eq!(batches(&world), 2, "{vendor} {how:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancel_that_fails_lets_what_is_being_sent_come_to_its_receipt() {
    for vendor in VENDORS {
        for how in [How::Error(ErrorKind::Internal), How::Panic] {
            let world = World::paused(vendor, (20, 10), taking(20, 40));
            let ask = async {
                // Between the first chunk's receipt and the second one's, which takes a minute.
                world.components.clock.sleep(Duration::from_secs(15)).await;
                engine::cancel(world.setup("cancel")).await
            };
            let ((done, struck), asked) = tokio::join!(run_failing(&world, "cancel", how), ask);
            asked.expect("asked for");
            done.expect_err("a call failed");
            assert!(struck, "{vendor} {how:?}");
            let open = without_receipt(&world).await;
            assert!(open.is_empty(), "{vendor} {how:?}: {open:?}");
            assert_eq!(batches(&world), 2, "{vendor} {how:?}");
            // The cancel is carried out, and then the rows are asked for anew.
            let mut runs = 0;
            while !world
                .run()
                .await
                .is_ok_and(|report| report.exit_code() == 0)
            {
                runs += 1;
                assert!(runs < 3, "{vendor} {how:?}");
            }
            let bill = world.bill();
            assert_eq!((bill.distinct_billed, bill.billed_more_than_once), (20, 0));
        }
    }
}

/// Takes a file away as soon as the first rows are planned.
#[derive(Debug)]
struct Taking(Mutex<Option<std::path::PathBuf>>);

impl Watch for Taking {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Planned { .. })
            && let Some(path) = self.0.lock().expect("no panic").take()
        {
            std::fs::remove_file(path).expect("removed");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn planning_that_fails_lets_what_is_being_sent_come_to_its_receipt() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (1, 100), taking(1, 2));
        std::fs::create_dir(world.path("in")).expect("made");
        world.job["source"]["input"]["table"] = world.path("in/").display().to_string().into();
        world.job["output"]["path"] = world.path("out/").display().to_string().into();
        let bodies: Vec<_> = (0..4000).map(|n| Some(format!("ticket {n}"))).collect();
        let (first, second) = bodies.split_at(2000);
        write_rows(&world.path("in/a.parquet"), 0, first, 2000);
        write_rows(&world.path("in/b.parquet"), 2000, second, 2000);
        let provider = Arc::new(Failing {
            inner: world.provider(),
            clock: Arc::clone(&world.components.clock),
            fails: "nothing",
            how: How::Panic,
            slow: 1,
            submissions: Mutex::new(0),
            struck: Mutex::new(false),
        });
        let setup = Setup {
            watch: Arc::new(Taking(Mutex::new(Some(world.path("in/b.parquet"))))),
            ..world.setup("run")
        };
        let done = engine::run(setup, Arc::clone(&provider) as Arc<dyn Provider>).await;
        done.expect_err("a file is gone");
        let open = without_receipt(&world).await;
        assert!(open.is_empty(), "{vendor}: {open:?}");
        let sent = *provider.submissions.lock().expect("no panic");
        assert!(sent > 0, "{vendor}: nothing was being sent");
        write_rows(&world.path("in/b.parquet"), 2000, second, 2000);
        let report = world.run().await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 4000, "{report:?}");
        assert_eq!(world.bill().billed_more_than_once, 0, "{vendor}");
    }
}
