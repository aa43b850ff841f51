//! Batches that are open: polled, canceled, and landed when they have ended.

pub(crate) mod cancel;
pub(crate) mod harvest;
pub(crate) mod land;
pub(crate) mod lines;
pub(crate) mod poll;
pub(crate) mod slots;
