//! Whether a folder can be written, found out without leaving a trace.

use std::io;
use std::path::Path;

/// Makes a file without a name in `folder`, or in what is there of the way to it: which folder that was,
/// and what came of it.
pub fn try_folder(folder: &Path) -> (&Path, io::Result<()>) {
    let there = folder.ancestors().find(|folder| folder.exists());
    let there = there.unwrap_or(folder);
    (there, tempfile::tempfile_in(there).map(drop))
}
