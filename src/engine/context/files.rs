//! The ledger's bulk files: written here first, then durable there; fetched here to be read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use tempfile::TempDir;

use crate::base::{Crash, ErrorKind, Location, Points, Result, ResultExt, scratch_error};
use crate::ledger::path::{INDEX, PlanFile};
use crate::ledger::state::Attempt;
use crate::ledger::unread::unread;

/// The ledger's folder, and a local one for what is under way.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    root: Location,
    scratch: Arc<TempDir>,
    crash: Crash,
}

impl Files {
    /// Files of the ledger at `root`. What is under way lies beside a local ledger, so that it
    /// becomes durable by a rename; else in the system's folder for temporary files.
    pub(crate) fn new(root: &Location, crash: &Crash) -> Result<Self> {
        let root = root.clone().private();
        let failed = "cannot make a scratch folder";
        let scratch = match &root.local {
            Some(folder) => {
                std::fs::create_dir_all(folder)
                    .or_err(ErrorKind::Unavailable, "cannot make the ledger's folder")
                    .map_err(|error| {
                        let error = error.with("folder", folder.display());
                        error.hint("the ledger must be writable: choose another `[ledger] path`")
                    })?;
                tempfile::Builder::new().prefix(SCRATCH).tempdir_in(folder)
            }
            None => tempfile::Builder::new().prefix("columnist-").tempdir(),
        };
        let scratch = scratch.or_err(ErrorKind::Unavailable, failed).map_err(|error| {
            error.hint("the ledger's folder (or TMPDIR, for a ledger on object storage) must be writable")
        })?;
        Ok(Files {
            root,
            scratch: Arc::new(scratch),
            crash: crash.clone(),
        })
    }

    /// The same for a command that only looks: what it has under way lies in the system's folder for
    /// temporary files, for the ledger may be read-only or not there yet.
    pub(crate) fn aside(root: &Location) -> Result<Self> {
        let scratch = tempfile::Builder::new().prefix("columnist-").tempdir();
        let failed = "cannot make a scratch folder";
        let scratch = scratch.or_err(ErrorKind::Unavailable, failed)?;
        Ok(Files {
            root: root.clone().private(),
            scratch: Arc::new(scratch),
            crash: Crash::never(),
        })
    }

    /// Removes the scratch folders beside a local ledger that killed processes left. Only for the
    /// holder of the job: nobody else has anything under way there.
    pub(crate) fn sweep(&self) {
        let Some(folder) = &self.root.local else {
            return;
        };
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let is_scratch = |name: &OsStr| name.to_string_lossy().starts_with(SCRATCH);
            if path == self.scratch.path() || !path.file_name().is_some_and(is_scratch) {
                continue;
            }
            if let Err(error) = std::fs::remove_dir_all(&path) {
                tracing::warn!(%error, folder = %path.display(), "a scratch folder stays");
            }
        }
    }

    /// The folder for what is under way.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// A new path for something under way.
    pub(crate) fn draft(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Where the prompts of a chunk lie while this process lives, if the ledger does not keep them.
    pub(crate) fn prompts_aside(&self, plan: u64, chunk: u64) -> PathBuf {
        self.scratch
            .path()
            .join(format!("prompts-{plan}-{chunk}.parquet"))
    }

    /// Where a plan's row map lies.
    pub(crate) fn rows(&self, plan: u64) -> Location {
        self.place(PlanFile::Rows { plan: short(plan) })
    }

    /// Where a chunk's requests lie.
    pub(crate) fn requests(&self, plan: u64, chunk: u64) -> Location {
        self.place(PlanFile::Requests {
            plan: short(plan),
            chunk: short(chunk),
        })
    }

    /// Where an attempt's outcomes lie.
    pub(crate) fn outcomes(&self, attempt: &Attempt) -> Location {
        let promised = &attempt.promised;
        self.place(PlanFile::Outcomes {
            plan: short(promised.plan),
            chunk: short(promised.chunk),
            attempt: promised.number,
        })
    }

    /// The folder where a plan's snapshot of a query's result lies.
    pub(crate) fn snapshot(&self, plan: u64) -> Location {
        self.place(PlanFile::Snapshot { plan: short(plan) })
    }

    /// The folder of the index of earlier answers.
    pub(crate) fn index(&self) -> Location {
        self.root.join(INDEX)
    }

    fn place(&self, file: PlanFile) -> Location {
        self.root.join(&file.to_string())
    }

    /// Does `work` between two points.
    pub(crate) async fn between<T>(&self, points: Points, work: impl Future<Output = T>) -> T {
        self.crash.around(points, work).await
    }

    /// Makes `draft` durable at `place`, between two points, and removes it here.
    pub(crate) async fn keep(&self, draft: &Path, place: &Location, points: Points) -> Result<()> {
        self.crash.around(points, place.upload_file(draft)).await?;
        match std::fs::remove_file(draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).or_err(ErrorKind::Unavailable, "cannot clear the scratch folder")
            }
            _ => Ok(()),
        }
    }

    /// The file at `place`, to be read here.
    pub(crate) async fn open(&self, place: &Location) -> Result<File> {
        if let Some(local) = &place.local {
            return File::open(local).map_err(|error| unread(error, place));
        }
        let got = place.store.get(&place.path).await;
        let got = got.map_err(|error| unread(error, place))?;
        let failed = |error: std::io::Error| scratch_error(self.scratch(), error);
        let mut file = tempfile::tempfile_in(self.scratch()).map_err(failed)?;
        let mut stream = got.into_stream();
        while let Some(piece) = stream
            .try_next()
            .await
            .map_err(|error| unread(error, place))?
        {
            file.write_all(&piece).map_err(failed)?;
        }
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

/// How the names of scratch folders beside a local ledger begin.
const SCRATCH: &str = ".scratch-";

/// Plans and chunks are numbered within 32 bits; the state refuses others.
fn short(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
