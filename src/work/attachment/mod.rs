//! What a request carries beside its text: pictures and documents.
//!
//! The bytes themselves are nowhere but in the table, in an object, or at a URL. What is known of them
//! here is enough to say whether two requests are the same, how long a body will be, and whether what is
//! read later is what was planned.

mod attached;
mod content;
mod limits;
mod media;
mod pdf;

pub use attached::{Attachment, AttachmentSource};
pub use content::{Content, Piece};
pub use limits::{AttachmentLimits, DocumentLimits, ImageLimits, base64_len};
pub use media::{AttachmentKind, MediaType};
