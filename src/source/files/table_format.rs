//! Folders that are tables of another format.
//!
//! Such a table is its files and a log that says which of them count: read as plain files, rows that were
//! deleted or replaced long ago would come back. So a folder that bears the marks of one is refused
//! by name, and so is whatever lies in it.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::base::{Error, Location, Result};

/// A format whose folders hold more than the rows of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TableFormat {
    Delta,
    DuckLake,
    HiveAcid,
    Hudi,
    Iceberg,
    Lance,
    Paimon,
}

impl TableFormat {
    fn name(self) -> &'static str {
        match self {
            TableFormat::Delta => "Delta Lake",
            TableFormat::DuckLake => "DuckLake",
            TableFormat::HiveAcid => "Hive ACID",
            TableFormat::Hudi => "Hudi",
            TableFormat::Iceberg => "Iceberg",
            TableFormat::Lance => "Lance",
            TableFormat::Paimon => "Paimon",
        }
    }

    /// What gives the rows as they are now, in a line.
    fn export_advice(self) -> &'static str {
        match self {
            TableFormat::Delta => {
                "in Python, `pyarrow.parquet.write_table(deltalake.DeltaTable(\"FOLDER\").to_pyarrow_table(), \"rows.parquet\")`"
            }
            TableFormat::Iceberg => {
                "in Python, `pyarrow.parquet.write_table(pyiceberg.table.StaticTable.from_metadata(\"FOLDER/metadata/LAST.metadata.json\").scan().to_arrow(), \"rows.parquet\")`"
            }
            TableFormat::Lance => {
                "in Python, `pyarrow.parquet.write_table(lance.dataset(\"FOLDER\").to_table(), \"rows.parquet\")`"
            }
            TableFormat::DuckLake => {
                "in DuckDB, with the catalog attached, `COPY lake.NAME TO 'rows.parquet'`"
            }
            TableFormat::HiveAcid | TableFormat::Hudi | TableFormat::Paimon => {
                "with an engine that knows the format, such as Spark or Trino"
            }
        }
    }
}

/// A folder that bears a mark, as a path of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
struct MarkedFolder {
    folder: String,
    format: TableFormat,
}

impl MarkedFolder {
    fn holds(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.folder.as_str());
        rest.is_some_and(|rest| self.folder.is_empty() || rest.is_empty() || rest.starts_with('/'))
    }
}

/// The folders beneath which a mark may stand, in a table's own folder.
const MARKING_FOLDERS: [&str; 5] = ["_delta_log", ".hoodie", "metadata", "_versions", "schema"];

/// Objects of such a folder that are looked at. Iceberg's holds lists of files as well.
const LOOKED_AT: usize = 10_000;

/// The mark that an object at `path` is, or lies under.
fn mark(path: &str) -> Option<MarkedFolder> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let mut start = 0;
    for part in path.split('/') {
        let is_file = start + part.len() == path.len();
        let format = if is_file {
            mark_of_file(name)
        } else {
            mark_of_folder(part, name)
        };
        if let Some(format) = format {
            let folder = path[..start].trim_end_matches('/').to_owned();
            return Some(MarkedFolder { folder, format });
        }
        start += part.len() + 1;
    }
    None
}

/// What a folder says, with a file somewhere in it.
fn mark_of_folder(folder: &str, file: &str) -> Option<TableFormat> {
    let is_numbered = |name: &str, before: &str| {
        let rest = name.strip_prefix(before);
        rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    match folder {
        "_delta_log" => Some(TableFormat::Delta),
        ".hoodie" => Some(TableFormat::Hudi),
        "metadata" if file.contains(".metadata.json") || file == "version-hint.text" => {
            Some(TableFormat::Iceberg)
        }
        "_versions" if file.ends_with(".manifest") => Some(TableFormat::Lance),
        "schema" if is_numbered(file, "schema-") => Some(TableFormat::Paimon),
        _ => is_acid(folder).then_some(TableFormat::HiveAcid),
    }
}

fn mark_of_file(name: &str) -> Option<TableFormat> {
    if name.starts_with(".hoodie_partition_metadata") {
        return Some(TableFormat::Hudi);
    }
    let id = name.strip_prefix("ducklake-")?;
    let is_hex = |text: &str| text.len() == 8 && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex(id.split('-').next()?).then_some(TableFormat::DuckLake)
}

/// `base_0000002`, `delta_0000001_0000001_0000`, `delete_delta_...`: numbers of transactions, with zeros
/// before them, which tell them from dates.
fn is_acid(folder: &str) -> bool {
    let numbers = ["delete_delta_", "delta_", "base_"];
    let Some(rest) = numbers.iter().find_map(|kind| folder.strip_prefix(kind)) else {
        return false;
    };
    let first = rest.split('_').next().unwrap_or(rest);
    first.len() >= 7 && first.starts_with('0') && first.bytes().all(|b| b.is_ascii_digit())
}

/// Refuses `chosen`, the files of the table at `address`, if one of them lies in a table of another format:
/// by what lies beside it among all that was found beneath `base`, or in a folder above.
pub(super) async fn refuse_table_formats(
    base: &Location,
    address: &str,
    beneath: &[&ObjectMeta],
    chosen: &[&ObjectMeta],
) -> Result<()> {
    let mut marked: Vec<MarkedFolder> = Vec::new();
    for object in beneath {
        if let Some(found) = mark(object.location.as_ref())
            && !marked.contains(&found)
        {
            marked.push(found);
        }
    }
    let concerns = |marked: &&MarkedFolder| {
        let holds = |object: &&ObjectMeta| marked.holds(object.location.as_ref());
        chosen.is_empty() || chosen.iter().any(holds)
    };
    if let Some(found) = marked.iter().find(concerns) {
        return Err(refusal(found, base, address));
    }
    match above(base).await {
        Some(found) => Err(refusal(&found, base, address)),
        None => Ok(()),
    }
}

/// The nearest folder above `base` that bears a mark. Where a store does not let us look, there is none.
async fn above(base: &Location) -> Option<MarkedFolder> {
    if matches!(base.url.scheme(), "http" | "https") {
        return None;
    }
    let parts: Vec<String> = base
        .path
        .parts()
        .map(|part| part.as_ref().to_owned())
        .collect();
    let path = |depth: usize, name: &str| {
        let folder = parts[..depth].iter().map(String::as_str);
        folder.chain([name]).collect::<Path>()
    };
    let depths = (0..parts.len()).rev();
    let places = depths.flat_map(|depth| MARKING_FOLDERS.map(|name| path(depth, name)));
    let looks = places.map(|place| async move {
        let objects = base.store.list(Some(&place)).take(LOOKED_AT);
        let marks = objects.try_filter_map(async |object| Ok(mark(object.location.as_ref())));
        let mut marks = std::pin::pin!(marks);
        marks.try_next().await.ok().flatten()
    });
    let found: Vec<Option<MarkedFolder>> =
        futures::stream::iter(looks).buffered(16).collect().await;
    found.into_iter().flatten().next()
}

fn refusal(marked: &MarkedFolder, base: &Location, address: &str) -> Error {
    let format = marked.format.name();
    let folder = if base.local.is_some() {
        format!("/{}/", marked.folder)
    } else {
        let root = &base.url[..url::Position::BeforePath];
        format!("{root}/{}/", marked.folder)
    };
    let way = marked.format.export_advice();
    Error::invalid("a table of another format cannot be read as plain files, some of which hold rows that are no longer in it")
        .with("format", format)
        .with("folder", folder)
        .with("table", address)
        .hint(format!("write its rows as they are now to Parquet, and name that here: {way}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_known_by_its_marks_and_nothing_else_is() {
        use TableFormat::{Delta, DuckLake, HiveAcid, Hudi, Iceberg, Lance, Paimon};
        for (path, expected) in [
            (
                "lake/t/_delta_log/00000000000000000000.json",
                Some((Delta, "lake/t")),
            ),
            ("_delta_log/_last_checkpoint", Some((Delta, ""))),
            ("lake/t/.hoodie/hoodie.properties", Some((Hudi, "lake/t"))),
            (
                "lake/t/dt=1/.hoodie_partition_metadata",
                Some((Hudi, "lake/t/dt=1")),
            ),
            (
                "w/db/t/metadata/v3.metadata.json",
                Some((Iceberg, "w/db/t")),
            ),
            (
                "w/db/t/metadata/00001-8a.gz.metadata.json",
                Some((Iceberg, "w/db/t")),
            ),
            (
                "w/db/t/metadata/version-hint.text",
                Some((Iceberg, "w/db/t")),
            ),
            ("t.lance/_versions/1.manifest", Some((Lance, "t.lance"))),
            ("w/t/schema/schema-0", Some((Paimon, "w/t"))),
            (
                "w/t/dt=1/base_0000002/000000_0",
                Some((HiveAcid, "w/t/dt=1")),
            ),
            (
                "w/t/delta_0000001_0000001_0000/bucket_00000",
                Some((HiveAcid, "w/t")),
            ),
            (
                "w/t/delete_delta_0000003_0000003_0000/bucket_0",
                Some((HiveAcid, "w/t")),
            ),
            (
                "m/t/ducklake-019aa5b5-1b63.parquet",
                Some((DuckLake, "m/t")),
            ),
            ("lake/_delta_log", None),
            ("lake/metadata/part-0.parquet", None),
            ("lake/schema/schema-of-tickets.json", None),
            ("lake/schema/schema-", None),
            ("lake/base_20240101/a.parquet", None),
            ("lake/delta_20240101_20240131/a.parquet", None),
            ("lake/_versions/a.parquet", None),
            ("lake/ducklake-notes.parquet", None),
        ] {
            let found = mark(path);
            let found = found
                .as_ref()
                .map(|found| (found.format, found.folder.as_str()));
            assert_eq!(found, expected, "{path}");
        }
    }

    #[test]
    fn a_marked_folder_holds_what_lies_in_it_and_no_other_of_a_like_name() {
        let marked = |folder: &str| MarkedFolder {
            folder: folder.to_owned(),
            format: TableFormat::Delta,
        };
        assert!(marked("lake/t").holds("lake/t/dt=1/a.parquet"));
        assert!(!marked("lake/t").holds("lake/t2/a.parquet"));
        assert!(marked("").holds("a.parquet"));
    }
}
