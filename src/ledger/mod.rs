//! The ledger: what a job has promised, and what has come true.
//!
//! ```text
//! <ledger>/log/00000000000000000000.json             one commit: a head, its actions, an end; a line each
//!              00000000000000000063.checkpoint.json  the folded state after commit 63
//!          checkpoint.json                           which checkpoint is the newest
//!          lease/<scope>.lock                        local disk: the lock file
//!                <scope>.holder.json                 local disk: who holds it, for others to read
//!                job.live.json                       what the holder waits for, for others to read
//!                <scope>/00000000000000000007.json   object storage: the claim of epoch 7
//!                        00000000000000000007.renewed   its last renewal
//!                        00000000000000000007.released  given back
//!          plans/000001/rows.parquet                 the row map
//!                       requests/000001.parquet      what was sent, chunk by chunk
//!                       outcomes/000001-01.parquet   what came back, attempt by attempt
//!                       snapshot/...                 a query's result
//!          index/00000000000000000007.json           which files the index of earlier answers consists of
//!                0198..0123-0000.keys                entries of it
//! ```
//!
//! # Promises
//! - A version is written once: of two writers of commit 7, one is told that it lost.
//! - A commit whose answer was lost is read back and recognised, by its id, as ours or another's.
//! - A commit is whole or no commit: its last line is a checksum of all before it.
//! - A writer that lost its lease is told, and writes nothing: each commit bears the epoch of the
//!   lease it was written under, and epochs never go down.
//! - A checkpoint is only ever a short cut. One that is damaged, or does not belong, is passed over.
//! - It needs create-if-absent of its store, and nothing else; [`probe()`] finds a store that pretends.
//!
//! # Errors
//! `Held` if another process has the lease; `Data` if a commit is missing, damaged, or of a newer
//! version; `Unavailable` if the store is away.
//!
#![doc = include_str!("FORMAT.md")]

pub mod action;
mod bulk;
pub mod checkpoint;
mod columns;
mod framing;
#[cfg(test)]
mod fuzz;
pub mod index;
pub mod lease;
pub mod log;
pub mod outcomes;
pub mod path;
mod points;
pub mod probe;
pub mod requests;
mod row_keys;
pub mod row_map;
mod shared;
pub mod state;
#[cfg(test)]
mod testing;
pub(crate) mod unread;

pub use lease::{Held, Holder, Keeper, Lease, Leases, Patience, Taken};
pub use log::{Append, Author, Commit, Log, Meta, Stamp};
pub use path::{Scope, Version};
pub(crate) use points::CRASH_POINTS;
pub use probe::probe;
pub use shared::SharedMap;
