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
pub(super) type Objects = Vec<(ObjectMeta, String)>;

/// Files that are looked into at once.
const LOOKS_AT_ONCE: usize = 16;

/// What Parquet begins with: plain, and encrypted down to its footer.
const MAGIC: [&[u8]; 2] = [b"PAR1", b"PARE"];

/// The files of a folder: those of the table, and those that are passed by.
#[derive(Debug, Default)]
pub(super) struct DataFiles {
    /// The table's.
    pub(super) data: Objects,
    /// Files whose names, or whose folders' names, start with `_` or `.`, though they end as data does.
    hidden: Skipped,
    /// Files that are something else, by their names or their first bytes.
    other: Skipped,
    /// Copies that were set aside, and files that are not written to their end.
    unfinished: Skipped,
}

/// Files that are passed by, and the first of them.
#[derive(Debug, Default)]
struct Skipped {
    count: u64,
    first: String,
}

impl Skipped {
    fn note(&mut self, relative: &str) {
        if self.count == 0 {
            relative.clone_into(&mut self.first);
        }
        self.count += 1;
    }
}

impl DataFiles {
    /// A single file, which was named.
    pub(super) fn only(object: ObjectMeta, relative: String) -> DataFiles {
        DataFiles {
            data: vec![(object, relative)],
            ..DataFiles::default()
        }
    }

    /// Chooses among `found`, files of the table at `address`.
    pub(super) async fn of(
        base: &Location,
        address: &str,
        mut found: Objects,
    ) -> Result<DataFiles> {
        found.sort_by(|a, b| a.1.cmp(&b.1));
        let mut files = DataFiles::default();
        let mut unknown: Objects = Vec::new();
        for (object, relative) in found {
            match kind_of(&relative) {
                Kind::Data => files.data.push((object, relative)),
                Kind::Hidden => files.hidden.note(&relative),
                Kind::OfWriter => {}
                Kind::Other => files.other.note(&relative),
                Kind::Unfinished => files.unfinished.note(&relative),
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
                files.data.push((object, relative));
            } else {
                files.other.note(&relative);
            }
        }
        Ok(files)
    }

    /// What was passed by, in a sentence; nothing, if nothing was.
    pub(super) fn skipped_note(&self) -> Option<String> {
        let kinds = [
            (
                &self.other,
                "that no name and no first bytes say to be a table",
            ),
            (&self.hidden, "whose name starts with `_` or `.`"),
            (
                &self.unfinished,
                "set aside or not written to the end, by the name",
            ),
        ];
        let total: u64 = kinds.iter().map(|(skipped, _)| skipped.count).sum();
        let some = kinds.iter().filter(|(skipped, _)| skipped.count > 0);
        let some = some
            .map(|(skipped, what)| format!("{} {what} (such as {})", skipped.count, skipped.first));
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
    OfWriter,
    Other,
    Unfinished,
    Unknown,
}

fn kind_of(relative: &str) -> Kind {
    let name = relative.rsplit('/').next().unwrap_or(relative);
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let ending = ending.to_ascii_lowercase();
    let is_data = FileFormat::of(name).is_some();
    let of_writers = |part: &str| WRITER_FOLDERS.contains(&part);
    match () {
        () if !is_visible(relative) && is_data && !relative.split('/').any(of_writers) => {
            Kind::Hidden
        }
        () if !is_visible(relative) => Kind::OfWriter,
        () if is_data => Kind::Data,
        () if UNFINISHED_ENDINGS.contains(&ending.as_str()) || name.ends_with('~') => {
            Kind::Unfinished
        }
        () if OTHER_ENDINGS.contains(&ending.as_str())
            || FileFormat::unsupported_compression(name).is_some() =>
        {
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
const WRITER_FOLDERS: [&str; 4] = ["_columnist", "_temporary", ".staging", "_spark_metadata"];

/// Endings of copies, and of files that are being written.
const UNFINISHED_ENDINGS: [&str; 14] = [
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
const OTHER_ENDINGS: [&str; 46] = [
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
            ("a.tsv", Kind::Data),
            ("a.tab.zst", Kind::Data),
            ("a.arrows", Kind::Data),
            ("_SUCCESS", Kind::OfWriter),
            ("_metadata", Kind::OfWriter),
            (".a.parquet.crc", Kind::OfWriter),
            ("_columnist/job/requests.parquet", Kind::OfWriter),
            ("dt=1/_temporary/0/a.parquet", Kind::OfWriter),
            ("_old/a.parquet", Kind::Hidden),
            ("_a.parquet", Kind::Hidden),
            ("a.parquet.bak", Kind::Unfinished),
            ("a.parquet.tmp", Kind::Unfinished),
            ("a.parquet~", Kind::Unfinished),
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
