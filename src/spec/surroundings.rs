//! What resolving a job asks of the machine, so that a test can answer instead.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::base::{ErrorKind, Result, ResultExt};

type Env = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;
type Read = Box<dyn Fn(&Path) -> io::Result<String> + Send + Sync>;
type Canonical = Box<dyn Fn(&Path) -> Option<PathBuf> + Send + Sync>;

/// The environment, the files and the folder that the command runs in.
pub struct Surroundings {
    /// The folder that the command runs in.
    pub folder: PathBuf,
    env: Env,
    read: Read,
    canonical: Canonical,
}

impl Surroundings {
    /// The machine as it is.
    ///
    /// # Errors
    /// `Unavailable` if the folder that the command runs in is gone.
    pub fn system() -> Result<Self> {
        let folder = std::env::current_dir()
            .or_err(ErrorKind::Unavailable, "cannot tell the current folder")?;
        Ok(Surroundings {
            folder,
            env: Box::new(|name| std::env::var(name).ok()),
            read: Box::new(|path| std::fs::read_to_string(path)),
            canonical: Box::new(|path| path.canonicalize().ok()),
        })
    }

    /// A machine that a test makes up: its environment, its files, no links.
    pub fn made_up(
        folder: impl Into<PathBuf>,
        env: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
        read: impl Fn(&Path) -> io::Result<String> + Send + Sync + 'static,
    ) -> Self {
        Surroundings {
            folder: folder.into(),
            env: Box::new(env),
            read: Box::new(read),
            canonical: Box::new(|_| None),
        }
    }

    /// The same, with links: `canonical` gives the real path of what exists.
    #[must_use]
    pub fn with_links(
        mut self,
        canonical: impl Fn(&Path) -> Option<PathBuf> + Send + Sync + 'static,
    ) -> Self {
        self.canonical = Box::new(canonical);
        self
    }

    /// An environment variable.
    #[must_use]
    pub fn env(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<String> {
        (self.read)(path)
    }

    pub(super) fn canonical(&self, path: &Path) -> Option<PathBuf> {
        (self.canonical)(path)
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}
