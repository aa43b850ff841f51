//! Not knowing whether the provider took a batch: it is waited for, asked about, or overruled by a
//! person's word, and never guessed. On paused time.

mod split_trials;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use columnist::base::http::{HttpError, HttpRequest, HttpResponse, HttpService, Method};
use columnist::base::{Error, ErrorKind};
use columnist::engine::{self, StatusReport};
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, read_table, taking};

/// What becomes of a call that makes a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is carried out, and its answer comes.
    Told,
    /// It is carried out, and its answer is lost.
    Lost,
    /// It is lost on its way.
    Never,
}

/// A network that loses calls that make a batch; those that are not spoken of are told.
#[derive(Debug)]
struct Lossy {
    inner: Arc<dyn HttpService>,
    fates: Mutex<VecDeque<Fate>>,
}

#[async_trait]
impl HttpService for Lossy {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let makes = request.method == Method::POST && request.url.path().ends_with("/batches");
        let fate = if makes {
            self.fates.lock().expect("no panic").pop_front()
        } else {
            None
        };
        let lost = || HttpError::Lost(Error::new(ErrorKind::Unavailable, "the connection is lost"));
        match fate.unwrap_or(Fate::Told) {
            Fate::Told => self.inner.send(request).await,
            Fate::Lost => {
                let sent = self.inner.send(request).await;
                assert!(sent.is_ok_and(|response| response.status.is_success()));
                Err(lost())
            }
            Fate::Never => Err(lost()),
        }
    }
}

/// A world on paused time, of twenty rows in two chunks, whose calls that make a batch have these
/// fates.
pub(crate) fn world(vendor: &'static str, fates: &[Fate]) -> World {
    let mut world = World::paused(vendor, (20, 10), taking(20, 40));
    world.components.http = Arc::new(Lossy {
        inner: Arc::clone(&world.components.http),
        fates: Mutex::new(fates.iter().copied().collect()),
    });
    world
}

async fn status(world: &World) -> StatusReport {
    let status = engine::status(world.setup("status"));
    status.await.expect("a status")
}

/// Somebody deletes a batch of Anthropic's.
async fn delete(world: &World, batch: &str) {
    let path = format!("/anthropic/v1/messages/batches/{batch}");
    let request = axum::extract::Request::builder()
        .method("DELETE")
        .uri(path)
        .header("x-api-key", "sk-test")
        .header("anthropic-version", "2023-06-01")
        .body(axum::body::Body::empty());
    let answer = world.sandbox.call(request.expect("a request")).await;
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Every request was paid so many times.
fn check_paid(world: &World, times: u64) {
    let bill = world.bill();
    assert_eq!(bill.distinct_billed, 20);
    assert_eq!(bill.total.requests_billed, 20 * times);
}

#[tokio::test(start_paused = true)]
async fn what_was_never_taken_is_sent_again_only_when_that_is_certain() {
    for vendor in VENDORS {
        let world = world(vendor, &[Fate::Never]);
        let before = world.components.clock.now();
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        check_paid(&world, 1);
        let took = (world.components.clock.now() - before).num_seconds();
        assert!(took >= 600, "{vendor}: `settle` is ten minutes: {took} s");
        let absent = status(&world).await.batches;
        assert!(
            absent.iter().any(|line| line.phase == "never accepted"),
            "{vendor}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_answer_is_lost_is_found_again_and_so_are_the_others() {
    use Fate::{Lost, Told};
    for vendor in VENDORS {
        for fates in [
            [Lost, Told, Told],
            [Told, Lost, Told],
            [Told, Told, Lost],
            [Lost, Lost, Lost],
        ] {
            let mut world = world(vendor, &fates);
            // Three requests are tried before the others, and the others go in two chunks.
            world.job["model"]["temperature"] = 0.5.into();
            let report = world.run().await.expect("a run");
            assert!(
                report.published && report.exit_code() == 0,
                "{vendor} {fates:?}: {report:?}"
            );
            assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{fates:?}");
            check_paid(&world, 1);
            let made = world.bill().total.batches_created;
            assert_eq!(made, 3, "{vendor} {fates:?}");
            assert!(world.run().await.expect("a second run").unchanged);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_batch_that_may_be_ours_is_waited_for_and_named() {
    let mut world = world("anthropic", &[Fate::Told, Fate::Lost]);
    world.job["ledger"]["on_ambiguous"] = "fail".into();
    let error = world.run().await.expect_err("nobody can tell");
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error:?}");
    assert_eq!(error.kind().exit_code(), 5);
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.contains("on_ambiguous=resubmit"), "{hint}");
    let lines = status(&world).await.batches;
    let lost = lines
        .iter()
        .find(|line| line.phase == "unknown")
        .expect("the lost one");
    assert_eq!(lost.candidates.len(), 1, "{lost:?}");
    assert!(
        lost.note
            .as_ref()
            .is_some_and(|note| note.contains(&lost.candidates[0]))
    );
    // By the time the other one has landed, and an hour later for sure, its results tell.
    world.components.clock.sleep(Duration::from_hours(1)).await;
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    check_paid(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn what_can_be_told_at_once_is_adopted_whatever_the_policy() {
    for policy in ["wait", "fail", "resubmit"] {
        let mut world = world("openai", &[Fate::Lost, Fate::Lost]);
        world.job["ledger"]["on_ambiguous"] = policy.into();
        world.job["ledger"]["settle"] = serde_json::json!({ "secs": 0, "nanos": 0 });
        let report = world.run().await.expect("a run");
        assert!(
            report.published && report.exit_code() == 0,
            "{policy}: {report:?}"
        );
        check_paid(&world, 1);
        assert_eq!(report.wasted, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_other_rows_are_published_where_a_person_asks_for_it() {
    let mut world = world("anthropic", &[Fate::Told, Fate::Lost]);
    world.job["ledger"]["on_ambiguous"] = "fail".into();
    let mut setup = world.setup("run");
    setup.publish_partial = true;
    let report = engine::run(setup, world.provider()).await.expect("a run");
    assert!(report.published, "{report:?}");
    assert_eq!((report.exit_code(), report.unsettled), (5, 1));
    let counts = &report.counts;
    let pending = counts.of(RowStatus::Pending);
    assert_eq!((pending, counts.of(RowStatus::Succeeded)), (10, 10));
    let table = read_table(&world.path("out.parquet"));
    let statuses = table["label_status"].iter().map(Option::as_deref);
    for (n, (label, status)) in table["label"].iter().zip(statuses).enumerate() {
        assert_eq!(label.is_none(), status == Some("pending"), "row {n}");
    }
    world.components.clock.sleep(Duration::from_hours(1)).await;
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
    check_paid(&world, 1);
}

#[tokio::test(start_paused = true)]
async fn a_persons_word_overrules_and_what_it_costs_is_reported() {
    let mut world = world("anthropic", &[Fate::Told, Fate::Lost]);
    world.job["ledger"]["on_ambiguous"] = "resubmit".into();
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert!(
        report.wasted > 0,
        "the batch that was there after all is counted"
    );
    assert!(world.bill().billed_more_than_once > 0);
    assert_eq!(world.bill().distinct_billed, 20);
}

#[tokio::test(start_paused = true)]
async fn a_person_overrules_once_and_not_without_end() {
    let mut world = world("anthropic", &[Fate::Lost; 9]);
    world.job["ledger"]["on_ambiguous"] = "resubmit".into();
    let error = world.run().await.expect_err("every answer is lost");
    assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error:?}");
    let bill = world.bill();
    assert_eq!(
        bill.total.batches_created, 4,
        "each of two chunks was sent twice"
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_another_account_is_not_taken_for_lost() {
    for vendor in VENDORS {
        let world = world(vendor, &[]);
        let submitted = engine::submit(world.setup("submit"), world.provider()).await;
        submitted.expect("submitted");
        let other = world.provider_as(world.vendor, "another-key", None);
        let error = engine::run(world.setup("run"), other)
            .await
            .expect_err("another key");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert!(error.to_string().contains("another account"), "{error}");
        let report = world.run().await.expect("with the first key");
        assert!(report.published && report.exit_code() == 0);
        check_paid(&world, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_deleted_is_sent_again_only_on_a_persons_word() {
    let mut world = world("anthropic", &[]);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    let batch = submitted.expect("submitted").batches[0].clone();
    world.components.clock.sleep(Duration::from_hours(1)).await;
    delete(&world, &batch).await;
    let error = world.run().await.expect_err("it is gone");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    assert!(
        error
            .hint_text()
            .is_some_and(|hint| hint.contains("on_ambiguous=resubmit"))
    );
    world.job["ledger"]["on_ambiguous"] = "resubmit".into();
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), 20);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_deleted_keeps_no_other_from_landing() {
    let world = world("anthropic", &[]);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    let batches = submitted.expect("submitted").batches;
    world.components.clock.sleep(Duration::from_hours(1)).await;
    delete(&world, &batches[0]).await;
    for collects in [true, false] {
        let error = if collects {
            engine::collect(world.setup("collect"), world.provider(), false).await
        } else {
            world.run().await
        };
        let error = error.expect_err("one is gone");
        assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
        assert_eq!(status(&world).await.landed, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn results_that_were_deleted_are_paid_again_only_on_a_persons_word() {
    let mut world = world("anthropic", &[]);
    let submitted = engine::submit(world.setup("submit"), world.provider()).await;
    submitted.expect("submitted");
    // Anthropic keeps results for 29 days.
    world
        .components
        .clock
        .sleep(Duration::from_hours(24 * 30))
        .await;
    let error = world.run().await.expect_err("they are gone");
    assert_eq!(error.kind(), ErrorKind::Refused, "{error:?}");
    let hint = error.hint_text().unwrap_or_default();
    assert!(hint.contains("on_ambiguous=resubmit"), "{hint}");
    check_paid(&world, 1);
    world.job["ledger"]["on_ambiguous"] = "resubmit".into();
    let report = world.run().await.expect("a run");
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    check_paid(&world, 2);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_took_is_sent_under_a_new_key_on_a_persons_word() {
    for vendor in VENDORS {
        let mut world = world(vendor, &[Fate::Never, Fate::Never]);
        world.job["ledger"]["on_ambiguous"] = "fail".into();
        let error = world.run().await.expect_err("nobody can tell");
        assert_eq!(error.kind(), ErrorKind::Ambiguous, "{error:?}");
        let run = async |world: &World| {
            let other = world.provider_as(world.vendor, "another-key", None);
            engine::run(world.setup("run"), other).await
        };
        let error = run(&world).await.expect_err("the first key is gone");
        assert!(error.to_string().contains("another account"), "{error}");
        world.job["ledger"]["on_ambiguous"] = "resubmit".into();
        let report = run(&world).await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        check_paid(&world, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_whose_answers_are_lost_again_and_again_is_made_smaller() {
    for vendor in VENDORS {
        let world = world(vendor, &[Fate::Never; 6]);
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 0, "{report:?}");
        check_paid(&world, 1);
        let lines = status(&world).await.batches;
        let landed = lines.iter().filter(|line| line.phase == "landed");
        let sizes: Vec<_> = landed.map(|line| line.requests).collect();
        assert!(sizes.iter().all(|size| *size <= 5), "{vendor}: {sizes:?}");
    }
}
