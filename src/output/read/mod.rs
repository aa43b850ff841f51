//! A source file, down to its pages.

pub(super) mod bloom_filter;
pub(super) mod chunks;
pub(super) mod extent;
pub(super) mod extents;
pub(super) mod footer;
pub(super) mod mend;
pub(super) mod pages;
pub(super) mod passing;
pub(super) mod reader;
pub(super) mod source;
pub(super) mod thrift;
pub(super) mod window;
