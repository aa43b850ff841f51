//! A table of Parquet files as they are: footers read, schemas merged.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use parquet::schema::types::TypePtr;

use crate::base::{Error, ErrorKind, Result, ResultExt};
use crate::source::files::{ListedFile, Listing, with_partitions};
use crate::source::scan::rows_that_fit;
use crate::source::schema::{ColumnMap, MergedSchema, merge};

use super::file::OpenFile;
use super::logical_types::with_uuids;
use super::row_width::row_widths;
use super::source_file::SourceFile;

/// How many footers are read at once.
const FOOTERS_AT_ONCE: usize = 8;

/// A table of Parquet files.
#[derive(Clone, Debug)]
pub(crate) struct ParquetTable {
    pub(crate) files: Vec<SourceFile>,
    /// The table as the user sees it: the files' columns, then the partition columns.
    pub(crate) schema: SchemaRef,
    /// For each partition column of the table, its place in [`SourceFile::partition`].
    pub(crate) partitions: Vec<usize>,
    /// Whether the address names one file, and not a folder or a glob.
    pub(crate) is_file: bool,
    /// What a person should know of it.
    pub(crate) notes: Vec<String>,
    /// Whether all files have the same columns, of the same types in Parquet.
    pub(crate) is_uniform: bool,
}

impl ParquetTable {
    /// Reads the footers of the listed files.
    pub(crate) async fn open(listing: Listing) -> Result<Self> {
        let is_file = listing
            .files
            .iter()
            .all(|file| file.location.path == listing.base.path);
        let footers: Vec<Footer> = futures::stream::iter(listing.files)
            .map(|listed| async {
                tokio::task::spawn_blocking(move || read_footer(listed))
                    .await
                    .or_err(ErrorKind::Internal, "reading a footer was cut off")?
            })
            .buffered(FOOTERS_AT_ONCE)
            .try_collect()
            .await?;
        let named = footers.iter();
        let named: Vec<_> = named
            .map(|footer| (footer.file.relative.as_str(), &footer.schema))
            .collect();
        let merged = merge(&named)?;
        check_partitions(&listing.partitions, &merged, &named)?;
        let (schema, partitions) = with_partitions(&merged.schema, &listing.partitions);
        let types = footers[0].types.get_fields();
        let is_uniform = footers
            .iter()
            .all(|footer| footer.types.get_fields() == types);
        let files = footers.into_iter().zip(merged.mappings);
        let files = files.map(|(footer, mapping)| SourceFile {
            mapping,
            ..footer.file
        });
        Ok(ParquetTable {
            files: files.collect(),
            schema: Arc::new(schema),
            partitions,
            is_file,
            notes: listing.notes.into_iter().chain(merged.notes).collect(),
            is_uniform,
        })
    }

    /// The partition columns of a file, with its values.
    pub(crate) fn partitions_of(&self, file: &SourceFile) -> Vec<(String, Option<String>)> {
        let names = self.schema.fields()[self.file_columns()..].iter();
        let values = self
            .partitions
            .iter()
            .map(|place| file.partition[*place].clone());
        names
            .map(|field| field.name().clone())
            .zip(values)
            .collect()
    }

    pub(crate) fn rows(&self) -> u64 {
        self.files.iter().map(|file| file.rows).sum()
    }

    fn file_columns(&self) -> usize {
        self.schema.fields().len() - self.partitions.len()
    }

    /// How many rows of `columns` may be held at once, at most `rows`.
    pub(crate) fn rows_at_once(&self, columns: &[usize], rows: usize) -> usize {
        let width = |file: &SourceFile| {
            let stored = columns
                .iter()
                .filter_map(|at| file.mapping.get(*at).copied()?);
            stored.map(|at| file.widths[at]).sum::<u64>()
        };
        let widest = self.files.iter().map(width).max();
        rows_that_fit(widest.unwrap_or(0), rows)
    }
}

/// A footer, as far as a table of many files keeps it.
struct Footer {
    file: SourceFile,
    schema: SchemaRef,
    /// Its columns as Parquet has them.
    types: TypePtr,
}

fn read_footer(listed: ListedFile) -> Result<Footer> {
    let pin = listed.pin();
    let mut file = SourceFile {
        location: listed.location,
        relative: listed.relative,
        pin,
        rows: 0,
        row_groups: 0,
        partition: listed.partition,
        mapping: Arc::default(),
        widths: Arc::default(),
    };
    let footer = OpenFile::open(&file)?.into_footer();
    let groups = footer.metadata().row_groups();
    file.rows = groups
        .iter()
        .map(|group| u64::try_from(group.num_rows()).unwrap_or(0))
        .sum();
    file.row_groups = groups.len();
    file.widths = row_widths(footer.metadata());
    Ok(Footer {
        file,
        schema: Arc::new(with_uuids(footer.schema(), footer.parquet_schema())),
        types: footer.parquet_schema().root_schema_ptr(),
    })
}

/// A partition column must be in all files or in none: else its values would come from the files in some rows,
/// and from the folders' names in others.
pub(crate) fn check_partitions(
    names: &[String],
    merged: &MergedSchema,
    files: &[(&str, &SchemaRef)],
) -> Result<()> {
    for name in names {
        let Ok(at) = merged.schema.index_of(name) else {
            continue;
        };
        let lacks = |mapping: &ColumnMap| mapping[at].is_none();
        if let Some(file) = merged.mappings.iter().position(lacks) {
            return Err(Error::invalid(
                "a partition column is in some of the files, and not in others",
            )
            .with("column", name)
            .with("missing_in", files[file].0)
            .hint("choose the files of one kind with a glob, such as `folder/dt=2024-*`"));
        }
    }
    Ok(())
}
