//! A batch in the vendor's shape.

use serde_json::{Map, Value, json};

use super::stored::{Side, result_id};
use crate::base::Time;
use crate::emulator::batch::{Batch, End, Phase};
use crate::emulator::problem::Problem;
use crate::emulator::world::World;

/// A batch as the vendor shows it.
pub(super) fn shown(world: &World, batch: &Batch, phase: Phase) -> Result<Value, Problem> {
    let ended = matches!(phase, Phase::Ended(_));
    let failed = phase == Phase::Ended(End::Failed);
    let mut expired = phase == Phase::Ended(End::Expired);
    let (mut counts, mut usage) = (
        json!({"total": 0, "completed": 0, "failed": 0}),
        Value::Null,
    );
    let now = world.now();
    if ended && !failed {
        let tally = world.tally(batch)?;
        expired |= phase == Phase::Ended(End::Completed) && tally.expired > 0;
        counts = json!({"total": batch.summary.count, "completed": tally.billed,
            "failed": tally.errored});
        usage = json!({"input_tokens": tally.input_tokens,
            "input_tokens_details": {"cached_tokens": tally.cache_read_tokens},
            "output_tokens": tally.output_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": tally.input_tokens + tally.output_tokens});
    } else if !failed && phase != Phase::Validating {
        let good = batch.summary.count - batch.summary.invalid;
        let share = |count: u64| scaled(count, batch.share_done(now));
        counts = json!({"total": batch.summary.count, "completed": share(good),
            "failed": share(batch.summary.invalid)});
    }
    let errors = failed
        .then_some(&batch.failures)
        .filter(|failures| failures.iter().any(|failure| !failure.code.is_empty()))
        .map(|failures| json!({"object": "list", "data": failures}));
    let status = match phase {
        Phase::Validating => "validating",
        Phase::Running => "in_progress",
        Phase::Finalizing => "finalizing",
        Phase::Cancelling => "cancelling",
        Phase::Ended(_) if expired => "expired",
        Phase::Ended(End::Cancelled) => "cancelled",
        Phase::Ended(End::Completed | End::Expired) => "completed",
        Phase::Ended(End::Failed) => "failed",
    };
    let file = |side| {
        if ended {
            result_id(world, batch, side)
        } else {
            Ok(None)
        }
    };
    let mut shown = json!({
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.details["model"],
        "errors": errors,
        "input_file_id": batch.details["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": file(Side::Output)?,
        "error_file_id": file(Side::Error)?,
        "request_counts": counts,
        "usage": usage,
        "metadata": batch.details["metadata"],
    });
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(times(batch, phase, now, status));
    }
    Ok(shown)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a share of a count"
)]
fn scaled(count: u64, share: f64) -> u64 {
    (count as f64 * share) as u64
}

/// The moments of a batch, in seconds.
fn times(batch: &Batch, phase: Phase, now: Time, status: &str) -> Map<String, Value> {
    let validated = phase != Phase::Validating && status != "failed";
    let stopped = batch.cancelled_at.unwrap_or(batch.ends_at());
    // What a moment must lie before to have come.
    let passed = |at: Time| (validated && at <= now && at <= stopped).then_some(at);
    let ended = |name: &str| (status == name).then(|| batch.ends_at());
    let moments = [
        ("created_at", Some(batch.created_at)),
        ("expires_at", Some(batch.expires_at())),
        ("in_progress_at", passed(batch.starts_at())),
        ("finalizing_at", passed(batch.finalizes_at())),
        ("completed_at", ended("completed")),
        ("failed_at", ended("failed")),
        ("expired_at", ended("expired")),
        ("cancelling_at", batch.cancelled_at),
        ("cancelled_at", ended("cancelled")),
    ];
    let seconds = |at: Option<Time>| at.map_or(Value::Null, |at| at.timestamp().into());
    moments
        .into_iter()
        .map(|(name, at)| (name.to_owned(), seconds(at)))
        .collect()
}
