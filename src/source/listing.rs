//! From an address to the files behind it, in a stable order.
//!
//! An address is a file, a folder, or a glob (`*`, `?`, `[..]`, `**`), as an absolute path or a URL.
//! Folders are read at every depth; a name that starts with `_` or `.` is hidden, at every level, so
//! that neither our own folders nor `_SUCCESS` and its like are read as data. What is passed by is said
//! (`choose`), and a table of another format is refused (`foreign`). Folders named `k=v`
//! are Hive partitions: `k` becomes a column, `v` is percent-decoded, and Hive's own word for null
//! is null. Files come in the order of their paths.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::base::{Error, ErrorKind, Location, Result, ResultExt, Stores};
use crate::work::Pin;

use super::choose::{Choice, Found};
use super::foreign;
use super::format::Format;
use super::pin;
use super::unreachable::unreachable_store;

/// What Hive and Spark write for a null partition value.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// One file of a table, as the store lists it.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    /// What the store says of it.
    pub(super) object: ObjectMeta,
    /// Where it is.
    pub(super) location: Location,
    /// Its path beneath the table's fixed part.
    pub(super) relative: String,
    /// The values of the partition columns.
    pub(super) partition: Vec<Option<String>>,
}

/// The files of a table.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    /// The address as it was given.
    pub(super) address: String,
    /// The fixed part of the address.
    pub(super) base: Location,
    /// The files, in the order of their paths. Never empty.
    pub(super) files: Vec<Listed>,
    /// The names of the partition columns.
    pub(super) partitions: Vec<String>,
    /// What the files hold.
    pub(super) format: Format,
    /// What a person should know of it: the files that were passed by.
    pub(super) notes: Vec<String>,
}

impl Listing {
    /// What pins the files.
    pub(super) fn pins(&self) -> Vec<Pin> {
        self.files.iter().map(Listed::pin).collect()
    }
}

impl Listed {
    /// What pins the file.
    pub(super) fn pin(&self) -> Pin {
        Pin {
            url: self.location.url.to_string(),
            size: self.object.size,
            etag: pin::tag(self.object.e_tag.as_deref()),
            modified: self.object.last_modified,
        }
    }
}

/// Finds the files behind `address`.
pub(super) async fn list(stores: &Stores, address: &str) -> Result<Listing> {
    let (fixed, pattern) = split_glob(address);
    let base = stores.locate(fixed)?;
    let choice = match &pattern {
        None => find_plain(&base, address).await?,
        Some(pattern) => find_pattern(&base, pattern, address).await?,
    };
    arrange(address, base, choice)
}

async fn find_plain(base: &Location, address: &str) -> Result<Choice> {
    if !address.ends_with('/') && !base.path.is_root() {
        match base.store.head(&base.path).await {
            Ok(object) => {
                foreign::refuse(base, address, &[&object], &[&object]).await?;
                let name = object.location.filename().unwrap_or_default().to_owned();
                return Ok(Choice::only(object, name));
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(unreachable_store(error, address)),
        }
    }
    if matches!(base.url.scheme(), "http" | "https") {
        return Err(missing(address).hint("over https only a single file can be read"));
    }
    let all = walk(base, address).await?;
    let choice = Choice::of(base, address, all.clone()).await?;
    refuse_foreign(base, address, &all, &choice).await?;
    if choice.data.is_empty() {
        return Err(nothing_in(base, address, !all.is_empty(), &choice));
    }
    Ok(choice)
}

async fn find_pattern(base: &Location, pattern: &str, address: &str) -> Result<Choice> {
    let pattern = glob::Pattern::new(pattern)
        .or_err(ErrorKind::Invalid, "not a glob pattern")
        .map_err(|error| error.with("table", address))?;
    let all = walk(base, address).await?;
    let matching = all.iter();
    let matching = matching.filter(|(_, relative)| matches_path_or_parent(&pattern, relative));
    let choice = Choice::of(base, address, matching.cloned().collect()).await?;
    if choice.data.is_empty() {
        let error = Error::invalid("no file matches the pattern").with("table", address);
        let error = match choice.passed() {
            Some(passed) => error.with("passed_by", passed),
            None => error,
        };
        return Err(error.hint("`*` stays within one folder, `**` goes through all; names that start with `_` or `.` are never read"));
    }
    refuse_foreign(base, address, &all, &choice).await?;
    Ok(choice)
}

async fn refuse_foreign(
    base: &Location,
    address: &str,
    all: &Found,
    choice: &Choice,
) -> Result<()> {
    foreign::refuse(base, address, &objects(all), &objects(&choice.data)).await
}

fn objects(found: &Found) -> Vec<&ObjectMeta> {
    found.iter().map(|(object, _)| object).collect()
}

/// Everything beneath `base`, whatever it is.
async fn walk(base: &Location, address: &str) -> Result<Found> {
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

fn arrange(address: &str, base: Location, choice: Choice) -> Result<Listing> {
    let notes = choice.passed().into_iter().collect();
    let mut found = choice.data;
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
            Ok(Listed {
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

fn common_format(address: &str, found: &Found) -> Result<Format> {
    if let Some(ending) = Format::packed_otherwise(&found[0].1) {
        return Err(Error::invalid("a file that is packed like this cannot be read")
            .with("table", address)
            .with("ending", ending)
            .hint("unpack it; `.csv` and `.ndjson` may be packed as `.gz`, `.bz2`, `.xz` or `.zst`, and Parquet and Arrow compress what is in them"));
    }
    // A single file whose name says nothing is taken for Parquet; its footer will tell.
    let format_of = |relative: &str| Format::of(relative).unwrap_or(Format::Parquet);
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

fn folders(relative: &str) -> impl Iterator<Item = &str> {
    let folders = relative.rsplit_once('/').map_or("", |(folders, _)| folders);
    folders.split('/')
}

fn partition_names(relative: &str) -> Vec<String> {
    folders(relative)
        .filter_map(|folder| folder.split_once('='))
        .map(|(name, _)| name.to_owned())
        .collect()
}

fn partition_values(relative: &str) -> Result<Vec<Option<String>>> {
    folders(relative)
        .filter_map(|folder| folder.split_once('='))
        .map(|(_, value)| {
            if value == HIVE_NULL {
                return Ok(None);
            }
            percent_decode(value).map(Some).ok_or_else(|| {
                Error::invalid("a partition value is not UTF-8").with("file", relative)
            })
        })
        .collect()
}

/// `%XX` into bytes; a `%` that is not followed by two digits stands for itself.
fn percent_decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        if let Some(byte) = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

const GLOB: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Whether the pattern names the file, or a folder that it is in.
fn matches_path_or_parent(pattern: &glob::Pattern, relative: &str) -> bool {
    let ends = relative.match_indices('/').map(|(at, _)| at);
    ends.chain([relative.len()])
        .any(|end| pattern.matches_with(&relative[..end], GLOB))
}

/// The part of an address before its first segment with a glob character, and the rest. A local
/// file whose very name holds such a character is not a glob.
fn split_glob(address: &str) -> (&str, Option<String>) {
    let body = address.find("://").map_or(0, |at| at + 3);
    let is_web = address.starts_with("http://") || address.starts_with("https://");
    if is_web || (body == 0 && std::fs::exists(address).unwrap_or(false)) {
        return (address, None);
    }
    let Some(first) = address[body..].find(['*', '?', '[']) else {
        return (address, None);
    };
    let at = address[..body + first].rfind('/').map_or(0, |at| at + 1);
    let pattern = address[at..].trim_end_matches('/').to_owned();
    (&address[..at], Some(pattern))
}

fn missing(address: &str) -> Error {
    Error::invalid("there is no such file or folder").with("table", address)
}

fn nothing_in(base: &Location, address: &str, holds_other_files: bool, choice: &Choice) -> Error {
    let is_folder = base.local.as_ref().is_some_and(|local| local.is_dir());
    if holds_other_files || is_folder {
        let error = Error::invalid("the folder holds no data files").with("table", address);
        let error = match choice.passed() {
            Some(passed) => error.with("passed_by", passed),
            None => error,
        };
        error
            .hint("files are known by their ending (.parquet, .parq, .pq, .csv, .ndjson, .jsonl, .json, .arrow, .feather, .ipc); names that start with `_` or `.` are never read")
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
