//! A source file, down to its pages.

pub(super) mod chunks;
pub(super) mod extent;
pub(super) mod footer;
pub(super) mod pages;
pub(super) mod source;
pub(super) mod thrift;
