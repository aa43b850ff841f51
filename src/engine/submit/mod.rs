//! Chunks to the provider: sent, sent again, split, and looked for where an answer was lost.

pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod discard;
pub(crate) mod pieces_body;
pub(crate) mod prompts;
pub(crate) mod recover;
pub(crate) mod resend;
mod returned;
pub(crate) mod send;
pub(crate) mod split;
