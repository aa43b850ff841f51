//! What an account may hold at once, and make in an hour.

use std::time::Duration;

use super::protocol::NAME;
use super::stored::OpenAiFile;
use crate::base::Result;
use crate::emulator::account::TokensRefusal;
use crate::emulator::batch::{Batch, Failure};
use crate::emulator::faults::Fault;
use crate::emulator::problem::Problem;
use crate::emulator::rate::Rate;
use crate::emulator::world::{Caller, World};

const HOUR: Duration = Duration::from_hours(1);
const MINUTE: Duration = Duration::from_mins(1);

/// The limit that the message names where only a fault says that it is reached.
const TOKENS_MAX: u64 = 900_000;

/// Refuses one more batch than an hour may have.
pub(super) fn check_pace(world: &World, caller: &Caller) -> Result<(), Problem> {
    let Some(most) = world.config.openai.batches_per_hour_max else {
        return Ok(());
    };
    let batches = world.store.all::<Batch>()?;
    let mine = batches
        .iter()
        .filter(|batch| batch.dialect == NAME && batch.owner == caller.owner);
    let rate = Rate { most, per: HOUR };
    let wait = rate.wait(world.now(), mine.map(|batch| batch.created_at));
    wait.map_or(Ok(()), |wait| {
        let text = format!("Rate limit reached for batch creations: Limit {most} per hour.");
        Err(too_many(text).wait(wait))
    })
}

/// Refuses one more upload than a minute may have, or than may be kept.
pub(super) fn check_upload(world: &World, caller: &Caller) -> Result<(), Problem> {
    let limits = &world.config.openai;
    if limits.uploads_per_minute_max.is_none() && limits.files_max.is_none() {
        return Ok(());
    }
    let mut files = world.store.all::<OpenAiFile>()?;
    files.retain(|file| file.owner == caller.owner && file.of_batch.is_none());
    let now = world.now();
    if let Some(most) = limits.uploads_per_minute_max {
        let rate = Rate { most, per: MINUTE };
        if let Some(wait) = rate.wait(now, files.iter().map(|file| file.created_at)) {
            let text = format!("Rate limit reached for requests: Limit {most} per minute.");
            return Err(too_many(text).wait(wait));
        }
    }
    let is_kept = |file: &&OpenAiFile| !file.deleted && file.expires_at.is_none_or(|at| now < at);
    let kept = files.iter().filter(is_kept).count() as u64;
    match limits.files_max {
        // As Azure says it; OpenAI's own limit is one of bytes.
        Some(most) if kept >= most => {
            let text = format!("The quota for files is reached. The maximum is {most}.");
            Err(Problem::invalid(text).code("quotaExceeded"))
        }
        _ => Ok(()),
    }
}

fn too_many(text: String) -> Problem {
    Problem::new(429, "requests", text).code("rate_limit_exceeded")
}

/// Whether the batch does not fit beside those that are queued, or a fault says so: refused at once,
/// or as a failure that validation will find.
pub(super) fn check_tokens(
    world: &World,
    caller: &Caller,
    batch: &Batch,
) -> Result<Option<Failure>, Problem> {
    if batch.luck().hits(Fault::FailSilent, 0) {
        world.note_fault(Fault::FailSilent);
        return Ok(Some(Failure::unsaid()));
    }
    let message = tokens_message(world, batch);
    if let Some(draw) = world.queue_full() {
        let status = if draw & 1 == 0 { 400 } else { 429 };
        return Err(tokens_problem(status, message));
    }
    let fails = fault_fails(world, batch);
    if !fails && fits(world, caller, batch)? {
        return Ok(None);
    }
    let status = match world.config.openai.enqueued_tokens_refusal {
        TokensRefusal::BadRequest if !fails => 400,
        TokensRefusal::TooManyRequests if !fails => 429,
        _ => {
            return Ok(Some(Failure {
                code: TOKENS_CODE.into(),
                message,
                param: None,
                line: None,
            }));
        }
    };
    Err(tokens_problem(status, message))
}

const TOKENS_CODE: &str = "token_limit_exceeded";

fn tokens_problem(status: u16, message: String) -> Problem {
    let kind = if status == 429 {
        "tokens"
    } else {
        "invalid_request_error"
    };
    Problem::new(status, kind, message).code(TOKENS_CODE)
}

fn tokens_message(world: &World, batch: &Batch) -> String {
    let model = batch.details["model"].as_str().unwrap_or_default();
    let limit = world.config.openai.enqueued_tokens_max;
    format!(
        "Enqueued token limit reached for {model} in organization org-sandbox. Limit: {} enqueued \
         tokens. Please try again once some in_progress batches have been completed.",
        with_commas(limit.unwrap_or(TOKENS_MAX))
    )
}

/// Every nth means every nth batch; a share is drawn for each.
fn fault_fails(world: &World, batch: &Batch) -> bool {
    let faults = &world.config.faults;
    let fails = faults.nth_hits(Fault::FailBatch, || world.attempt(1))
        || batch.luck().hits(Fault::FailBatch, 0);
    if fails {
        world.note_fault(Fault::FailBatch);
    }
    fails
}

fn fits(world: &World, caller: &Caller, batch: &Batch) -> Result<bool> {
    let Some(limit) = world.config.openai.enqueued_tokens_max else {
        return Ok(true);
    };
    let queued = world.queued(NAME, caller)?;
    let same = queued
        .iter()
        .filter(|other| other.details["model"] == batch.details["model"]);
    let tokens: u64 = same.map(|other| other.summary.input_tokens).sum();
    Ok(tokens + batch.summary.input_tokens <= limit)
}

/// A number as the vendor writes it in a sentence.
fn with_commas(number: u64) -> String {
    let digits = number.to_string();
    let threes: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let threes: Vec<_> = threes
        .iter()
        .map(|three| String::from_utf8_lossy(three))
        .collect();
    threes.join(",")
}

#[cfg(test)]
mod tests {
    use super::with_commas;

    #[test]
    fn numbers_are_grouped_by_threes() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (2_000_000, "2,000,000"),
        ] {
            assert_eq!(with_commas(number), text);
        }
    }
}
