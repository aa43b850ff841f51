//! The world stops at every named point: the output is the old one or the new one, and the next
//! attempt finishes.

use std::sync::Mutex;

use futures::future::{self, BoxFuture};
use object_store::memory::InMemory;
use tokio::sync::Notify;
use url::Url;

use super::table::simple;
use super::*;
use crate::base::CrashPoint;
use crate::output::{CRASH_POINTS, Existing, examine, publish};

#[derive(Debug)]
struct StopAt {
    name: &'static str,
    reached: Notify,
    passed: Mutex<Vec<&'static str>>,
}

impl CrashPoint for StopAt {
    fn reached(&self, name: &'static str) -> BoxFuture<'static, ()> {
        self.passed.lock().unwrap().push(name);
        if name == self.name {
            self.reached.notify_one();
            return Box::pin(future::pending());
        }
        Box::pin(future::ready(()))
    }
}

/// Publishes until the point `name`; whether it was reached, and the points passed.
async fn stopped(mut publication: Publication, name: &'static str) -> (bool, Vec<&'static str>) {
    let stop = Arc::new(StopAt {
        name,
        reached: Notify::new(),
        passed: Mutex::default(),
    });
    publication.crash = Crash::with(Arc::clone(&stop) as Arc<dyn CrashPoint>);
    let crashed = tokio::select! {
        done = publish(publication) => {
            done.unwrap();
            false
        }
        () = stop.reached.notified() => true,
    };
    let passed = stop.passed.lock().unwrap().clone();
    (crashed, passed)
}

/// The rows of the output at `target`, where it is complete.
async fn rows(target: &Target) -> Option<u64> {
    match examine(target).await.unwrap() {
        Existing::Ours {
            complete: true,
            identity,
        } => {
            let run = identity.iter().find(|(key, _)| key == RUN_KEY).unwrap();
            Some(run.1.parse().unwrap())
        }
        Existing::Ours {
            complete: false, ..
        }
        | Existing::Nothing => None,
        Existing::Foreign => panic!("ours was taken for a stranger's"),
    }
}

/// A publication of as many rows as its run is called.
fn attempt(root: &Path, target: &Target, count: i64, id: &str) -> Publication {
    let names = ["a.parquet", "b.parquet"];
    let half = count / 2;
    let sizes = [(0, half), (half, count - half)];
    let files = names.iter().zip(sizes);
    let sources = files.map(|(name, (first, rows))| source(root, name, &simple(first, rows)));
    let mut made = publication(sources.collect(), target.clone());
    if target.form == Form::File {
        made.layout = Layout::Single;
    }
    made.identity = vec![(RUN_KEY.to_owned(), count.to_string())];
    made.staging_id = id.to_owned();
    made
}

/// Stops at every point in turn. From `visible` on the new output is there; between `hidden` and
/// that, where there is such a time, none is; before it the old one is.
async fn check_every_point(
    target: &Target,
    hidden: Option<&str>,
    visible: &str,
    expect_points: usize,
) {
    let root = tempfile::tempdir().unwrap();
    let place = |name: &str| {
        CRASH_POINTS
            .iter()
            .position(|point| *point == name)
            .unwrap()
    };
    let mut seen = std::collections::BTreeSet::new();
    for (at, name) in CRASH_POINTS.into_iter().enumerate() {
        let old = 4 * i64::try_from(at).unwrap() + 2;
        publish(attempt(root.path(), target, old, "old"))
            .await
            .unwrap();
        let (crashed, passed) = stopped(attempt(root.path(), target, old + 2, "new"), name).await;
        assert_eq!(crashed, passed.contains(&name));
        seen.extend(passed);
        let expected = if !crashed || at >= place(visible) {
            Some(old.unsigned_abs() + 2)
        } else if hidden.is_some_and(|hidden| at >= place(hidden)) {
            None
        } else {
            Some(old.unsigned_abs())
        };
        assert_eq!(rows(target).await, expected, "{name}");
    }
    assert_eq!(seen.len(), expect_points, "{seen:?}");
}

fn order(names: &[&'static str]) -> Vec<usize> {
    let place = |name: &&str| CRASH_POINTS.iter().position(|point| point == name).unwrap();
    names.iter().map(place).collect()
}

#[tokio::test]
async fn points_are_passed_in_the_order_that_is_documented() {
    let root = tempfile::tempdir().unwrap();
    let target = file_target(&root.path().join("out.parquet"));
    let (_, passed) = stopped(attempt(root.path(), &target, 4, "s"), "none").await;
    assert!(order(&passed).is_sorted(), "{passed:?}");
    assert_eq!(passed.len(), 8);
}

#[tokio::test]
async fn a_local_file_is_old_or_new_after_any_crash() {
    let root = tempfile::tempdir().unwrap();
    let target = file_target(&root.path().join("out.parquet"));
    check_every_point(&target, None, "output.after_rename", 8).await;
}

#[tokio::test]
async fn a_local_folder_is_old_or_new_after_any_crash() {
    let root = tempfile::tempdir().unwrap();
    let target = folder_target(&root.path().join("out"));
    check_every_point(&target, None, "output.after_rename", 8).await;
    publish(attempt(&root.path().join("in"), &target, 6, "last"))
        .await
        .unwrap();
    assert!(
        !root.path().join("_columnist").exists(),
        "what crashes left is cleaned"
    );
}

fn in_memory(path: &str, form: Form) -> Target {
    let location = Location {
        store: Arc::new(InMemory::new()),
        path: path.into(),
        url: Url::parse(&format!("memory://bucket/{path}")).unwrap(),
        local: None,
        private: None,
    };
    Target { location, form }
}

#[tokio::test]
async fn an_object_is_old_or_new_after_any_crash() {
    let target = in_memory("out.parquet", Form::File);
    check_every_point(&target, None, "output.after_file", 5).await;
}

#[tokio::test]
async fn a_folder_of_objects_is_old_new_or_without_its_success() {
    let (target, hidden) = (in_memory("out", Form::Folder), Some("output.after_staging"));
    check_every_point(&target, hidden, "output.after_success", 8).await;
}
