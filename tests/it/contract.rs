//! The road from end to end, the same for every vendor.

use columnist::work::RowStatus;

use crate::world::{VENDORS, World, read_table, write_table};

/// Two hundred rows: some repeat, one is null, one is blank.
fn bodies() -> Vec<Option<String>> {
    (0..200)
        .map(|n| match n {
            17 => None,
            33 => Some(" \n".to_owned()),
            _ if n % 5 == 4 => Some(format!("ticket {}", n / 10)),
            _ => Some(format!("ticket {n} \"quoted\"\n\u{1f600} \\ tab\t")),
        })
        .collect()
}

/// Checks the output against the rule of the sandbox's answers.
fn check_output(world: &World) {
    let table = read_table(&world.path("out.parquet"));
    let bodies = bodies();
    assert_eq!(table["body"], bodies);
    for (n, body) in bodies.iter().enumerate() {
        let label = table["label"][n].as_deref();
        let status = table["label_status"][n].as_deref();
        match body {
            Some(body) => {
                let answer = world.answer(&format!("Label this: {body}"));
                assert!(
                    label.is_some_and(|label| label.ends_with(&answer)),
                    "row {n}: {label:?}"
                );
                assert_eq!(status, Some("succeeded"), "row {n}");
            }
            None => assert_eq!((label, status), (None, Some("skipped")), "row {n}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_comes_back_with_its_answers() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "");
        write_table(&world.path("in.parquet"), &bodies(), 64);
        world.job["model"]["max_requests_per_batch"] = 50.into();
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        assert_eq!(report.counts.total(), 200);
        assert_eq!(report.counts.of(RowStatus::Skipped), 1);
        check_output(&world);
        let bill = world.bill();
        assert_eq!(bill.billed_more_than_once, 0);
        assert_eq!(bill.total.requests_billed, report.requests);
        assert!(report.identical > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_that_are_not_kept_are_rendered_again_where_they_are_sent_again() {
    for vendor in VENDORS {
        let mut world = World::new(vendor, "errored=0.3");
        write_table(&world.path("in.parquet"), &bodies(), 64);
        world.job["ledger"]["keep_prompts"] = false.into();
        world.job["budget"]["max_failed"] = serde_json::json!({ "percent": 50.0 });
        let report = world.run().await.expect("a run");
        assert!(report.published, "{report:?}");
        let requests = world.path("_columnist/triage/plans/000000/requests/000000.parquet");
        let kept = read_table(&requests);
        assert!(
            kept["prompt"].iter().all(Option::is_none),
            "the ledger has hashes alone"
        );
        let table = read_table(&world.path("out.parquet"));
        for (n, body) in bodies().iter().enumerate() {
            let (Some(body), Some(label)) = (body, table["label"][n].as_deref()) else {
                continue;
            };
            assert!(
                label.ends_with(&world.answer(&format!("Label this: {body}"))),
                "row {n}"
            );
        }
        assert!(report.batches.len() > 1, "something was sent again");
        assert_eq!(world.bill().billed_more_than_once, 0);
    }
}
