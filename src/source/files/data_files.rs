//! Which of the files in a folder are the table's, and which are passed by.
//!
//! A file is known by its name; one whose name says nothing is Parquet if it begins as Parquet does. What is
//! passed by is counted and said, for a row that is not read is a row that is lost.

use futures::StreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};

use crate::base::{Location, Result};
use crate::source::error::unreachable_store;

use super::file_format::FileFormat;

/// A store's object, and its path beneath the base.
pub(crate) type Objects = Vec<(ObjectMeta, String)>;

/// Files that are looked into at once.
const LOOKS_AT_ONCE: usize = 16;

/// What Parquet begins with: plain, and encrypted down to its footer.
const MAGIC: [&[u8]; 2] = [b"PAR1", b"PARE"];

/// What became of the files of a folder.
#[derive(Debug, Default)]
pub(crate) struct DataFiles {
    /// The table's.
    pub(crate) data: Objects,
    /// Whose names, or whose folders', start with `_` or `.`, though they end as data does.
    hidden: Passed,
    /// Whose names say that they are something else, or whose first bytes do.
    other: Passed,
    /// Copies that were set aside, and files that are not written to their end.
    aside: Passed,
}

/// Files that are passed by, and the first of them.
#[derive(Debug, Default)]
struct Passed {
    count: u64,
    first: String,
}

impl Passed {
    fn note(&mut self, relative: &str) {
        if self.count == 0 {
            relative.clone_into(&mut self.first);
        }
        self.count += 1;
    }
}

impl DataFiles {
    /// A single file, which was named.
    pub(crate) fn only(object: ObjectMeta, relative: String) -> DataFiles {
        DataFiles {
            data: vec![(object, relative)],
            ..DataFiles::default()
        }
    }

    /// Chooses among `found`, files of the table at `address`.
    pub(crate) async fn of(
        base: &Location,
        address: &str,
        mut found: Objects,
    ) -> Result<DataFiles> {
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let mut choice = DataFiles::default();
        let mut unknown: Objects = Vec::new();
        for (object, relative) in found {
            match kind_of(&relative) {
                Kind::Data => choice.data.push((object, relative)),
                Kind::Hidden => choice.hidden.note(&relative),
                Kind::Ours => {}
                Kind::Other => choice.other.note(&relative),
                Kind::Aside => choice.aside.note(&relative),
                Kind::Unknown => unknown.push((object, relative)),
            }
        }
        let looks = unknown.into_iter().map(|(object, relative)| async {
            let is_parquet = begins_as_parquet(base, &object).await;
            (is_parquet, object, relative)
        });
        let mut looks = futures::stream::iter(looks).buffered(LOOKS_AT_ONCE);
        while let Some((is_parquet, object, relative)) = looks.next().await {
            if is_parquet.map_err(|error| unreachable_store(error, address))? {
                choice.data.push((object, relative));
            } else {
                choice.other.note(&relative);
            }
        }
        Ok(choice)
    }

    /// What was passed by, in a sentence; nothing, if nothing was.
    pub(crate) fn passed(&self) -> Option<String> {
        let kinds = [
            (
                &self.other,
                "that no name and no first bytes say to be a table",
            ),
            (&self.hidden, "whose name starts with `_` or `.`"),
            (
                &self.aside,
                "set aside or not written to the end, by the name",
            ),
        ];
        let total: u64 = kinds.iter().map(|(passed, _)| passed.count).sum();
        let some = kinds.iter().filter(|(passed, _)| passed.count > 0);
        let some = some
            .map(|(passed, what)| format!("{} {what} (such as {})", passed.count, passed.first));
        let some: Vec<String> = some.collect();
        (total > 0).then(|| format!("files passed by: {}", some.join(", ")))
    }
}

async fn begins_as_parquet(base: &Location, object: &ObjectMeta) -> object_store::Result<bool> {
    let length = MAGIC[0].len() as u64;
    if object.size < 2 * length {
        return Ok(false);
    }
    let first = base.store.get_range(&object.location, 0..length).await?;
    Ok(MAGIC.contains(&&first[..]))
}

/// What a file is, by its path beneath the base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Data,
    Hidden,
    /// Marks and folders of writers, our own among them.
    Ours,
    Other,
    Aside,
    Unknown,
}

fn kind_of(relative: &str) -> Kind {
    let name = relative.rsplit('/').next().unwrap_or(relative);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ending = ending.to_ascii_lowercase();
    let is_data = FileFormat::of(name).is_some();
    let of_writers = |part: &str| WRITERS.contains(&part);
    match () {
        () if !is_visible(relative) && is_data && !relative.split('/').any(of_writers) => {
            Kind::Hidden
        }
        () if !is_visible(relative) => Kind::Ours,
        () if is_data => Kind::Data,
        () if ASIDE.contains(&ending.as_str()) || name.ends_with('~') => Kind::Aside,
        () if OTHER.contains(&ending.as_str()) || FileFormat::packed_otherwise(name).is_some() => {
            Kind::Other
        }
        () => Kind::Unknown,
    }
}

/// Names that start with `_` or `.` are hidden, at every depth; `_x=1` is a partition.
fn is_visible(relative: &str) -> bool {
    !relative
        .split('/')
        .any(|name| name.starts_with('_') && !name.contains('=') || name.starts_with('.'))
}

/// Folders in which writers keep what is no data: our own, and those of Spark and its like.
const WRITERS: [&str; 4] = ["_columnist", "_temporary", ".staging", "_spark_metadata"];

/// Endings of copies, and of files that are being written.
const ASIDE: [&str; 14] = [
    "bak",
    "backup",
    "copying",
    "crc",
    "crdownload",
    "inprogress",
    "lock",
    "old",
    "orig",
    "partial",
    "pending",
    "swp",
    "temp",
    "tmp",
];

/// Endings of files that are certainly no Parquet, so that none of many pictures is looked into.
const OTHER: [&str; 46] = [
    "avi",
    "avro",
    "bmp",
    "db",
    "doc",
    "docx",
    "duckdb",
    "gif",
    "htm",
    "html",
    "ini",
    "ipynb",
    "jpeg",
    "jpg",
    "log",
    "md",
    "mov",
    "mp3",
    "mp4",
    "npy",
    "npz",
    "orc",
    "pdf",
    "pickle",
    "pkl",
    "png",
    "ppt",
    "pptx",
    "pt",
    "py",
    "rst",
    "safetensors",
    "sh",
    "sql",
    "sqlite",
    "svg",
    "tif",
    "tiff",
    "toml",
    "txt",
    "wav",
    "webp",
    "xls",
    "xlsx",
    "xml",
    "yaml",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_name() {
        for (path, kind) in [
            ("a.parquet", Kind::Data),
            ("b.parq", Kind::Data),
            ("c.parquet.0001", Kind::Data),
            ("dt=1/part-0.snappy.PARQUET", Kind::Data),
            ("a.csv.gz", Kind::Data),
            ("_SUCCESS", Kind::Ours),
            ("_metadata", Kind::Ours),
            (".a.parquet.crc", Kind::Ours),
            ("_columnist/job/requests.parquet", Kind::Ours),
            ("dt=1/_temporary/0/a.parquet", Kind::Ours),
            ("_old/a.parquet", Kind::Hidden),
            ("_a.parquet", Kind::Hidden),
            ("a.parquet.bak", Kind::Aside),
            ("a.parquet.tmp", Kind::Aside),
            ("a.parquet~", Kind::Aside),
            ("readme.md", Kind::Other),
            ("a.parquet.gz", Kind::Other),
            ("000000_0", Kind::Unknown),
            ("a.parquet.v2", Kind::Unknown),
            ("a.csv.0001", Kind::Unknown),
        ] {
            assert_eq!(kind_of(path), kind, "{path}");
        }
    }
}
