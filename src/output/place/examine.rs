//! What stands where the output is to go: asked before any spend.

use crate::base::{Error, ErrorKind, Location, Result, ResultExt};
use crate::output::bridge::Bridge;
use crate::output::error::from_io;
use crate::output::place::existing::Existing;
use crate::output::place::local;
use crate::output::place::remote;
use crate::output::place::writable;
use crate::output::read::source::Source;
use crate::output::write::schema::identity_of;
use crate::output::{Form, RUN_KEY, Target};

/// Looks at what stands at `target`.
///
/// # Errors
/// `Invalid` if a folder is where a file should be, or the other way round, or if a ledger lies in
/// the folder; `Refused` and `Unavailable` as storage says.
pub async fn examine(target: &Target) -> Result<Existing> {
    let location = target.location.clone();
    match (target.form, location.local.clone()) {
        (Form::Folder, Some(path)) => blocking(move || local::examine_folder(&path)).await,
        (Form::Folder, None) => remote::examine_folder(&location).await,
        (Form::File, Some(path)) => match std::fs::metadata(&path) {
            Ok(found) if found.is_dir() => Err(Error::invalid(
                "a folder is where the output's file should be",
            )
            .with("path", path.display())
            .hint("end `output.path` with `/` for a folder, or choose another name")),
            Err(error) if is_nowhere(error.kind()) => Ok(Existing::Nothing),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidFilename => {
                Err(from_io(error, "cannot write the output", path.display()))
            }
            _ => examine_file(location).await,
        },
        (Form::File, None) if remote::exists(&location).await? => examine_file(location).await,
        (Form::File, None) => Ok(Existing::Nothing),
    }
}

/// Whether there is nothing at a path; nor can there be, where it leads through a file.
fn is_nowhere(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    matches!(kind, NotFound | NotADirectory)
}

/// Finds out whether the output can be written at `target`; `id` names the probe, as a staging id
/// does. Nothing stays behind.
///
/// # Errors
/// `Refused` for a read-only place, `Invalid` for one that cannot be replaced.
pub async fn check_writable(target: &Target, id: &str) -> Result<()> {
    let form = target.form;
    match target.location.local.clone() {
        Some(path) => blocking(move || writable::check_writable(&path, form)).await,
        None => remote::check_writable(&target.location, form, id).await,
    }
}

/// Whose file it is, by its key-values. What is no Parquet file is somebody else's.
async fn examine_file(location: Location) -> Result<Existing> {
    let (bridge, _until_dropped) = Bridge::new();
    let opened = blocking(move || Ok(Source::open(&location, &bridge))).await?;
    match opened {
        Ok(source) => {
            let identity = identity_of(source.metadata().file_metadata());
            let ours = identity.iter().any(|(key, _)| key == RUN_KEY);
            let complete = true;
            Ok(if ours {
                Existing::Ours { identity, complete }
            } else {
                Existing::Foreign
            })
        }
        Err(error) if error.kind() == ErrorKind::Invalid => Ok(Existing::Foreign),
        Err(error) => Err(error),
    }
}

/// Runs `work` on a thread that may block.
pub(in crate::output) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.or_err(ErrorKind::Internal, "the writer stopped")?
}
