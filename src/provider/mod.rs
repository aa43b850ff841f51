//! The providers: one trait, one folder each, as alike as bricks.
//!
//! A client makes single calls and reads single answers. It never sleeps, never sends a submission
//! twice, and never sees the ledger: pace, repetition and memory are the engine's.

mod account;
mod anthropic;
mod api;
mod body;
mod call;
mod find;
mod frame;
#[cfg(test)]
mod fuzz;
mod gate;
mod lenient;
mod line;
mod open;
mod openai;
mod schema;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod turns_tests;
mod verdict;

pub use account::{Network, Options};
pub use api::{
    Capability, Download, Embeddings, Found, FreeCheck, Provider, QueueUnit, Rejection, Seen,
    Sought, Staged, Submission, SubmitError, Tag,
};
pub use body::Body;
pub use gate::Gate;
pub use open::{KNOWN, open};
