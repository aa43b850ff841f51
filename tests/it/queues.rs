//! The provider's limits: chunks wait their turn, smaller ones are made of what is too large, and
//! nothing fails or is paid twice for it. On paused time.

use std::time::Duration;

use columnist::emulator::{AnthropicLimits, OpenAiLimits, SandboxConfig, TokensRefusal};
use columnist::engine::{self, Report, StatusReport};
use columnist::work::RowStatus;

use crate::world::{VENDORS, World, read_table, taking, write_table};

/// A world of `rows` rows in chunks of ten.
fn world(vendor: &'static str, rows: usize, config: SandboxConfig) -> World {
    World::paused(vendor, (rows, 10), config)
}

/// Batches of a few minutes.
fn config() -> SandboxConfig {
    taking(5, 20)
}

/// What a request of these tests weighs in OpenAI's queue, as the sandbox counts it: a quarter of the
/// bytes of both messages, "You label." and "Label this: ticket 12".
const TOKENS: u64 = 8;

/// A sandbox whose queue has room for so many requests.
fn narrow(requests: u64, refusal: TokensRefusal) -> SandboxConfig {
    SandboxConfig {
        anthropic: AnthropicLimits {
            queue_requests_max: Some(requests),
            ..AnthropicLimits::default()
        },
        openai: OpenAiLimits {
            enqueued_tokens_max: Some(requests * TOKENS),
            enqueued_tokens_refusal: refusal,
            ..OpenAiLimits::default()
        },
        ..config()
    }
}

/// Every row has its own answer, and every request was paid once.
fn check(world: &World, report: &Report, rows: usize) {
    assert!(report.published && report.exit_code() == 0, "{report:?}");
    assert_eq!(report.counts.of(RowStatus::Succeeded), rows as u64);
    let table = read_table(&world.path("out.parquet"));
    assert_eq!(table["label"].len(), rows);
    for (n, label) in table["label"].iter().enumerate() {
        let answer = world.answer(&format!("Label this: ticket {n}"));
        assert!(
            label.as_ref().is_some_and(|label| label.ends_with(&answer)),
            "row {n}: {label:?}"
        );
    }
    let bill = world.bill();
    assert_eq!(bill.total.requests_billed, rows as u64);
    assert_eq!(bill.billed_more_than_once, 0);
}

async fn status(world: &World) -> StatusReport {
    let status = engine::status(world.setup("status"));
    status.await.expect("a status")
}

/// How many attempts were refused.
async fn refusals(world: &World) -> usize {
    let status = status(world).await;
    let refused = status
        .batches
        .iter()
        .filter(|line| line.phase.starts_with("rejected"));
    refused.count()
}

#[tokio::test(start_paused = true)]
async fn chunks_wait_while_the_queue_is_full() {
    for refusal in [
        TokensRefusal::FailedBatch,
        TokensRefusal::BadRequest,
        TokensRefusal::TooManyRequests,
    ] {
        for vendor in VENDORS {
            let world = world(vendor, 60, narrow(25, refusal));
            let report = world.run().await.expect("a run");
            check(&world, &report, 60);
            let refused = refusals(&world).await;
            assert!(
                (1..=4).contains(&refused),
                "{vendor}: the limit is learned, and then kept to: {refused} refusals"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chunk_that_alone_is_over_the_limit_is_split() {
    for vendor in VENDORS {
        let mut world = world(vendor, 30, narrow(4, TokensRefusal::FailedBatch));
        world.job["ledger"]["keep_prompts"] = (vendor == "openai").into();
        let report = world.run().await.expect("a run");
        check(&world, &report, 30);
        let landed = status(&world).await.batches;
        let landed: Vec<_> = landed
            .iter()
            .filter(|line| line.phase == "landed")
            .collect();
        assert!(landed.iter().all(|line| line.requests <= 5), "{landed:?}");
        let again = world.run().await.expect("a second run");
        assert!(again.unchanged);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_the_jobs_own_is_never_hit() {
    for vendor in VENDORS {
        let mut world = world(vendor, 60, narrow(25, TokensRefusal::FailedBatch));
        world.job["model"]["max_enqueued"] = if vendor == "openai" {
            (25 * TOKENS).into()
        } else {
            25.into()
        };
        let report = world.run().await.expect("a run");
        check(&world, &report, 60);
        assert_eq!(refusals(&world).await, 0, "{vendor}");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_on_files_batches_and_calls_are_waited_out() {
    for vendor in VENDORS {
        let config = SandboxConfig {
            anthropic: AnthropicLimits {
                calls_per_minute_max: Some(4),
                ..AnthropicLimits::default()
            },
            openai: OpenAiLimits {
                batches_per_hour_max: Some(2),
                uploads_per_minute_max: Some(1),
                files_max: Some(8),
                ..OpenAiLimits::default()
            },
            ..config()
        };
        let world = world(vendor, 60, config);
        let report = world.run().await.expect("a run");
        check(&world, &report, 60);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_older_than_the_job_lets_it_be_is_canceled_and_harvested() {
    for vendor in VENDORS {
        let config = SandboxConfig {
            batch_time: (Duration::from_hours(10), Duration::from_hours(12)),
            ..config()
        };
        let mut world = world(vendor, 10, config);
        world.job["model"]["max_batch_age"] = serde_json::json!({ "secs": 3600 * 5, "nanos": 0 });
        let before = world.components.clock.now();
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 3, "{report:?}");
        let (answered, canceled) = (
            report.counts.of(RowStatus::Succeeded),
            report.counts.of(RowStatus::Canceled),
        );
        assert_eq!(answered + canceled, 10, "{vendor}: {:?}", report.counts);
        assert!(canceled > 0, "{vendor}");
        assert_eq!(
            world.bill().total.requests_billed,
            answered,
            "what is paid is kept"
        );
        let hours = (world.components.clock.now() - before).num_hours();
        assert!((15..20).contains(&hours), "three times five hours: {hours}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_provider_finds_too_large_is_split_and_one_row_that_is_too_large_fails_alone() {
    for vendor in VENDORS {
        // The body of ten short requests is over it; that of a few is not, and the long one's is.
        let limit = 1500;
        let config = SandboxConfig {
            anthropic: AnthropicLimits {
                body_bytes_max: limit,
                ..AnthropicLimits::default()
            },
            openai: OpenAiLimits {
                file_bytes_max: limit,
                ..OpenAiLimits::default()
            },
            ..config()
        };
        let world = world(vendor, 20, config);
        let long = |n: usize| {
            if n == 7 {
                "x".repeat(2000)
            } else {
                format!("ticket {n}")
            }
        };
        let bodies: Vec<_> = (0..20).map(|n| Some(long(n))).collect();
        write_table(&world.path("in.parquet"), &bodies, 64);
        let report = world.run().await.expect("a run");
        assert!(report.published && report.exit_code() == 3, "{report:?}");
        let counts = (
            report.counts.of(RowStatus::Succeeded),
            report.counts.of(RowStatus::Failed),
        );
        assert_eq!(counts, (19, 1), "{vendor}");
        let table = read_table(&world.path("out.parquet"));
        let why = table["label_error"][7].as_deref().unwrap_or_default();
        assert!(why.contains("too large"), "{vendor}: {why}");
        assert_eq!(world.bill().billed_more_than_once, 0);
    }
}
