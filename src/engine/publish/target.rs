//! Where the output goes, and whether it may go there: found out before any spend.

use crate::base::{Components, Error, Result};
use crate::output::{self, Existing};

use crate::engine::context::publish_spec::{LEDGER_KEY, PublishSpec};

/// The output is ours, or nobody's, or may be replaced; and it can be written.
pub(crate) async fn check(
    publish_spec: &PublishSpec,
    ledger: &str,
    components: &Components,
) -> Result<()> {
    let target = &publish_spec.target;
    let ours = (LEDGER_KEY.to_owned(), ledger.to_owned());
    let whose = match output::examine(target).await? {
        _ if publish_spec.overwrite => None,
        Existing::Foreign => Some("the output exists, and was not written by columnist"),
        Existing::Ours { identity, .. } if !identity.contains(&ours) => {
            Some("the output exists, and was written from another ledger")
        }
        _ => None,
    };
    if let Some(whose) = whose {
        let hint = "choose another `[output] path`, or set `overwrite = true` (--overwrite)";
        let error = Error::invalid(whose).with("output", &target.location.url);
        return Err(error.hint(hint));
    }
    let id = components.ids.nonce(8);
    output::check_writable(target, &id).await
}
