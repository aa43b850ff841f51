//! Whether a pinned file still is what it was when it was planned over.

use object_store::ObjectStoreExt;

use crate::base::{Result, Stores};
use crate::source::error::unreachable_store;
use crate::work::Pin;

/// What became of a pinned file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drift {
    /// It holds something else, or was written again.
    Changed,
    /// It is no longer there.
    Gone,
}

/// Looks at the file that `pin` pins again: `None` if it is as it was.
///
/// # Errors
/// `Unavailable` or `Refused` if the store does not say.
pub async fn drift(pin: &Pin, stores: &Stores) -> Result<Option<Drift>> {
    let location = stores.locate(&pin.url)?;
    match location.store.head(&location.path).await {
        Ok(now) if now.size != pin.size => Ok(Some(Drift::Changed)),
        Ok(now) => {
            let same = match (
                quoted_etag(now.e_tag.as_deref()),
                quoted_etag(pin.etag.as_deref()),
            ) {
                (Some(now), Some(then)) => now == then,
                // A listing may tell fractions of a second that a single answer does not.
                _ => now.last_modified.timestamp() == pin.modified.timestamp(),
            };
            Ok((!same).then_some(Drift::Changed))
        }
        Err(object_store::Error::NotFound { .. }) => Ok(Some(Drift::Gone)),
        Err(error) => Err(unreachable_store(error, &pin.url)),
    }
}

/// A tag as HTTP writes it. Azure leaves the quotes away in a listing, and there alone: its files would
/// be taken for others than those that were listed.
pub(crate) fn quoted_etag(etag: Option<&str>) -> Option<String> {
    etag.map(|tag| match tag {
        whole if whole.ends_with('"') => whole.to_owned(),
        bare => format!("\"{bare}\""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_the_same_with_and_without_quotes() {
        let check =
            |tags: [&str; 2]| assert_eq!(quoted_etag(Some(tags[0])).as_deref(), Some(tags[1]));
        check(["0x8DE", "\"0x8DE\""]);
        check(["\"0x8DE\"", "\"0x8DE\""]);
        check(["W/\"1-2\"", "W/\"1-2\""]);
        check(["1b-4c", "\"1b-4c\""]);
        assert_eq!(quoted_etag(None), None);
    }
}
