//! Again: what was answered is not asked again, and what failed in passing is.

use columnist::engine;
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, read_table, taking, write_table};

fn bodies(range: std::ops::Range<usize>) -> Vec<Option<String>> {
    range.map(|n| Some(format!("ticket {n}"))).collect()
}

/// Checks that every row has the answer to its own prompt, or a reason why not. Returns how many
/// have an answer.
fn check_rows(world: &World, prompt: impl Fn(&str) -> String) -> usize {
    let table = read_table(&world.path("out.parquet"));
    let mut succeeded = 0;
    for (row, body) in table["body"].iter().enumerate() {
        let label = table["label"][row].as_deref();
        let status = table["label_status"][row].as_deref().expect("a status");
        if status == "succeeded" {
            let answer = world.answer(&prompt(body.as_deref().expect("a body")));
            assert!(
                label.is_some_and(|label| label.ends_with(&answer)),
                "row {row}: {label:?}"
            );
            assert_eq!(table["label_error"][row], None, "row {row}");
            succeeded += 1;
        } else {
            assert_eq!(label, None, "row {row}");
            let why = table["label_error"][row].as_deref().unwrap_or_default();
            assert!(!why.is_empty(), "row {row} is {status} for no reason");
        }
    }
    succeeded
}

fn plain(body: &str) -> String {
    format!("Label this: {body}")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_input_makes_no_billable_call() {
    for vendor in VENDORS {
        let world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(0..40), 16);
        let first = world.run().await.expect("a run");
        assert!(first.published && !first.unchanged, "{first:?}");
        let before = std::fs::read(world.path("out.parquet")).expect("an output");
        let bill = world.bill();
        let second = world.run().await.expect("a second run");
        assert!(second.published && second.unchanged, "{second:?}");
        assert_eq!(second.exit_code(), 0);
        assert_eq!(world.bill(), bill);
        let after = std::fs::read(world.path("out.parquet")).expect("an output");
        assert!(before == after, "the output was written again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appended_and_changed_rows_alone_are_sent() {
    for vendor in VENDORS {
        let world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(0..40), 16);
        world.run().await.expect("a run");
        let mut changed = bodies(0..50);
        changed[3] = Some("another ticket".to_owned());
        // This one asks what row 5 asked before.
        changed[7] = Some("ticket 5".to_owned());
        write_table(&world.path("in.parquet"), &changed, 16);
        let report = world.run().await.expect("a second run");
        assert!(report.published && !report.unchanged, "{report:?}");
        assert_eq!(report.requests, 11, "{report:?}");
        assert_eq!(report.answered, 39, "{report:?}");
        assert_eq!(check_rows(&world, plain), 50);
        let bill = world.bill();
        assert_eq!(bill.total.requests_accepted, 51);
        assert_eq!(bill.billed_more_than_once, 0);
        assert_eq!(bill.accepted_more_than_once, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_taken_away_or_moved_cost_nothing() {
    let world = World::new("openai", "");
    write_table(&world.path("in.parquet"), &bodies(0..40), 16);
    world.run().await.expect("a run");
    let mut moved = bodies(10..30);
    moved.reverse();
    write_table(&world.path("in.parquet"), &moved, 16);
    let report = world.run().await.expect("a second run");
    assert_eq!((report.requests, report.answered), (0, 20), "{report:?}");
    assert_eq!(check_rows(&world, plain), 20);
    assert_eq!(world.bill().total.requests_accepted, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_prompt_makes_every_row_stale() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(0..20), 16);
        world.run().await.expect("a run");
        world.job["prompt"]["user"] = "Sort this: {{ body }}".into();
        let report = world.run().await.expect("a second run");
        assert_eq!((report.requests, report.answered), (20, 0), "{report:?}");
        assert_eq!(check_rows(&world, |body| format!("Sort this: {body}")), 20);
        // Back to the first prompt: its answers are still there.
        world.job["prompt"]["user"] = "Label this: {{ body }}".into();
        let report = world.run().await.expect("a third run");
        assert_eq!((report.requests, report.answered), (0, 20), "{report:?}");
        assert_eq!(check_rows(&world, plain), 20);
        assert_eq!(world.bill().total.requests_accepted, 40);
    }
}

/// An answer that came to its own end is the answer under any limit; what was cut is asked again under a
/// higher one, and would be cut under a lower one too.
#[tokio::test(flavor = "multi_thread")]
async fn under_another_limit_only_what_was_cut_is_asked_again() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
        write_table(&world.path("in.parquet"), &bodies(0..40), 16);
        world.job["model"]["max_output_tokens"] = 12.into();
        let first = world.run().await.expect("a run");
        let cut = first.counts.of(RowStatus::Truncated);
        assert!(0 < cut && cut < 40, "{first:?}");
        world.job["model"]["max_output_tokens"] = 8.into();
        let lower = world.run().await.expect("a second run");
        assert_eq!(lower.requests, 0, "{lower:?}");
        assert_eq!(lower.counts, first.counts);
        world.job["model"]["max_output_tokens"] = 64.into();
        let higher = world.run().await.expect("a third run");
        assert_eq!(
            (higher.requests, higher.answered),
            (cut, 40 - cut),
            "{higher:?}"
        );
        assert_eq!(check_rows(&world, plain), 40);
        world.job["model"]["max_output_tokens"] = 12.into();
        let back = world.run().await.expect("a fourth run");
        assert_eq!((back.requests, back.answered), (0, 40), "{back:?}");
        assert_eq!(check_rows(&world, plain), 40);
        assert_eq!(world.bill().total.requests_accepted, 40 + cut);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_gone_is_made_again_for_nothing() {
    let world = World::new("anthropic", "");
    write_table(&world.path("in.parquet"), &bodies(0..20), 16);
    world.run().await.expect("a run");
    std::fs::remove_file(world.path("out.parquet")).expect("removed");
    let report = world.run().await.expect("a second run");
    assert!(report.published, "{report:?}");
    assert_eq!(check_rows(&world, plain), 20);
    assert_eq!(world.bill().total.requests_accepted, 20);
}

/// Runs a job under `faults` until nothing changes, and checks that every row is accounted for and
/// nothing was billed twice.
async fn ends_well(vendor: &'static str, faults: &str) -> (World, usize) {
    let mut world = World::new(vendor, faults);
    let bodies = bodies(0..120);
    write_table(&world.path("in.parquet"), &bodies, 50);
    world.job["model"]["max_requests_per_batch"] = 30.into();
    world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
    let report = world
        .run()
        .await
        .unwrap_or_else(|error| panic!("{vendor}, {faults}: {error:?}"));
    assert!(report.published, "{vendor}, {faults}: {report:?}");
    assert_eq!(report.counts.total(), 120, "{vendor}, {faults}");
    assert_eq!(
        report.counts.of(RowStatus::Pending),
        0,
        "{vendor}, {faults}"
    );
    let succeeded = check_rows(&world, plain);
    assert_eq!(
        report.counts.of(RowStatus::Succeeded),
        succeeded as u64,
        "{vendor}, {faults}"
    );
    let bill = world.bill();
    assert_eq!(
        bill.billed_more_than_once, 0,
        "{vendor}, {faults}: {bill:?}"
    );
    assert_eq!(
        bill.distinct_billed, succeeded as u64,
        "{vendor}, {faults}: {bill:?}"
    );
    (world, succeeded)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_in_passing_is_sent_again() {
    for vendor in VENDORS {
        for faults in ["errored=0.2", "missing=0.1", "expire=0.2", "garbage=0.1"] {
            let (world, succeeded) = ends_well(vendor, faults).await;
            assert!(succeeded > 110, "{vendor}, {faults}: {succeeded}");
            let bill = world.bill();
            assert!(
                bill.accepted_more_than_once > 0,
                "{vendor}, {faults}: nothing went wrong: {bill:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_repeat_or_are_strange_change_nothing() {
    for vendor in VENDORS {
        for faults in [
            "duplicate=0.2",
            "stranger=0.2",
            "duplicate=0.3,stranger=0.3",
        ] {
            let (world, succeeded) = ends_well(vendor, faults).await;
            assert_eq!(succeeded, 120, "{vendor}, {faults}");
            assert_eq!(
                world.bill().total.requests_accepted,
                120,
                "{vendor}, {faults}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_cut_is_taken_up_again() {
    for vendor in VENDORS {
        for faults in ["truncate=0.5", "truncate=1/2"] {
            let (world, succeeded) = ends_well(vendor, faults).await;
            assert_eq!(succeeded, 120, "{vendor}, {faults}");
            assert_eq!(
                world.bill().total.requests_accepted,
                120,
                "{vendor}, {faults}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_day_ends_with_every_row_accounted_for() {
    for vendor in VENDORS {
        let faults = "errored=0.1,missing=0.05,expire=0.05,duplicate=0.1,stranger=0.1,garbage=0.05,truncate=0.2,refusal=0.02";
        let mut world = World::new(vendor, faults);
        write_table(&world.path("in.parquet"), &bodies(0..120), 50);
        world.job["model"]["max_requests_per_batch"] = 30.into();
        world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 100.0 });
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        assert_eq!(report.counts.total(), 120);
        assert!(check_rows(&world, plain) > 100);
        assert_eq!(world.bill().billed_more_than_once, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_expects_what_open_batches_will_answer() {
    for vendor in VENDORS {
        let world = World::paused(vendor, (40, 100), taking(60, 60));
        write_table(&world.path("in.parquet"), &bodies(0..40), 16);
        let submitted = engine::submit(world.setup("submit"), world.provider()).await;
        submitted.expect("submitted");
        write_table(&world.path("in.parquet"), &bodies(0..45), 16);
        let plan = engine::plan(world.setup("plan"), world.provider()).await;
        let plan = plan.expect("a plan");
        assert_eq!((plan.requests, plan.counts.answered), (5, 40), "{plan:?}");
        assert!(
            plan.notes
                .iter()
                .any(|note| note.contains("40 requests are open"))
        );

        // The run tells of both: what it brought home, and what it sent.
        let report = world.run().await.expect("a run");
        let bill = world.bill().total;
        assert_eq!(report.requests, 5, "{report:?}");
        assert_eq!(report.batches.len(), 2, "{report:?}");
        let tokens = (report.usage.input, report.usage.output);
        assert_eq!(tokens, (bill.input_tokens, bill.output_tokens), "{vendor}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_expects_nothing_of_what_is_to_be_canceled() {
    let world = World::paused("openai", (40, 100), taking(60, 60));
    write_table(&world.path("in.parquet"), &bodies(0..40), 16);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("submitted");
    let asked = engine::cancel(world.setup("cancel")).await;
    assert_eq!(asked.expect("asked for"), 1);
    let plan = engine::plan(world.setup("plan"), world.provider()).await;
    assert_eq!(plan.expect("a plan").requests, 40);
}
