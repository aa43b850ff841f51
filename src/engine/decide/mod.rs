//! What follows from the ledger's state and the time. Pure: no input, no output, no waiting.

pub(crate) mod again;
pub(crate) mod age;
pub(crate) mod cache;
pub(crate) mod chunk;
pub(crate) mod limits;
pub(crate) mod next;
pub(crate) mod observed;
pub(crate) mod progress;
pub(crate) mod queue;
#[cfg(test)]
pub(crate) mod scenario;
pub(crate) mod step;
pub(crate) mod trial;
pub(crate) mod waits;
