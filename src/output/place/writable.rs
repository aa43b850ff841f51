//! Whether an output on local disk can be put in its place: found out before any spend, without leaving a
//! trace.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;

use crate::base::{Error, ErrorKind, Result, try_folder};
use crate::output::Form;
use crate::output::error::from_io;
use crate::output::place::local::{area, parent_and_name, resolve};

/// Finds out whether the output can be built beside `target`, and put in its place.
///
/// # Errors
/// `Refused` where the user who runs the job may not write; `Invalid` for a mount point.
pub(in crate::output) fn check_writable(target: &Path, form: Form) -> Result<()> {
    let target = &resolve(target)?;
    let (parent, name) = parent_and_name(target)?;
    // Where it is built, and where it goes: either may be somebody else's.
    check_folder(&area(parent, name))?;
    check_folder(parent)?;
    if fs::metadata(target).is_err() {
        return Ok(());
    }
    check_replaceable(target, parent)?;
    if form == Form::Folder {
        rustix::fs::access(target, Access::WRITE_OK).map_err(|error| {
            from_io(error.into(), "cannot replace the output", target.display())
        })?;
    }
    let of = |path: &Path| rustix::fs::stat(path).map(|found| found.st_dev).ok();
    if of(target) != of(parent) {
        return Err(Error::invalid(
            "the output is a mount point, which cannot be replaced at once",
        )
        .with("path", target.display())
        .hint("choose a path beneath it"));
    }
    Ok(())
}

/// A file can be made in `folder`, or in what is there of the way to it.
fn check_folder(folder: &Path) -> Result<()> {
    let (there, made) = try_folder(folder);
    made.map_err(|error| from_io(error, "cannot write where the output goes", there.display()))
}

/// In a folder that everybody may write in, such as `/tmp`, a file may be replaced by whom it belongs to alone.
fn check_replaceable(target: &Path, parent: &Path) -> Result<()> {
    let owner = |path: &Path| {
        let found = fs::symlink_metadata(path);
        found.map_err(|error| from_io(error, "cannot look at the output", path.display()))
    };
    let (old, folder) = (owner(target)?, owner(parent)?);
    let user = rustix::process::geteuid().as_raw();
    if may_replace(user, old.uid(), (folder.uid(), folder.mode())) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Refused,
        "the old output belongs to another user, and in its folder only that user may replace it (mode +t)",
    )
    .with("path", target.display())
    .with("owner", old.uid())
    .with("user", user)
    .hint("choose another `[output] path` (--output), or let the owner remove the old output"))
}

/// The rule of a sticky folder (owner and mode): who owns the file or the folder may rename over the file,
/// and so may the superuser.
fn may_replace(user: u32, owner: u32, (folder_owner, folder_mode): (u32, u32)) -> bool {
    const STICKY: u32 = 0o1000;
    folder_mode & STICKY == 0 || [0, owner, folder_owner].contains(&user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_a_sticky_folder_only_an_owner_replaces() {
        const OPEN: u32 = 0o40777;
        const STICKY: u32 = 0o41777;
        for (user, owner, folder, expect) in [
            (1000, 1001, (0, OPEN), true),
            (1000, 1001, (0, STICKY), false),
            (1000, 1000, (0, STICKY), true),
            (1000, 1001, (1000, STICKY), true),
            (1000, 0, (0, STICKY), false),
            (0, 1001, (1002, STICKY), true),
        ] {
            let may = may_replace(user, owner, folder);
            assert_eq!(may, expect, "{user} {owner} {folder:?}");
        }
    }
}
