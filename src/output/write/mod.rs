//! One output file: old chunks copied, new ones encoded beside them.

pub(super) mod copy;
pub(super) mod dropped;
pub(super) mod encode;
pub(super) mod feed;
pub(super) mod schema;
pub(super) mod shape;
pub(super) mod sink;
pub(super) mod spill;
pub(super) mod splice;
pub(super) mod table;
pub(super) mod types;
