//! What a person asks for beside a run: a cancel, a retry, a clean-up.

pub(crate) mod cancel;
pub(crate) mod clean;
pub(crate) mod retry;
