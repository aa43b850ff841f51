//! Money on every path: credit that ends in mid-batch, batches that fail without a reason, answers that
//! nobody's id is on, errors while something is being sent, and what it is all said to cost. On paused
//! time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use columnist::base::http::{
    HttpError, HttpRequest, HttpResponse, HttpService, Method, RequestBody,
};
use columnist::base::{Clock, Crash, CrashPoint, Error, ErrorKind, Result};
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Report, Setup, Wanted};
use columnist::ledger::Log;
use columnist::ledger::action::Action;
use columnist::provider::{
    Body, Capability, Download, Found, FreeCheck, Provider, Rejection, Seen, Sought, Staged,
    Submission, SubmitError, Tag,
};
use columnist::work::progress::{Event, Watch};
use columnist::work::{
    BatchId, BatchView, Frame, Reply, ResultFile, RowStatus, Shape, StatusCounts,
};
use futures::future::BoxFuture;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::doubt::{self, Fate};
use crate::world::{VENDORS, World, read_table, taking, write_rows};

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

fn batches(world: &World) -> u64 {
    world.bill().total.batches_created
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

    fn frame(&self, shape: &Shape) -> Result<Frame> {
        self.inner.frame(shape)
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

async fn facts(world: &World) -> Vec<Action> {
    let ledger = world.path("_columnist/triage").display().to_string();
    let root = world.components.stores.locate(&ledger).expect("a place");
    let mut log = Log::open(&world.components, &root);
    let commits = log.replay::<Action>().await.expect("a whole ledger");
    commits
        .into_iter()
        .flat_map(|commit| commit.actions)
        .collect()
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

/// Asks for a row as a job by flags does, which cannot name its key: `--key` names the row, and the
/// ledger knows the key.
async fn retry_by_flags(world: &World, key: Vec<String>) -> engine::Asked {
    let mut setup = world.setup("retry");
    setup.job.source.key.clear();
    let wanted = Wanted {
        keys: vec![key],
        ..Wanted::default()
    };
    engine::retry(setup, wanted).await.expect("asked for")
}

#[tokio::test(start_paused = true)]
async fn a_row_is_retried_by_its_key_or_its_status_and_never_one_that_was_answered() {
    for vendor in VENDORS {
        let faults = "refusal=0.3,max_tokens=0.2".parse().expect("faults");
        let config = SandboxConfig {
            faults,
            ..taking(5, 10)
        };
        let mut world = World::paused(vendor, (40, 40), config);
        world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
        let report = world.run().await.expect("a run");
        let of = |report: &Report, status| report.counts.of(status);
        let (refused, cut) = (
            of(&report, RowStatus::Refused),
            of(&report, RowStatus::Truncated),
        );
        assert!(refused > 1 && cut > 0, "{report:?}");
        let table = read_table(&world.path("out.parquet"));
        let with = |status: &str| {
            let at = table["label_status"]
                .iter()
                .position(|s| s.as_deref() == Some(status));
            vec![table["id"][at.expect("a row")].clone().expect("an id")]
        };
        let retry = async |statuses: &[RowStatus], keys: &[Vec<String>]| {
            let wanted = Wanted {
                statuses: statuses.to_vec(),
                keys: keys.to_vec(),
            };
            engine::retry(world.setup("retry"), wanted).await
        };
        for (statuses, keys, says) in [
            (&[RowStatus::Missing][..], vec![], "no row"),
            (&[RowStatus::Succeeded], vec![], "not sent again"),
            (&[], vec![with("succeeded")], "answered"),
            (
                &[RowStatus::Truncated],
                vec![with("refused")],
                "another status",
            ),
            (&[], vec![vec!["4711".to_owned()]], "key=`4711`"),
        ] {
            let error = retry(statuses, &keys).await.expect_err(says);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
            assert!(error.to_string().contains(says), "{says}: {error}");
        }
        assert!(
            world.run().await.expect("a run").unchanged,
            "nothing was asked for"
        );

        let accepted = || world.bill().total.requests_accepted;
        let before = accepted();
        let asked = retry_by_flags(&world, with("refused")).await;
        assert_eq!((asked.rows, asked.is_held), (1, false));
        let report = world.run().await.expect("a run");
        assert_eq!(accepted() - before, 1, "{vendor}: that one alone");
        assert_eq!(
            report.answered, 39,
            "{vendor}: the others keep what they have"
        );
        assert!(world.run().await.expect("a run").unchanged);

        let (before, left) = (accepted(), of(&report, RowStatus::Truncated));
        let asked = retry(&[RowStatus::Truncated], &[])
            .await
            .expect("asked for");
        assert_eq!(asked.rows, left, "{vendor}");
        world.run().await.expect("a run");
        assert_eq!(accepted() - before, left, "{vendor}");
        assert!(world.run().await.expect("a run").unchanged);
    }
}

/// Asks for a retry as soon as something was published.
#[derive(Debug)]
struct Retrying(Mutex<Option<tokio::sync::oneshot::Sender<()>>>);

impl Watch for Retrying {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Landed { .. })
            && let Some(tell) = self.0.lock().expect("no panic").take()
        {
            let _ = tell.send(());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_holds_the_job_takes_a_retry_up_when_it_has_published() {
    for vendor in VENDORS {
        let faults = "refusal=0.4".parse().expect("faults");
        let config = SandboxConfig {
            faults,
            ..taking(5, 30)
        };
        let mut world = World::paused(vendor, (40, 20), config);
        world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
        let (tell, told) = tokio::sync::oneshot::channel();
        let setup = Setup {
            watch: Arc::new(Retrying(Mutex::new(Some(tell)))),
            ..world.setup("run")
        };
        let asking = async {
            told.await.expect("something landed");
            world.components.clock.sleep(Duration::from_secs(1)).await;
            engine::retry(world.setup("retry"), Wanted::default()).await
        };
        let (report, asked) = tokio::join!(engine::run(setup, world.provider()), asking);
        let (report, asked) = (report.expect("a run"), asked.expect("asked for"));
        assert!(asked.is_held, "{vendor}");
        assert_eq!(report.plan, 1, "{vendor}: planned anew in the same run");
        assert!(world.bill().total.requests_accepted > 40, "{vendor}");
        assert!(world.run().await.expect("a run").unchanged);
    }
}

/// Tells of every batch that lands.
#[derive(Debug)]
struct EachLanding(tokio::sync::mpsc::UnboundedSender<()>);

impl Watch for EachLanding {
    fn event(&self, event: &Event) {
        if matches!(event, Event::Landed { .. }) {
            let _ = self.0.send(());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_up_every_retry_that_is_asked_for_while_it_holds_the_job() {
    let config = SandboxConfig {
        faults: "refusal=0.8".parse().expect("faults"),
        ..taking(5, 300)
    };
    let mut world = World::paused("openai", (120, 20), config);
    world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let setup = Setup {
        watch: Arc::new(EachLanding(tell)),
        ..world.setup("run")
    };
    let asking = async {
        while told.recv().await.is_some() {
            world.components.clock.sleep(Duration::from_secs(1)).await;
            let status = engine::status(world.setup("status")).await;
            let plan = status.expect("a status").report.plan;
            // More often than a run follows a source that changes.
            if plan < 7 {
                // Where nothing has failed yet, there is nothing to ask for.
                let _ = engine::retry(world.setup("retry"), Wanted::default()).await;
            }
        }
    };
    let (report, ()) = tokio::join!(engine::run(setup, world.provider()), asking);
    assert_eq!(report.expect("a run").plan, 7);
}

/// Holds a retry up before it is written down, once.
#[derive(Debug, Default)]
struct HeldUp {
    reached: tokio::sync::Notify,
    go_on: Arc<tokio::sync::Notify>,
}

impl CrashPoint for HeldUp {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if name != "commit.before_retry_asked" {
            return Box::pin(std::future::ready(()));
        }
        self.reached.notify_one();
        let go_on = Arc::clone(&self.go_on);
        Box::pin(async move { go_on.notified().await })
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_a_new_plan_overtakes_says_so() {
    let faults = "refusal=0.4".parse().expect("faults");
    let config = SandboxConfig {
        faults,
        ..taking(1, 2)
    };
    let mut world = World::paused("openai", (20, 20), config);
    world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
    world.run().await.expect("a run");
    world.job["prompt"]["user"] = "Otherwise: {{ body }}".into();
    let held_up = Arc::new(HeldUp::default());
    let mut setup = world.setup("retry");
    setup.components.crash = Crash::with(Arc::<HeldUp>::clone(&held_up));
    let overtaking = async {
        held_up.reached.notified().await;
        let report = world.run().await.expect("a run");
        held_up.go_on.notify_one();
        // It is tried a second time, behind the plan.
        held_up.reached.notified().await;
        held_up.go_on.notify_one();
        report
    };
    let retry = engine::retry(setup, Wanted::default());
    let (asked, report) = tokio::join!(retry, overtaking);
    assert_eq!(report.plan, 1);
    let error = asked.expect_err("it was overtaken");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let again = engine::retry(world.setup("retry"), Wanted::default()).await;
    assert!(again.expect("asked for").rows > 0);
    assert_eq!(world.run().await.expect("a run").plan, 2);
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
