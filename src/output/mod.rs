//! The output: the table as it was, with the new columns beside the old ones.
//!
//! ```text
//! source file   PAR1 | row group 0: a b c | row group 1: a b c | indexes | footer
//!                          ▼ ▼ ▼  bytes as they are   ▼ ▼ ▼
//! output file   PAR1 | row group 0: a b c + x y | row group 1: a b c + x y | indexes | footer'
//!                                       ▲ encoded from the stream of new columns
//!
//! local file     <parent>/_columnist/.staging/<name>/<id>/new   one rename ──► <parent>/<name>
//! local folder   the same, a folder without any marker          one exchange ─► <parent>/<name>/
//! one object     an upload that appears when it is completed
//! object folder  `_PUBLISHING`, the files, `_SUCCESS` last
//! ```
//!
//! # Promises
//! - Old columns are the source's encoded column chunks, byte for byte. Row groups, statistics, page
//!   indexes, bloom filters, sorting columns and key-value metadata come along.
//! - Before a chunk is copied its pages are walked, or while it is, where it comes from a store. A
//!   footer that is wrong about them is mended in the copy; a chunk whose pages do not add up is refused.
//! - [`prepare()`] does all that publishing does with a source, but for the bytes, before any spend.
//! - A table with another number of rows than the source's never becomes visible.
//! - A file and a local folder are the old one or the new one, whatever happens. A folder on object
//!   storage is complete exactly when it has its `_SUCCESS`.
//! - Memory depends on neither rows nor row groups: chunks are copied in pieces, and the pages of a
//!   new column go to a temporary file beyond a few megabytes.
//! - What Columnist did not write is not replaced unless the caller says so.
//!
//! # Errors
//! `Invalid` for a source that cannot be copied and a target that must not be replaced; `Refused`
//! where the place is read-only; `Unavailable` for a full disk and a store that is away.

mod answers;
mod bridge;
mod error;
mod place;
mod prepare;
mod provenance;
mod publish;
mod read;
#[cfg(test)]
mod tests;
mod texts;
mod vectors;
mod write;

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

pub use answers::{AnswerColumns, AnswerSpec, MetaColumns};
pub use place::examine::{check_writable, examine};
pub use place::existing::Existing;
pub use prepare::{Prepared, prepare};
pub use provenance::Provenance;
pub use publish::{clear, publish};
pub use write::schema::{check_names, new_schema};

use crate::base::{Crash, Location, Result};

/// One Parquet file of the source.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Where it is.
    pub location: Location,
    /// Its path beneath the table's folder, with `/`; what `mirror` keeps.
    pub relative: String,
    /// Its size in bytes, as pinned.
    pub size: u64,
    /// Its rows, as pinned.
    pub rows: u64,
    /// The values of its Hive partitions, in the order of the table's columns.
    pub partitions: Vec<(String, Option<String>)>,
}

/// How the output is laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The row id and the new columns alone, in one file.
    Keyed {
        /// The key's columns. Empty: a column [`ROW_COLUMN`] holds the row's position.
        key: Vec<String>,
    },
    /// The source's files.
    Mirror,
    /// One file; Hive partitions become columns at the end of the old ones.
    Single,
}

/// Whether a place is a file or a folder of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One Parquet file.
    File,
    /// A folder of Parquet files; on object storage with a `_SUCCESS`.
    Folder,
}

/// Where the table goes.
#[derive(Clone, Debug)]
pub struct Target {
    /// The place.
    pub location: Location,
    /// Whether it is a file or a folder.
    pub form: Form,
}

/// Asked before anything of an output becomes visible or is taken away: whether this process may yet.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> Result<()> + Send + Sync>);

impl Fence {
    /// A fence that lets through while `check` passes.
    #[must_use]
    pub fn new(check: impl Fn() -> Result<()> + Send + Sync + 'static) -> Fence {
        Fence(Arc::new(check))
    }

    fn pass(&self) -> Result<()> {
        (self.0)()
    }
}

impl fmt::Debug for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fence")
    }
}

/// Everything there is to say about one publishing.
pub struct Publication {
    /// The source's files, in the order of the table's rows.
    pub sources: Vec<SourceFile>,
    /// How the output is laid out.
    pub layout: Layout,
    /// The new columns, in order; field metadata is kept.
    pub columns: SchemaRef,
    /// The new columns' values for every row of the source, in order, in batches of any size.
    pub batches: BoxStream<'static, Result<RecordBatch>>,
    /// Key-values that say which run wrote this; every key starts with `columnist.`, and
    /// [`RUN_KEY`] is among them.
    pub identity: Vec<(String, String)>,
    /// Where it goes.
    pub target: Target,
    /// Whether an output that is not ours may be replaced.
    pub overwrite: bool,
    /// A name for what is under way, of `[A-Za-z0-9-]`; another one for each attempt.
    pub staging_id: String,
    /// Whether it may still be done. What it refuses is not done, and the error is returned.
    pub fence: Fence,
    /// Where a test may stop the world: [`CRASH_POINTS`].
    pub crash: Crash,
}

/// One file of what was published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedFile {
    /// Its path beneath the target, with `/`; empty where the target is the file.
    pub relative: String,
    /// Its rows.
    pub rows: u64,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Its files, in the order of the rows.
    pub files: Vec<PublishedFile>,
}

impl Published {
    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// The key-value that makes an output ours.
pub const RUN_KEY: &str = "columnist.run";

/// The key-value that tells one publishing from another.
pub const PUBLISH_KEY: &str = "columnist.publish";

/// The column of `keyed` that holds the row's position, counted from zero, where the job has no key.
pub const ROW_COLUMN: &str = "row";

/// The points at which [`publish()`] may be stopped, in the order in which they are passed. A kind of
/// target passes those that it has.
pub const CRASH_POINTS: [&str; 10] = [
    "output.before_staging",
    "output.after_staging",
    "output.before_file",
    "output.before_finish",
    "output.after_file",
    "output.before_success",
    "output.after_success",
    "output.before_rename",
    "output.after_rename",
    "output.before_cleaning",
];

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication")
            .field("sources", &self.sources.len())
            .field("layout", &self.layout)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
