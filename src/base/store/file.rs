//! Files on local disk that are whole or absent, and on the disk before a write returns.
//!
//! A file is written beside its place under `<name>#<number>` (which listings leave out), synced,
//! moved there in one step, and then its folder is synced. So a crash leaves either nothing or a
//! whole file, and at worst a stray `#` file.
//!
//! `private` names the folder from which on everything is its owner's alone (0700, files 0600). The
//! folders above it follow the umask: a table that lies beside a ledger is for whoever may read it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// How creating a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now, and by this call.
    Created,
    /// Something of that name was there before, and is untouched.
    Exists,
}

/// Creates `path` with `bytes`, unless it exists.
pub(super) fn create(path: &Path, bytes: &[u8], private: Option<&Path>) -> io::Result<Put> {
    // Cheap for the loser; the winner is decided by the move alone.
    if fs::symlink_metadata(path).is_ok() {
        return Ok(Put::Exists);
    }
    let staged = Staged::filled(path, bytes, private)?;
    staged.publish_new(path)
}

/// Creates or replaces `path` with `bytes`.
pub(super) fn replace(path: &Path, bytes: &[u8], private: Option<&Path>) -> io::Result<()> {
    Staged::filled(path, bytes, private)?.publish(path)
}

/// Makes `to` the content of the finished file `from`, which stays.
pub(super) fn adopt(from: &Path, to: &Path, private: Option<&Path>) -> io::Result<()> {
    if let Some(private) = private
        && let Ok(staged) = Staged::linked(from, to, private)
    {
        return staged.publish(to);
    }
    let (staged, mut file) = Staged::create(to, private)?;
    io::copy(&mut File::open(from)?, &mut file)?;
    file.sync_all()?;
    staged.publish(to)
}

/// Deletes `path`; a file that is gone is fine.
pub(super) fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A file on its way to its place; removed when dropped before it got there.
#[derive(Debug)]
pub(super) struct Staged(PathBuf);

impl Staged {
    /// An empty file beside `path`, in folders that exist by then.
    pub(super) fn create(path: &Path, private: Option<&Path>) -> io::Result<(Staged, File)> {
        make_folders(parent(path), private)?;
        Self::claim(path, |staged| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            #[cfg(unix)]
            if private.is_some() {
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            }
            options.open(staged)
        })
    }

    fn filled(path: &Path, bytes: &[u8], private: Option<&Path>) -> io::Result<Staged> {
        let (staged, mut file) = Staged::create(path, private)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// A second name for the finished private file `from`, beside `path`.
    fn linked(from: &Path, path: &Path, private: &Path) -> io::Result<Staged> {
        make_folders(parent(path), Some(private))?;
        let (staged, ()) = Self::claim(path, |staged| fs::hard_link(from, staged))?;
        let file = OpenOptions::new().read(true).write(true).open(&staged.0)?;
        #[cfg(unix)]
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Makes something under a name that nobody else uses.
    fn claim<T>(path: &Path, make: impl Fn(&Path) -> io::Result<T>) -> io::Result<(Staged, T)> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        loop {
            let count = COUNTER.fetch_add(1, Ordering::Relaxed);
            let mut name = path.as_os_str().to_owned();
            name.push(format!("#{}{count:06}", std::process::id()));
            match make(Path::new(&name)) {
                Ok(thing) => return Ok((Staged(name.into()), thing)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Moves the file to `path`, over what may be there.
    pub(super) fn publish(self, path: &Path) -> io::Result<()> {
        fs::rename(&self.0, path)?;
        sync_folder(parent(path))
    }

    /// Moves the file to `path`, unless something is there: by a hard link, or where the file system
    /// has none, by a rename that refuses to replace.
    fn publish_new(self, path: &Path) -> io::Result<Put> {
        let moved = match fs::hard_link(&self.0, path) {
            Err(error) if has_no_links(error.kind()) => rename_new(&self.0, path),
            linked => linked,
        };
        match moved {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(Put::Exists),
            Err(error) => return Err(error),
        }
        sync_folder(parent(path))?;
        Ok(Put::Created)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Linux says `EPERM` where a file system has no hard links.
fn has_no_links(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{PermissionDenied, TooManyLinks, Unsupported};
    matches!(kind, PermissionDenied | TooManyLinks | Unsupported)
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE).map_err(|error| {
        let error = io::Error::from(error);
        match error.kind() {
            io::ErrorKind::InvalidInput => io::ErrorKind::Unsupported.into(),
            _ => error,
        }
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes `folder` and what is missing above it, and syncs each folder that got a new one. Those at
/// or beneath `private` are their owner's alone.
pub(super) fn make_folders(folder: &Path, private: Option<&Path>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_folders(parent(folder), private)?;
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    if private.is_some_and(|private| folder.starts_with(private)) {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    match builder.create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Err(error) if !folder.is_dir() => Err(error),
        _ => sync_folder(parent(folder)),
    }
}

/// Makes `folder` for its owner alone, and what is missing above it as the umask says.
///
/// # Errors
/// As the operating system says.
pub fn make_private(folder: &Path) -> io::Result<()> {
    make_folders(folder, Some(folder))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network file systems cannot sync a folder, and do not need to.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        synced => synced,
    }
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    #[test]
    fn without_hard_links_a_rename_decides_who_was_first() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("7.json");
        let first = Staged::filled(&place, b"first", Some(folder.path())).unwrap();
        rename_new(&first.0, &place).unwrap();
        let second = Staged::filled(&place, b"second", Some(folder.path())).unwrap();
        let error = rename_new(&second.0, &place).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&place).unwrap(), b"first");
    }

    #[test]
    fn an_abandoned_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        drop(Staged::filled(&folder.path().join("a"), b"x", None).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
