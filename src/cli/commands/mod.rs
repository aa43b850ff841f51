//! The commands, a file each: what they ask of the engine, and how the answer is printed.

pub(super) mod check;
pub(super) mod context;
pub(super) mod plan;
pub(super) mod rehearse;
pub(super) mod requests;
pub(super) mod run;
pub(super) mod sandbox;
pub(super) mod show;
pub(super) mod status;
