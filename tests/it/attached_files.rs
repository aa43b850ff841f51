//! Pictures at local paths: told by their bytes alone, wherever they lie and whenever they came there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, NullArray, RecordBatch, StructArray};
use columnist::base::{Crash, CrashPoint, ErrorKind};
use columnist::engine;
use futures::FutureExt as _;
use futures::future::{self, BoxFuture};
use serde_json::json;
use tokio::sync::Notify;

use crate::attachments::{answer_to, bytes, ids, picture, pictures, texts, write};
use crate::world::{VENDORS, World, read_table};

/// Gives the file another time, and not a byte.
fn touch(path: &Path) {
    let file = File::options().write(true).open(path).expect("a file");
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(then).expect("another time");
}

/// Structs as Hugging Face's `datasets` writes them.
fn records(held: Vec<Option<Vec<u8>>>, paths: Vec<Option<&str>>) -> ArrayRef {
    let columns = [("bytes", bytes(held), true), ("path", texts(paths), true)];
    let record = RecordBatch::try_from_iter_with_nullable(columns).expect("a batch");
    Arc::new(StructArray::from(record))
}

/// A world with pictures 0 to `files` in a folder, as `0.png` and so on, one in each row.
fn world(vendor: &'static str, files: u8) -> World {
    let mut world = pictures(vendor, "", 1);
    let photos = world.path("photos");
    std::fs::create_dir(&photos).expect("a folder");
    let names: Vec<_> = (0..files).map(|n| format!("{n}.png")).collect();
    for (n, name) in (0..files).zip(&names) {
        std::fs::write(photos.join(name), picture(n)).expect("a file");
    }
    let cells = names.iter().map(|name| Some(name.as_str())).collect();
    let columns = vec![("id", ids(names.len())), ("photo", texts(cells))];
    write(&world.path("in.parquet"), columns);
    world.job["prompt"]["attachments_from"] = json!([photos.display().to_string()]);
    world
}

/// Requests that a run would send now.
async fn planned(world: &World) -> u64 {
    let plan = engine::plan(world.setup("plan"), world.provider()).await;
    plan.expect("a plan").requests
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_are_one_request_wherever_they_lie_and_after_a_touch() {
    for vendor in VENDORS {
        let mut world = world(vendor, 1);
        let photos = world.path("photos");
        std::fs::write(photos.join("copy.png"), picture(0)).expect("a file");
        let held = vec![None, None, Some(picture(0))];
        let paths = vec![Some("0.png"), Some("copy.png"), None];
        let columns = vec![("id", ids(3)), ("photo", records(held, paths))];
        write(&world.path("in.parquet"), columns);
        world.job["prompt"]["user"] = "What is this?".into();
        assert_eq!(planned(&world).await, 1);
        world.run().await.expect("a run");
        assert_eq!(world.bill().distinct_billed, 1);

        touch(&photos.join("0.png"));
        touch(&photos.join("copy.png"));
        assert_eq!(planned(&world).await, 0);
        world.run().await.expect("a second run");
        assert_eq!(world.bill().distinct_billed, 1);

        // Other bytes, as many of them, and of the same time.
        std::fs::write(photos.join("copy.png"), picture(1)).expect("a file");
        touch(&photos.join("copy.png"));
        assert_eq!(planned(&world).await, 1);
        world.run().await.expect("a third run");
        assert_eq!(world.bill().distinct_billed, 2);
        let table = read_table(&world.path("out.parquet"));
        for (row, n) in [0, 1, 0].into_iter().enumerate() {
            let label = table["label"][row].as_deref().expect("an answer");
            assert!(label.ends_with(&answer_to("What is this?", &[&picture(n)])));
        }
    }
}

/// Stops the world when the plan is made, before its last chunk is sent.
#[derive(Debug, Default)]
struct Killed(Arc<Notify>);

impl CrashPoint for Killed {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if name != "commit.after_plan_sealed" {
            return future::ready(()).boxed();
        }
        self.0.notify_one();
        future::pending().boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_goes_on_after_its_files_were_touched() {
    for vendor in VENDORS {
        let mut world = world(vendor, 20);
        // What was promised when it died is looked for so long before it is sent again.
        world.job["ledger"]["settle"] = json!({ "secs": 1, "nanos": 0 });
        let killed = Killed::default();
        let dead = Arc::clone(&killed.0);
        world.components.crash = Crash::with(Arc::new(killed));
        tokio::select! {
            ended = world.run() => panic!("it ended: {ended:?}"),
            () = dead.notified() => {}
        }
        world.components.crash = Crash::never();
        for n in 0..20 {
            touch(&world.path(&format!("photos/{n}.png")));
        }
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        for (n, label) in (0u8..).zip(&table["label"]) {
            let expect = answer_to(&format!("What is in  of {n}?"), &[&picture(n)]);
            assert!(
                label
                    .as_deref()
                    .is_some_and(|label| label.ends_with(&expect)),
                "{n}"
            );
        }
        let bill = world.bill();
        assert_eq!((bill.distinct_billed, bill.billed_more_than_once), (20, 0));
    }
}

/// Deletes a file when the plan is made, and before its last chunk is sent.
#[derive(Debug)]
struct Deleted(PathBuf);

impl CrashPoint for Deleted {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        if name == "commit.after_plan_sealed" {
            std::fs::remove_file(&self.0).expect("a file");
        }
        future::ready(()).boxed()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_deleted_before_it_is_sent_is_told_and_costs_nothing_twice() {
    for vendor in VENDORS {
        let mut world = world(vendor, 20);
        let last = world.path("photos/19.png");
        world.components.crash = Crash::with(Arc::new(Deleted(last)));
        let error = world.run().await.expect_err("no file");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let said = format!("{error:?}");
        assert!(said.contains("there is no such file"), "{said}");
        let hint = error.hint_text().unwrap_or_default();
        assert!(hint.contains("columnist cancel JOB"), "{hint}");
        world.components.crash = Crash::never();
        engine::cancel(world.setup("cancel"))
            .await
            .expect("canceled");
        world.job["budget"]["max_failed"] = json!({ "rows": 1 });
        world.run().await.expect("a run");
        let table = read_table(&world.path("out.parquet"));
        let answered = table["label"].iter().filter(|label| label.is_some());
        assert_eq!((answered.count(), table["label"][19].is_none()), (19, true));
        let bill = world.bill();
        assert_eq!((bill.distinct_billed, bill.billed_more_than_once), (19, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_holds_neither_bytes_nor_a_path_is_skipped_as_a_null_is() {
    let nothing: ArrayRef = Arc::new(NullArray::new(2));
    let hollow = records(vec![None, Some(picture(0))], vec![None, None]);
    for (photo, expect) in [(hollow, 1), (nothing, 0)] {
        for user in [
            "What is {{ photo }}?",
            "What is this?",
            "{{ id }}{{ photo ~ '' }}",
        ] {
            let mut world = pictures("anthropic", "", 1);
            let columns = vec![("id", ids(photo.len())), ("photo", Arc::clone(&photo))];
            write(&world.path("in.parquet"), columns);
            world.job["prompt"]["user"] = user.into();
            let plan = engine::plan(world.setup("plan"), world.provider()).await;
            let counts = plan.expect("a plan").counts;
            assert_eq!((counts.skipped, counts.failed), (2 - expect, 0), "{user}");
            if expect == 1 {
                world.run().await.expect("a run");
                let table = read_table(&world.path("out.parquet"));
                let error = table["label_error"][0].as_deref();
                assert_eq!(error, Some("column `photo` is null"), "{user}");
                assert_eq!(world.bill().distinct_billed, 1);
            }
        }
    }
}
