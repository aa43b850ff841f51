//! Strings of a request, borrowed from it where they can be.

use std::borrow::Cow;

use serde::Deserialize;

/// A string that is borrowed where it can be, also within an `Option`.
#[derive(Debug, Deserialize)]
pub(super) struct Borrowed<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);
