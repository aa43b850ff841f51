//! Outputs on local disk: built aside on the same file system, put in place by one rename.
//!
//! ```text
//! <parent>/_columnist/.staging/<name>/<id>/new        what is being built
//!                                          previous   the old output, where an exchange is impossible
//! ```
//!
//! A folder has no marker, for it is there at once: readers that take every file for data would trip
//! over one. (Older versions left a `_SUCCESS`; such a folder is still known as ours.)
//!
//! The area has a dot in its name, so that it is never a job's ledger, and the target's name, so that
//! what a crash left there is known to be ours to remove. The ledger's lease sees to it that only one
//! process publishes to a target.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use crate::base::{Error, Result};
use crate::output::error::from_io;
use crate::output::place::existing::Existing;
use crate::output::place::marker::{Marker, OUR_FOLDER, PUBLISHING, SUCCESS, is_skipped};
use crate::output::write::schema::identity_of;
use crate::output::{Form, RUN_KEY};

/// The place where an output is built.
#[derive(Clone, Debug)]
pub(in crate::output) struct Staging {
    target: PathBuf,
    parent: PathBuf,
    area: PathBuf,
    folder: PathBuf,
    form: Form,
}

const STAGING: &str = ".staging";
const NEW: &str = "new";
const PREVIOUS: &str = "previous";
const WRITING: &str = "cannot write the output";

impl Staging {
    /// Makes an empty place for the output `target`, and removes what an earlier attempt left.
    pub(in crate::output) fn prepare(target: &Path, form: Form, id: &str) -> Result<Staging> {
        let staging = Self::of(target, form, id)?;
        staging.recover()?;
        fs::create_dir_all(&staging.folder)
            .map_err(|error| from_io(error, WRITING, staging.folder.display()))?;
        if form == Form::Folder {
            let new = staging.new_output();
            fs::create_dir(&new).map_err(|error| from_io(error, WRITING, new.display()))?;
        }
        Ok(staging)
    }

    /// Removes what earlier attempts left.
    pub(in crate::output) fn clear(target: &Path, form: Form) -> Result<()> {
        let staging = Self::of(target, form, NEW)?;
        staging.recover()?;
        staging.remove_area();
        Ok(())
    }

    fn of(target: &Path, form: Form, id: &str) -> Result<Staging> {
        let target = resolve(target)?;
        let (parent, name) = parent_and_name(&target)?;
        let area = area(parent, name);
        Ok(Staging {
            folder: area.join(id),
            parent: parent.to_owned(),
            area,
            target,
            form,
        })
    }

    /// Where the file of this path beneath the output is built.
    pub(in crate::output) fn file(&self, relative: &str) -> PathBuf {
        match self.form {
            Form::File => self.new_output(),
            Form::Folder => self.new_output().join(relative),
        }
    }

    /// Makes the names of a folder's files durable.
    pub(in crate::output) fn settle(&self) -> Result<()> {
        let new = self.new_output();
        sync_folders(&new).map_err(|error| from_io(error, WRITING, new.display()))
    }

    /// Puts the output in its place. What was there is in the staging area afterwards, or gone.
    pub(in crate::output) fn reveal(&self) -> Result<()> {
        let revealed = match self.form {
            Form::File => fs::rename(self.new_output(), &self.target),
            Form::Folder => self.exchange(),
        };
        revealed
            .and_then(|()| sync_folder(&self.parent))
            .and_then(|()| sync_folder(&self.folder))
            .map_err(|error| {
                from_io(
                    error,
                    "cannot put the output in its place",
                    self.target.display(),
                )
            })
    }

    fn exchange(&self) -> io::Result<()> {
        let new = self.new_output();
        if fs::symlink_metadata(&self.target).is_err() {
            return fs::rename(&new, &self.target);
        }
        match exchange(&new, &self.target) {
            Err(error) if is_unsupported(&error) => self.replace(),
            done => done,
        }
    }

    /// Two renames, for file systems that cannot exchange. A crash between them leaves the old
    /// output in the staging area, from where the next attempt takes it back.
    fn replace(&self) -> io::Result<()> {
        let previous = self.folder.join(PREVIOUS);
        fs::rename(&self.target, &previous)?;
        sync_folder(&self.folder)?;
        fs::rename(self.new_output(), &self.target)
            .inspect_err(|_| drop(fs::rename(&previous, &self.target)))
    }

    /// Removes the staging area. A failure is only worth a word: the output is in its place, or the
    /// next attempt cleans up.
    pub(in crate::output) fn clean(&self) {
        if self.folder.join(PREVIOUS).exists() && fs::symlink_metadata(&self.target).is_err() {
            tracing::warn!(path = %self.folder.display(), "the old output waits here for the next run");
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, path = %self.folder.display(), "cannot remove what was staged");
        }
        self.remove_area();
    }

    fn remove_area(&self) {
        for folder in [
            &self.area,
            &self.parent.join(OUR_FOLDER).join(STAGING),
            &self.parent.join(OUR_FOLDER),
        ] {
            // Stays where it is not empty: another output's staging, or a ledger.
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }

    /// Takes back an old output that a crash left between two renames, and removes the rest of it.
    fn recover(&self) -> Result<()> {
        let left = match fs::read_dir(&self.area) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(from_io(error, WRITING, self.area.display())),
        };
        for entry in left {
            let removed = entry.and_then(|entry| {
                let previous = entry.path().join(PREVIOUS);
                if previous.exists() && fs::symlink_metadata(&self.target).is_err() {
                    fs::rename(&previous, &self.target)?;
                    sync_folder(&self.parent)?;
                }
                fs::remove_dir_all(entry.path())
            });
            removed.map_err(|error| {
                from_io(
                    error,
                    "cannot remove what an earlier attempt left",
                    self.area.display(),
                )
            })?;
        }
        Ok(())
    }

    fn new_output(&self) -> PathBuf {
        self.folder.join(NEW)
    }
}

/// The folder in which attempts at an output of that name are built.
pub(super) fn area(parent: &Path, name: &std::ffi::OsStr) -> PathBuf {
    parent.join(OUR_FOLDER).join(STAGING).join(name)
}

/// What stands at a folder's place.
pub(in crate::output) fn examine_folder(target: &Path) -> Result<Existing> {
    let explain = |error| from_io(error, "cannot look at the output", target.display());
    match fs::metadata(target) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            return Err(
                Error::invalid("a file is where the output's folder should be")
                    .with("path", target.display())
                    .hint("choose another `output.path`, or remove the file"),
            );
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Existing::Nothing),
        Err(error) => return Err(explain(error)),
    }
    let mut files = Vec::new();
    list(target, "", &mut files).map_err(explain)?;
    let read = |name: &str| match fs::read(target.join(name)) {
        Ok(bytes) => Ok(Marker::read(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(error)),
    };
    let (success, publishing) = (read(SUCCESS)?, read(PUBLISHING)?);
    refuse_ours_inside(&files, target.display())?;
    if success.is_none() && publishing.is_none() {
        return Ok(without_marker(target, &files));
    }
    Ok(Existing::of_folder(&files, success, publishing))
}

/// Whose a folder is that appeared at once, and so has no marker: each of its files says by itself who
/// wrote it. What engines skip may lie beside them.
fn without_marker(target: &Path, files: &[String]) -> Existing {
    let mut seen = files.iter().filter(|file| !is_skipped(file)).peekable();
    let Some(first) = seen.peek() else {
        return if files.is_empty() {
            Existing::Nothing
        } else {
            Existing::Foreign
        };
    };
    let identity = identity_in(&target.join(first));
    let is_ours = identity.iter().any(|(key, _)| key == RUN_KEY);
    if is_ours && seen.all(|file| identity_in(&target.join(file)) == identity) {
        let complete = true;
        return Existing::Ours { identity, complete };
    }
    Existing::Foreign
}

/// Who wrote a file, as its key-values say; nobody, if it is no Parquet file that can be read.
fn identity_in(path: &Path) -> Vec<(String, String)> {
    let read = File::open(path)
        .map_err(ParquetError::from)
        .and_then(|file| {
            let skip = PageIndexPolicy::Skip;
            let reader = ParquetMetaDataReader::new().with_page_index_policy(skip);
            reader.parse_and_finish(&file)
        });
    read.map_or_else(|_| Vec::new(), |read| identity_of(read.file_metadata()))
}

/// What holds ledgers is never replaced with the folder around it.
fn refuse_ours_inside(files: &[String], target: impl std::fmt::Display) -> Result<()> {
    let inside = |file: &String| file.split('/').any(|part| part == OUR_FOLDER);
    if files.iter().any(inside) {
        return Err(Error::invalid(
            "the output's folder holds a `_columnist` folder, which replacing it would lose",
        )
        .with("path", target)
        .hint("choose another `output.path`, or another `path` in [ledger]"));
    }
    Ok(())
}

fn list(folder: &Path, prefix: &str, files: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let relative = format!("{prefix}{}", name.to_string_lossy());
        if entry.file_type()?.is_dir() {
            list(&entry.path(), &format!("{relative}/"), files)?;
        } else {
            files.push(relative);
        }
    }
    Ok(())
}

/// The place itself where the path is a symbolic link to it.
pub(super) fn resolve(target: &Path) -> Result<PathBuf> {
    let is_link = fs::symlink_metadata(target).is_ok_and(|found| found.is_symlink());
    if !is_link {
        return Ok(target.components().collect());
    }
    let resolved = fs::canonicalize(target);
    resolved.map_err(|error| from_io(error, "the output is a link to nowhere", target.display()))
}

pub(super) fn parent_and_name(target: &Path) -> Result<(&Path, &std::ffi::OsStr)> {
    target
        .parent()
        .zip(target.file_name())
        .ok_or_else(|| Error::invalid("not a place for an output").with("path", target.display()))
}

fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync_folder(folder)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems have no such thing for folders.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        done => done,
    }
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn exchange(new: &Path, target: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, new, CWD, target, RenameFlags::EXCHANGE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn exchange(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_unsupported(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, Unsupported};
    matches!(error.kind(), InvalidInput | Unsupported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(root: &Path, id: &str, content: &str) -> Staging {
        let staging = Staging::prepare(&root.join("out"), Form::Folder, id).unwrap();
        fs::write(staging.file("a.parquet"), content).unwrap();
        staging
    }

    fn content(root: &Path) -> String {
        fs::read_to_string(root.join("out/a.parquet")).unwrap()
    }

    #[test]
    fn a_folder_is_exchanged_and_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        for (id, text) in [("1", "old"), ("2", "new")] {
            let staging = staged(root.path(), id, text);
            staging.reveal().unwrap();
            assert_eq!(content(root.path()), text);
            staging.clean();
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn without_an_exchange_two_renames_do() {
        let root = tempfile::tempdir().unwrap();
        staged(root.path(), "1", "old").reveal().unwrap();
        let staging = staged(root.path(), "2", "new");
        staging.replace().unwrap();
        assert_eq!(content(root.path()), "new");
        let previous = staging.folder.join(PREVIOUS).join("a.parquet");
        assert_eq!(fs::read_to_string(previous).unwrap(), "old");
    }

    #[test]
    fn a_crash_between_the_two_renames_is_mended_by_the_next_attempt() {
        let root = tempfile::tempdir().unwrap();
        staged(root.path(), "1", "old").reveal().unwrap();
        let crashed = staged(root.path(), "2", "half");
        fs::rename(root.path().join("out"), crashed.folder.join(PREVIOUS)).unwrap();
        let next = staged(root.path(), "3", "new");
        assert_eq!(content(root.path()), "old");
        assert!(!crashed.folder.exists());
        next.reveal().unwrap();
        assert_eq!(content(root.path()), "new");
    }

    #[test]
    fn what_another_output_or_a_ledger_keeps_beside_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let other = Staging::prepare(&root.path().join("out-b"), Form::File, "1").unwrap();
        let ledger = root.path().join(OUR_FOLDER).join("staging-job/log");
        fs::create_dir_all(&ledger).unwrap();
        let staging = staged(root.path(), "1", "x");
        staging.reveal().unwrap();
        staging.clean();
        assert!(other.folder.exists() && ledger.exists());
    }

    #[test]
    fn a_link_is_followed_and_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("real/out")).unwrap();
        std::os::unix::fs::symlink(root.path().join("real/out"), root.path().join("out")).unwrap();
        let staging = staged(root.path(), "1", "new");
        staging.reveal().unwrap();
        assert_eq!(content(root.path()), "new");
        let link = fs::symlink_metadata(root.path().join("out")).unwrap();
        assert!(link.is_symlink());
    }
}
