//! What is kept of a request's body, whatever it asks for.

use std::borrow::Cow;

use crate::emulator::prefix::Wanted;
use crate::emulator::problem::Problem;
use crate::emulator::record::Shape;

/// What is kept of a body.
pub(super) struct Parts<'a> {
    pub(super) model: Cow<'a, str>,
    pub(super) draws: Vec<u64>,
    pub(super) bytes: usize,
    pub(super) budget: u32,
    pub(super) shape: Shape<'a>,
    pub(super) cache: Wanted,
    pub(super) problem: Option<Problem>,
}
