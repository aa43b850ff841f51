//! Where the output goes: what stands there, and how a new one becomes visible at once.

pub(super) mod examine;
pub(super) mod existing;
pub(super) mod layout;
pub(super) mod local;
pub(super) mod marker;
pub(super) mod remote;
pub(super) mod writable;
