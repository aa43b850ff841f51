//! The tests that look at Columnist from outside, in one binary.

mod again;
mod bad_input;
mod cli;
mod contract;
mod damage;
mod layouts;
mod ledgers;
mod races;
mod s3;
mod shell;
mod tidy;
mod world;
