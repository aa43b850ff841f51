//! The tests that look at Columnist from outside, in one binary.

mod bad_input;
mod cli;
mod contract;
mod shell;
mod tidy;
mod world;
