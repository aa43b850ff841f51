//! Where the scratch folder cannot be written: said with the folder, for it lies beside a local ledger, and
//! elsewhere where `TMPDIR` says; the disk that is full is that one's.

use std::error::Error as StdError;
use std::path::Path;

use super::Error;

/// The error of a scratch file in `folder` that could not be made or written.
pub fn scratch_error(folder: &Path, error: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
    Error::unavailable("cannot write to the scratch folder")
        .with("folder", folder.display())
        .because(error)
        .hint(
            "free some space on its disk and run again; it lies beside a local ledger (`[ledger] path`), \
             else where TMPDIR says",
        )
}
