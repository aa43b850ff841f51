//! `cancel`: of what is open or still to be sent, by the job that it belongs to, and nothing else.

use std::time::Duration;

use columnist::base::ErrorKind;
use columnist::engine;
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, taking, write_table};

fn world(vendor: &'static str) -> World {
    World::paused(vendor, (20, 20), taking(300, 400))
}

async fn refused(world: &World) -> String {
    let error = engine::cancel(world.setup("cancel")).await;
    let error = error.expect_err("nothing to cancel");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error:?}");
    error.to_string()
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_has_nothing_to_cancel() {
    for vendor in VENDORS {
        let world = world(vendor);
        world.run().await.expect("a run");
        let why = refused(&world).await;
        assert!(why.contains("there is nothing to cancel"), "{why}");
        let status = engine::status(world.setup("status")).await;
        assert!(!status.expect("a status").canceled);
        let report = world.run().await.expect("a second run");
        assert!(report.unchanged, "{report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_job_cancels_nothing() {
    let mut world = world("openai");
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("submitted");
    let own = world.job.clone();
    world.job["name"] = "other".into();
    let why = refused(&world).await;
    assert!(why.contains("belongs to another job"), "{why}");
    world.job = own;
    let status = engine::status(world.setup("status")).await;
    assert!(!status.expect("a status").canceled);
    let open = engine::cancel(world.setup("cancel")).await;
    assert_eq!(open.expect("asked for"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_run_takes_a_cancel_up_with_its_next_look() {
    for vendor in VENDORS {
        let mut world = World::paused(vendor, (20, 10), taking(300, 400));
        world.job["budget"]["max_failed"] = serde_json::json!({ "rows": 20 });
        let clock = &world.components.clock;
        let began = clock.now();
        let asking = async {
            clock.sleep(Duration::from_mins(30)).await;
            engine::cancel(world.setup("cancel")).await
        };
        let (report, asked) = tokio::join!(world.run(), asking);
        assert_eq!(asked.expect("asked for"), 2);
        let report = report.expect("a run");
        let took = (clock.now() - began).num_minutes();
        assert!((30..60).contains(&took), "{vendor}: {took} minutes");
        assert!(report.published, "{report:?}");
        assert_eq!(report.counts.of(RowStatus::Canceled), 20, "{vendor}");
        assert_eq!(world.bill().total.requests_billed, 0, "{vendor}");
    }
}

/// A cancel is no wish for holes where answers were.
#[tokio::test(start_paused = true)]
async fn a_canceled_plan_is_not_put_over_an_older_output() {
    for vendor in VENDORS {
        let mut world = world(vendor);
        world.job["budget"]["max_failed"] = serde_json::json!({ "rows": 100 });
        world.run().await.expect("a run");
        let older = std::fs::read(world.path("out.parquet")).expect("an output");
        let bodies: Vec<_> = (10..30).map(|n| Some(format!("ticket {n}"))).collect();
        write_table(&world.path("in.parquet"), &bodies, 16);
        let submitted = engine::submit(world.setup("submit"), world.provider()).await;
        submitted.expect("submitted");
        engine::cancel(world.setup("cancel"))
            .await
            .expect("asked for");
        let collect = |partial| {
            let mut setup = world.setup("collect");
            setup.publish_partial = partial;
            engine::collect(setup, world.provider(), true)
        };
        let report = collect(false).await.expect("collected");
        let canceled = report.counts.of(RowStatus::Canceled);
        assert!(canceled > 0, "{report:?}");
        assert!(report.held_back && !report.published, "{report:?}");
        assert_eq!((report.exit_code(), report.counts.total()), (3, 20));
        let now = std::fs::read(world.path("out.parquet")).expect("an output");
        assert!(now == older, "{vendor}: the older output was replaced");
        let report = collect(true).await.expect("collected");
        assert!(report.published && !report.held_back, "{report:?}");
        assert_eq!(report.counts.of(RowStatus::Canceled), canceled);
        // And a run asks them again.
        let report = world.run().await.expect("a run");
        assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{report:?}");
    }
}
