//! What to say of a store that does not answer.

use crate::base::{Error, store_error};

/// A store that does not answer, as our error.
pub(super) fn unreachable_store(error: object_store::Error, address: &str) -> Error {
    store_error(error, "read from the store", address)
        .hint("check the bucket's name, the endpoint, and the credentials in the environment")
}
