//! From a path or a URL to a place in an object store.

use std::collections::HashMap;
use std::path::{Path as FilePath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, parse_url_opts};
use url::Url;

use super::{Error, ErrorKind, Result, ResultExt};

/// A place in a store: a file, or a folder.
#[derive(Clone, Debug)]
pub struct Location {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The place within the store.
    pub path: Path,
    /// The whole address, as shown to people. Never holds credentials.
    pub url: Url,
    /// The file's path, where the store is the local disk.
    pub local: Option<PathBuf>,
}

/// The stores of this process, one per scheme and host, made when first asked for.
#[derive(Debug, Default)]
pub struct Stores {
    options: Vec<(String, String)>,
    open: Mutex<HashMap<String, Arc<dyn ObjectStore>>>,
}

impl Stores {
    /// Stores that take `options` (as `object_store` names them, such as `aws_endpoint`) beside the
    /// ecosystem's environment variables; options win.
    #[must_use]
    pub fn new(options: Vec<(String, String)>) -> Self {
        Stores {
            options,
            open: Mutex::default(),
        }
    }

    /// The place that `address` names: an absolute local path, or a URL.
    ///
    /// # Errors
    /// `Invalid` if it is neither, or names a scheme that nobody knows.
    pub fn locate(&self, address: &str) -> Result<Location> {
        match Url::parse(address) {
            Ok(url) if url.scheme() == "file" => {
                let path = url.to_file_path().map_err(|()| {
                    Error::invalid("not a path of this machine").with("url", address)
                })?;
                self.locate_file(&path)
            }
            Ok(url) => self.locate_url(url),
            Err(_) => self.locate_file(FilePath::new(address)),
        }
    }

    fn locate_file(&self, path: &FilePath) -> Result<Location> {
        let absolute = std::path::absolute(path)
            .or_err(ErrorKind::Invalid, "cannot make the path absolute")?;
        let text = absolute.to_str().ok_or_else(|| {
            Error::invalid("the path is not Unicode").with("path", absolute.display())
        })?;
        let url = Url::from_file_path(&absolute)
            .map_err(|()| Error::invalid("not an absolute path").with("path", text))?;
        let path = Path::from_absolute_path(&absolute)
            .or_err(ErrorKind::Invalid, "not a path that can be stored under")?;
        let store = self.cached("file://", || Ok(Arc::new(LocalFileSystem::new())))?;
        Ok(Location {
            store,
            path,
            url,
            local: Some(absolute),
        })
    }

    fn locate_url(&self, url: Url) -> Result<Location> {
        let root = format!("{}://{}", url.scheme(), url.authority());
        let options = std::env::vars()
            .map(|(key, value)| (key.to_ascii_lowercase(), value))
            .filter(|(key, _)| {
                ["aws_", "google_", "azure_"]
                    .iter()
                    .any(|prefix| key.starts_with(prefix))
            })
            .chain(self.options.iter().cloned());
        let (store, path) = parse_url_opts(&url, options)
            .or_err(ErrorKind::Invalid, "cannot open the store")
            .map_err(|error| error.with("url", &url))?;
        let store = self.cached(&root, || Ok(Arc::from(store)))?;
        Ok(Location {
            store,
            path,
            url,
            local: None,
        })
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
        let path = name
            .split('/')
            .filter(|part| !part.is_empty())
            .fold(self.path.clone(), Path::join);
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(name.split('/').filter(|part| !part.is_empty()));
        }
        let local = self.local.as_ref().map(|local| local.join(name));
        Location {
            store: Arc::clone(&self.store),
            path,
            url,
            local,
        }
    }
}
