//! Outputs on object storage: one object appears when its upload is completed; a folder is complete
//! when it has its `_SUCCESS`.
//!
//! A folder goes through these states, in this order, and a crash leaves it in one of them:
//!
//! 1. the old output, with its `_SUCCESS`
//! 2. the same, and `_PUBLISHING`, which lists the old files and the new ones
//! 3. `_PUBLISHING` alone: files are written, then the old ones that are not replaced are deleted
//! 4. the new output, with its `_SUCCESS`, and `_PUBLISHING` still there
//! 5. the new output, with its `_SUCCESS`

use std::collections::HashSet;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use crate::base::{ErrorKind, Location, Result, ResultExt};
use crate::output::Form;
use crate::output::error::from_store;
use crate::output::place::existing::Existing;
use crate::output::place::marker::{Marker, OUR_FOLDER, PUBLISHING, SUCCESS};

const WRITING: &str = "cannot write the output";
const LOOKING: &str = "cannot look at the output";

/// The object `relative` beneath `folder`. Unlike a name of a path's part, it is taken as it is: a
/// partition's percent-encoded value stays so.
pub(in crate::output) fn beneath(folder: &Location, relative: &str) -> Result<Location> {
    let path = Path::parse(format!("{}/{relative}", folder.path))
        .or_err(ErrorKind::Invalid, "not the name of an object")
        .map_err(|error| error.with("name", relative))?;
    Ok(Location {
        path,
        ..folder.join(relative)
    })
}

/// The paths of all objects beneath `folder`.
pub(in crate::output) async fn list(folder: &Location) -> Result<Vec<String>> {
    let objects = folder.store.list(Some(&folder.path));
    let relative = |path: &Path| {
        let parts = path.prefix_match(&folder.path)?;
        let parts: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
        (!parts.is_empty()).then(|| parts.join("/"))
    };
    objects
        .try_filter_map(|object| std::future::ready(Ok(relative(&object.location))))
        .try_collect()
        .await
        .map_err(|error| from_store(error, LOOKING, &folder.url))
}

/// What stands at a folder's place.
pub(in crate::output) async fn examine_folder(folder: &Location) -> Result<Existing> {
    let files = list(folder).await?;
    let success = read_marker(folder, SUCCESS).await?;
    let publishing = read_marker(folder, PUBLISHING).await?;
    Ok(Existing::of_folder(&files, success, publishing))
}

/// Whether there is an object at `location`.
pub(in crate::output) async fn exists(location: &Location) -> Result<bool> {
    match location.store.head(&location.path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(from_store(error, LOOKING, &location.url)),
    }
}

/// Opens a folder for writing: from here on it has no `_SUCCESS`.
pub(in crate::output) async fn begin(
    folder: &Location,
    identity: &[(String, String)],
    new_files: impl Iterator<Item = String>,
) -> Result<()> {
    let mut files: HashSet<String> = new_files.collect();
    for name in [SUCCESS, PUBLISHING] {
        let marker = read_marker(folder, name).await?;
        files.extend(marker.unwrap_or_default().files);
    }
    let marker = Marker {
        identity: identity.to_vec(),
        files,
    };
    put(folder, PUBLISHING, marker.publishing()).await?;
    delete(&beneath(folder, SUCCESS)?).await
}

/// Deletes whatever the old output had and the new one has not. Ledgers stay, wherever they are.
pub(in crate::output) async fn delete_stale(
    folder: &Location,
    new_files: &HashSet<String>,
) -> Result<()> {
    for file in list(folder).await? {
        let ours = [SUCCESS, PUBLISHING].contains(&file.as_str());
        let kept = ours || new_files.contains(&file) || file.split('/').any(|p| p == OUR_FOLDER);
        if !kept {
            delete(&beneath(folder, &file)?).await?;
        }
    }
    Ok(())
}

/// Makes a folder complete.
pub(in crate::output) async fn succeed(folder: &Location, success: Vec<u8>) -> Result<()> {
    put(folder, SUCCESS, success).await
}

/// Removes what stood in the folder while it was written.
pub(in crate::output) async fn clean(folder: &Location) -> Result<()> {
    delete(&beneath(folder, PUBLISHING)?).await
}

/// Finds out whether objects can be written, and deleted where that will be needed.
pub(in crate::output) async fn check_writable(
    target: &Location,
    form: Form,
    id: &str,
) -> Result<()> {
    let mut probe = target.clone();
    let parent = target
        .path
        .as_ref()
        .rsplit_once('/')
        .map_or("", |(parent, _)| parent);
    probe.path = Path::parse(format!("{parent}/{OUR_FOLDER}/.probe-{id}"))
        .or_err(ErrorKind::Invalid, "not a place for an output")?;
    let refused = |error| from_store(error, "cannot write where the output goes", &target.url);
    let payload = Vec::new().into();
    probe
        .store
        .put(&probe.path, payload)
        .await
        .map_err(refused)?;
    match probe.store.delete(&probe.path).await {
        Err(error) if form == Form::Folder => Err(from_store(
            error,
            "cannot delete where the output goes",
            &target.url,
        )),
        _ => Ok(()),
    }
}

async fn read_marker(folder: &Location, name: &str) -> Result<Option<Marker>> {
    let place = beneath(folder, name)?;
    let explain = |error| from_store(error, LOOKING, &place.url);
    match place.store.get(&place.path).await {
        Ok(found) => Ok(Marker::read(&found.bytes().await.map_err(explain)?)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

async fn put(folder: &Location, name: &str, bytes: Vec<u8>) -> Result<()> {
    let place = beneath(folder, name)?;
    let put = place.store.put(&place.path, bytes.into()).await;
    put.map(drop)
        .map_err(|error| from_store(error, WRITING, &place.url))
}

async fn delete(place: &Location) -> Result<()> {
    match place.store.delete(&place.path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(from_store(error, "cannot delete an old file", &place.url)),
    }
}
