//! What a sandbox keeps, as plain files, so that the next process goes on where this one was.
//!
//! ```text
//! <root>/batches/<id>.json     one object each, replaced by rename
//!        files/<id>.json
//!        requests/<name>.requests, .schemas, .raw   what was uploaded (see `record`)
//!        online.log            one line per billed online call
//! ```
//!
//! Objects are read when they are asked for. Nothing is held in memory, so two processes may look at
//! one folder; what one creates the other sees.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind as Io, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use crate::base::{Error, ErrorKind, Result, ResultExt};

/// A kind of object.
pub(super) trait Object: Serialize + DeserializeOwned {
    /// Its folder.
    const FOLDER: &'static str;
    fn id(&self) -> &str;
    /// Orders objects by creation, also within one instant.
    fn seq(&self) -> u64;
}

/// The files under one root.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    next: AtomicU64,
    online: Mutex<Option<File>>,
    _temporary: Option<TempDir>,
}

const FOLDERS: [&str; 3] = ["batches", "files", "requests"];

/// A new file, which its owner alone can read: it holds what was sent.
pub(super) fn create_file(path: &Path) -> io::Result<File> {
    private().write(true).create(true).truncate(true).open(path)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

impl Store {
    /// Opens the folder, or a temporary one that goes away with the store.
    pub(super) fn open(root: Option<&Path>) -> Result<Self> {
        let temporary = match root {
            Some(_) => None,
            None => Some(TempDir::new().or_err(ErrorKind::Unavailable, "cannot make a folder")?),
        };
        let root = root
            .or(temporary.as_ref().map(TempDir::path))
            .unwrap_or(Path::new("."));
        for folder in FOLDERS {
            let path = root.join(folder);
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| {
                    let kind = match error.kind() {
                        Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Refused,
                        _ => ErrorKind::Unavailable,
                    };
                    let ours = Error::new(kind, "cannot make a folder for the sandbox");
                    let error = ours.with("folder", path.display()).because(error);
                    error.hint("its state lies in the job's ledger, or in --state: choose a folder that can be written")
                })?;
        }
        let store = Store {
            root: root.to_owned(),
            next: AtomicU64::new(0),
            online: Mutex::new(None),
            _temporary: temporary,
        };
        store.next.store(store.last_seq()? + 1, Ordering::Relaxed);
        Ok(store)
    }

    fn last_seq(&self) -> Result<u64> {
        #[derive(Deserialize)]
        struct Numbered {
            seq: u64,
        }
        let mut last = 0;
        for folder in ["batches", "files"] {
            for path in self.paths(folder)? {
                let object: Option<Numbered> = read_json(&path)?;
                last = last.max(object.map_or(0, |object| object.seq));
            }
        }
        Ok(last)
    }

    /// The next number. Numbers are never used again, not even after [`Store::clear`].
    pub(super) fn next_seq(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn read<T: Object>(&self, id: &str) -> Result<Option<T>> {
        match self.path(T::FOLDER, id) {
            Some(path) => read_json(&path),
            None => Ok(None),
        }
    }

    /// All objects of a kind, newest first.
    pub(super) fn all<T: Object>(&self) -> Result<Vec<T>> {
        let mut all = Vec::new();
        for path in self.paths(T::FOLDER)? {
            all.extend(read_json::<T>(&path)?);
        }
        all.sort_by(|a, b| b.seq().cmp(&a.seq()).then_with(|| b.id().cmp(a.id())));
        Ok(all)
    }

    /// Writes an object, in place of an earlier one with its id.
    pub(super) fn write<T: Object>(&self, object: &T) -> Result<()> {
        let path = self
            .path(T::FOLDER, object.id())
            .ok_or_else(|| Error::internal("an id is no file name").with("id", object.id()))?;
        let aside = path.with_extension(format!("{}.tmp", self.next_seq()));
        let json = serde_json::to_vec(object).or_err(ErrorKind::Internal, "cannot write JSON")?;
        create_file(&aside)
            .and_then(|mut file| file.write_all(&json))
            .and_then(|()| fs::rename(&aside, &path))
            .or_err(ErrorKind::Unavailable, "cannot keep an object")
    }

    /// Where the requests called `name` lie, to be given an ending.
    pub(super) fn requests(&self, name: &str) -> PathBuf {
        self.root.join("requests").join(name)
    }

    /// Notes one billed online call.
    pub(super) fn note_online(&self, line: &str) -> Result<()> {
        let mut online = self.online.lock().unwrap_or_else(PoisonError::into_inner);
        if online.is_none() {
            let path = self.online_log();
            let file = private().create(true).append(true).open(path);
            *online = Some(file.or_err(ErrorKind::Unavailable, "cannot keep the bill")?);
        }
        match online.as_mut() {
            Some(file) => file
                .write_all(format!("{line}\n").as_bytes())
                .or_err(ErrorKind::Unavailable, "cannot keep the bill"),
            None => Ok(()),
        }
    }

    pub(super) fn online_log(&self) -> PathBuf {
        self.root.join("online.log")
    }

    /// Forgets everything.
    pub(super) fn clear(&self) -> Result<()> {
        *self.online.lock().unwrap_or_else(PoisonError::into_inner) = None;
        for folder in FOLDERS {
            for path in self.paths(folder)? {
                remove(&path)?;
            }
        }
        remove(&self.online_log())
    }

    /// The file of an object; none if the id (it comes from a URL) cannot be one of ours.
    fn path(&self, folder: &str, id: &str) -> Option<PathBuf> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let good = !id.is_empty() && id.len() <= 128 && id.bytes().all(plain);
        good.then(|| self.root.join(folder).join(format!("{id}.json")))
    }

    fn paths(&self, folder: &str) -> Result<Vec<PathBuf>> {
        let list = fs::read_dir(self.root.join(folder))
            .and_then(|entries| {
                entries
                    .map(|entry| Ok(entry?.path()))
                    .collect::<Result<Vec<_>, _>>()
            })
            .or_err(ErrorKind::Unavailable, "cannot list a folder")?;
        let kept =
            |path: &PathBuf| folder == "requests" || path.extension().is_some_and(|e| e == "json");
        Ok(list.into_iter().filter(kept).collect())
    }
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => {
            Err(error).or_err(ErrorKind::Unavailable, "cannot remove a file")
        }
        _ => Ok(()),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        Err(error) => return Err(error).or_err(ErrorKind::Unavailable, "cannot read an object"),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        Error::data("a sandbox's object is corrupt")
            .with("path", path.display())
            .because(error)
    })
}
