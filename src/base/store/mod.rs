//! Storage: from a path or a URL to a place, and what can be done there.
//!
//! ```text
//!  "s3://lake/tickets/"  ── Stores::locate ──►  Location { store, path, url, local }
//!                             open.rs              verbs.rs   put_new, put, get, head, list, delete
//!                                                  file.rs    the same on local disk, made durable
//!                                                  writer.rs  big files, streamed
//!                             aws.rs               fault.rs   what went wrong, in words
//!                             profile.rs           (keys from the files of the AWS tools)
//! ```
//!
//! # Promises
//! - [`Location::put_new`] creates a file or says that it exists; of many racing writers one wins,
//!   and nobody ever reads half a file. A store that cannot do this fails with `Invalid`.
//! - On local disk a file and its folder are on the disk (fsync) before a write returns.
//! - A place that does not exist is a value (`None`), not an error.
//! - No key, token or password is ever in a [`Location`]'s `Debug`, its `url` or an error.

mod aws;
mod connect;
mod fault;
mod file;
mod memory;
mod open;
mod profile;
mod sso;
mod verbs;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::path::{Component, Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use super::http::{HttpService, SystemHttp};
use super::{Clock, Error, ErrorKind, IoRuntime, Result, ResultExt, SystemClock};

use connect::OnIoRuntime;

pub use fault::of_store as store_error;
pub use file::{Put, make_private};
pub use memory::MemoryStore;
pub use object_store::ObjectMeta;
pub use writer::BulkWriter;

/// A place in a store: a file, or a folder.
#[derive(Clone)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The place within the store.
    pub path: Path,
    /// The whole address, as shown to people. Never holds credentials.
    pub url: Url,
    /// The file's path, where the store is the local disk.
    pub local: Option<PathBuf>,
    /// The folder from which on local folders and files are made for their owner's eyes alone. What
    /// has to be made above it is everybody's, as the umask says.
    pub private: Option<Arc<FilePath>>,
}

/// The stores of this process, one per scheme and host, made when first asked for.
#[derive(Default)]
pub struct Stores {
    options: Vec<(String, String)>,
    environment: Option<Vec<(String, String)>>,
    clock: Option<Arc<dyn Clock>>,
    http: Option<Arc<dyn HttpService>>,
    memory: Option<Arc<MemoryStore>>,
    io: IoRuntime,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Stores that take `options` (as `object_store` names them, such as `aws_endpoint`) beside the
    /// ecosystem's environment variables; options win.
    ///
    /// # Errors
    /// `Invalid` if no store knows an option; the error names the nearest one that exists.
    pub fn new(options: Vec<(String, String)>) -> Result<Self> {
        open::check_options(&options)?;
        Ok(Stores {
            options,
            ..Stores::default()
        })
    }

    /// The same stores, with `variables` for the process's environment.
    #[must_use]
    pub fn with_environment(mut self, variables: Vec<(String, String)>) -> Self {
        self.environment = Some(variables);
        self
    }

    /// The same stores, whose `memory:` files are dated by `clock`, so that a test with paused time
    /// may hold a lease there.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The same stores, whose `memory:` files lie in `store`, so that a test can ask it what was read.
    #[must_use]
    pub fn with_memory(mut self, store: Arc<MemoryStore>) -> Self {
        self.memory = Some(store);
        self
    }

    /// The same stores, which ask for keys by `http` where a profile of the AWS tools says so.
    #[must_use]
    pub fn with_http(mut self, http: Arc<dyn HttpService>) -> Self {
        self.http = Some(http);
        self
    }

    /// The same stores, with their connections on `io`.
    #[must_use]
    pub fn with_io(mut self, io: IoRuntime) -> Self {
        self.io = io;
        self
    }

    /// The place that `address` names: a local path, or a URL.
    ///
    /// # Errors
    /// `Invalid` if it is neither, names a scheme that nobody knows, or carries credentials.
    pub fn locate(&self, address: &str) -> Result<Location> {
        match Url::parse(address) {
            // One letter is a drive, not a scheme.
            Ok(url) if url.scheme().len() == 1 => self.locate_file(FilePath::new(address)),
            Ok(url) if url.scheme() == "file" => {
                let path = url.to_file_path().map_err(|()| {
                    Error::invalid("not a path of this machine").with("url", address)
                })?;
                self.locate_file(&path)
            }
            Ok(url) => self.locate_url(url),
            Err(_) if address.contains("://") => {
                Err(Error::invalid("not a URL that can be read").with("url", scrubbed(address)))
            }
            Err(_) => self.locate_file(FilePath::new(address)),
        }
    }

    /// The store that holds what `url` names; the same one for the same scheme and host.
    ///
    /// # Errors
    /// As [`Stores::locate`].
    pub fn store_of(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.scheme() == "file" {
            return self.local_store();
        }
        open::check_url(url)?;
        self.remote_store(url)
    }

    fn locate_file(&self, path: &FilePath) -> Result<Location> {
        let absolute = std::path::absolute(path)
            .or_err(ErrorKind::Invalid, "cannot make the path absolute")?;
        let absolute = without_parents(&absolute);
        let text = absolute.to_str().ok_or_else(|| {
            Error::invalid("the path is not Unicode").with("path", absolute.display())
        })?;
        let url = Url::from_file_path(&absolute)
            .map_err(|()| Error::invalid("not an absolute path").with("path", text))?;
        let path = Path::from_absolute_path(&absolute)
            .or_err(ErrorKind::Invalid, "not a path that can be stored under")
            .map_err(|error| error.with("path", text))?;
        Ok(Location {
            store: self.local_store()?,
            path,
            url,
            local: Some(absolute),
            private: None,
        })
    }

    fn locate_url(&self, url: Url) -> Result<Location> {
        open::check_url(&url)?;
        let path = Path::from_url_path(url.path())
            .or_err(ErrorKind::Invalid, "not a path that can be stored under")
            .map_err(|error| error.with("url", &url))?;
        Ok(Location {
            store: self.remote_store(&url)?,
            path,
            url,
            local: None,
            private: None,
        })
    }

    fn local_store(&self) -> Result<Arc<dyn ObjectStore>> {
        self.cached("file://", || Ok(Arc::new(LocalFileSystem::new())))
    }

    fn remote_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        let root = format!("{}://{}", url.scheme(), url.authority());
        self.cached(&root, || {
            if url.scheme() == "memory" {
                if let Some(store) = &self.memory {
                    return Ok(Arc::<MemoryStore>::clone(store));
                }
                return Ok(Arc::new(MemoryStore::new(self.clock.clone())));
            }
            let clock = self.clock.clone().unwrap_or_else(|| Arc::new(SystemClock));
            let http = self.http.clone();
            let http = http.unwrap_or_else(|| Arc::new(SystemHttp::default()));
            let seams = open::Seams {
                clock,
                http,
                connector: OnIoRuntime(self.io.clone()),
            };
            open::open(url, &self.variables(), &self.options, seams)
        })
    }

    fn variables(&self) -> Vec<(String, String)> {
        match &self.environment {
            Some(variables) => variables.clone(),
            None => std::env::vars_os()
                .filter_map(|(key, value)| {
                    Some((key.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
        }
    }

    fn cached(
        &self,
        root: &str,
        make: impl FnOnce() -> Result<Arc<dyn ObjectStore>>,
    ) -> Result<Arc<dyn ObjectStore>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(root) {
            return Ok(Arc::clone(store));
        }
        let store = make()?;
        open.insert(root.to_owned(), Arc::clone(&store));
        Ok(store)
    }
}

impl Location {
    /// The place `name` beneath this one. `name` may have several segments.
    #[must_use]
    pub fn join(&self, name: &str) -> Location {
        let parts = || name.split('/').filter(|part| !part.is_empty());
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(parts());
        }
        Location {
            store: Arc::clone(&self.store),
            path: parts().fold(self.path.clone(), Path::join),
            url,
            local: self
                .local
                .as_ref()
                .map(|local| parts().fold(local.clone(), |path, part| path.join(part))),
            private: self.private.clone(),
        }
    }

    /// The same place, where local files are made for their owner's eyes alone (0600), as are this
    /// folder and those beneath it (0700).
    #[must_use]
    pub fn private(mut self) -> Location {
        if self.private.is_none() {
            self.private = self.local.as_deref().map(Arc::from);
        }
        self
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({})", self.url)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.local {
            Some(local) => write!(f, "{}", local.display()),
            None => write!(f, "{}", self.url),
        }
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.options.iter().map(|(key, _)| key).collect();
        f.debug_struct("Stores")
            .field("options", &names)
            .finish_non_exhaustive()
    }
}

/// `path` without `..`: by the folders that exist, so that a symlink's parent is its target's.
fn without_parents(path: &FilePath) -> PathBuf {
    path.components()
        .fold(PathBuf::new(), |so_far, part| match part {
            Component::ParentDir => {
                let mut real = so_far.canonicalize().unwrap_or(so_far);
                real.pop();
                real
            }
            _ => so_far.join(part),
        })
}

/// An address that could not be parsed, without whatever stands before an `@`.
fn scrubbed(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(_, rest)| rest)
}

#[cfg(test)]
mod tests;
