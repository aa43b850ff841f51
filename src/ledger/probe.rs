//! Does the store keep the one promise that the ledger needs? Asked once, when a ledger is made.

use bytes::Bytes;

use crate::base::{Error, Ids, Location, Put, Result};

/// Creates a file twice in the folder `ledger`, and looks that the second time was refused and
/// changed nothing.
///
/// # Errors
/// `Invalid` if the store is not fit for a ledger; the hint says which ones are.
pub async fn probe(ledger: &Location, ids: &Ids) -> Result<()> {
    let place = ledger
        .clone()
        .private()
        .join(&format!("probe-{}", ids.nonce(12)));
    let fit = twice(&place).await;
    // Whatever came out, the file is of no further use; that it stays would harm nobody.
    let _ = place.delete().await;
    if fit? {
        return Ok(());
    }
    Err(Error::invalid("the store overwrites a file that it was asked only to create, so two runs could both write")
        .with("ledger", ledger)
        .hint(
            "keep the ledger on local disk, Amazon S3, Google Cloud Storage, Azure, Cloudflare R2, \
             MinIO or Ceph (`[ledger] path`); source and output may stay where they are",
        ))
}

async fn twice(place: &Location) -> Result<bool> {
    let (first, second) = (Bytes::from_static(b"first"), Bytes::from_static(b"second"));
    // "Exists" may be the echo of our own request, sent again by the client: the content tells.
    place.put_new(first.clone()).await?;
    let refused = place.put_new(second).await? == Put::Exists;
    Ok(refused && place.get().await? == Some(first))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{Fault, FaultyStore, faulty};
    use super::*;
    use crate::base::{ErrorKind, Stores};

    #[tokio::test]
    async fn a_store_that_overwrites_is_refused_and_left_clean() {
        let (place, store) = faulty();
        store.always(Fault::IgnoresCondition);
        let error = probe(&place, &Ids::seeded(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.hint_text().unwrap().contains("Amazon S3"));
        assert!(place.list().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_honest_store_passes() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::default();
        for address in [folder.path().to_str().unwrap(), "memory:///ledger"] {
            let place = stores.locate(address).unwrap();
            probe(&place, &Ids::seeded(1)).await.unwrap();
            assert!(place.list().await.unwrap().is_empty(), "{address}");
        }
    }

    #[tokio::test]
    async fn an_echo_of_our_own_first_put_is_no_offence() {
        let (place, store): (_, Arc<FaultyStore>) = faulty();
        store.next_put(Fault::DoneAndToldExists);
        probe(&place, &Ids::seeded(1)).await.unwrap();
    }
}
