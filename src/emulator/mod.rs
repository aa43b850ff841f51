//! The sandbox: a stand-in for the vendors, over loopback HTTP, in each one's own dialect.
//!
//! It shares no type with the clients, so that a wrong field fails against it. Each dialect is a
//! folder and a line in `server`; what they share is the state on disk, the life of a batch as a
//! function of time, the answers, the faults and the bill.
//!
//! ```text
//! upload ── split ── understood by the dialect ── record (disk)
//!                                                   │ seed, time, faults
//! download ◄── lines, shuffled ◄── answer ◄─────────┘──► bill, counts
//! ```
//!
//! # The rule of the answers
//! Let `h` be the first 8 bytes, big-endian, of SHA-256 over the seed in decimal, a newline, and the
//! text of the last user message in UTF-8 (of several text parts, their concatenation). In Python:
//! `int.from_bytes(hashlib.sha256(f"{seed}\n{text}".encode()).digest()[:8], "big")`. A user's message that begins
//! with `That answer cannot be used: ` and follows an answer is no question: the one before it is answered again.
//!
//! - Without structured output the answer is a short sentence that ends in ` #` and `h` as 16
//!   hexadecimal digits.
//! - With a JSON schema it is an instance of it. An `enum` takes its value number `h % len`, wherever
//!   it stands; so does `anyOf`, among its alternatives that are not null. Item number `n` of a list, from 0,
//!   takes them by `h + n`. A type list takes its first
//!   type that is not null. All else is drawn from `h` and from where it stands, within the schema's
//!   formats, bounds and lengths; `pattern` alone is not looked at. A text whose description gives a date, a time
//!   or a number as an example (`such as 12:30:00`) is that. Required properties come first.
//! - Where the system prompt ends with a block of code, ` ```json `, that is a JSON schema, the answer is an
//!   instance of it as well, as models say it that nothing holds to it: alone, in such a block, or in one with
//!   words around, by `(h >> 40) % 3`. Where the last message is the assistant's, the answer goes on from there.
//! - An embedding is a unit vector drawn from `h` of its own input (of a token list, its JSON).
//! - Tokens are bytes of text divided by four, rounded up. An answer over the request's budget is cut
//!   there, and says so.
//!
//! # The rule of the caches
//! A batch works on a thousand requests at a time. Those that begin before what they begin with is in the
//! cache write it; those that begin after the first response to it has begun, and before its life is over,
//! read it: see `cache`. The bill weighs both.
//!
//! # Promises
//! - Memory does not grow with the number of requests: uploads are read as they stream in, results are
//!   written while they stream out, and what lies between is on disk.
//! - The same seed, clock and calls give the same answers, ids, orders, times and faults.
//! - A new process over the same state folder goes on where the last one was.
//! - What is billed is what somebody could read: succeeded lines that arrive whole. A line that a
//!   fault left out or broke is not billed, though the vendor's counts include it.

mod account;
mod answer;
mod anthropic;
mod attached;
mod batch;
mod bill;
mod borrowed;
mod cache;
mod config;
mod control;
mod download;
mod fault_counts;
mod faults;
mod limits;
mod middleware;
mod online;
mod openai;
mod prefix;
mod problem;
mod random;
mod rate;
mod record;
mod results;
mod schema;
mod server;
mod split;
mod store;
mod text;
mod world;

#[cfg(test)]
mod tests;

pub use account::{AccountLimits, TokensRefusal};
pub use anthropic::AnthropicLimits;
pub use bill::{Bill, Charges};
pub use config::SandboxConfig;
pub use faults::{Fault, Faults};
pub use middleware::ConnectionLost;
pub use openai::OpenAiLimits;
pub use server::{Running, Sandbox};
