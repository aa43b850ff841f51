//! The engine: replay the ledger, ask what is next, do it, write it down, again.
//!
//! ```text
//!            ┌──────────── ledger (state) ◄───────────┐ facts, one after the other
//!            ▼                                        │
//!   decide: (state, now) ──► steps ──► step results, writer
//!                              │
//!        plan      rows ► prompts ► requests ► chunks, row map
//!        submit    promise ► upload ► submit ► receipt; or look for the lost one
//!        collect   poll ► download ► lines ► slots ► outcome part
//!        publish   row map + outcomes ► new columns ► output
//! ```
//!
//! | room | what is in it |
//! |---|---|
//! | `context` | what every step works with: job, source, provider, ledger, files |
//! | `attachments` | pictures and documents of rows: found, checked, read again |
//! | `decide` | pure: what to do next, what may be in a provider's queue, what is waited for |
//! | `plan` | rows into requests, chunks and the row map |
//! | `submit` | a chunk to the provider; looking for one whose answer was lost |
//! | `collect` | polling batches, landing their results |
//! | `publish` | answers joined to rows, into the output |
//! | `session` | a job held: `run`, `submit`, `collect`, from beginning to end |
//! | `inspect` | `status`, `show`, `plan`, `check`: looking without holding |
//! | `control` | `cancel`, `retry`, `gc`: what a person asks for |
//!
//! # Promises
//! - Nothing billable leaves this machine before the intent to send it is durable.
//! - Whatever is open at the provider is looked after first, whatever the job says now.
//! - The engine does not act on an event as it arrives: it is written down, and `next` is asked.
//! - The sum of the rows by status is the number of rows, and is checked before publishing.

mod attachments;
mod collect;
mod context;
mod control;
mod decide;
mod inspect;
mod plan;
mod publish;
mod session;
mod submit;

pub(crate) use attachments::attacher::Attacher;
pub use context::interrupt::GRACE;
pub use context::points::crash_points;
pub use context::setup::{Setup, Vendors};
pub use context::source::source_input;
pub use control::cancel::cancel;
pub use control::clean::{Cleaned, clean};
pub use control::retry::{RetrySummary, Wanted, retry};
pub use inspect::again_forecast::AgainForecast;
pub use inspect::changes::Change;
pub use inspect::check::{Checked, CheckedRow, check};
pub use inspect::forecast::CacheForecast;
pub use inspect::live::Live;
pub use inspect::plan::{PlanReport, plan};
pub use inspect::preflight::unknown_model;
pub use inspect::show::{Story, Told, show};
pub use inspect::status::{BatchLine, StatusReport, status};
pub use session::commands::{collect, run, submit};
pub use session::older::find_ledger;
pub use session::report::{Awaits, Report};
