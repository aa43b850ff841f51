//! Rows that a person wants to be sent again, alone and while a run holds the job. On paused time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use columnist::base::{Crash, CrashPoint, ErrorKind};
use columnist::emulator::SandboxConfig;
use columnist::engine::{self, Report, Setup, Wanted};
use columnist::work::RowStatus;
use columnist::work::progress::{Event, Watch};
use futures::future::BoxFuture;

use crate::world::{VENDORS, World, read_table, taking};

/// Asks for a row as a job by flags does, which cannot name its key: `--key` names the row, and the
/// ledger knows the key.
async fn retry_by_flags(world: &World, key: Vec<String>) -> engine::RetrySummary {
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
