//! `cancel`, `retry` and `gc`: what is asked of a job's ledger.

use std::time::Duration;

use super::context::{CommandContext, print};
use crate::base::{Error, Exit, Result};
use crate::engine::{self, RetrySummary, Wanted};
use crate::work::RowStatus;

/// `cancel`: asks for open batches to be canceled.
pub(in crate::cli) async fn cancel(context: &CommandContext) -> Result<Exit> {
    let open = engine::cancel(context.setup("cancel")).await?;
    if open == 0 {
        return print("no batch is open; nothing more is sent of this plan\n");
    }
    print(&format!(
        "asked for {open} open batches to be canceled; a run that is at work, else the next `columnist \
         collect`, tells the provider, and harvests what they finished\n"
    ))
}

/// `retry`: asks for what has no answer to be sent again.
pub(in crate::cli) async fn retry(
    context: &CommandContext,
    (statuses, keys): (&[RowStatus], &[String]),
) -> Result<Exit> {
    let columns = context.job.source.key.len().max(1);
    if !keys.len().is_multiple_of(columns) {
        return Err(
            Error::invalid("a row's key has one value for each key column")
                .with("key_columns", context.job.source.key.join(", "))
                .with("values", keys.len())
                .hint("write --key once for each key column, in their order"),
        );
    }
    let wanted = Wanted {
        statuses: statuses.to_vec(),
        keys: keys.chunks(columns).map(<[String]>::to_vec).collect(),
    };
    let RetrySummary { rows, is_held } = engine::retry(context.setup("retry"), wanted).await?;
    let who = if is_held {
        "the run that is at work sends them when it has published"
    } else {
        "`columnist run` sends them"
    };
    print(&format!("asked for {rows} rows to be sent again; {who}\n"))
}

/// `gc`: deletes what is no longer needed.
pub(in crate::cli) async fn gc(context: &CommandContext, age: Duration) -> Result<Exit> {
    let cleaned = engine::clean(context.setup("gc"), context.provider()?, age).await?;
    print(&format!(
        "deleted {} files of {} plans\n",
        cleaned.files, cleaned.plans
    ))
}
