//! Answers joined to rows, and the output made of them.

pub(crate) mod join;
pub(crate) mod outcomes;
#[expect(
    clippy::module_inception,
    reason = "the room is named after what it does"
)]
pub(crate) mod publish;
pub(crate) mod shown;
pub(crate) mod target;
