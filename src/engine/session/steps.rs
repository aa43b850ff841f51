//! The steps, each carried out by its room.

use crate::base::{Error, Result};
use crate::engine::collect::cancel::cancel;
use crate::engine::collect::poll::{fail, poll};
use crate::engine::context::context::Context;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::step::{Step, StepResult};
use crate::engine::publish::publish::publish;
use crate::engine::submit::chunk::submit;
use crate::engine::submit::discard::discard;
use crate::engine::submit::recover::{recheck, recover};
use crate::engine::submit::resend::resend;
use crate::engine::submit::split::{prime, recast, split};
use crate::ledger::state::{ChunkState, PlanState, State};

/// Carries out one step of `plan`, or of whatever is open.
///
/// # Errors
/// Those of the step.
pub(crate) async fn carry_out(
    cx: &Context,
    step: &Step,
    (state, plan): (&State, Option<u64>),
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let current = || {
        plan.and_then(|plan| state.plans.get(&plan))
            .ok_or_else(|| Error::internal("no plan"))
    };
    let attempt = |id: &String| {
        let attempt = state.attempts.get(id);
        attempt.ok_or_else(|| Error::internal("no such attempt").with("id", id))
    };
    match step {
        Step::Submit { chunk } => submit(cx, chunk_of(current()?, *chunk)?, state, writer).await,
        Step::Recover { attempt: id } => recover(cx, attempt(id)?, state, writer).await,
        Step::Recheck { attempt: id } => recheck(cx, attempt(id)?, state, writer).await,
        Step::Fail { chunk } => fail(cx, chunk_of(current()?, *chunk)?, state, writer).await,
        Step::Split { chunk } => {
            let plan = current()?;
            Box::pin(split(cx, chunk_of(plan, *chunk)?, plan, state, writer)).await
        }
        Step::Prime { chunk } => {
            let plan = current()?;
            Box::pin(prime(cx, chunk_of(plan, *chunk)?, plan, state, writer)).await
        }
        Step::Recast { chunk } => {
            let plan = current()?;
            Box::pin(recast(cx, chunk_of(plan, *chunk)?, plan, state, writer)).await
        }
        Step::Poll { attempt: id } => poll(cx, attempt(id)?, state, writer).await,
        Step::Cancel { attempt: id } => cancel(cx, attempt(id)?, writer).await,
        Step::Discard { attempt: id } => discard(cx, attempt(id)?, writer).await,
        Step::Resend { round } => Box::pin(resend(cx, current()?, state, *round, writer)).await,
        Step::Publish => publish(cx, current()?, state, writer).await,
    }
}

/// A chunk of the plan.
fn chunk_of(plan: &PlanState, chunk: u64) -> Result<&ChunkState> {
    plan.chunks
        .get(&chunk)
        .ok_or_else(|| Error::internal("no such chunk").with("chunk", chunk))
}
