//! The tests that look at Columnist from outside, in one binary.

mod again;
mod bad_input;
mod cancel;
mod cli;
mod contract;
mod crash;
mod damage;
mod doubt;
mod endpoint;
mod fence;
mod harvest;
mod kill;
mod layouts;
mod ledgers;
mod mended;
mod queues;
mod races;
mod rehearse;
mod s3;
mod shell;
mod show;
mod signals;
mod submits;
mod terminal;
mod tidy;
mod world;
