//! What is open comes home, whatever has become of the job and its source since.

use std::time::Duration;

use columnist::base::{ErrorKind, Result};
use columnist::engine::{self, Report};
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, read_table, write_table};

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
