//! From an address to the files behind it, in a stable order.
//!
//! An address is a file, a folder, or a glob (`*`, `?`, `[..]`, `**`), as an absolute path or a URL.
//! Folders are read at every depth; a name that starts with `_` or `.` is hidden, at every level, so
//! that neither our own folders nor `_SUCCESS` and its like are read as data. What is passed by is said
//! (`data_files`), and a table of another format is refused (`table_format`). Files come in the order of
//! their paths.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::base::{Error, ErrorKind, Location, Result, ResultExt, Stores};
use crate::source::error::unreachable_store;
use crate::work::{Pin, pattern};

use super::data_files::{DataFiles, Objects};
use super::drift::quoted_etag;
use super::file_format::FileFormat;
use super::partitions::{partition_names, partition_values};
use super::table_format::refuse_table_formats;

/// One file of a table, as the store lists it.
#[derive(Clone, Debug)]
pub(crate) struct ListedFile {
    /// What the store says of it.
    pub(crate) object: ObjectMeta,
    /// Where it is.
    pub(crate) location: Location,
    /// Its path beneath the table's fixed part.
    pub(crate) relative: String,
    /// The values of the partition columns.
    pub(crate) partition: Vec<Option<String>>,
}

/// The files of a table.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    /// The address as it was given.
    pub(crate) address: String,
    /// The fixed part of the address.
    pub(crate) base: Location,
    /// The files, in the order of their paths. Never empty.
    pub(crate) files: Vec<ListedFile>,
    /// The names of the partition columns.
    pub(crate) partitions: Vec<String>,
    /// What the files hold.
    pub(crate) format: FileFormat,
    /// What a person should know of it: the files that were passed by.
    pub(crate) notes: Vec<String>,
}

impl Listing {
    /// What pins the files.
    pub(crate) fn pins(&self) -> Vec<Pin> {
        self.files.iter().map(ListedFile::pin).collect()
    }
}

impl ListedFile {
    /// What pins the file.
    pub(crate) fn pin(&self) -> Pin {
        Pin {
            url: self.location.url.to_string(),
            size: self.object.size,
            etag: quoted_etag(self.object.e_tag.as_deref()),
            modified: self.object.last_modified,
        }
    }
}

/// Finds the files behind `address`.
pub(crate) async fn list(stores: &Stores, address: &str) -> Result<Listing> {
    let (fixed, mut pattern) = pattern::split(address, std::path::Path::exists);
    let mut base = stores.locate(fixed)?;
    if pattern.is_some()
        && let Some(object) = literal_object(stores, address).await
    {
        (base, pattern) = (object, None);
    }
    let files = match pattern {
        None => find_plain(&base, address).await?,
        Some(pattern) => find_pattern(&base, pattern, address).await?,
    };
    arrange(address, base, files)
}

/// The object in a bucket whose very name is `address`, which looks like a pattern.
async fn literal_object(stores: &Stores, address: &str) -> Option<Location> {
    let location = stores.locate(address).ok()?;
    if location.local.is_some() || address.ends_with('/') {
        return None;
    }
    // Where that cannot be told, the pattern is listed next, and says what is wrong.
    location.store.head(&location.path).await.ok()?;
    Some(location)
}

async fn find_plain(base: &Location, address: &str) -> Result<DataFiles> {
    if !address.ends_with('/') && !base.path.is_root() {
        match base.store.head(&base.path).await {
            Ok(object) => {
                refuse_table_formats(base, address, &[&object], &[&object]).await?;
                let name = object.location.filename().unwrap_or_default().to_owned();
                return Ok(DataFiles::only(object, name));
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(unreachable_store(error, address)),
        }
    }
    if matches!(base.url.scheme(), "http" | "https") {
        return Err(missing(address).hint("over https only a single file can be read"));
    }
    let all = walk(base, address).await?;
    let files = DataFiles::of(base, address, all.clone()).await?;
    refuse_other_formats(base, address, &all, &files).await?;
    if files.data.is_empty() {
        return Err(nothing_in(base, address, !all.is_empty(), &files));
    }
    Ok(files)
}

async fn find_pattern(base: &Location, pattern: &str, address: &str) -> Result<DataFiles> {
    let pattern = glob::Pattern::new(pattern)
        .or_err(ErrorKind::Invalid, "not a glob pattern")
        .map_err(|error| error.with("table", address))?;
    let all = walk(base, address).await?;
    let matching = all.iter();
    let matching =
        matching.filter(|(_, relative)| pattern::matches_path_or_parent(&pattern, relative));
    let files = DataFiles::of(base, address, matching.cloned().collect()).await?;
    if files.data.is_empty() {
        let error = Error::invalid("no file matches the pattern").with("table", address);
        let error = match files.skipped_note() {
            Some(skipped) => error.with("passed_by", skipped),
            None => error,
        };
        return Err(error.hint("`*` stays within one folder, `**` goes through all; names that start with `_` or `.` are never read"));
    }
    refuse_other_formats(base, address, &all, &files).await?;
    Ok(files)
}

async fn refuse_other_formats(
    base: &Location,
    address: &str,
    all: &Objects,
    files: &DataFiles,
) -> Result<()> {
    refuse_table_formats(base, address, &objects(all), &objects(&files.data)).await
}

fn objects(found: &Objects) -> Vec<&ObjectMeta> {
    found.iter().map(|(object, _)| object).collect()
}

/// Everything beneath `base`, whatever it is.
async fn walk(base: &Location, address: &str) -> Result<Objects> {
    let objects: Vec<ObjectMeta> = base
        .store
        .list(Some(&base.path))
        .try_collect()
        .await
        .map_err(|error| unreachable_store(error, address))?;
    Ok(objects
        .into_iter()
        .filter_map(|object| {
            let relative = beneath(&base.path, &object.location)?;
            Some((object, relative))
        })
        .collect())
}

/// `path` without `base`; `None` if it does not lie beneath it.
fn beneath(base: &Path, path: &Path) -> Option<String> {
    let rest = path.as_ref().strip_prefix(base.as_ref())?;
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    (!rest.is_empty()).then(|| rest.to_owned())
}

fn arrange(address: &str, base: Location, files: DataFiles) -> Result<Listing> {
    let notes = files.skipped_note().into_iter().collect();
    let mut found = files.data;
    found.sort_by(|a, b| a.1.cmp(&b.1));
    let format = common_format(address, &found)?;
    let partitions = partition_names(&found[0].1);
    let single = found.len() == 1 && found[0].0.location == base.path;
    let files = found
        .into_iter()
        .map(|(object, relative)| {
            if partition_names(&relative) != partitions {
                return Err(mixed_partitions(address, &relative, &partitions));
            }
            let location = if single {
                base.clone()
            } else {
                within(&base, &object, &relative)
            };
            let partition = partition_values(&relative)?;
            Ok(ListedFile {
                object,
                location,
                relative,
                partition,
            })
        })
        .collect::<Result<_>>()?;
    Ok(Listing {
        address: address.to_owned(),
        base,
        files,
        partitions,
        format,
        notes,
    })
}

/// The place of a listed object. Its path is taken as the store gave it, never encoded again.
fn within(base: &Location, object: &ObjectMeta, relative: &str) -> Location {
    let mut location = base.join(relative);
    location.path = object.location.clone();
    location
}

fn common_format(address: &str, found: &Objects) -> Result<FileFormat> {
    if let Some(ending) = FileFormat::unsupported_compression(&found[0].1) {
        return Err(Error::invalid("a file that is packed like this cannot be read")
            .with("table", address)
            .with("ending", ending)
            .hint("unpack it; `.csv` and `.ndjson` may be packed as `.gz`, `.bz2`, `.xz` or `.zst`, and Parquet and Arrow compress what is in them"));
    }
    // A single file whose name says nothing is taken for Parquet; its footer will tell.
    let format_of = |relative: &str| FileFormat::of(relative).unwrap_or(FileFormat::Parquet);
    let first = format_of(&found[0].1);
    match found.iter().find(|(_, name)| format_of(name) != first) {
        None => Ok(first),
        Some((_, other)) => Err(
            Error::invalid("the table holds files of more than one format")
                .with("table", address)
                .with("file", &found[0].1)
                .with("other", other)
                .hint("choose one kind with a glob, such as `folder/**/*.parquet`"),
        ),
    }
}

fn missing(address: &str) -> Error {
    Error::invalid("there is no such file or folder").with("table", address)
}

fn nothing_in(base: &Location, address: &str, holds_other_files: bool, files: &DataFiles) -> Error {
    let is_folder = base.local.as_ref().is_some_and(|local| local.is_dir());
    if holds_other_files || is_folder {
        let error = Error::invalid("the folder holds no data files").with("table", address);
        let error = match files.skipped_note() {
            Some(skipped) => error.with("passed_by", skipped),
            None => error,
        };
        error
            .hint("files are known by their ending (.parquet, .parq, .pq, .csv, .tsv, .tab, .ndjson, .jsonl, .json, .arrow, .arrows, .feather, .ipc); names that start with `_` or `.` are never read")
    } else {
        missing(address).hint("check the path; relative paths are relative to the job file")
    }
}

fn mixed_partitions(address: &str, relative: &str, partitions: &[String]) -> Error {
    Error::invalid("a file is not under the same partition folders as the others")
        .with("table", address)
        .with("file", relative)
        .with("partitions", partitions.join("/"))
        .hint("move it, or choose files with a glob")
}
