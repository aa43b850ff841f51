//! Pictures and documents: found in the rows, checked against what the provider takes, and read again when a
//! body is made.

pub(crate) mod attacher;
pub(crate) mod cells;
pub(crate) mod objects;
pub(crate) mod reader;
pub(crate) mod web;
pub(crate) mod whole;
