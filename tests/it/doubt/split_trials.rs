//! The first requests of a plan, which are tried before the others, in a batch that the provider finds too
//! large, and receipts of the smaller ones that are lost: each is found again, and none is paid twice. On
//! paused time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use columnist::base::http::{HttpError, HttpRequest, HttpResponse, HttpService, Method};
use columnist::base::{Error, ErrorKind};
use columnist::emulator::{AnthropicLimits, OpenAiLimits, SandboxConfig};
use columnist::ledger::action::Action;
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, facts, read_table, taking, write_table};

/// A network that loses the receipts of some of the batches that are made: by their number, from 1.
#[derive(Debug)]
struct LosesReceipts {
    inner: Arc<dyn HttpService>,
    lost: BTreeSet<usize>,
    made: AtomicUsize,
}

#[async_trait]
impl HttpService for LosesReceipts {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let makes = request.method == Method::POST && request.url.path().ends_with("/batches");
        let response = self.inner.send(request).await?;
        if !makes || !response.status.is_success() {
            return Ok(response);
        }
        let number = 1 + self.made.fetch_add(1, Ordering::Relaxed);
        if self.lost.contains(&number) {
            let error = Error::new(ErrorKind::Unavailable, "the connection is lost");
            return Err(HttpError::Lost(error));
        }
        Ok(response)
    }
}

/// The texts: three long ones, of which two fit into a batch, and short ones.
fn body(row: usize) -> String {
    let long = "x".repeat(if row < 3 { 2000 } else { 0 });
    format!("ticket {row} {long}")
}

fn world(vendor: &'static str, lost: &[usize]) -> World {
    let limit = 5500;
    let config = SandboxConfig {
        anthropic: AnthropicLimits {
            body_bytes_max: limit,
            ..AnthropicLimits::default()
        },
        openai: OpenAiLimits {
            file_bytes_max: limit,
            ..OpenAiLimits::default()
        },
        ..taking(20, 40)
    };
    let mut world = World::paused(vendor, (20, 10), config);
    let bodies: Vec<_> = (0..20).map(|row| Some(body(row))).collect();
    write_table(&world.path("in.parquet"), &bodies, 64);
    // What a service may refuse, and so is tried.
    world.job["model"]["temperature"] = 0.5.into();
    world.components.http = Arc::new(LosesReceipts {
        inner: Arc::clone(&world.components.http),
        lost: lost.iter().copied().collect(),
        made: AtomicUsize::new(0),
    });
    world
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_was_split_is_found_again_and_so_are_the_others() {
    for vendor in VENDORS {
        for lost in [&[][..], &[1], &[2], &[3], &[1, 2], &[1, 2, 3, 4]] {
            let world = world(vendor, lost);
            let report = world.run().await.expect("a run");
            let what = format!("{vendor} {lost:?}");
            assert!(
                report.published && report.exit_code() == 0,
                "{what}: {report:?}"
            );
            assert_eq!(report.counts.of(RowStatus::Succeeded), 20, "{what}");

            let facts = facts(&world).await;
            let is_split = |fact: &&Action| matches!(fact, Action::ChunkSplit { chunk: 0, .. });
            assert_eq!(
                facts.iter().filter(is_split).count(),
                1,
                "{what}: the trial"
            );
            let adopted = |fact: &&Action| matches!(fact, Action::Accepted(it) if it.adopted);
            assert_eq!(facts.iter().filter(adopted).count(), lost.len(), "{what}");

            let bill = world.bill();
            assert_eq!(bill.total.batches_created, 4, "{what}");
            assert_eq!(
                (bill.distinct_billed, bill.total.requests_billed),
                (20, 20),
                "{what}"
            );
            let table = read_table(&world.path("out.parquet"));
            for (row, label) in table["label"].iter().enumerate() {
                let answer = world.answer(&format!("Label this: {}", body(row)));
                assert!(
                    label.as_ref().is_some_and(|label| label.ends_with(&answer)),
                    "{what}: row {row}"
                );
            }
            assert!(world.run().await.expect("a second run").unchanged, "{what}");
        }
    }
}

/// Nothing but the trial goes until it is known what came of it, in however many parts it is sent.
#[tokio::test(start_paused = true)]
async fn the_others_wait_for_a_trial_whose_parts_are_lost() {
    for vendor in VENDORS {
        let world = world(vendor, &[1, 2]);
        world.run().await.expect("a run");
        let facts = facts(&world).await;
        let landed = facts
            .iter()
            .position(|fact| matches!(fact, Action::Landed(_)));
        let landed = landed.expect("a part comes home");
        let promised = |fact: &Action| match fact {
            Action::Promised(promised) => Some((promised.chunk, promised.requests)),
            _ => None,
        };
        let before: Vec<_> = facts[..landed].iter().filter_map(promised).collect();
        // The trial as a whole, which is refused, and its parts.
        let requests: Vec<_> = before.iter().map(|(_, requests)| *requests).collect();
        assert_eq!(requests, [3, 2, 1], "{vendor}: {before:?}");
    }
}
