//! The tests that look at Columnist from outside, in one binary.

mod contract;
mod world;
