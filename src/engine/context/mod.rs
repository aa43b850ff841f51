//! What the steps of a run work with.

pub(crate) mod calls;
#[expect(
    clippy::module_inception,
    reason = "the room is named after what it makes"
)]
pub(crate) mod context;
pub(crate) mod examples;
pub(crate) mod files;
pub(crate) mod guard;
pub(crate) mod interrupt;
pub(crate) mod job_parts;
pub(crate) mod ledger;
pub(crate) mod notices;
pub(crate) mod observations;
pub(crate) mod owner;
pub(crate) mod points;
pub(crate) mod providers;
pub(crate) mod publish_spec;
pub(crate) mod publishing;
pub(crate) mod setup;
pub(crate) mod source;
pub(crate) mod throttle;
pub(crate) mod writer;
