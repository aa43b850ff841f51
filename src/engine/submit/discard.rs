//! Deleting an uploaded body that nothing needs any more.

use crate::base::Result;
use crate::engine::context::context::Context;
use crate::engine::context::providers::is_own;
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::step::StepResult;
use crate::ledger::action::Action;
use crate::ledger::state::Attempt;

/// Deletes the uploaded body of `attempt`.
///
/// # Errors
/// Whatever keeps the provider from deleting it.
pub(crate) async fn discard(
    cx: &Context,
    attempt: &Attempt,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let provider = cx.providers.of(attempt)?;
    if !is_own(provider, attempt) {
        // Another account sees nothing of it, which must not be taken for its being gone.
        return Ok(StepResult::GivenUp);
    }
    if let Some(file) = &attempt.staged {
        provider.discard(file).await?;
    }
    let attempt = attempt.promised.attempt.clone();
    writer.write(vec![Action::Discarded { attempt }]).await?;
    Ok(StepResult::Done)
}
