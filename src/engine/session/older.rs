//! A ledger that an older version of this program put elsewhere.

use crate::base::{Location, Result, Stores};
use crate::ledger::path::LOG;
use crate::spec::LedgerSpec;

/// Lets `ledger` be where an older version put it, if it was begun there and not where it would be
/// put today: what was paid for is remembered there.
///
/// # Errors
/// If the store is away or refuses.
pub async fn find_ledger(ledger: &mut LedgerSpec, stores: &Stores) -> Result<()> {
    let Some(older) = ledger.older.clone() else {
        return Ok(());
    };
    let is_there = is_begun(&stores.locate(&older)?).await?;
    if is_there && !is_begun(&stores.locate(&ledger.path)?).await? {
        tracing::info!(
            ledger = older,
            "the ledger is where an older version put it"
        );
        ledger.path = older;
    }
    Ok(())
}

async fn is_begun(root: &Location) -> Result<bool> {
    Ok(!root.join(LOG).list().await?.is_empty())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::spec::AmbiguousPolicy;

    #[tokio::test]
    async fn a_ledger_at_the_older_place_is_used_unless_there_is_one_at_the_newer() {
        let stores = Stores::default();
        let begin = async |place: &str| {
            let log = stores
                .locate(place)
                .unwrap()
                .join("log/00000000000000000000.json");
            log.put("{}").await.unwrap();
        };
        let spec = || LedgerSpec {
            path: "memory://lake/_columnist/job/".to_owned(),
            older: Some("memory://lake/t/_columnist/job/".to_owned()),
            output: None,
            lease: Duration::from_mins(1),
            settle: Duration::from_mins(10),
            on_ambiguous: AmbiguousPolicy::Wait,
            keep_prompts: true,
        };
        let found = async || {
            let mut ledger = spec();
            find_ledger(&mut ledger, &stores).await.unwrap();
            ledger.path
        };
        assert_eq!(found().await, spec().path, "nothing is anywhere");
        begin("memory://lake/t/_columnist/job/").await;
        assert_eq!(found().await, "memory://lake/t/_columnist/job/");
        begin("memory://lake/_columnist/job/").await;
        assert_eq!(found().await, spec().path);
    }
}
