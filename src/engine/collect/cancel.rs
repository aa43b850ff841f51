//! Telling the provider to cancel a batch.

use crate::base::Result;
use crate::engine::context::context::Context;
use crate::engine::context::providers::{is_own, other_account};
use crate::engine::context::writer::LedgerWriter;
use crate::engine::decide::step::StepResult;
use crate::ledger::action::Action;
use crate::ledger::state::Attempt;
use crate::provider::Seen;

/// Tells the provider to cancel the batch of `attempt`. What it finished is harvested later.
///
/// # Errors
/// `Refused` if it is another account's; whatever keeps the provider from being told.
pub(crate) async fn cancel(
    cx: &Context,
    attempt: &Attempt,
    writer: &LedgerWriter,
) -> Result<StepResult> {
    let provider = cx.providers.of(attempt)?;
    if let Some(accepted) = &attempt.accepted {
        match provider.cancel(&accepted.batch).await? {
            Seen::Unseen(_) if !is_own(provider, attempt) && !cx.may_resubmit() => {
                return Err(other_account(&attempt.promised));
            }
            // What is gone needs no cancel; the next look says so.
            Seen::Unseen(_) | Seen::There(()) => {}
        }
    }
    let attempt = attempt.promised.attempt.clone();
    writer.write(vec![Action::CancelSent { attempt }]).await?;
    Ok(StepResult::Done)
}
