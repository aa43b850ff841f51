//! Columnist writes a column: a table or a SQL query in, one LLM answer per row out, through the
//! providers' batch APIs at half the price.
//!
//! # The house
//!
//! ```text
//!  spec ──────────────┐
//!  Parquet | SQL ── source ── RecordBatch ── prompt ── request ── chunk ── provider ──► vendor,
//!                                                                             │      or emulator
//!  Parquet ◄── publish ◄── join by row ◄── parts ◄──────── outcome ◄──────────┘
//!             └───────────── output ─────────────┘
//!  ledger   beside it all: each step is promised here before it happens, and noted when it came true
//!  engine   above it: replay the ledger, ask what is next, do it, write it down; cli looks on
//! ```
//!
//! | floor | rooms | what it is |
//! |---|---|---|
//! | 6 | `main.rs` | ten lines |
//! | 5 | `cli` | words for people; the only place that prints |
//! | 4 | `engine` | the only room that knows several stages |
//! | 3 | `spec` `source` `prompt` `provider` `ledger` `output` | the stages, strangers to each other |
//! | 2 | `work`, `emulator` | the shared nouns; the stand-in vendor |
//! | 1 | `base` | no word of the domain |
//!
//! A room imports only from floors beneath its own. A test reads the `use` lines and says so.
//!
#![doc = include_str!("CHANGELOG.md")]

pub mod base;
pub mod cli;
pub mod emulator;
pub mod engine;
pub mod ledger;
pub mod output;
pub mod prompt;
pub mod provider;
pub mod source;
pub mod spec;
pub mod work;
